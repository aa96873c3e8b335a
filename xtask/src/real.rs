//! A real control plane of Kubernetes on loopback, without nodes: etcd and kube-apiserver, and who works through them.
//!
//! The binaries are not part of this repository; environment variables name them.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use coracle_certs::{Authority, Identity, LeafRequest, Usage};
use coracle_clock::SystemClock;
use jiff::SignedDuration;
use serde_json::json;

use crate::named::program;

const ETCD: &str = "CORACLE_ETCD";
const API_SERVER: &str = "CORACLE_KUBE_APISERVER";
const CONTROLLER_MANAGER: &str = "CORACLE_KUBE_CONTROLLER_MANAGER";
const SCHEDULER: &str = "CORACLE_KUBE_SCHEDULER";
const PATIENCE: Duration = Duration::from_secs(120);

/// A process of ours; ended with it.
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    fn start(name: &'static str, binary: &OsString, arguments: &[String], dir: &Path) -> anyhow::Result<Self> {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log)?;
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its last lines, when it ended.
    fn ended(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        bail!("{} ended with {status}:\n{}", self.name, lines[lines.len().saturating_sub(8)..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// etcd and kube-apiserver.
pub struct ControlPlane {
    /// The way in, as a member of `system:masters`.
    pub kubeconfig: PathBuf,
    /// What serving certificates are signed by.
    pub authority_pem: String,
    pub processes: Vec<Process>,
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn leaf(authority: &Authority, name: &str, organizations: &[&str], usage: Usage) -> anyhow::Result<Identity> {
    let request = LeafRequest {
        common_name: name.to_owned(),
        organizations: organizations.iter().map(|name| (*name).to_owned()).collect(),
        alternative_names: ["127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"].map(str::to_owned).into(),
        usage,
        valid_for: SignedDuration::from_hours(24),
    };
    Ok(authority.issue(&request, &SystemClock)?)
}

fn write_pair(dir: &Path, name: &str, identity: &Identity) -> anyhow::Result<[String; 2]> {
    let path = |end: &str| dir.join(format!("{name}.{end}"));
    fs::write(path("crt"), &identity.certificate_pem)?;
    fs::write(path("key"), &identity.key_pem)?;
    Ok(["crt", "key"].map(|end| path(end).display().to_string()))
}

impl ControlPlane {
    /// Starts both in a directory, and returns when the API is ready.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let authority = Authority::ephemeral("real", &SystemClock)?;
        let authority_path = dir.join("ca.crt");
        fs::write(&authority_path, authority.certificate_pem())?;
        let [server_certificate, server_key] =
            write_pair(dir, "server", &leaf(&authority, "kube-apiserver", &[], Usage::Server)?)?;
        let [account_certificate, account_key] =
            write_pair(dir, "accounts", &leaf(&authority, "accounts", &[], Usage::Server)?)?;
        let [client, peer, port] = [free_port()?, free_port()?, free_port()?];
        let etcd_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let etcd = [
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={etcd_url}"),
            format!("--advertise-client-urls={etcd_url}"),
            format!("--listen-peer-urls={peer_url}"),
            format!("--initial-advertise-peer-urls={peer_url}"),
            format!("--initial-cluster=default={peer_url}"),
        ];
        let etcd = Process::start("etcd", &program(ETCD)?, &etcd, dir)?;
        let api_server = [
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=192.0.2.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--tls-cert-file={server_certificate}"),
            format!("--tls-private-key-file={server_key}"),
            format!("--client-ca-file={}", authority_path.display()),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={account_certificate}"),
            format!("--service-account-signing-key-file={account_key}"),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
        ];
        let started = Instant::now();
        let mut api = Process::start("kube-apiserver", &program(API_SERVER)?, &api_server, dir)?;
        let kubeconfig = dir.join("admin.kubeconfig");
        let admin = leaf(&authority, "admin", &["system:masters"], Usage::Client)?;
        let url = format!("https://127.0.0.1:{port}");
        fs::write(&kubeconfig, kubeconfig_of(&url, authority.certificate_pem(), &admin))?;
        while !is_ready(&kubeconfig).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
            api.ended()?;
            if started.elapsed() > PATIENCE {
                bail!("kube-apiserver is not ready after {} s", PATIENCE.as_secs());
            }
        }
        Ok(Self { kubeconfig, authority_pem: authority.certificate_pem().to_owned(), processes: vec![api, etcd] })
    }
}

fn kubeconfig_of(url: &str, authority_pem: &str, user: &Identity) -> String {
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "real",
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
        "clusters": [{"name": "real", "cluster": {"server": url, "certificate-authority-data": encoded(authority_pem)}}],
        "users": [{"name": "admin", "user": {
            "client-certificate-data": encoded(&user.certificate_pem),
            "client-key-data": encoded(&user.key_pem),
        }}],
    })
    .to_string()
}

async fn is_ready(kubeconfig: &Path) -> bool {
    let Ok(client) = coracle_client::from_kubeconfig(kubeconfig).await else { return false };
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else { return false };
    client.request_text(request).await.is_ok()
}

/// The real controllers and the real scheduler, working through any API server.
pub fn start_workers(kubeconfig: &Path, authority_pem: &str, dir: &Path) -> anyhow::Result<Vec<Process>> {
    let authority = dir.join("root-ca.crt");
    fs::write(&authority, authority_pem)?;
    let common = |port: u16| {
        vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--authentication-skip-lookup=true".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--leader-elect=false".to_owned(),
            format!("--secure-port={port}"),
        ]
    };
    let mut managing = common(free_port()?);
    managing.push(format!("--root-ca-file={}", authority.display()));
    let manager = Process::start("kube-controller-manager", &program(CONTROLLER_MANAGER)?, &managing, dir)?;
    let scheduler = Process::start("kube-scheduler", &program(SCHEDULER)?, &common(free_port()?), dir)?;
    Ok(vec![manager, scheduler])
}

/// Fails with what it said when one of them ended.
pub fn all_run(processes: &mut [Process]) -> anyhow::Result<()> {
    processes.iter_mut().try_for_each(Process::ended)
}
