//! Steady load: a few clients that ask again and again, and count what they get.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, bail, ensure};

const CLIENTS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to ask, and from where.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    /// The HTTP host to ask for.
    pub host: String,
    /// A network namespace to ask from.
    pub netns: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default, Clone)]
pub struct Report {
    pub answered: usize,
    pub failures: Vec<String>,
}

impl Report {
    /// Fails unless there was load and every request was answered.
    pub fn all_answered(&self) -> anyhow::Result<usize> {
        ensure!(
            self.failures.is_empty(),
            "{} of {} requests failed, the first one: {}",
            self.failures.len(),
            self.failures.len() + self.answered,
            self.failures[0]
        );
        ensure!(self.answered > 0, "no request was made");
        Ok(self.answered)
    }
}

/// Clients at work until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(target: &Target) -> Self {
        let (stop, report) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Report::default())));
        let clients = (0..CLIENTS)
            .map(|_| {
                let (target, stop, report) = (target.clone(), stop.clone(), report.clone());
                std::thread::spawn(move || client(&target, &stop, &report))
            })
            .collect();
        Self { stop, report, clients }
    }

    pub fn stop(self) -> Report {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().ok();
        }
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn client(target: &Target, stop: &AtomicBool, report: &Mutex<Report>) {
    if let Err(error) = enter(target) {
        report.lock().unwrap_or_else(PoisonError::into_inner).failures.push(format!("{error:#}"));
        return;
    }
    while !stop.load(Ordering::SeqCst) {
        let asked = get(target, "/api");
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(_) => report.answered += 1,
            Err(error) => report.failures.push(format!("{error:#}")),
        }
        drop(report);
        std::thread::sleep(PAUSE);
    }
}

/// Moves this thread to where the target is to be asked from.
fn enter(target: &Target) -> anyhow::Result<()> {
    let Some(path) = &target.netns else { return Ok(()) };
    let file = File::open(path).with_context(|| format!("network namespace {}", path.display()))?;
    Ok(nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?)
}

/// One request from where the target says, on a thread of its own that may move there.
pub fn get_from_inside(target: &Target, path: &str) -> anyhow::Result<String> {
    let (target, path) = (target.clone(), path.to_owned());
    let asked = std::thread::spawn(move || enter(&target).and_then(|()| get(&target, &path)));
    asked.join().unwrap_or_else(|_| bail!("the asking thread died"))
}

/// One request on a connection of its own; the body of a 200.
pub fn get(target: &Target, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&target.address, TIMEOUT).context("connecting")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", target.host).context("asking")?;
    let mut reader = BufReader::new(stream);
    let mut status = String::new();
    reader.read_line(&mut status).context("waiting for the answer")?;
    let (mut line, mut length) = (String::new(), None);
    loop {
        line.clear();
        reader.read_line(&mut line).context("reading the answer")?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<u64>().ok();
        }
    }
    let mut body = String::new();
    match length {
        Some(length) => reader.take(length).read_to_string(&mut body),
        None => reader.read_to_string(&mut body),
    }
    .context("reading the answer")?;
    if !status.contains(" 200 ") {
        bail!("answered {}: {}", status.trim(), body.lines().next().unwrap_or_default());
    }
    Ok(body)
}

/// Asks `count` times; how many answers came from each pod.
pub fn spread(target: &Target, count: usize) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut pods = BTreeMap::new();
    for _ in 0..count {
        let answer: serde_json::Value = serde_json::from_str(&get(target, "/api")?).context("the app's answer")?;
        *pods.entry(answer["pod"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    Ok(pods)
}
