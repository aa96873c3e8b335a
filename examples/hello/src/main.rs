//! A small web app to push: one static binary, standard library only.
//!
//! `/` shows version, pod and colour · `/api` the same as JSON · `/healthz` · `/metrics` for Prometheus ·
//! `/fail` answers 500 · `/burn?seconds=N` keeps one core busy · `/crash` ends the process.
//!
//! `hello version` prints the version and ends. Settings come from the environment: `PORT` (8080), `VERSION`, `COLOUR`, and `FAIL_AT_START` with a reason to refuse to start.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

static REQUESTS: AtomicU64 = AtomicU64::new(0);
static ERRORS: AtomicU64 = AtomicU64::new(0);
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);
static STOPPING: AtomicBool = AtomicBool::new(false);

const IDLE_CONNECTION: Duration = Duration::from_secs(60);
const LONGEST_BURN_SECONDS: u64 = 60;
const SIGTERM: i32 = 15;

struct App {
    version: String,
    colour: String,
    pod: String,
}

struct Answer {
    status: &'static str,
    content_type: &'static str,
    body: String,
}

fn main() -> ExitCode {
    let setting = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    if env::args().nth(1).as_deref() == Some("version") {
        println!("{}", setting("VERSION", "1"));
        return ExitCode::SUCCESS;
    }
    println!("hello {} starting on port {}", setting("VERSION", "1"), setting("PORT", "8080"));
    if let Ok(reason) = env::var("FAIL_AT_START") {
        eprintln!("fatal: {reason}");
        return ExitCode::FAILURE;
    }
    let app: &'static App = Box::leak(Box::new(App {
        version: setting("VERSION", "1"),
        colour: setting("COLOUR", "teal"),
        pod: setting("HOSTNAME", "nowhere"),
    }));
    let listener = match TcpListener::bind(format!("0.0.0.0:{}", setting("PORT", "8080"))) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("fatal: cannot listen: {error}");
            return ExitCode::FAILURE;
        }
    };
    stop_on_sigterm();
    println!("ready");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(app, stream));
    }
    ExitCode::SUCCESS
}

/// Ends the process once the requests in flight are answered. As process 1 of a container it would ignore SIGTERM otherwise.
fn stop_on_sigterm() {
    extern "C" fn on_sigterm(_signal: i32) {
        STOPPING.store(true, Ordering::SeqCst);
    }
    unsafe extern "C" {
        fn signal(signal: i32, handler: extern "C" fn(i32)) -> usize;
    }
    // SAFETY: the handler only stores to an atomic, which is allowed in a signal handler.
    unsafe { signal(SIGTERM, on_sigterm) };
    thread::spawn(|| {
        while !STOPPING.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        println!("stopping");
        while IN_FLIGHT.load(Ordering::SeqCst) > 0 {
            thread::sleep(Duration::from_millis(5));
        }
        std::process::exit(0);
    });
}

fn serve(app: &App, stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(IDLE_CONNECTION));
    let _ = stream.set_nodelay(true);
    let Ok(mut writer) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some((target, keep_alive)) = read_request(&mut reader) {
        IN_FLIGHT.fetch_add(1, Ordering::SeqCst);
        let answer = answer(app, &target);
        let keep_alive = keep_alive && !STOPPING.load(Ordering::SeqCst);
        let sent = write!(
            writer,
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n{}",
            answer.status,
            answer.content_type,
            answer.body.len(),
            if keep_alive { "keep-alive" } else { "close" },
            answer.body
        );
        IN_FLIGHT.fetch_sub(1, Ordering::SeqCst);
        if sent.is_err() || !keep_alive {
            return;
        }
    }
}

/// Reads one request's head and skips its body; `None` once the peer is done or not speaking HTTP.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, bool)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let target = words.nth(1)?.to_owned();
    let mut keep_alive = words.next()? == "HTTP/1.1";
    let mut body_bytes = 0u64;
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "connection" => keep_alive = !value.trim().eq_ignore_ascii_case("close"),
            "content-length" => body_bytes = value.trim().parse().ok()?,
            _ => {}
        }
    }
    std::io::copy(&mut std::io::Read::take(reader, body_bytes), &mut std::io::sink()).ok()?;
    Some((target, keep_alive))
}

fn answer(app: &App, target: &str) -> Answer {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let text = |status, body: String| Answer { status, content_type: "text/plain; charset=utf-8", body };
    match path {
        "/" => Answer { status: "200 OK", content_type: "text/html; charset=utf-8", body: page(app) },
        "/api" => Answer {
            status: "200 OK",
            content_type: "application/json",
            body: format!(r#"{{"version":"{}","colour":"{}","pod":"{}"}}"#, app.version, app.colour, app.pod),
        },
        "/healthz" => text("200 OK", "ok\n".to_owned()),
        "/metrics" => text("200 OK", metrics()),
        "/fail" => {
            ERRORS.fetch_add(1, Ordering::Relaxed);
            text("500 Internal Server Error", "failed, as asked\n".to_owned())
        }
        "/burn" => text("200 OK", burn(query)),
        "/crash" => std::process::exit(1),
        _ => text("404 Not Found", "not found\n".to_owned()),
    }
}

fn metrics() -> String {
    format!(
        "# HELP http_requests_total Requests answered.\n# TYPE http_requests_total counter\n\
         http_requests_total {}\n\
         # HELP http_errors_total Requests answered with 500.\n# TYPE http_errors_total counter\n\
         http_errors_total {}\n\
         # HELP http_requests_in_flight Requests being answered now.\n# TYPE http_requests_in_flight gauge\n\
         http_requests_in_flight {}\n",
        REQUESTS.load(Ordering::Relaxed),
        ERRORS.load(Ordering::Relaxed),
        IN_FLIGHT.load(Ordering::Relaxed)
    )
}

fn burn(query: &str) -> String {
    let asked = query.strip_prefix("seconds=").and_then(|n| n.parse().ok()).unwrap_or(1);
    let until = Instant::now() + Duration::from_secs(u64::min(asked, LONGEST_BURN_SECONDS));
    let mut turns = 0u64;
    while Instant::now() < until {
        turns = std::hint::black_box(turns + 1);
    }
    format!("{turns} turns\n")
}

fn page(app: &App) -> String {
    let App { version, colour, pod } = app;
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>hello {version}</title>\
         <style>body{{margin:0;height:100vh;display:grid;place-items:center;background:{colour};color:#fff;\
         font:18px/1.6 system-ui,sans-serif}}main{{text-align:center;text-shadow:0 1px 3px #0006}}\
         h1{{font-size:4rem;margin:0;font-weight:600}}code{{opacity:.85}}</style>\
         <main><h1>hello</h1><p>version <b>{version}</b> · {colour}</p><p><code>{pod}</code></p></main></html>\n"
    )
}
