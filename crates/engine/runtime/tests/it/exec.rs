//! Executing and attaching.

use std::{fs, time::Duration};

use coracle_runtime::{ExecError, ExecSpec, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::rig::{PATIENCE, Rig, eventually};

fn tool(args: &[&str]) -> Vec<String> {
    std::iter::once("/bin/tool").chain(args.iter().copied()).map(str::to_owned).collect()
}

#[tokio::test]
async fn output_and_codes() {
    let rig = Rig::new().await;
    rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let run = |args: &[&str]| {
        let args = tool(args);
        let runtime = rig.runtime.clone();
        async move { runtime.exec_capture("a", &args, PATIENCE, 1000).await }
    };
    assert_eq!(run(&["echo", "hi"]).await.unwrap().output, b"hi\n");
    assert_eq!(run(&["exit", "42"]).await.unwrap().code, 42);
    let much = run(&["lines", "1000", "50"]).await.unwrap();
    assert_eq!((much.output.len(), much.truncated, much.code), (1000, true, 0));
    match rig.runtime.exec_capture("a", &["nosuch".into()], PATIENCE, 10).await {
        Err(ExecError::Start { message, code }) => {
            assert_eq!(
                message,
                "unable to start container process: exec: \"nosuch\": executable file not found in $PATH"
            );
            assert_eq!(code, Some(127));
        }
        other => panic!("{other:?}"),
    }
    let timed_out = rig.runtime.exec_capture("a", &tool(&["sleep"]), Duration::from_millis(100), 10).await;
    assert!(matches!(timed_out, Err(ExecError::TimedOut(_))));
    assert!(matches!(rig.runtime.exec_capture("b", &tool(&["echo"]), PATIENCE, 10).await, Err(ExecError::NotFound(_))));
    // Only the main process, and what counts it, are left.
    eventually("the timed out command is gone", || rig.runtime.cgroup_stats("pods/p/a").unwrap().pids == 1).await;
    rig.finish().await;
}

#[tokio::test]
async fn input() {
    let rig = Rig::new().await;
    rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let spec = ExecSpec { args: tool(&["cat"]), stdin: true, ..ExecSpec::default() };
    let mut streams = rig.runtime.exec("a", spec).await.unwrap();
    let mut stdin = streams.stdin.take().unwrap();
    stdin.write_all(b"one\n").await.unwrap();
    let mut stdout = streams.stdout.take().unwrap();
    let mut buffer = [0; 4];
    stdout.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"one\n");
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "end of input\n");
    assert_eq!(streams.wait().await.unwrap(), 0);
    rig.finish().await;
}

#[tokio::test]
async fn a_terminal() {
    let rig = Rig::new().await;
    rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let terminal = Some(TerminalSize { columns: 100, rows: 30 });
    let mut streams =
        rig.runtime.exec("a", ExecSpec { args: tool(&["size"]), terminal, ..ExecSpec::default() }).await.unwrap();
    let mut text = String::new();
    streams.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "0 100x30\r\n");
    assert_eq!(streams.wait().await.unwrap(), 0);
    // A closed terminal ends what runs in it.
    let spec = ExecSpec { args: tool(&["cat"]), stdin: true, terminal, ..ExecSpec::default() };
    let mut streams = rig.runtime.exec("a", spec).await.unwrap();
    streams.resize(TerminalSize { columns: 80, rows: 25 });
    streams.stdin.as_mut().unwrap().write_all(b"x\x04").await.unwrap();
    drop(streams);
    eventually("nothing else runs", || rig.runtime.cgroup_stats("pods/p/a").unwrap().pids == 1).await;
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_probes_leaves_nothing() {
    let rig = Rig::new().await;
    rig.runtime.start(rig.spec("a", &["sleep"])).await.unwrap();
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let files = || fs::read_dir(rig.options.root.join("containers/a")).unwrap().count();
    let files_before = files();
    for _ in 0..5 {
        let probes = (0..10).map(|n| {
            let runtime = rig.runtime.clone();
            async move { runtime.exec_capture("a", &tool(&["exit", &n.to_string()]), PATIENCE, 100).await.unwrap().code }
        });
        assert_eq!(futures::future::join_all(probes).await, (0..10).collect::<Vec<i32>>());
    }
    assert_eq!(files(), files_before);
    // Other tests open and close descriptors in this process too.
    eventually("descriptors are closed", || descriptors() < 200).await;
    eventually("no process is left", || rig.runtime.cgroup_stats("pods/p/a").unwrap().pids == 1).await;
    rig.finish().await;
}

#[tokio::test]
async fn attaching() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["cat"]);
    spec.stdin = true;
    spec.stdin_once = true;
    rig.runtime.start(spec).await.unwrap();
    let mut streams = rig.runtime.attach("a").await.unwrap();
    let mut stdin = streams.stdin.take().unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    let mut stdout = streams.stdout.take().unwrap();
    let mut buffer = [0; 6];
    stdout.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello\n");
    drop(stdin);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "end of input\n");
    assert_eq!(streams.wait().await.unwrap(), 0);
    assert_eq!(crate::rig::text_of(&rig.path().join("a.log")), "hello\nend of input\n");
    rig.finish().await;
}

#[tokio::test]
async fn attaching_to_a_terminal() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["cat"]);
    spec.stdin = true;
    spec.process.tty = true;
    rig.runtime.start(spec).await.unwrap();
    let mut streams = rig.runtime.attach("a").await.unwrap();
    streams.resize(TerminalSize { columns: 77, rows: 11 });
    streams.stdin.as_mut().unwrap().write_all(b"hi\n").await.unwrap();
    let mut buffer = [0; 8];
    // Once as the terminal's echo, once from the program.
    streams.stdout.as_mut().unwrap().read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hi\r\nhi\r\n");
    streams.stdin.as_mut().unwrap().write_all(b"\x04").await.unwrap();
    assert_eq!(streams.wait().await.unwrap(), 0);
    rig.finish().await;
}
