//! Logs through the front door: lines pushed to `coracle logs-store serve` in every form, asked for with
//! `coracle query logql`, followed, exported and imported.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use expect_test::{Expect, expect};

const TIMEOUT: Duration = Duration::from_secs(60);
const RANGE: [&str; 2] = ["--start=1699999900", "--end=1700000100"];

/// A served logs store, killed without warning when it goes.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut process =
            command(dir, &["logs-store", "serve", "--listen=127.0.0.1:0"]).stdout(Stdio::piped()).spawn()?;
        let mut said = String::new();
        BufReader::new(process.stdout.take().context("its output")?).read_line(&mut said)?;
        let (_, address) = said.trim().rsplit_once("http://").with_context(|| format!("it said {said:?}"))?;
        Ok(Self { process, address: address.to_owned() })
    }

    fn url(&self) -> String {
        format!("--url=http://{}", self.address)
    }

    fn connect(&self) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(stream)
    }

    /// Posts a body; the status.
    fn post(&self, path: &str, kind: &str, body: &[u8]) -> anyhow::Result<String> {
        let mut stream = self.connect()?;
        let (address, len) = (&self.address, body.len());
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(super::binary());
    command.arg("--data-dir").arg(dir).args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a command that must succeed prints.
fn run(dir: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = command(dir, arguments).output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {told}");
    Ok(String::from_utf8(output.stdout)?)
}

/// What a command that must fail says.
fn refusal(dir: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = command(dir, arguments).output()?;
    ensure!(!output.status.success(), "{arguments:?} succeeded");
    Ok(String::from_utf8(output.stderr)?)
}

/// Arguments and one more.
fn more<'a>(arguments: &[&'a str], last: &'a str) -> Vec<&'a str> {
    arguments.iter().copied().chain([last]).collect()
}

fn check(dir: &Path, arguments: &[&str], expected: &Expect) -> anyhow::Result<()> {
    expected.assert_eq(&run(dir, arguments)?);
    Ok(())
}

/// A field of a protocol buffer, with less than 128 bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![number << 3 | 2, bytes.len() as u8];
    message.extend_from_slice(bytes);
    message
}

/// The number 1,700,000,003 as a field.
fn moment() -> Vec<u8> {
    field(1, &[1 << 3, 0x83, 0xe2, 0xcf, 0xaa, 0x06])
}

/// Snappy's block format, of one piece that is not compressed.
fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut packed = vec![plain.len() as u8, 60 << 2, plain.len() as u8 - 1];
    packed.extend_from_slice(plain);
    packed
}

fn push_in_every_form(server: &Server) -> anyhow::Result<()> {
    let json = br#"{"streams": [
        {"stream": {"app": "shop"}, "values": [
            ["1700000001000000000", "level=info msg=\"order placed\" took=12ms"],
            ["1700000002000000000", "level=error msg=\"no stock\" took=7ms", {"trace": "t1"}]]},
        {"stream": {"job": "cron"}, "values": [["1700000002500000000", "{\"level\":\"warn\",\"left\":3}"]]}]}"#;
    assert_eq!(server.post("/loki/api/v1/push", "application/json", json)?, "204");
    let entry = [moment(), field(2, b"by protobuf")].concat();
    let push = field(1, &[field(1, br#"{app="proto"}"#), field(2, &entry)].concat());
    assert_eq!(server.post("/loki/api/v1/push", "application/x-protobuf", &snappy(&push))?, "204");
    let otlp = br#"{"resourceLogs": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "otel"}}]},
        "scopeLogs": [{"logRecords": [{"timeUnixNano": "1700000004000000000", "severityNumber": 17,
            "body": {"stringValue": "by opentelemetry"}}]}]}]}"#;
    assert_eq!(server.post("/otlp/v1/logs", "application/json", otlp)?, "204");
    assert_eq!(server.post("/loki/api/v1/push", "application/json", b"{")?, "400");
    Ok(())
}

#[test]
fn lines_are_pushed_asked_for_and_survive_a_kill() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (dir, elsewhere) = (home.path().join("a"), home.path().join("b"));
    let server = Server::start(&dir)?;
    push_in_every_form(&server)?;
    let [start, end] = RANGE;
    let all = expect![[""]];
    let counts = expect![[""]];
    let lines = ["query", "logql", r#"{service_name=~".+"}"#, start, end, "--order=oldest"];
    let numbers = [
        "query",
        "logql",
        r#"sum by (service_name, detected_level) (count_over_time({service_name=~".+"}[1m]))"#,
        "--time=1700000010",
    ];
    let url = server.url();
    let url = url.as_str();
    check(&dir, &more(&lines, url), &all)?;
    check(&dir, &more(&numbers, url), &counts)?;
    let took = r#"max_over_time({app="shop"} | logfmt | unwrap duration_seconds(took) [10s])"#;
    let over_time = ["query", "logql", took, "--start=1700000000", "--end=1700000020", "--step=5"];
    let table = expect![[""]];
    check(&dir, &more(&over_time, url), &table)?;
    let one = ["query", "logql", r#"{app="proto"}"#, start, end, url];
    check(&dir, &more(&one, "--json"), &expect![[""]])?;
    let plot = run(&dir, &more(&more(&over_time, url), "--plot"))?;
    assert!(plot.lines().count() > 5 && plot.contains("app=\"shop\""), "{plot}");
    expect![[""]].assert_eq(&refusal(&dir, &["query", "logql", "{app=", url])?);
    // One process at a time has the directory.
    let busy = refusal(&dir, &lines)?;
    assert!(busy.contains("in use by another engine"), "{busy}");
    drop(server);

    // After a SIGKILL, by the directory itself: the same answers.
    check(&dir, &lines, &all)?;
    check(&dir, &numbers, &counts)?;
    check(&dir, &over_time, &table)?;

    let exported = run(&dir, &["logs-store", "export"])?;
    assert_eq!(exported.lines().count(), 5, "{exported}");
    expect![[""]].assert_eq(&run(&dir, &["logs-store", "export", r#"{app="shop"}"#, "--start=1700000002"])?);
    let file = home.path().join("lines.json");
    std::fs::write(&file, &exported)?;
    let file = file.to_str().context("a path")?;
    for _ in 0..2 {
        // What is there already is not there twice.
        assert!(run(&elsewhere, &["logs-store", "import", "--format=json", file])?.starts_with("5 lines are in "));
        check(&elsewhere, &lines, &all)?;
    }
    Ok(())
}

#[test]
fn lines_of_text_get_the_present_time() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let (dir, file) = (home.path().join("data"), home.path().join("lines"));
    std::fs::write(&file, "first\nsecond\n")?;
    let file = file.to_str().context("a path")?;
    let told = refusal(&dir, &["logs-store", "import", file])?;
    assert!(told.contains("need labels"), "{told}");
    run(&dir, &["logs-store", "import", r#"--labels={app="text"}"#, file])?;
    let lines = run(&dir, &["query", "logql", r#"{app="text"}"#, "--order=oldest"])?;
    let lines: Vec<&str> = lines.lines().map(|line| line.rsplit(' ').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["first", "second"]);
    std::fs::write(home.path().join("lines"), "{\"msg\":\"no time\"}\n")?;
    let told = refusal(&dir, &["logs-store", "import", "--format=json", r#"--labels={app="text"}"#, file])?;
    assert!(told.contains("line 1: there is no timestamp"), "{told}");
    Ok(())
}

#[test]
fn lines_are_followed_as_they_come() -> anyhow::Result<()> {
    let home = tempfile::tempdir()?;
    let server = Server::start(home.path())?;
    push_in_every_form(&server)?;
    let mut stream = server.connect()?;
    write!(
        stream,
        "GET /loki/api/v1/tail?query=%7Bapp%3D%22shop%22%7D&start=1699999900&delay_for=1&limit=1 HTTP/1.1\r\n\
         Host: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        server.address
    )?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
    }
    expect![[""]].assert_eq(&message(&mut reader)?);
    let json = br#"{"streams": [{"stream": {"app": "shop"}, "values": [["1700000005000000000", "new"]]},
                                {"stream": {"app": "other"}, "values": [["1700000005000000000", "not this"]]}]}"#;
    assert_eq!(server.post("/loki/api/v1/push", "application/json", json)?, "204");
    expect![[""]].assert_eq(&message(&mut reader)?);
    Ok(())
}

/// The next text that a WebSocket's server sends.
fn message(reader: &mut impl Read) -> anyhow::Result<String> {
    let mut header = [0; 2];
    reader.read_exact(&mut header)?;
    let mut len = usize::from(header[1]);
    if len == 126 {
        reader.read_exact(&mut header)?;
        len = usize::from(u16::from_be_bytes(header));
    }
    let mut text = vec![0; len];
    reader.read_exact(&mut text)?;
    Ok(String::from_utf8(text)?)
}
