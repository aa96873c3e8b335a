//! A session with the real logcli, where `LOGCLI` names it.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
};

use coracle_disk::MemoryDisk;
use coracle_logs::{Discovery, Options, Store, http::router};
use expect_test::{Expect, expect};

use crate::{clock, stream};

const RANGE: [&str; 2] = ["--from=1970-01-01T00:15:00Z", "--to=1970-01-01T00:17:00Z"];

struct Session {
    logcli: String,
    address: String,
}

impl Session {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.logcli);
        command.args(["--quiet", "--timezone=UTC", &format!("--addr=http://{}", self.address)]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    async fn check(&self, arguments: &[&str], expected: Expect) {
        let mut command = self.command(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        expected.assert_eq(&String::from_utf8(output.stdout).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logcli_is_content() {
    let Ok(logcli) = std::env::var("LOGCLI") else {
        eprintln!("left out: LOGCLI does not name a logcli");
        return;
    };
    let store = Store::open_on(Arc::new(MemoryDisk::new()), Options::default(), Arc::new(clock())).unwrap();
    let mut lines = [
        stream(
            r#"{app="shop",env="dev"}"#,
            &[(990, "level=info msg=one took=5ms"), (991, "level=warn msg=two took=7ms")],
        ),
        stream(r#"{app="cart",env="dev"}"#, &[(992, r#"{"level":"error","items":3}"#)]),
    ];
    Discovery::default().add_to(&mut lines);
    store.push("fake", lines.to_vec()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let session = Session { logcli, address: listener.local_addr().unwrap().to_string() };
    let app = router(store.clone());
    let server = coracle_tasks::spawn("server", async move { axum::serve(listener, app).await });
    let [from, to] = RANGE;
    let every = r#"{app=~".+"}"#;
    session.check(&["query", every, from, to, "--forward"], expect![[""]]).await;
    session
        .check(&["query", r#"{app="shop"} | logfmt | level="warn""#, from, to, "--output=jsonl"], expect![[""]])
        .await;
    session
        .check(&["query", r#"sum by (app) (count_over_time({env="dev"}[1m]))"#, from, to, "--step=30s"], expect![[""]])
        .await;
    session
        .check(
            &["instant-query", r#"sum by (app) (rate({env="dev"}[1m]))"#, "--now=1970-01-01T00:16:40Z"],
            expect![[""]],
        )
        .await;
    session.check(&["labels", from, to], expect![[""]]).await;
    session.check(&["labels", "app", from, to], expect![[""]]).await;
    session.check(&["series", every, from, to], expect![[""]]).await;
    session.check(&["series", every, from, to, "--analyze-labels"], expect![[""]]).await;
    session.check(&["stats", every, from, to], expect![[""]]).await;
    session.check(&["volume", every, from, to], expect![[""]]).await;
    session.check(&["volume_range", every, from, to, "--step=60s"], expect![[""]]).await;
    session.check(&["detected-fields", every, from, to], expect![[""]]).await;
    session.check(&["detected-fields", every, "level", from, to], expect![[""]]).await;
    // Following: what is there, and what comes.
    let tail =
        session.command(&["query", r#"{app="shop"}"#, "--tail", from, "--output=raw"]).stdout(Stdio::piped()).spawn();
    let mut tail = tail.unwrap();
    let mut said = BufReader::new(tail.stdout.take().unwrap()).lines();
    let first = tokio::task::spawn_blocking(move || {
        let first = [said.next(), said.next()].map(|line| line.unwrap().unwrap());
        (first, said)
    });
    let (first, mut said) = first.await.unwrap();
    assert_eq!(first, ["level=info msg=one took=5ms", "level=warn msg=two took=7ms"]);
    store.push("fake", vec![stream(r#"{app="shop",env="dev"}"#, &[(999, "three")])]).await.unwrap();
    let next = tokio::task::spawn_blocking(move || said.next().unwrap().unwrap()).await.unwrap();
    assert_eq!(next, "three");
    tail.kill().unwrap();
    tail.wait().unwrap();
    server.abort();
}
