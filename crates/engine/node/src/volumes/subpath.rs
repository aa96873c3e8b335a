//! `subPath`: a part of a volume, never anything outside it, whatever links a container has put there.

use std::{
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// The directory or file at `sub` below `volume`, made as a directory where it is absent.
pub fn resolve(volume: &Path, sub: &str) -> io::Result<PathBuf> {
    let relative = Path::new(sub);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{sub:?} leaves the volume")));
    }
    if fs::metadata(volume)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "the volume is a file"));
    }
    let mut directory = open(volume, None)?;
    for part in relative.components() {
        let Component::Normal(name) = part else { continue };
        directory = match open_beneath(&directory, Path::new(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o750))?;
                open_beneath(&directory, Path::new(name))?
            }
            opened => opened?,
        };
    }
    fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

fn open(path: &Path, mode: Option<Mode>) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, mode.unwrap_or(Mode::empty()))?)
}

fn open_beneath(directory: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(directory, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)?)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::resolve;

    #[test]
    fn a_sub_path_stays_inside() {
        let directory = tempfile::tempdir().expect("a directory");
        let volume = directory.path().join("volume");
        fs::create_dir_all(volume.join("..stamp")).expect("writable");
        fs::write(volume.join("..stamp/key"), "1").expect("writable");
        symlink("..stamp", volume.join("..data")).expect("writable");
        symlink("..data/key", volume.join("key")).expect("writable");
        symlink("/etc", volume.join("out")).expect("writable");
        symlink("../..", volume.join("up")).expect("writable");

        let real = fs::canonicalize(&volume).expect("there");
        assert_eq!(resolve(&volume, "key").expect("inside"), real.join("..stamp/key"));
        assert_eq!(resolve(&volume, "a/b").expect("made"), real.join("a/b"));
        assert!(real.join("a/b").is_dir());
        for escape in ["out", "up", "../x", "/etc", "a/../../x", "out/passwd"] {
            assert!(resolve(&volume, escape).is_err(), "{escape}");
        }
    }
}
