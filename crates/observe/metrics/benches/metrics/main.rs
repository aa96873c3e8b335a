//! The store beside a real Prometheus, on the same samples in one run:
//! `PROMETHEUS=/path/to/prometheus cargo bench -p coracle-metrics`; without the variable, the store alone.
//! `-- --small` takes a tenth of the samples, `--deep` only few series with many samples, `--wide` only many series. Both
//! servers are children of this process and are asked over HTTP.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

mod client;
mod data;
#[allow(dead_code, reason = "the tests write more")]
#[path = "../../tests/it/remote.rs"]
mod remote;
mod server;

use std::time::{Duration, Instant};

use client::Client;
use server::{Kind, Server};

const SENDERS: usize = 2;
const REPEATS: usize = 15;

/// Figures of one server, by name, in the order they were taken.
type Figures = Vec<(String, f64, &'static str)>;

fn main() {
    if server::serve_if_asked() {
        return;
    }
    let is_asked = |word: &str| std::env::args().any(|argument| argument == word);
    let scale = if is_asked("--small") { 10 } else { 1 };
    let kinds = Kind::available();
    let mut columns = vec![Figures::new(); kinds.len()];
    if !is_asked("--wide") {
        let deep = data::deep((7000 / scale).max(1000), 1440);
        for (kind, figures) in kinds.iter().zip(&mut columns) {
            measure_deep(*kind, &deep, figures);
        }
    }
    if !is_asked("--deep") {
        let wide = data::wide(1_000_000 / scale);
        for (kind, figures) in kinds.iter().zip(&mut columns) {
            measure_wide(*kind, &wide, figures);
        }
    }
    print(&kinds, &columns);
}

/// Sends all bodies, each sender those of its own series; returns how long that took.
fn send(server: &Server, bodies: &[Vec<Vec<u8>>]) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for own in bodies {
            scope.spawn(|| {
                let mut client = Client::new(server.address);
                own.iter().for_each(|body| client.write(body));
            });
        }
    });
    started.elapsed()
}

/// Asks some times; adds the median time, and the processor time, of a request. The answer.
fn timed(server: &Server, path: &str, name: &str, figures: &mut Figures) -> String {
    let mut client = Client::new(server.address);
    let mut times: Vec<f64> = Vec::new();
    let mut answer = String::new();
    let cpu = server.cpu_seconds();
    for _ in 0..REPEATS {
        let started = Instant::now();
        answer = client.get(path);
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    figures.push((name.to_owned(), times[REPEATS / 2], "ms"));
    let cpu = (server.cpu_seconds() - cpu) * 1000.0 / REPEATS as f64;
    figures.push((format!("{name}, processor time"), cpu, "ms"));
    answer
}

fn measure_deep(kind: Kind, data: &data::Data, figures: &mut Figures) {
    let mut server = Server::start(kind, "deep");
    let took = send(&server, &data.bodies);
    let cpu = server.cpu_seconds();
    figures.push(("ingest, samples a second".to_owned(), data.samples as f64 / took.as_secs_f64(), ""));
    figures.push(("ingest, processor time a sample".to_owned(), cpu / data.samples as f64 * 1e9, "ns"));
    figures.push(("resident after ingest".to_owned(), server.resident_mib(), "MiB"));
    let (start, end) = (data.start_ms / 1000, data.end_ms / 1000);
    for (name, expression) in [
        ("rate over 1,000 series and 6 h", "sum(rate(bench_counter_total[5m]))"),
        ("sum over 1,000 series and 6 h", "sum by (job) (bench_counter_total)"),
    ] {
        let expression = client::escape(expression);
        let path = format!("/api/v1/query_range?query={expression}&start={start}&end={end}&step=60");
        let answer = timed(&server, &path, name, figures);
        assert!(answer.contains("\"values\""), "{answer}");
    }
    let count = format!("/api/v1/query?time={end}&query={}", client::escape("count({__name__!=\"\"})"));
    let before = Client::new(server.address).get(&count);
    // What is not synced within a second may be lost with the machine's power, not with the process.
    std::thread::sleep(Duration::from_secs(2));
    server.kill();
    let started = Instant::now();
    server.restart();
    let mut client = Client::new(server.address);
    let expected = data.series_count.to_string();
    while !client.try_get(&count).is_some_and(|answer| answer.contains(&format!("\"{expected}\"]"))) {
        assert!(started.elapsed() < Duration::from_secs(300), "{before}");
        std::thread::sleep(Duration::from_millis(2));
    }
    figures.push((
        "restart after SIGKILL until the count is right".to_owned(),
        started.elapsed().as_secs_f64() * 1000.0,
        "ms",
    ));
    figures.push(("resident after restart".to_owned(), server.resident_mib(), "MiB"));
    let on_disk = server.snapshot_bytes();
    figures.push(("disk, all of it in blocks, a sample".to_owned(), on_disk as f64 / data.samples as f64, "bytes"));
    figures.push(("resident at the most".to_owned(), server.peak_mib(), "MiB"));
}

fn measure_wide(kind: Kind, data: &data::Data, figures: &mut Figures) {
    let server = Server::start(kind, "wide");
    let took = send(&server, &data.bodies);
    figures.push(("new series a second".to_owned(), data.series_count as f64 / took.as_secs_f64(), ""));
    figures.push((
        "processor time a new series".to_owned(),
        server.cpu_seconds() / data.series_count as f64 * 1e6,
        "µs",
    ));
    figures.push(("resident with 10^6 series".to_owned(), server.resident_mib(), "MiB"));
    let range = format!("start={}&end={}", data.start_ms / 1000 - 60, data.end_ms / 1000 + 60);
    let queries = [
        ("values of a label with 10^6", format!("/api/v1/label/pod/values?{range}")),
        ("values of a label, with a matcher", {
            let matcher = client::escape("{zone=\"z1\",pod=~\".*77.*\"}");
            format!("/api/v1/label/pod/values?{range}&match[]={matcher}")
        }),
        ("series by an expression over 10^6 values", {
            format!("/api/v1/series?{range}&match[]={}", client::escape("{pod=~\"pod-.*123.*\"}"))
        }),
        ("series by two labels", {
            format!("/api/v1/series?{range}&match[]={}", client::escape("{zone=\"z1\",app=\"app-7\"}"))
        }),
        ("count by a label over 10^6 series", {
            let query = client::escape("count by (zone) (wide_info)");
            format!("/api/v1/query?time={}&query={query}", data.end_ms / 1000)
        }),
        ("names of labels", format!("/api/v1/labels?{range}")),
    ];
    for (name, path) in queries {
        let answer = timed(&server, &path, name, figures);
        assert!(answer.contains("\"success\""), "{}", answer.get(..300).unwrap_or(&answer));
    }
    figures.push(("resident after queries, with 10^6 series".to_owned(), server.resident_mib(), "MiB"));
    figures.push(("resident at the most, with 10^6 series".to_owned(), server.peak_mib(), "MiB"));
}

fn print(kinds: &[Kind], columns: &[Figures]) {
    let heading: Vec<String> = kinds.iter().map(|kind| format!("{:>14}", kind.name())).collect();
    println!("{:50} {}", "", heading.join(" "));
    for (index, (name, _, unit)) in columns[0].iter().enumerate() {
        let values: Vec<f64> = columns.iter().map(|figures| figures[index].1).collect();
        let shown: Vec<String> = values.iter().map(|value| format!("{value:>14.2}")).collect();
        let ratio = match values[..] {
            [own, other] if name.ends_with("a second") => format!("  x {:.2}", own / other),
            [own, other] => format!("  x {:.2}", other / own),
            _ => String::new(),
        };
        println!("{name:50} {} {unit}{ratio}", shown.join(" "));
    }
}
