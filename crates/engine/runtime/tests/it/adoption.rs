//! An engine that is killed, and the next one.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use coracle_runtime::{Runtime, SandboxSpec, State};

use crate::rig::{PATIENCE, kill, options, save, spec};

const ROOT: &str = "CORACLE_TEST_ROOT";
const CGROUP: &str = "CORACLE_TEST_CGROUP";

/// The first engine: run by the test below in a process of its own, which is killed.
#[tokio::test]
#[ignore = "a part of the other test"]
async fn first_engine() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let mut options = options(root.into());
    options.cgroup = std::env::var(CGROUP).unwrap();
    let directory = options.root.parent().unwrap().to_owned();
    let runtime = Runtime::open(options).await.unwrap();
    let saved = directory.join("saved");
    save(&saved, "localhost/tool:1", &[&crate::rig::base_layer()]);
    let image = runtime.images().load(&saved).await.unwrap().remove(0);
    let sandbox = SandboxSpec {
        id: "pod".into(),
        labels: Default::default(),
        hostname: "web".into(),
        host_network: false,
        host_ipc: false,
        host_pid: false,
        share_pid: false,
    };
    runtime.create_sandbox(sandbox).await.unwrap();
    for id in ["stays", "ends", "dies-meanwhile", "loses-its-shim"] {
        let mut spec = spec(&image, &directory, id, &["sleep"]);
        spec.stdin = true;
        let status = runtime.start(spec).await.unwrap();
        let State::Running { pid, .. } = status.state else { panic!("{status:?}") };
        println!("\n{id} {pid}");
    }
    runtime.start(spec(&image, &directory, "ended", &["exit", "5"])).await.unwrap();
    runtime.wait("ended").await.unwrap();
    println!("\nready 0");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn containers_are_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path().join("data"));
    crate::rig::tool();
    let mut engine = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "adoption::first_engine", "--nocapture"])
        .env(ROOT, &options.root)
        .env(CGROUP, &options.cgroup)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pids = std::collections::BTreeMap::new();
    for line in BufReader::new(engine.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.split_once(' ') {
            Some(("ready", _)) => break,
            Some((id, pid)) if pid.parse::<i32>().is_ok() => {
                pids.insert(id.to_owned(), pid.parse::<i32>().unwrap());
            }
            _ => {}
        }
    }
    assert_eq!(pids.len(), 4);
    engine.kill().unwrap();
    engine.wait().unwrap();
    kill(pids["dies-meanwhile"]);
    kill(crate::rig::parent_of(pids["loses-its-shim"]));
    // A start that was cut off before there was anything.
    let half = options.root.join("containers/half");
    std::fs::create_dir(&half).unwrap();

    let runtime = Runtime::open(options.clone()).await.unwrap();
    let running = |id: &str| match runtime.status(id).unwrap().state {
        State::Running { pid, .. } => Some(pid),
        State::Exited(_) => None,
    };
    assert_eq!(running("stays"), Some(pids["stays"]));
    assert_eq!(running("loses-its-shim"), Some(pids["loses-its-shim"]));
    assert_eq!(runtime.wait("ended").await.unwrap().code, 5);
    let meanwhile = tokio::time::timeout(PATIENCE, runtime.wait("dies-meanwhile")).await.unwrap().unwrap();
    assert_eq!((meanwhile.code, meanwhile.signal, meanwhile.lost), (137, Some(9), false));
    assert!(!half.exists());
    assert_eq!(runtime.sandboxes().len(), 1);
    assert_eq!(runtime.images().list().len(), 1);
    assert_eq!(runtime.list().len(), 5);

    // All that can be done to one's own can be done to the adopted.
    let mut events = runtime.events();
    let captured =
        runtime.exec_capture("stays", &["/bin/tool".into(), "echo".into(), "hi".into()], PATIENCE, 10).await.unwrap();
    assert_eq!(captured.output, b"hi\n");
    assert!(runtime.attach("stays").await.is_ok());
    kill(pids["ends"]);
    let event = tokio::time::timeout(PATIENCE, events.recv()).await.unwrap().unwrap();
    assert_eq!((event.id.as_str(), event.exit.code, event.exit.lost), ("ends", 137, false));
    kill(pids["loses-its-shim"]);
    assert!(tokio::time::timeout(PATIENCE, runtime.wait("loses-its-shim")).await.unwrap().unwrap().lost);
    runtime.purge().await.unwrap();
    assert!(!options.root.join("containers").exists());
}
