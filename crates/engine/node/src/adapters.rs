//! The real doors: the runtime and network rooms behind the traits of this one. Nothing is decided here.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use coracle_kernel::netns::NetworkNamespace;
use coracle_network::Node;
use coracle_runtime::{
    ContainerSpec, ContainerStatus, ExecError, ExecSpec, Image, Namespaces, PullOptions, Reference, Runtime,
    SandboxSpec, State, Stats, User, registry::Credentials,
};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::{
    net::{TcpSocket, TcpStream},
    runtime::Handle,
    sync::broadcast,
};

use crate::{
    container::assemble::pod_group,
    doors::{
        Attachment, Captured, Credential, Effect, ExecFailure, ExecRequest, ExitInfo, Found, ImageInfo, PodNetwork,
        PodRuntime, Process, ProcessControl, SandboxRequest, StartError, Usage,
    },
    streams::remote::TerminalSize,
};

/// Ends held for a reader that is slow; after that it lists.
const EXIT_QUEUE: usize = 256;
/// What is kept of a probe's or hook's output.
const CAPTURE_BYTES: usize = 10 << 10;

/// The runtime room. Images are pulled on `host`, whose threads are in the network the registries are in.
#[derive(Clone)]
pub struct RealRuntime {
    runtime: Runtime,
    host: Handle,
    exits: broadcast::Sender<(String, ExitInfo)>,
}

impl RealRuntime {
    pub fn new(runtime: Runtime, host: Handle) -> Self {
        let (exits, _) = broadcast::channel(EXIT_QUEUE);
        let real = Self { runtime, host, exits };
        let (forwarder, mut events) = (real.clone(), real.runtime.events());
        coracle_tasks::spawn("container-exits", async move {
            loop {
                match events.recv().await {
                    // Nobody listening is no error.
                    Ok(event) => drop(forwarder.exits.send((event.id, exit_info(&event.exit)))),
                    Err(broadcast::error::RecvError::Lagged(_)) => forwarder.tell_all_ends(),
                    Err(broadcast::error::RecvError::Closed) => return,
                }
            }
        });
        real
    }

    fn tell_all_ends(&self) {
        for found in self.list() {
            if let Err(exit) = found.state {
                // Nobody listening is no error.
                let _ = self.exits.send((found.id, exit));
            }
        }
    }
}

fn exit_info(exit: &coracle_runtime::Exit) -> ExitInfo {
    ExitInfo {
        code: exit.code,
        signal: exit.signal,
        oom_killed: exit.oom_killed,
        started_at: exit.started_at,
        finished_at: exit.finished_at,
    }
}

fn found(status: ContainerStatus) -> Found {
    let state = match status.state {
        State::Running { started_at, .. } => Ok(started_at),
        State::Exited(exit) => Err(exit_info(&exit)),
    };
    Found { id: status.id, labels: status.labels, log: status.log, state }
}

fn image_info(image: Image) -> ImageInfo {
    ImageInfo {
        id: image.id,
        digest: image.digest,
        references: image.references,
        layers: image.layers,
        entrypoint: image.config.entrypoint,
        cmd: image.config.cmd,
        env: image.config.env,
        user: image.config.user,
        working_dir: image.config.working_dir,
        stop_signal: image.config.stop_signal,
        size_bytes: image.size_bytes,
    }
}

fn usage(stats: &Stats) -> Usage {
    Usage {
        cpu_ns: stats.cpu_usage_ns,
        memory_bytes: stats.memory_usage_bytes,
        working_set_bytes: stats.memory_working_set_bytes,
        rss_bytes: stats.memory_rss_bytes,
        page_faults: stats.page_faults,
        major_page_faults: stats.major_page_faults,
        pids: stats.pids,
    }
}

/// The credentials for an image's registry, those whose name fits best first, as `config.json` is read everywhere.
fn fitting(credentials: Vec<Credential>, reference: &Reference) -> Vec<Credentials> {
    let name = reference.name();
    let mut fitting: Vec<_> = credentials
        .into_iter()
        .map(|credential| (bare(&credential.registry), credential))
        .filter(|(registry, _)| {
            name == *registry || name.strip_prefix(registry).is_some_and(|rest| rest.starts_with('/'))
        })
        .collect();
    fitting.sort_by_key(|(registry, _)| std::cmp::Reverse(registry.len()));
    fitting.into_iter().map(|(_, own)| Credentials { username: own.username, password: own.password }).collect()
}

/// A registry without scheme and API version; Docker's own by the name references have.
fn bare(registry: &str) -> String {
    let bare = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let bare = bare.trim_end_matches("/v1").trim_end_matches("/v2");
    if bare == "index.docker.io" { "docker.io".to_owned() } else { bare.to_owned() }
}

impl PodRuntime for RealRuntime {
    fn find_image(&self, reference: &str) -> Result<Option<ImageInfo>, String> {
        let reference = Reference::from_str(reference).map_err(|error| error.to_string())?;
        Ok(self.runtime.images().find(&reference).map(image_info))
    }

    fn pull(&self, reference: &str, credentials: Vec<Credential>) -> Effect<ImageInfo> {
        let (images, parsed, host) = (self.runtime.images().clone(), Reference::from_str(reference), self.host.clone());
        Box::pin(async move {
            let reference = parsed.map_err(|error| error.to_string())?;
            let options = PullOptions { credentials: fitting(credentials, &reference), ..PullOptions::default() };
            let inside = host.clone();
            // On a thread that waits: the future of a pull cannot be moved between threads.
            let pulled = host.spawn_blocking(move || inside.block_on(images.pull(&reference, options)));
            pulled.await.map_err(|error| error.to_string())?.map(image_info).map_err(|error| error.to_string())
        })
    }

    fn images(&self) -> Vec<ImageInfo> {
        self.runtime.images().list().into_iter().map(image_info).collect()
    }

    fn resolve_user(&self, image: &ImageInfo, user: &str) -> Result<User, String> {
        let images = self.runtime.images();
        let image = images.find_id(&image.id).ok_or_else(|| format!("image {} is gone", image.id))?;
        images.resolve_user(&image, Some(user)).map_err(|error| error.to_string())
    }

    fn create_sandbox(&self, request: SandboxRequest) -> Effect<Namespaces> {
        let runtime = self.runtime.clone();
        Box::pin(async move {
            let spec = SandboxSpec {
                id: request.uid,
                labels: request.labels,
                hostname: request.hostname,
                host_network: request.host_network,
                host_ipc: request.host_ipc,
                host_pid: request.host_pid,
                share_pid: request.share_pid,
            };
            runtime.create_sandbox(spec).await.map(|sandbox| sandbox.namespaces).map_err(|error| error.to_string())
        })
    }

    fn remove_sandbox(&self, uid: &str) -> Effect<()> {
        let (runtime, uid) = (self.runtime.clone(), uid.to_owned());
        Box::pin(async move { runtime.remove_sandbox(&uid).await.map_err(|error| error.to_string()) })
    }

    fn sandboxes(&self) -> Vec<String> {
        self.runtime.sandboxes().into_iter().map(|sandbox| sandbox.id).collect()
    }

    fn remove_pod_group(&self, uid: &str) -> Effect<()> {
        let (runtime, group) = (self.runtime.clone(), pod_group(uid));
        Box::pin(async move {
            let removed = tokio::task::spawn_blocking(move || runtime.remove_cgroup(&group));
            removed.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
        })
    }

    fn start(&self, spec: ContainerSpec) -> Effect<Timestamp, StartError> {
        let runtime = self.runtime.clone();
        Box::pin(async move {
            // What an engine left that was killed while it started this very run.
            if runtime.status(&spec.id).is_some() {
                runtime.remove(&spec.id).await.map_err(|error| StartError::Create(error.to_string()))?;
            }
            match runtime.start(spec).await {
                Ok(status) => match status.state {
                    State::Running { started_at, .. } => Ok(started_at),
                    State::Exited(exit) => Ok(exit.started_at),
                },
                Err(error @ coracle_runtime::Error::Start { .. }) => Err(StartError::Start(error.to_string())),
                Err(error) => Err(StartError::Create(error.to_string())),
            }
        })
    }

    fn list(&self) -> Vec<Found> {
        self.runtime.list().into_iter().map(found).collect()
    }

    fn exits(&self) -> broadcast::Receiver<(String, ExitInfo)> {
        self.exits.subscribe()
    }

    fn signal(&self, id: &str, signal: i32) -> Result<(), String> {
        self.runtime.signal(id, signal).map_err(|error| error.to_string())
    }

    fn remove(&self, id: &str) -> Effect<()> {
        let (runtime, id) = (self.runtime.clone(), id.to_owned());
        Box::pin(async move {
            match runtime.remove(&id).await {
                Ok(()) | Err(coracle_runtime::Error::NotFound(_)) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn capture(&self, id: &str, args: Vec<String>, timeout: Duration) -> Effect<Captured, ExecFailure> {
        let (runtime, id) = (self.runtime.clone(), id.to_owned());
        Box::pin(async move {
            match runtime.exec_capture(&id, &args, timeout, CAPTURE_BYTES).await {
                Ok(output) => Ok(Captured { code: output.code, output: output.output }),
                Err(ExecError::TimedOut(after)) => Err(ExecFailure::Timeout(after)),
                Err(error) => Err(ExecFailure::Failed(error.to_string())),
            }
        })
    }

    fn exec(&self, id: &str, request: ExecRequest) -> Effect<Process> {
        let (runtime, id) = (self.runtime.clone(), id.to_owned());
        Box::pin(async move {
            let terminal = request.tty.then_some(coracle_runtime::TerminalSize { columns: 80, rows: 24 });
            let spec = ExecSpec { args: request.args, stdin: request.stdin, terminal, ..ExecSpec::default() };
            runtime.exec(&id, spec).await.map(process).map_err(|error| error.to_string())
        })
    }

    fn attach(&self, id: &str) -> Effect<Process> {
        let (runtime, id) = (self.runtime.clone(), id.to_owned());
        Box::pin(async move { runtime.attach(&id).await.map(process).map_err(|error| error.to_string()) })
    }

    fn usage(&self, id: &str) -> Effect<Usage> {
        let (runtime, id) = (self.runtime.clone(), id.to_owned());
        Box::pin(async move { runtime.stats(&id).await.map(|stats| usage(&stats)).map_err(|error| error.to_string()) })
    }

    fn pod_usage(&self, uid: &str) -> Option<Usage> {
        self.runtime.cgroup_stats(&pod_group(uid)).ok().map(|stats| usage(&stats))
    }
}

struct Control(coracle_runtime::ProcessStreams);

impl ProcessControl for Control {
    fn resize(&mut self, size: TerminalSize) {
        self.0.resize(coracle_runtime::TerminalSize { columns: size.width, rows: size.height });
    }

    fn wait(&mut self) -> BoxFuture<'_, Result<i32, String>> {
        Box::pin(async { self.0.wait().await.map_err(|error| error.to_string()) })
    }
}

fn process(mut streams: coracle_runtime::ProcessStreams) -> Process {
    Process {
        stdin: streams.stdin.take(),
        stdout: streams.stdout.take(),
        stderr: streams.stderr.take(),
        control: Box::new(Control(streams)),
    }
}

/// The network room.
#[derive(Clone)]
pub struct RealNetwork(pub Node);

fn attachment(pod: coracle_network::PodNetwork) -> Attachment {
    Attachment { ips: vec![IpAddr::V4(pod.ip)], namespace: pod.netns }
}

/// Runs something that blocks for a few milliseconds.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, coracle_network::Error> + Send + 'static) -> Effect<T> {
    Box::pin(async move {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    })
}

impl PodNetwork for RealNetwork {
    fn attach(&self, uid: &str) -> Effect<Attachment> {
        let (node, uid) = (self.0.clone(), uid.to_owned());
        blocking(move || node.attach(&uid).map(attachment))
    }

    fn detach(&self, uid: &str) -> Effect<()> {
        let (node, uid) = (self.0.clone(), uid.to_owned());
        blocking(move || node.detach(&uid))
    }

    fn attached(&self) -> BTreeMap<String, Attachment> {
        self.0.list().into_iter().map(|pod| (pod.pod_uid.clone(), attachment(pod))).collect()
    }

    fn node_namespace(&self) -> PathBuf {
        self.0.netns_path().to_owned()
    }

    fn node_ips(&self) -> Vec<IpAddr> {
        vec![IpAddr::V4(self.0.ip())]
    }

    fn dial_loopback(&self, uid: Option<&str>, port: u16) -> BoxFuture<'static, io::Result<TcpStream>> {
        let path = match uid {
            Some(uid) => self.0.list().into_iter().find(|pod| pod.pod_uid == uid).map(|pod| pod.netns),
            None => Some(self.0.netns_path().to_owned()),
        };
        Box::pin(async move {
            let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the pod has no network"))?;
            let mut last = io::Error::from(io::ErrorKind::ConnectionRefused);
            // As `localhost` is resolved: the older family first, since few listen on the newer one alone.
            for address in
                [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 1], port))]
            {
                match socket_in(path.clone(), address.is_ipv4()).await?.connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if address.is_ipv4() => last = error,
                    Err(_) => {}
                }
            }
            Err(last)
        })
    }
}

/// A socket belongs to the network of the thread that makes it, wherever it is used afterwards.
async fn socket_in(path: PathBuf, ipv4: bool) -> io::Result<TcpSocket> {
    let made = tokio::task::spawn_blocking(move || {
        let namespace = NetworkNamespace::open(&path).map_err(io::Error::other)?;
        let namespace = namespace.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the network is gone"))?;
        namespace.run(|| if ipv4 { TcpSocket::new_v4() } else { TcpSocket::new_v6() }).map_err(io::Error::other)?
    });
    made.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use coracle_runtime::Reference;

    use super::fitting;
    use crate::doors::Credential;

    #[test]
    fn the_credential_with_the_longest_fitting_name_comes_first() {
        let credential = |registry: &str| Credential {
            registry: registry.to_owned(),
            username: registry.to_owned(),
            password: String::new(),
        };
        let all =
            ["https://index.docker.io/v1/", "r.example", "r.example/team", "r.example/te"].map(credential).to_vec();
        let names = |image: &str| {
            let reference = Reference::from_str(image).expect("a name");
            fitting(all.clone(), &reference).into_iter().map(|own| own.username).collect::<Vec<_>>()
        };
        assert_eq!(names("r.example/team/web:1"), ["r.example/team", "r.example"]);
        assert_eq!(names("busybox"), ["https://index.docker.io/v1/"]);
        assert!(names("other.example/web").is_empty());
    }
}
