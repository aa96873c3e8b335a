//! How fast lines come in, how small they are kept, how fast they are found.
//!
//! `CORACLE_LOGS_BENCH_MB` says how much is written, 400 if nothing does; `CORACLE_LOGS_BENCH_DIR` where.

use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Instant};

use coracle_clock::SystemClock;
use coracle_logql::{Answer, Direction, Labels, Limits, Query, evaluate, syntax::parse};
use coracle_logs::{Entry, Options, Store, Stream};

const MB: f64 = 1e6;
const START: i64 = 1_700_000_000_000_000_000;
/// Bytes of lines in one push.
const PUSH_BYTES: usize = 1 << 20;
const RARE_WORD: &str = "zymurgical";
const RARE_ID: &str = "7f3a9c0d51e84b26";

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Small numbers come much more often than large ones.
    fn skewed(&mut self, bound: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        ((unit * unit * unit) * bound as f64) as u64
    }

    fn of<'t>(&mut self, words: &[&'t str]) -> &'t str {
        words[self.skewed(words.len() as u64) as usize]
    }
}

/// What one service writes: requests, each of some lines that share an identifier.
struct Writer {
    kind: usize,
    trace: u128,
    left: u64,
}

const PATHS: [&str; 12] = [
    "/",
    "/api/v1/items",
    "/api/v1/users/me",
    "/health",
    "/static/app.js",
    "/api/v1/cart",
    "/login",
    "/static/style.css",
    "/api/v1/orders",
    "/metrics",
    "/api/v1/search",
    "/favicon.ico",
];
const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
    "kube-probe/1.35",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile Safari/604.1",
    "curl/8.5.0",
    "Go-http-client/2.0",
];
const COMPONENTS: [&str; 6] = ["http", "store", "queue", "auth", "mailer", "billing"];

/// Something that a program has to say.
fn message(random: &mut Random, into: &mut String) -> std::fmt::Result {
    match random.skewed(14) {
        0 => into.write_str("request completed"),
        1 => write!(into, "cache hit for key user:{}", random.skewed(50_000)),
        2 => write!(into, "cache miss for key item:{}, loading from the database", random.skewed(20_000)),
        3 => {
            write!(into, "query returned {} rows in {}.{}ms", random.skewed(500), random.skewed(90), random.skewed(10))
        }
        4 => write!(
            into,
            "connection from 10.42.{}.{}:{} accepted",
            random.skewed(4),
            random.skewed(250),
            1024 + random.skewed(60_000)
        ),
        5 => write!(into, "session of user {} refreshed", random.skewed(50_000)),
        6 => write!(into, "worker {} finished its batch of {} jobs", random.skewed(16), random.skewed(200)),
        7 => write!(
            into,
            "order {} placed: {} items, {}.{:02} EUR",
            700_000 + random.skewed(90_000),
            1 + random.skewed(9),
            random.skewed(400),
            random.skewed(100)
        ),
        8 => write!(into, "retrying after a timeout, attempt {} of 5", 1 + random.skewed(5)),
        9 => write!(
            into,
            "slow query: SELECT id, name, price FROM items WHERE category = {} ORDER BY price LIMIT {}",
            random.skewed(300),
            10 * random.skewed(20)
        ),
        10 => write!(into, "upstream payments-{} returned an error: connection reset by peer", random.skewed(3)),
        11 => write!(into, "mail to user {} queued as message {}", random.skewed(50_000), random.skewed(1 << 30)),
        12 => into.write_str("configuration reloaded"),
        _ => write!(into, "token of client {} expires in {}s", random.skewed(900), random.skewed(3600)),
    }
}

impl Writer {
    /// A line as services write them: an access log, a JSON log or a logfmt log.
    fn line(&mut self, random: &mut Random, ts: i64, into: &mut String) -> std::fmt::Result {
        if self.left == 0 {
            self.left = 1 + random.skewed(16);
            self.trace = u128::from(random.next()) << 64 | u128::from(random.next());
        }
        self.left -= 1;
        let (second, micro) = (ts / 1_000_000_000, ts / 1000 % 1_000_000);
        let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let level = random.of(&["info", "info", "debug", "warn", "error"]);
        let status = random.of(&["200", "200", "204", "304", "404", "500"]);
        let took = 1 + random.skewed(2000);
        match self.kind % 3 {
            0 => write!(
                into,
                "10.42.{}.{} - - [14/Nov/2023:{hour:02}:{minute:02}:{second:02} +0000] \"GET {} HTTP/1.1\" {status} {} \"-\" \"{}\" {took}ms",
                random.skewed(4),
                random.skewed(250),
                random.of(&PATHS),
                200 + random.skewed(20_000),
                random.of(&AGENTS),
            ),
            1 => {
                write!(
                    into,
                    "{{\"time\":\"2023-11-14T{hour:02}:{minute:02}:{second:02}.{micro:06}Z\",\"level\":\"{level}\",\"msg\":\""
                )?;
                message(random, into)?;
                write!(
                    into,
                    "\",\"service\":\"service-{}\",\"version\":\"1.14.2\",\"logger\":\"com.example.shop.{}\",\"thread\":\"worker-{}\",\
                     \"status\":{status},\"took_ms\":{took},\"user\":\"user-{}\",\"trace_id\":\"{:032x}\"}}",
                    self.kind / 3,
                    random.of(&COMPONENTS),
                    random.skewed(16),
                    random.skewed(5000),
                    self.trace,
                )
            }
            _ => {
                write!(
                    into,
                    "time=2023-11-14T{hour:02}:{minute:02}:{second:02}.{:03}Z level={level} caller={}.go:{} msg=\"",
                    micro / 1000,
                    random.of(&COMPONENTS),
                    100 + random.skewed(40),
                )?;
                message(random, into)?;
                write!(into, "\" path={} took={took}ms request_id={:016x}", random.of(&PATHS), self.trace as u64)
            }
        }
    }
}

fn streams() -> Vec<Labels> {
    (0..30)
        .map(|n| {
            let pairs = [
                ("app", format!("service-{}", n / 3)),
                ("pod", format!("service-{}-{:x}", n / 3, n * 7919)),
                ("namespace", ["shop", "platform"][n % 2].to_owned()),
            ];
            pairs.into_iter().collect()
        })
        .collect()
}

fn resident_mb(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1000.0
}

/// Seconds of processor time: of the whole process, or of this thread.
fn cpu_seconds(of: &str) -> f64 {
    let sum = |text: String| text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default() / 1e9;
    if of == "thread" {
        return sum(fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default());
    }
    // Ticks of a hundredth of a second, fields 14 and 15; the name before them has no space in it.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn size_of(directory: &Path, prefix: &str) -> f64 {
    let files = fs::read_dir(directory).expect("the directory is there").flatten();
    let wanted = files.filter(|file| file.file_name().to_string_lossy().starts_with(prefix));
    wanted.filter_map(|file| Some(file.metadata().ok()?.len() as f64)).sum()
}

/// One push, made beforehand so that only the store is measured.
fn push_of(
    random: &mut Random,
    labels: &[Labels],
    writers: &mut [Writer],
    ts: &mut i64,
    bytes: usize,
) -> (Vec<Stream>, usize) {
    let mut streams: Vec<Stream> =
        labels.iter().map(|labels| Stream { labels: labels.clone(), entries: Vec::new() }).collect();
    let (mut written, mut kind) = (0, 0);
    while written < bytes {
        let mut text = String::with_capacity(320);
        writers[kind].line(random, *ts, &mut text).expect("a string takes everything");
        written += text.len();
        *ts += 37_000;
        streams[kind].entries.push(Entry { ts: *ts, line: text, metadata: Arc::new([]) });
        kind = (kind + 1 + random.skewed(3) as usize) % labels.len();
    }
    streams.retain(|stream| !stream.entries.is_empty());
    (streams, written)
}

fn ask(store: &Store, text: &str, end: i64) -> (String, f64, coracle_logs::Reading) {
    let tenant = store.tenant("bench");
    let started = Instant::now();
    let expr = parse(text).expect("the query is right");
    let metric = text.contains("over_time");
    let query = Query {
        expr,
        start: if metric { end } else { START },
        end,
        step: 0,
        interval: 0,
        limit: 100,
        direction: Direction::Backward,
        now: end,
    };
    let answer = evaluate(&query, &Limits::default(), &tenant).expect("the query runs");
    let took = started.elapsed().as_secs_f64();
    let shown = match answer {
        Answer::Streams(streams) => {
            format!("{} lines", streams.iter().map(|stream| stream.entries.len()).sum::<usize>())
        }
        Answer::Vector(samples) => format!("{}", samples.first().map_or(0.0, |sample| sample.value)),
        _ => String::new(),
    };
    (shown, took, tenant.reading())
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run());
}

async fn run() {
    let total: f64 = std::env::var("CORACLE_LOGS_BENCH_MB").ok().and_then(|mb| mb.parse().ok()).unwrap_or(400.0) * MB;
    let base = std::env::var_os("CORACLE_LOGS_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let home = tempfile::tempdir_in(base).expect("a directory");
    let open = || Store::open(home.path(), Options::default(), Arc::new(SystemClock)).expect("the store opens");
    let store = open();
    let (labels, mut random, mut ts) = (streams(), Random(1), START);
    let mut writers: Vec<_> = (0..labels.len()).map(|kind| Writer { kind, trace: 0, left: 0 }).collect();
    let (mut raw, mut storing, mut lines) = (0.0, 0.0, 0);
    let mut rare = false;
    let (begun, cpu_before, mut making) = (Instant::now(), cpu_seconds("process"), 0.0);
    while raw < total {
        // Four clients at a time, as shippers do.
        let mut batches = Vec::new();
        let cpu_of_this = cpu_seconds("thread");
        for _ in 0..4 {
            let (mut streams, bytes) = push_of(&mut random, &labels, &mut writers, &mut ts, PUSH_BYTES);
            if !rare && raw > total / 2.0 {
                rare = true;
                streams[0].entries[0].line += &format!(" {RARE_WORD} id={RARE_ID}");
            }
            raw += bytes as f64;
            lines += streams.iter().map(|stream| stream.entries.len()).sum::<usize>();
            batches.push(streams);
        }
        making += cpu_seconds("thread") - cpu_of_this;
        let started = Instant::now();
        let pushes = batches.into_iter().map(|streams| store.push("bench", streams));
        futures::future::join_all(pushes).await.into_iter().for_each(|pushed| pushed.expect("the push is taken"));
        storing += started.elapsed().as_secs_f64();
    }
    let started = Instant::now();
    store.flush().await.expect("the flush succeeds");
    storing += started.elapsed().as_secs_f64();
    let with_making = begun.elapsed().as_secs_f64();
    let cpu = cpu_seconds("process") - cpu_before - making;
    let size = size_of(home.path(), "segment");
    println!("{:.0} MB of raw lines, {lines} lines, {} streams", raw / MB, labels.len());
    println!(
        "in:          {:.0} MB/s, durable ({:.0} MB/s where making the lines on the same cores counts too)",
        raw / MB / storing,
        raw / MB / with_making
    );
    println!("processor:   {:.1} s a GB taken in", cpu / (raw / 1e9));
    println!("size:        {:.1} MB, 1/{:.1} of raw", size / MB, raw / size);
    println!(
        "resident:    {:.0} MB now, {:.0} MB at the most (the generator's batches included)",
        resident_mb("VmRSS"),
        resident_mb("VmHWM")
    );
    let span = format!("{}s", (ts - START) / 1_000_000_000 + 1);
    let questions = [
        ("rare word", format!(r#"{{app=~".+"}} |= "{RARE_WORD}""#)),
        ("rare id", format!(r#"{{app=~".+"}} |= "{RARE_ID}""#)),
        ("a word that is nowhere", r#"{app=~".+"} |= "xylophonist""#.to_owned()),
        ("all filtered", format!(r#"sum(count_over_time({{app=~".+"}} |= "~~" [{span}]))"#)),
        ("common word counted", format!(r#"sum(count_over_time({{app=~".+"}} |= "slow query" [{span}]))"#)),
        ("last lines of a stream", r#"{app="service-3"}"#.to_owned()),
    ];
    for (name, text) in &questions {
        let (mut best, mut shown, mut reading) = (f64::MAX, String::new(), coracle_logs::Reading::default());
        for _ in 0..3 {
            let (answer, took, read) = ask(&store, text, ts + 1);
            if took < best {
                (best, shown, reading) = (took, answer, read);
            }
        }
        println!(
            "{name}: {:.1} ms ({shown}; {} of {} blocks; {:.2} GB/s of raw lines)",
            best * 1000.0,
            reading.blocks_read,
            reading.blocks,
            raw / 1e9 / best,
        );
    }
    store.close().await;
    let started = Instant::now();
    let store = open();
    println!("opened in:   {:.0} ms", started.elapsed().as_secs_f64() * 1000.0);
    store.close().await;
}
