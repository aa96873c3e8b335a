//! Starting, ending, output, sharing.

use std::{fs, time::Duration};

use coracle_runtime::{Error, LogSpec, Namespace, SandboxSpec, State};

use crate::rig::{PATIENCE, Rig, eventually, kill, parent_of, text_of};

#[tokio::test]
async fn a_container_runs_and_says_so() {
    let rig = Rig::new().await;
    let mut events = rig.runtime.events();
    let (exit, text) = rig.run(rig.spec("a", &["both"])).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed, exit.lost), (0, None, false, false));
    assert!(exit.finished_at >= exit.started_at);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["to stderr", "to stdout"]);
    let log = fs::read_to_string(rig.path().join("a.log")).unwrap();
    assert!(
        log.lines().all(|line| line.contains("Z stdout F to stdout") || line.contains("Z stderr F to stderr")),
        "{log}"
    );
    assert_eq!(events.recv().await.unwrap().id, "a");
    let status = rig.runtime.status("a").unwrap();
    assert_eq!(status.labels["name"], "a");
    assert!(matches!(status.state, State::Exited(_)));
    let (exit, _) = rig.run(rig.spec("b", &["exit", "3"])).await;
    assert_eq!(exit.code, 3);
    assert!(matches!(rig.runtime.start(rig.spec("a", &["echo"])).await, Err(Error::Exists(_))));
    rig.runtime.remove("a").await.unwrap();
    assert!(rig.runtime.status("a").is_none());
    rig.finish().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &[]);
    spec.process.args = vec!["nosuch".into()];
    match rig.runtime.start(spec).await {
        Err(Error::Start { message, code, .. }) => {
            assert_eq!(
                message,
                "unable to start container process: exec: \"nosuch\": executable file not found in $PATH"
            );
            assert_eq!(code, Some(127));
        }
        other => panic!("{other:?}"),
    }
    let mut spec = rig.spec("a", &["echo"]);
    spec.mounts.push(coracle_runtime::Mount {
        destination: "/data".into(),
        kind: coracle_runtime::MountKind::Bind {
            source: "/no/such/source".into(),
            propagation: Default::default(),
            recursive_read_only: false,
        },
        read_only: false,
    });
    match rig.runtime.start(spec).await {
        Err(Error::Create { message, .. }) => assert!(message.contains("/no/such/source"), "{message}"),
        other => panic!("{other:?}"),
    }
    // Nothing of either is in the way.
    let (exit, _) = rig.run(rig.spec("a", &["echo"])).await;
    assert_eq!(exit.code, 0);
    rig.finish().await;
}

#[tokio::test]
async fn stopping() {
    let rig = Rig::new().await;
    rig.runtime.start(rig.spec("kind", &["graceful"])).await.unwrap();
    let log = rig.path().join("kind.log");
    eventually("the handler is in place", || text_of(&log).contains("ready")).await;
    let exit = rig.runtime.stop("kind", 15, PATIENCE).await.unwrap();
    assert_eq!((exit.code, exit.signal), (7, None));
    // A first process without a handler does not hear SIGTERM.
    rig.runtime.start(rig.spec("deaf", &["sleep"])).await.unwrap();
    let exit = rig.runtime.stop("deaf", 15, Duration::from_millis(50)).await.unwrap();
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    rig.finish().await;
}

#[tokio::test]
async fn killed_from_outside() {
    let rig = Rig::new().await;
    let started = rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let State::Running { pid, .. } = started.state else { panic!("{started:?}") };
    kill(pid);
    let exit = tokio::time::timeout(PATIENCE, rig.runtime.wait("a")).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), false));
    rig.finish().await;
}

#[tokio::test]
async fn a_container_outlives_its_shim() {
    let rig = Rig::new().await;
    let started = rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let State::Running { pid, .. } = started.state else { panic!("{started:?}") };
    let shim = parent_of(pid);
    kill(shim);
    eventually("the shim is gone", || parent_of(pid) != shim).await;
    let captured =
        rig.runtime.exec_capture("a", &["/bin/tool".into(), "echo".into(), "hi".into()], PATIENCE, 100).await.unwrap();
    assert_eq!((captured.code, captured.output.as_slice()), (0, b"hi\n".as_slice()));
    assert!(matches!(rig.runtime.status("a").unwrap().state, State::Running { .. }));
    kill(pid);
    let exit = tokio::time::timeout(PATIENCE, rig.runtime.wait("a")).await.unwrap().unwrap();
    assert_eq!((exit.code, exit.lost), (137, true));
    rig.finish().await;
}

#[tokio::test]
async fn logs_are_rotated() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["lines", "2000", "100"]);
    let log = rig.path().join("a.log");
    spec.log = Some(LogSpec { path: log.clone(), max_bytes: 60_000, max_files: 3 });
    let (exit, newest) = rig.run(spec).await;
    assert_eq!(exit.code, 0);
    assert!(newest.lines().last().unwrap().starts_with("1999 "));
    let mut files: Vec<u64> = fs::read_dir(rig.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("a.log"))
        .map(|entry| entry.metadata().unwrap().len())
        .collect();
    files.sort_unstable();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|bytes| *bytes <= 60_000), "{files:?}");
    rig.finish().await;
}

#[tokio::test]
async fn a_sandbox_is_shared() {
    let rig = Rig::new().await;
    let sandbox = SandboxSpec {
        id: "pod".into(),
        labels: Default::default(),
        hostname: "web-0".into(),
        host_network: false,
        host_ipc: false,
        host_pid: false,
        share_pid: true,
    };
    let made = rig.runtime.create_sandbox(sandbox).await.unwrap();
    let within = |id: &str, args: &[&str]| {
        let mut spec = rig.spec(id, args);
        spec.namespaces = made.namespaces.clone();
        spec.namespaces.net = Namespace::Host;
        spec
    };
    rig.runtime.start(within("sleeper", &["sleep"])).await.unwrap();
    let (_, text) = rig.run(within("name", &["show", "/proc/sys/kernel/hostname"])).await;
    assert_eq!(text, "web-0\n");
    // Pids: the holder of the namespace, the sleeper, the one that looks.
    let (_, text) = rig.run(within("look", &["ls", "/proc"])).await;
    let pids: Vec<u32> = text.split_whitespace().filter_map(|name| name.parse().ok()).collect();
    assert_eq!(pids.len(), 3, "{text}");
    let (_, text) = rig.run(within("put", &["write", "/dev/shm/x", "shared"])).await;
    assert_eq!(text, "wrote /dev/shm/x\n");
    let (_, text) = rig.run(within("get", &["show", "/dev/shm/x"])).await;
    assert_eq!(text.trim(), "shared");
    assert_eq!(rig.runtime.sandboxes().len(), 1);
    rig.finish().await;
}

#[tokio::test]
async fn what_is_left_behind_goes_with_the_container() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["children"]);
    // Without a pid namespace of its own nothing but the control group holds the children together.
    spec.namespaces.pid = Namespace::Host;
    let (exit, text) = rig.run(spec).await;
    assert_eq!((exit.code, text.as_str()), (0, "left\n"));
    rig.finish().await;
}
