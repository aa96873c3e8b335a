//! A person at a terminal inside a container: `exec -it`, `attach`, `cp`, with the machine's own shell and tar in the image.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::{Context, ensure};
use coracle_harness::{Engine, Kubectl, Repository, wait_until};
use nix::pty::{Winsize, openpty};

/// What the image holds beside the sample app.
const PROGRAMS: [&str; 5] = ["sh", "tar", "cat", "stty", "sleep"];
const NAMESPACE: &str = "--namespace=toolbox";

/// The programs and the libraries they are linked with, as this machine has them.
fn files_of_programs() -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for program in PROGRAMS {
        let path = ["/bin", "/usr/bin"].iter().map(|dir| Path::new(dir).join(program)).find(|path| path.exists());
        let path = path.with_context(|| format!("this machine has no {program}"))?;
        let linked = Command::new("ldd").arg(&path).output().context("starting ldd")?;
        let linked = String::from_utf8_lossy(&linked.stdout).into_owned();
        files.extend(linked.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
        files.insert(path);
    }
    Ok(files)
}

/// An app that is the sample app with a shell and a few programs around it; the name of one of its pods.
fn deploy_toolbox(engine: &Engine, kubectl: &Kubectl<'_>) -> anyhow::Result<String> {
    let repository = Repository::new()?;
    for file in files_of_programs()? {
        let inside = format!("root{}", file.display());
        repository.write(&inside, &std::fs::read(&file)?, true)?;
    }
    repository.write("hello", &super::hello()?, true)?;
    let dockerfile = "FROM scratch\nCOPY root /\nCOPY hello /hello\nENV PATH=/bin:/usr/bin\nWORKDIR /tmp\nEXPOSE 8080\nENTRYPOINT [\"/hello\"]\n";
    repository.write("Dockerfile", dockerfile.as_bytes(), false)?;
    repository.commit("Pack a toolbox")?;
    let (pushed, said) = super::push(engine, &repository, "toolbox", "main")?;
    ensure!(pushed && said.contains("healthy"), "{said}");
    kubectl.run(&[NAMESPACE, "get", "pods", "--output=jsonpath={.items[0].metadata.name}"])
}

/// kubectl with a terminal of its own, and what it has shown so far.
struct Terminal {
    child: Child,
    keyboard: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    fn open(mut command: Command) -> anyhow::Result<Self> {
        let size = Winsize { ws_row: 43, ws_col: 132, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None)?;
        let end = |fd: &OwnedFd| fd.try_clone();
        command.stdin(end(&pty.slave)?).stdout(end(&pty.slave)?).stderr(pty.slave);
        let child = command.spawn().context("starting kubectl")?;
        // The command holds copies of the terminal's other side, which would keep the reader from its end.
        drop(command);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, seen) = (File::from(end(&pty.master)?), shown.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                seen.lock().expect("nobody panics with it").push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Ok(Self { child, keyboard: File::from(pty.master), shown })
    }

    fn shown(&self) -> String {
        self.shown.lock().expect("nobody panics with it").clone()
    }

    /// Types a line, and waits until the screen shows `answer`.
    fn ask(&mut self, line: &str, answer: &str) -> anyhow::Result<()> {
        self.keyboard.write_all(format!("{line}\n").as_bytes())?;
        wait_until(answer, || self.shown().contains(answer)).with_context(|| format!("the screen: {}", self.shown()))
    }
}

#[test]
fn a_shell_has_a_terminal_with_a_size_and_an_exit_code() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    let pod = deploy_toolbox(&engine, &kubectl)?;
    let mut terminal = Terminal::open(kubectl.command(&[NAMESPACE, "exec", "--stdin", "--tty", &pod, "--", "sh"]))?;
    terminal.ask("stty size", "43 132")?;
    terminal.ask("echo $((6 * 7)) $HOSTNAME", &format!("42 {pod}"))?;
    // The echo of the line does not hold the calculated word.
    terminal.ask("echo a$((1 + 1))sleep; sleep 1000", "a2sleep")?;
    terminal.keyboard.write_all(b"\x03")?;
    terminal.ask("echo interrupted: $?", "interrupted: 130")?;
    terminal.ask("exit 7", "exit code 7")?;
    assert_eq!(terminal.child.wait()?.code(), Some(7));
    Ok(())
}

#[test]
fn files_and_folders_are_copied_in_and_out() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    let pod = deploy_toolbox(&engine, &kubectl)?;
    let here = tempfile::tempdir()?;
    let content: Vec<u8> = (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    std::fs::create_dir_all(here.path().join("out/deep"))?;
    std::fs::write(here.path().join("out/deep/file"), &content)?;
    std::fs::write(here.path().join("out/note"), "a note\n")?;
    let local = |name: &str| here.path().join(name).display().to_string();
    let remote = |path: &str| format!("toolbox/{pod}:{path}");

    kubectl.run(&["cp", &local("out"), &remote("/tmp/in")])?;
    assert_eq!(kubectl.run(&[NAMESPACE, "exec", &pod, "--", "cat", "/tmp/in/note"])?, "a note\n");
    kubectl.run(&["cp", &remote("/tmp/in"), &local("back")])?;
    assert!(std::fs::read(here.path().join("back/deep/file"))? == content, "the file came back changed");
    Ok(())
}

#[test]
fn an_attached_person_talks_with_the_main_process() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    let pod = deploy_toolbox(&engine, &kubectl)?;
    let image = kubectl.run(&[NAMESPACE, "get", "pod", &pod, "--output=jsonpath={.spec.containers[0].image}"])?;
    kubectl.run(&[
        NAMESPACE,
        "run",
        "parrot",
        &format!("--image={image}"),
        "--stdin",
        "--attach=false",
        "--restart=Never",
        "--command",
        "--",
        "cat",
    ])?;
    kubectl.run(&[NAMESPACE, "wait", "--for=condition=Ready", "pod/parrot", "--timeout=30s"])?;

    let mut attached = kubectl
        .command(&[NAMESPACE, "attach", "--stdin", "parrot"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (mut mouth, mut ear) =
        (attached.stdin.take().context("its input")?, attached.stdout.take().context("its output")?);
    mouth.write_all(b"polly wants a cracker\n")?;
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("polly wants a cracker\n") {
        let mut piece = [0; 256];
        let length = ear.read(&mut piece)?;
        ensure!(length > 0, "the connection ended with {:?}", String::from_utf8_lossy(&heard));
        heard.extend_from_slice(&piece[..length]);
    }
    // The end of what is typed ends the process, and with it the connection.
    drop(mouth);
    assert!(attached.wait()?.success());
    kubectl.run(&[NAMESPACE, "wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/parrot", "--timeout=30s"])?;
    let logged = kubectl.run(&[NAMESPACE, "logs", "parrot"])?;
    assert_eq!(logged, "polly wants a cracker\n");
    Ok(())
}
