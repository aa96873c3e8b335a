//! Doors that lead nowhere: they record what they are asked, and fail when told to.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use coracle_clock::{Clock, SystemClock};
use coracle_runtime::{ContainerSpec, Namespaces, User};
use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{broadcast, mpsc, watch},
};

use crate::{
    api::{ApiError, PodApi, PodRef},
    container::files::Dns,
    context::{Context, NodeFacts},
    doors::{
        Attachment, Captured, Credential, Effect, ExecFailure, ExecRequest, ExitInfo, Found, ImageInfo, PodNetwork,
        PodRuntime, Process, ProcessControl, SandboxRequest, StartError, Usage,
    },
    recorder::{News, Recorder},
    streams::remote::TerminalSize,
    volumes::payload::TokenKey,
};

/// A runtime whose containers are entries in a map.
pub struct FakeRuntime {
    pub world: Mutex<World>,
    exits: broadcast::Sender<(String, ExitInfo)>,
}

#[derive(Default)]
pub struct World {
    pub calls: Vec<String>,
    pub containers: BTreeMap<String, Found>,
    pub specs: BTreeMap<String, ContainerSpec>,
    pub sandboxes: BTreeSet<String>,
    /// The exit code of every probe and hook.
    pub capture_code: i32,
    /// Containers that do not end on a polite signal.
    pub stubborn: bool,
    /// What fails, by the name of the call, and how.
    pub failures: BTreeMap<&'static str, String>,
}

impl World {
    fn call(&mut self, name: &'static str, argument: &str) -> Result<(), String> {
        self.calls.push(format!("{name} {argument}"));
        self.failures.get(name).map_or(Ok(()), |failure| Err(failure.clone()))
    }
}

impl FakeRuntime {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { world: Mutex::default(), exits: broadcast::channel(64).0 })
    }

    /// Ends a container as if by itself.
    pub fn exit(&self, id: &str, code: i32) {
        let now = SystemClock.now();
        let exit = ExitInfo { code, signal: None, oom_killed: false, started_at: now, finished_at: now };
        if let Some(found) = self.world.lock().containers.get_mut(id) {
            found.state = Err(exit.clone());
        }
        let _ = self.exits.send((id.to_owned(), exit));
    }

    pub fn calls(&self) -> Vec<String> {
        self.world.lock().calls.clone()
    }
}

impl PodRuntime for FakeRuntime {
    fn find_image(&self, reference: &str) -> Result<Option<ImageInfo>, String> {
        let image =
            ImageInfo { id: format!("sha256:{reference}"), entrypoint: vec!["/run".into()], ..ImageInfo::default() };
        Ok((reference != "absent:1").then_some(image))
    }

    fn pull(&self, reference: &str, _: Vec<Credential>) -> Effect<ImageInfo> {
        let result = self.world.lock().call("pull", reference).map(|()| ImageInfo::default());
        async move { result }.boxed()
    }

    fn images(&self) -> Vec<ImageInfo> {
        Vec::new()
    }

    fn resolve_user(&self, _: &ImageInfo, _: &str) -> Result<User, String> {
        Ok(User::default())
    }

    fn create_sandbox(&self, request: SandboxRequest) -> Effect<Namespaces> {
        let mut world = self.world.lock();
        let result = world.call("create_sandbox", &request.uid).map(|()| Namespaces::default());
        if result.is_ok() {
            world.sandboxes.insert(request.uid);
        }
        async move { result }.boxed()
    }

    fn remove_sandbox(&self, uid: &str) -> Effect<()> {
        let mut world = self.world.lock();
        world.sandboxes.remove(uid);
        let result = world.call("remove_sandbox", uid);
        async move { result }.boxed()
    }

    fn sandboxes(&self) -> Vec<String> {
        self.world.lock().sandboxes.iter().cloned().collect()
    }

    fn remove_pod_group(&self, _: &str) -> Effect<()> {
        async { Ok(()) }.boxed()
    }

    fn start(&self, spec: ContainerSpec) -> Effect<Timestamp, StartError> {
        let mut world = self.world.lock();
        let result = world.call("start", &spec.id).map_err(StartError::Start);
        if result.is_ok() {
            let log = spec.log.as_ref().map(|log| log.path.clone());
            let found =
                Found { id: spec.id.clone(), labels: spec.labels.clone(), log, state: Ok(Timestamp::UNIX_EPOCH) };
            world.containers.insert(spec.id.clone(), found);
            world.specs.insert(spec.id.clone(), spec);
        }
        async move { result.map(|()| Timestamp::UNIX_EPOCH) }.boxed()
    }

    fn list(&self) -> Vec<Found> {
        self.world.lock().containers.values().cloned().collect()
    }

    fn exits(&self) -> broadcast::Receiver<(String, ExitInfo)> {
        self.exits.subscribe()
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), String> {
        let stubborn = {
            let mut world = self.world.lock();
            world.call("signal", &format!("{id} {signal}"))?;
            world.stubborn
        };
        if signal == 9 || !stubborn {
            self.exit(id, 128 + signal);
        }
        Ok(())
    }

    fn remove(&self, id: &str) -> Effect<()> {
        let mut world = self.world.lock();
        world.containers.remove(id);
        let result = world.call("remove", id);
        async move { result }.boxed()
    }

    fn capture(&self, id: &str, args: Vec<String>, _: Duration) -> Effect<Captured, ExecFailure> {
        let mut world = self.world.lock();
        let result = world.call("capture", &format!("{id} {}", args.join(" ")));
        let code = world.capture_code;
        async move { result.map(|()| Captured { code, output: b"no".to_vec() }).map_err(ExecFailure::Failed) }.boxed()
    }

    /// Answers with its arguments and its input, and ends with 3.
    fn exec(&self, _: &str, request: ExecRequest) -> Effect<Process> {
        let (mut input, theirs) = tokio::io::duplex(1024);
        let (mut output, stdout) = tokio::io::duplex(1024);
        let (done, ended) = watch::channel(false);
        coracle_tasks::spawn("fake-process", async move {
            let mut read = String::new();
            input.read_to_string(&mut read).await.expect("text");
            let answer = format!("{}: {read}", request.args.join(" "));
            output.write_all(answer.as_bytes()).await.expect("open");
            done.send_replace(true);
        });
        let process = Process {
            stdin: Some(Box::new(theirs)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            control: Box::new(FakeControl(ended)),
        };
        async { Ok(process) }.boxed()
    }

    fn attach(&self, _: &str) -> Effect<Process> {
        async { Err("nothing to attach to".to_owned()) }.boxed()
    }

    fn usage(&self, _: &str) -> Effect<Usage> {
        async { Ok(Usage { cpu_ns: 2_000_000_000, working_set_bytes: 4096, ..Usage::default() }) }.boxed()
    }

    fn pod_usage(&self, _: &str) -> Option<Usage> {
        None
    }
}

struct FakeControl(watch::Receiver<bool>);

impl ProcessControl for FakeControl {
    fn resize(&mut self, _: TerminalSize) {}

    fn wait(&mut self) -> BoxFuture<'_, Result<i32, String>> {
        async {
            self.0.wait_for(|done| *done).await.map_err(|error| error.to_string())?;
            Ok(3)
        }
        .boxed()
    }
}

/// A network that gives everybody the same address.
#[derive(Default)]
pub struct FakeNetwork {
    pub attached: Mutex<BTreeSet<String>>,
    pub failure: Mutex<Option<String>>,
}

fn attachment() -> Attachment {
    Attachment { ips: vec![IpAddr::from([127, 0, 0, 1])], namespace: PathBuf::from("/netns/pod") }
}

impl PodNetwork for FakeNetwork {
    fn attach(&self, uid: &str) -> Effect<Attachment> {
        self.attached.lock().insert(uid.to_owned());
        let result = self.failure.lock().clone().map_or_else(|| Ok(attachment()), Err);
        async move { result }.boxed()
    }

    fn detach(&self, uid: &str) -> Effect<()> {
        self.attached.lock().remove(uid);
        async { Ok(()) }.boxed()
    }

    fn attached(&self) -> BTreeMap<String, Attachment> {
        self.attached.lock().iter().map(|uid| (uid.clone(), attachment())).collect()
    }

    fn node_namespace(&self) -> PathBuf {
        PathBuf::from("/netns/node")
    }

    fn node_ips(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([10, 42, 0, 1])]
    }

    fn dial_loopback(&self, _: Option<&str>, port: u16) -> BoxFuture<'static, io::Result<TcpStream>> {
        TcpStream::connect(("127.0.0.1", port)).boxed()
    }
}

/// An API server that knows one status and some ConfigMaps.
pub struct FakeApi {
    pub config_maps: Mutex<BTreeMap<String, Arc<core::ConfigMap>>>,
    pub failure: Mutex<Option<ApiError>>,
    pub patches: watch::Sender<Vec<Value>>,
    pub deleted: watch::Sender<bool>,
}

impl FakeApi {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            config_maps: Mutex::default(),
            failure: Mutex::default(),
            patches: watch::channel(Vec::new()).0,
            deleted: watch::channel(false).0,
        })
    }

    /// The status the patches come to.
    pub fn status(&self) -> Value {
        status_of(&self.patches.borrow())
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut patches = self.patches.subscribe();
        let waiting = patches.wait_for(|patches| wanted(&status_of(patches)));
        match tokio::time::timeout(Duration::from_secs(10), waiting).await {
            Ok(patches) => status_of(&patches.expect("the sender lives")),
            Err(_) => panic!("the status stays {}", self.status()),
        }
    }
}

fn status_of(patches: &[Value]) -> Value {
    let mut status = serde_json::json!({ "conditions": [] });
    for patch in patches {
        for (key, value) in patch["status"].as_object().expect("a status") {
            if key != "conditions" {
                status[key] = value.clone();
                continue;
            }
            let known = status["conditions"].as_array_mut().expect("a list");
            for condition in value.as_array().expect("a list") {
                known.retain(|old| old["type"] != condition["type"]);
                known.push(condition.clone());
            }
        }
    }
    status
}

/// The status of a condition in a status.
pub fn condition(status: &Value, kind: &str) -> String {
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str().map(str::to_owned)).unwrap_or_default()
}

impl PodApi for FakeApi {
    fn patch_status(&self, _: PodRef, patch: Value) -> Effect<(), ApiError> {
        let failure = self.failure.lock().take();
        if failure.is_none() {
            self.patches.send_modify(|patches| patches.push(patch));
        }
        async move { failure.map_or(Ok(()), Err) }.boxed()
    }

    fn delete(&self, _: PodRef) -> Effect<(), ApiError> {
        self.deleted.send_replace(true);
        async { Ok(()) }.boxed()
    }

    fn token(&self, _: PodRef, _: String, _: TokenKey) -> Effect<(String, Timestamp), ApiError> {
        async { Ok(("token".to_owned(), Timestamp::MAX)) }.boxed()
    }

    fn config_map(&self, _: &str, name: &str) -> Effect<Option<Arc<core::ConfigMap>>, ApiError> {
        let found = self.config_maps.lock().get(name).cloned();
        async move { Ok(found) }.boxed()
    }

    fn secret(&self, _: &str, _: &str) -> Effect<Option<Arc<core::Secret>>, ApiError> {
        async { Ok(None) }.boxed()
    }

    fn services(&self) -> Vec<Arc<core::Service>> {
        Vec::new()
    }
}

/// A node of fakes on a directory of its own.
pub struct FakeNode {
    pub runtime: Arc<FakeRuntime>,
    pub network: Arc<FakeNetwork>,
    pub api: Arc<FakeApi>,
    pub context: Arc<Context>,
    news: Mutex<mpsc::Receiver<News>>,
    _directory: tempfile::TempDir,
}

impl FakeNode {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (runtime, network, api) = (FakeRuntime::new(), Arc::new(FakeNetwork::default()), FakeApi::new());
        let (recorder, news) = Recorder::new();
        let context = Arc::new(Context {
            runtime: runtime.clone(),
            network: network.clone(),
            api: api.clone(),
            clock: Arc::new(SystemClock),
            recorder,
            node: NodeFacts {
                name: "n1".into(),
                pods_dir: directory.path().join("pods"),
                dns: Dns {
                    cluster_ip: IpAddr::from([10, 43, 0, 10]),
                    cluster_domain: "cluster.local".into(),
                    node_resolv_conf: String::new(),
                },
                allocatable: BTreeMap::new(),
                memory_capacity_bytes: 1 << 30,
            },
        });
        Self { runtime, network, api, context, news: Mutex::new(news), _directory: directory }
    }

    /// The events told so far: reason and message.
    pub fn events(&self) -> Vec<String> {
        let mut news = self.news.lock();
        std::iter::from_fn(|| news.try_recv().ok()).map(|news| format!("{}: {}", news.reason, news.message)).collect()
    }
}
