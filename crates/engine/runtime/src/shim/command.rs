//! From `args` and `env` to a running program: look it up, and say in the words everybody knows why it cannot run.

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{spec::ProcessSpec, wire::Failure};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// The environment the program will see: later settings win, and `HOME` is there.
pub(super) fn environment(process: &ProcessSpec) -> Vec<String> {
    let mut env: Vec<String> = Vec::with_capacity(process.env.len() + 2);
    for (index, setting) in process.env.iter().enumerate() {
        let name = setting.split_once('=').map_or(setting.as_str(), |(name, _)| name);
        let later = process.env[index + 1..].iter().any(|s| s.split_once('=').map_or(s.as_str(), |(n, _)| n) == name);
        if !later {
            env.push(setting.clone());
        }
    }
    if !env.iter().any(|s| s.starts_with("HOME=")) {
        env.push(format!("HOME={}", home_of(process.user.uid)));
    }
    if process.tty && !env.iter().any(|s| s.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    env
}

fn home_of(uid: u32) -> String {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let home = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.nth(2)?.parse() == Ok(uid)).then(|| fields.nth(2).unwrap_or_default().to_owned())
    });
    home.filter(|home| !home.is_empty()).unwrap_or_else(|| "/".to_owned())
}

/// Replaces this process. Returns only the reason why not.
pub(super) fn execute(process: &ProcessSpec, env: &[String]) -> Failure {
    let name = &process.args[0];
    let program = match look_up(name, env) {
        Ok(program) => program,
        Err(failure) => return failure,
    };
    let to_c = |text: &str| {
        CString::new(text).map_err(|_| failed(name, "a null byte in the arguments or the environment", None))
    };
    let converted: Result<(CString, Vec<CString>, Vec<CString>), Failure> = (|| {
        Ok((
            to_c(&program.to_string_lossy())?,
            process.args.iter().map(|a| to_c(a)).collect::<Result<_, _>>()?,
            env.iter().map(|e| to_c(e)).collect::<Result<_, _>>()?,
        ))
    })();
    let (path, args, env) = match converted {
        Ok(converted) => converted,
        Err(failure) => return failure,
    };
    let Err(errno) = nix::unistd::execve(&path, &args, &env);
    let code = if errno == nix::errno::Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTABLE };
    failed(name, &describe(&io::Error::from(errno)), Some(code))
}

fn look_up(name: &str, env: &[String]) -> Result<PathBuf, Failure> {
    if name.is_empty() {
        return Err(failed(name, "no command", Some(NOT_FOUND)));
    }
    if name.contains('/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(failed(name, &format!("stat {name}: no such file or directory"), Some(NOT_FOUND)))
            }
            Err(error) => Err(failed(name, &describe(&error), Some(NOT_EXECUTABLE))),
        };
    }
    let path = env.iter().find_map(|s| s.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let mut denied = None;
    for directory in path.split(':') {
        let candidate = Path::new(if directory.is_empty() { "." } else { directory }).join(name);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => denied = Some(error),
            Err(_) => {}
        }
    }
    Err(match denied {
        Some(error) => failed(name, &describe(&error), Some(NOT_EXECUTABLE)),
        None => failed(name, "executable file not found in $PATH", Some(NOT_FOUND)),
    })
}

fn check(candidate: &Path) -> io::Result<()> {
    let metadata = fs::metadata(candidate)?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc_eisdir()));
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(())
}

fn libc_eisdir() -> i32 {
    nix::errno::Errno::EISDIR as i32
}

/// The kernel's words without Rust's "(os error 13)".
fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |n| nix::errno::Errno::from_raw(n).desc().to_lowercase()),
    }
}

fn failed(name: &str, reason: &str, code: Option<i32>) -> Failure {
    Failure { start: true, code, message: format!("unable to start container process: exec: {name:?}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_command_cannot_run() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        fs::write(&plain, "").unwrap();
        let env = [format!("PATH={}", directory.path().display())];
        let message = |name: &str| look_up(name, &env).map_err(|f| (f.code, f.message)).unwrap_err();
        let prefix = "unable to start container process: exec: ";
        assert_eq!(message("nosuch"), (Some(127), format!("{prefix}\"nosuch\": executable file not found in $PATH")));
        assert_eq!(message("plain"), (Some(126), format!("{prefix}\"plain\": permission denied")));
        assert_eq!(
            message("/no/such"),
            (Some(127), format!("{prefix}\"/no/such\": stat /no/such: no such file or directory"))
        );
        assert_eq!(message("/tmp"), (Some(126), format!("{prefix}\"/tmp\": is a directory")));
    }

    #[test]
    fn later_settings_win() {
        let process: ProcessSpec = serde_json::from_value(
            serde_json::json!({"args": ["x"], "env": ["A=1", "HOME=/h", "A=2", "B=3"], "tty": true}),
        )
        .unwrap();
        assert_eq!(environment(&process), ["HOME=/h", "A=2", "B=3", "TERM=xterm"]);
    }
}
