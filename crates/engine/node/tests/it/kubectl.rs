//! Streams, as the real kubectl asks for them.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::rig::{PATIENCE, Rig};

/// SPDY instead of WebSockets.
const SPDY: &[(&str, &str)] =
    &[("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

#[tokio::test(flavor = "multi_thread")]
async fn exec_logs_and_port_forward_over_both_protocols() {
    let rig = Rig::new().await;
    let container = json!({ "args": ["serve", "8080"], "env": [{ "name": "WORD", "value": "hello" }] });
    rig.run("web", container, json!({})).await;
    rig.until_ready("web").await;
    for environment in [&[][..], SPDY] {
        let exec = async |command: &[&str]| {
            let args = [&["exec", "web", "--", "/bin/tool"], command].concat();
            rig.kubectl(&args, environment).await
        };
        assert_eq!(exec(&["env", "WORD"]).await, (0, "hello\n".to_owned()), "{environment:?}");
        let (code, text) = exec(&["exit", "7"]).await;
        assert_eq!((code, text.trim()), (7, "command terminated with exit code 7"), "{environment:?}");
        assert_eq!(typed(&rig, environment, "typed in").await, "typed in", "{environment:?}");
        assert_eq!(forwarded(&rig, environment).await, "hello", "{environment:?}");
    }
    let (code, text) = rig.kubectl(&["logs", "web", "--tail=1", "-c", "a"], &[]).await;
    assert_eq!((code, text.as_str()), (0, "listening\n"));
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_joins_the_main_process() {
    let rig = Rig::new().await;
    rig.run("cat", json!({ "args": ["cat"], "stdin": true, "stdinOnce": true }), json!({ "restartPolicy": "Never" }))
        .await;
    rig.until_ready("cat").await;
    let mut kubectl = command(&rig, &[], &["attach", "-i", "cat"]).spawn().expect("kubectl runs");
    let mut stdin = kubectl.stdin.take().expect("piped");
    stdin.write_all(b"typed in").await.expect("open");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, kubectl.wait_with_output()).await.expect("in time").expect("it ends");
    assert_eq!(String::from_utf8(output.stdout).expect("text"), "typed in");
    let status = rig.until("cat", |s| s["phase"] == "Succeeded").await;
    assert_eq!(status["containerStatuses"][0]["state"]["terminated"]["exitCode"], 0);
    rig.finish().await;
}

fn command(rig: &Rig, environment: &[(&str, &str)], args: &[&str]) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("kubectl");
    command.env("KUBECONFIG", &rig.kubeconfig).envs(environment.iter().copied()).args(args).kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// What comes back of what is typed into `kubectl exec -i … cat`.
async fn typed(rig: &Rig, environment: &[(&str, &str)], text: &str) -> String {
    let mut kubectl =
        command(rig, environment, &["exec", "-i", "web", "--", "/bin/tool", "cat"]).spawn().expect("kubectl runs");
    let mut stdin = kubectl.stdin.take().expect("piped");
    stdin.write_all(text.as_bytes()).await.expect("open");
    drop(stdin);
    let output = tokio::time::timeout(PATIENCE, kubectl.wait_with_output()).await.expect("in time").expect("it ends");
    String::from_utf8(output.stdout).expect("text")
}

/// What the pod answers through `kubectl port-forward`.
async fn forwarded(rig: &Rig, environment: &[(&str, &str)]) -> String {
    let mut kubectl = command(rig, environment, &["port-forward", "pod/web", ":8080"]).spawn().expect("kubectl runs");
    let mut lines = BufReader::new(kubectl.stdout.take().expect("piped")).lines();
    let first =
        tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable").expect("a line");
    let port = first.split(':').nth(1).and_then(|rest| rest.split(' ').next()).expect("a port").to_owned();
    let mut stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.expect("forwarded");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n").await.expect("open");
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("readable");
    kubectl.kill().await.expect("it ends");
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}
