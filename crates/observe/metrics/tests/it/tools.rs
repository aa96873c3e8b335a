//! A real Prometheus, and its tools against the interface, where `PROMETHEUS` and `PROMTOOL` name them.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    START_MS,
    api::{empty_store, message, post, router},
    remote::pack,
};

/// The program a variable names; says so when it names none.
fn program(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("left out: {variable} does not name a program");
    }
    path
}

/// What is an experiment there and a switch here.
const FEATURES: &str = "--enable-feature=exemplar-storage,promql-experimental-functions,promql-duration-expr,\
                        promql-extended-range-selectors,promql-binop-fill-modifiers";

/// Whoever answers at an address.
pub struct Peer(SocketAddr);

pub struct Prometheus {
    peer: Peer,
    child: Child,
    directory: tempfile::TempDir,
}

impl std::ops::Deref for Prometheus {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl Prometheus {
    /// Starts one with an empty store, if there is one.
    pub fn start() -> Option<Self> {
        let program = program("PROMETHEUS")?;
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        fs::write(&config, "storage:\n  exemplars:\n    max_exemplars: 100\n").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--log.level=error"])
            .arg(FEATURES)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let prometheus = Self { peer: Peer(address), child, directory };
        let started = Instant::now();
        while prometheus.request("GET", "/-/ready", "", b"").is_none_or(|(status, _)| status != 200) {
            assert!(started.elapsed() < Duration::from_secs(120), "Prometheus does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(prometheus)
    }

    /// Makes blocks of everything, and says where they are.
    pub fn snapshot(&self) -> PathBuf {
        let (status, answer) = self.request("POST", "/api/v1/admin/tsdb/snapshot", "", b"").unwrap();
        assert_eq!(status, 200, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        self.directory.path().join("data/snapshots").join(answer["data"]["name"].as_str().unwrap())
    }
}

impl Peer {
    pub fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "", b"").unwrap()
    }

    pub fn write(&self, body: &[u8]) {
        let headers = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n";
        let (status, answer) = self.request("POST", "/api/v1/write", headers, body).unwrap();
        assert_eq!(status, 204, "{answer}");
    }

    fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.0).ok()?;
        // Version 1.0 keeps answers in one piece.
        let head = format!("{method} {path} HTTP/1.0\r\nHost: test\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(body).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a tool prints, which has to succeed.
pub async fn promtool(arguments: &[&str]) -> Option<String> {
    let program = program("PROMTOOL")?;
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let output = tokio::task::spawn_blocking(move || Command::new(program).args(arguments).output().unwrap());
    let output = output.await.unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    Some(printed)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_works_unmodified() {
    let store = empty_store();
    let router = router(&store);
    post(&router, "/api/v1/write", "application/x-protobuf", pack(&message())).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _server = coracle_tasks::spawn("api under test", async move { axum::serve(listener, router).await });
    let time = (START_MS / 1000 + 60).to_string();
    let Some(instant) = promtool(&["query", "instant", "--time", &time, &url, "requests_total"]).await else { return };
    expect_test::expect![[r#"
        requests_total{code="200", instance="a:80", job="web"} => 28 @[1700000060]
        requests_total{code="200", instance="b:80", job="web"} => 28 @[1700000060]
    "#]]
    .assert_eq(&instant);
    let start = format!("--start={}", START_MS / 1000);
    let end = format!("--end={time}");
    let range = promtool(&["query", "range", &start, &end, "--step=30s", &url, "sum(requests_total)"]).await.unwrap();
    expect_test::expect![[r#"
        {} =>
        0 @[1700000000]
        28 @[1700000030]
        56 @[1700000060]
    "#]]
    .assert_eq(&range);
    let series = promtool(&["query", "series", "--match=temperature", &start, &end, &url]).await.unwrap();
    assert!(series.contains("room=\"north \\\"wing\\\"\""), "{series}");
    let values = promtool(&["query", "labels", &start, &end, &url, "job"]).await.unwrap();
    assert_eq!(values, "lab\nweb\n");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pushed.prom");
    fs::write(&file, "# TYPE pushed gauge\npushed{a=\"b\"} 7\n").unwrap();
    promtool(&["push", "metrics", &url, file.to_str().unwrap()]).await.unwrap();
    assert!(store.label_values("__name__", &[], i64::MIN, i64::MAX).unwrap().contains("pushed"));
}
