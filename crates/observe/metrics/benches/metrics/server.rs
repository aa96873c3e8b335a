//! The two servers as child processes: started, asked about, killed, started again.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use coracle_metrics::{Options, Store, http};
use coracle_promql::Engine;

use crate::client::Client;

const DIRECTORY: &str = "CORACLE_BENCH_DIRECTORY";
const ADDRESS: &str = "CORACLE_BENCH_ADDRESS";
const PROMETHEUS: &str = "PROMETHEUS";

#[derive(Clone, Copy)]
pub enum Kind {
    Coracle,
    Prometheus,
}

impl Kind {
    pub fn available() -> Vec<Self> {
        if std::env::var_os(PROMETHEUS).is_some() {
            vec![Self::Coracle, Self::Prometheus]
        } else {
            eprintln!("PROMETHEUS names no binary: measuring the store alone");
            vec![Self::Coracle]
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Coracle => "coracle",
            Self::Prometheus => "prometheus",
        }
    }
}

/// The child's side of it.
pub fn serve_if_asked() -> bool {
    let (Some(directory), Ok(address)) = (std::env::var_os(DIRECTORY), std::env::var(ADDRESS)) else { return false };
    let clock = Arc::new(coracle_clock::SystemClock);
    let store = Store::open(Path::new(&directory), Options::default(), clock).unwrap();
    let settings = http::Settings { admin: true, ..http::Settings::default() };
    let router = http::router(store.clone(), Engine::default(), settings);
    // As `coracle metrics serve` has it.
    let keep_alive = Duration::from_millis(20);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_keep_alive(keep_alive).build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        coracle_tasks::spawn("metrics-store", store.run());
        axum::serve(listener, router).await.unwrap();
    });
    true
}

pub struct Server {
    kind: Kind,
    directory: tempfile::TempDir,
    pub address: SocketAddr,
    child: Child,
}

impl Server {
    pub fn start(kind: Kind, purpose: &str) -> Self {
        let directory = tempfile::Builder::new().prefix(&format!("bench-{purpose}-")).tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = spawn(kind, directory.path(), address);
        let server = Self { kind, directory, address, child };
        server.wait_until_ready();
        server
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts again on the same data, without waiting.
    pub fn restart(&mut self) {
        self.child = spawn(self.kind, self.directory.path(), self.address);
    }

    fn wait_until_ready(&self) {
        let started = Instant::now();
        while Client::new(self.address).try_get("/-/ready").is_none() {
            assert!(started.elapsed() < Duration::from_secs(120), "{} does not become ready", self.kind.name());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn status(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    pub fn resident_mib(&self) -> f64 {
        self.status("VmRSS:")
    }

    pub fn peak_mib(&self) -> f64 {
        self.status("VmHWM:")
    }

    pub fn cpu_seconds(&self) -> f64 {
        const TICKS_A_SECOND: f64 = 100.0;
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS_A_SECOND
    }

    /// The size of a copy in which everything is in blocks.
    pub fn snapshot_bytes(&self) -> u64 {
        Client::new(self.address).post("/api/v1/admin/tsdb/snapshot");
        size(&find(self.directory.path(), "snapshots").unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(kind: Kind, directory: &Path, address: SocketAddr) -> Child {
    let mut command = match kind {
        Kind::Coracle => {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.env(DIRECTORY, directory.join("data")).env(ADDRESS, address.to_string());
            command
        }
        Kind::Prometheus => {
            let config = directory.join("prometheus.yml");
            fs::write(&config, "global: {}\n").unwrap();
            let mut command = Command::new(std::env::var_os(PROMETHEUS).unwrap());
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .args(["--web.enable-remote-write-receiver", "--web.enable-admin-api", "--log.level=error"]);
            command
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap()
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .find_map(|path| if path.ends_with(name) { Some(path) } else { find(&path, name) })
}

fn size(path: &Path) -> u64 {
    let metadata = fs::metadata(path).unwrap();
    if !metadata.is_dir() {
        return metadata.len();
    }
    fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
}
