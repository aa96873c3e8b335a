//! A node of one's own: store, API server, network namespace, containers; and the check that nothing is left of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use coracle_apiserver::{AllowAll, Cidr, Server, StaticTokens, User, generate_key};
use coracle_clock::SystemClock;
use coracle_network::{Config, Node};
use coracle_node::{
    NodeAgent, Options,
    adapters::{RealNetwork, RealRuntime},
};
use coracle_runtime::Runtime;
use coracle_store::Store;
use futures::StreamExt;
use k8s_openapi::api::core::v1 as core;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Longer than anything here takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const TOKEN: &str = "an-administrators-token";
pub const NODE: &str = "testnode";

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    pub client: Client,
    pub server: Server,
    pub data_dir: PathBuf,
    pub kubeconfig: PathBuf,
    cgroup: String,
    parts: Option<Parts>,
    directory: tempfile::TempDir,
}

/// What an engine's process holds; dropping it is as near as one process comes to killing the engine.
struct Parts {
    agent: Option<NodeAgent>,
    runtime: Runtime,
    network: Node,
    threads: Option<tokio::runtime::Runtime>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.agent.take();
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// The static program, compiled once for all tests of a run.
fn tool() -> &'static [u8] {
    static TOOL: OnceLock<Vec<u8>> = OnceLock::new();
    TOOL.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a directory");
        let output = directory.path().join("tool");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tool.rs");
        let compiled = Command::new("rustc")
            .args([
                "--edition",
                "2024",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "opt-level=1",
                "-C",
                "strip=symbols",
                source,
                "-o",
            ])
            .arg(&output)
            .output()
            .expect("rustc runs");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        fs::read(output).expect("compiled")
    })
}

/// What `docker save` would write, as a directory.
fn save_image(directory: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    let files: [(&str, &[u8], u32); 5] = [
        ("bin/", b"", 0o755),
        ("bin/tool", tool(), 0o755),
        ("etc/", b"", 0o755),
        ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:\n", 0o644),
        ("tmp/", b"", 0o1777),
    ];
    for (path, content, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
        layer.append_data(&mut header, path, content).expect("in memory");
    }
    let layer = layer.into_inner().expect("in memory");
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Entrypoint": ["/bin/tool"], "Env": ["PATH=/bin", "WORD=image"] },
        "rootfs": { "type": "layers", "diff_ids": [coracle_runtime::Digest::of(&layer).to_string()] },
    });
    fs::create_dir_all(directory).expect("writable");
    fs::write(directory.join("config.json"), config.to_string()).expect("writable");
    fs::write(directory.join("0.tar"), layer).expect("writable");
    let manifest = json!([{ "Config": "config.json", "RepoTags": ["localhost/tool:1"], "Layers": ["0.tar"] }]);
    fs::write(directory.join("manifest.json"), manifest.to_string()).expect("writable");
}

fn api_options(socket: PathBuf) -> coracle_apiserver::Options {
    coracle_apiserver::Options {
        clock: Arc::new(SystemClock),
        authorizer: Arc::new(AllowAll),
        tokens: Arc::new(StaticTokens::new([(TOKEN.to_owned(), User::new("admin", ["system:masters"]))])),
        service_account_key: generate_key().expect("a key"),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        authority_pem: String::new(),
        node_socket: socket,
        dialer: None,
        service_range: Cidr { network: [10, 43, 0, 0].into(), prefix: 16 },
        node_ports: 30000..=32767,
        advertise: None,
        guards: coracle_apiserver::Guards::default(),
    }
}

/// Serves the API on loopback; a kubeconfig for it.
async fn listen(server: &Server, directory: &Path) -> PathBuf {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring knows the default versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("they belong together");
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let serving = server.clone();
    coracle_tasks::spawn("test-api", async move { serving.serve_tls(listener, Arc::new(tls)).await });
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\ncontexts: [{{name: t, context: {{cluster: t, user: t}}}}]\n\
         clusters: [{{name: t, cluster: {{server: \"https://{address}\", insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: t, user: {{token: {TOKEN}}}}}]\n"
    );
    let path = directory.join("kubeconfig");
    fs::write(&path, config).expect("writable");
    path
}

impl Rig {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        fs::create_dir_all(data_dir.join("run")).expect("writable");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let cgroup = format!("/coracle-test-node-{}-{number}", std::process::id());
        let server =
            Server::start(Store::in_memory(), api_options(data_dir.join("run/node.sock"))).await.expect("it starts");
        let client = Client::new(server.client_service(User::engine()), "default");
        let kubeconfig = listen(&server, directory.path()).await;
        let accounts: Api<core::ServiceAccount> = Api::default_namespaced(client.clone());
        let account: core::ServiceAccount =
            serde_json::from_value(json!({ "metadata": { "name": "default" } })).expect("an account");
        accounts.create(&PostParams::default(), &account).await.expect("created");
        let mut rig = Self { client, server, data_dir, kubeconfig, cgroup, parts: None, directory };
        rig.start_engine().await;
        let saved = rig.directory.path().join("saved");
        save_image(&saved);
        rig.parts.as_ref().expect("started").runtime.images().load(&saved).await.expect("an image");
        rig
    }

    /// Starts what an engine starts, over whatever an earlier one left.
    pub async fn start_engine(&mut self) {
        let run_dir = self.data_dir.join("run");
        let network = Node::open(&run_dir, Config::default()).expect("a network");
        let threads = network.runtime(2).expect("threads");
        let runtime = Runtime::open(coracle_runtime::Options {
            root: self.data_dir.clone(),
            cgroup: self.cgroup.clone(),
            shim: env!("CARGO_BIN_EXE_coracle-node-test-shim").into(),
            mirrors: BTreeMap::new(),
        })
        .await
        .expect("a runtime");
        let options = Options {
            name: NODE.into(),
            data_dir: self.data_dir.clone(),
            socket: run_dir.join("node.sock"),
            pod_cidr: "10.42.0.0/16".into(),
            dns_ip: [10, 43, 0, 10].into(),
            cluster_domain: "cluster.local".into(),
            client: self.client.clone(),
            runtime: Arc::new(RealRuntime::new(runtime.clone(), tokio::runtime::Handle::current())),
            network: Arc::new(RealNetwork(network.clone())),
            clock: Arc::new(SystemClock),
        };
        let started = coracle_tasks::spawn_on(threads.handle(), "test-node", coracle_node::start(options)).await;
        let agent = Some(started.expect("no panic").expect("a node"));
        self.parts = Some(Parts { agent, runtime, network, threads: Some(threads) });
    }

    /// Ends the engine and leaves its containers alone.
    pub fn stop_engine(&mut self) {
        self.parts = None;
    }

    pub fn pods(&self) -> Api<core::Pod> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates a pod with one container called `a`, on this node.
    pub async fn run(&self, name: &str, container: Value, extra: Value) {
        let mut whole = json!({ "name": "a", "image": "localhost/tool:1", "imagePullPolicy": "IfNotPresent" });
        merge(&mut whole, container);
        let mut spec = json!({ "nodeName": NODE, "containers": [whole], "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1 });
        merge(&mut spec, extra);
        let pod = json!({ "metadata": { "name": name }, "spec": spec });
        let pod: core::Pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("created");
    }

    /// Waits until a pod's status is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut pods = std::pin::pin!(watcher(self.pods(), config).applied_objects());
        let mut last = Value::Null;
        let found = tokio::time::timeout(PATIENCE, async {
            while let Some(pod) = pods.next().await {
                let Ok(pod) = pod else { continue };
                last = serde_json::to_value(pod.status.unwrap_or_default()).expect("JSON");
                if wanted(&last) {
                    return;
                }
            }
        });
        if found.await.is_err() {
            panic!("{name} stays {last:#}\nevents: {:#?}", self.events().await);
        }
        last
    }

    pub async fn until_ready(&self, name: &str) -> Value {
        self.until(name, |status| condition(status, "Ready") == "True").await
    }

    /// Deletes a pod and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.expect("there");
        let gone = kube::runtime::wait::await_condition(self.pods(), name, |pod: Option<&core::Pod>| pod.is_none());
        tokio::time::timeout(PATIENCE, gone).await.expect("in time").expect("watched");
    }

    /// Reason and message of all events.
    pub async fn events(&self) -> Vec<String> {
        let api: Api<core::Event> = Api::default_namespaced(self.client.clone());
        let events = api.list(&Default::default()).await.expect("events");
        events
            .items
            .into_iter()
            .map(|e| format!("{}: {}", e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect()
    }

    /// Runs kubectl; what it printed.
    pub async fn kubectl(&self, args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
        let mut command = tokio::process::Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", self.directory.path()).args(args).kill_on_drop(true);
        command.envs(environment.iter().copied());
        let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("in time").expect("kubectl runs");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// The pid of a pod's container, which runs.
    pub async fn pid(&self, pod: &str) -> i32 {
        self.pid_now(pod).await.expect("it runs")
    }

    /// Waits until only so many pods have directories.
    pub async fn until_directories(&self, count: usize) {
        let waiting = async {
            while fs::read_dir(self.data_dir.join("pods")).map_or(0, Iterator::count) != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("directories of pods are left");
    }

    /// The pid of a pod's container, if it runs.
    pub async fn pid_now(&self, pod: &str) -> Option<i32> {
        let uid = self.pods().get(pod).await.expect("there").metadata.uid.expect("a uid");
        let parts = self.parts.as_ref().expect("started");
        let of_pod = |status: &coracle_runtime::ContainerStatus| status.id.starts_with(&uid);
        parts.runtime.list().into_iter().filter(of_pod).find_map(|status| match status.state {
            coracle_runtime::State::Running { pid, .. } => Some(pid),
            coracle_runtime::State::Exited(_) => None,
        })
    }

    /// One HTTP exchange from inside the node's network; the body.
    pub async fn fetch(&self, ip: &str, port: u16) -> std::io::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let threads = self.parts.as_ref().expect("started").threads.as_ref().expect("running").handle().clone();
        let address = format!("{ip}:{port}");
        let exchange = async move {
            let mut stream = tokio::net::TcpStream::connect(address).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok(answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
        };
        coracle_tasks::spawn_on(&threads, "test-fetch", exchange).await.expect("no panic")
    }

    /// Ends everything, and looks whether it is gone.
    pub async fn finish(mut self) {
        for pod in self.pods().list(&Default::default()).await.expect("pods").items {
            let name = pod.metadata.name.expect("a name");
            self.delete(&name).await;
        }
        // The object of a pod that has ended goes at once, and what it left after it.
        self.until_directories(0).await;
        let parts = self.parts.take().expect("started");
        assert!(
            parts.runtime.list().is_empty() && parts.runtime.sandboxes().is_empty() && parts.network.list().is_empty()
        );
        let runtime = parts.runtime.clone();
        drop(parts);
        tokio::time::timeout(PATIENCE, runtime.purge()).await.expect("in time").expect("purged");
        Node::purge(&self.data_dir.join("run")).expect("purged");
        self.server.stop();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("readable");
        let root = self.data_dir.to_string_lossy().into_owned();
        let left: Vec<_> = mounts.lines().filter(|line| line.contains(&root)).collect();
        assert_eq!(left, Vec::<&str>::new());
    }
}

impl Drop for Rig {
    /// A test that failed leaves no container behind either.
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let runtime = parts.runtime.clone();
        drop(parts);
        let run_dir = self.data_dir.join("run");
        let cleared = std::thread::spawn(move || {
            let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let _ = threads.block_on(runtime.purge());
            let _ = Node::purge(&run_dir);
        });
        let _ = cleared.join();
    }
}

/// Lays one object over another.
fn merge(base: &mut Value, over: Value) {
    if let (Some(base), Value::Object(over)) = (base.as_object_mut(), over) {
        base.extend(over);
    }
}

/// The status of a condition.
pub fn condition(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str().map(str::to_owned)).unwrap_or_default()
}
