//! The handle: containers by id, what they were asked to be, how they are, and all that can be done to them.

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::{
    cgroup::{CgroupError, Group, Hierarchies},
    containers::{self, ContainerStatus, Event, Exit, Found, Process, State},
    files,
    images::{Collected, Image, ImageError, Images},
    launch::{LaunchError, launch},
    spec::{ContainerSpec, Resources},
    stats::Stats,
    wire::{Report, RunRequest, SavedState},
};

/// More ends than this between two looks of a listener, and it is told that it lagged.
const EVENT_CAPACITY: usize = 1024;
const MAX_ID_BYTES: usize = 128;
/// How long a killed process may take to be gone: it may be inside a slow disk.
const KILL_PATIENCE: Duration = Duration::from_secs(30);
const SHIM_PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
const SIGKILL: i32 = 9;

#[derive(Debug, Clone)]
pub struct Options {
    /// Everything on disk is below it. On a file system that an overlay's upper directory may be on.
    pub root: PathBuf,
    /// The runtime's own control group, `/coracle-1a2b3c`: nothing outside it is touched.
    pub cgroup: String,
    /// The binary whose `__shim` is [`crate::shim_main`]; `/proc/self/exe` for the running one.
    pub shim: PathBuf,
    /// Registry host to the base URL to ask instead: `registry.coracle.internal` to `http://127.0.0.1:7070`.
    pub mirrors: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("container {0} not found")]
    NotFound(String),
    #[error("container {0} exists already")]
    Exists(String),
    #[error("{0:?} is not a container id: letters, digits, '_', '.', '-', at most 128")]
    InvalidId(String),
    #[error("container {id} has no command")]
    NoCommand { id: String },
    /// The container could not be made: `CreateContainerError`.
    #[error("failed to create container: {message}")]
    Create { id: String, message: String },
    /// Its command could not be executed: `StartError`, exit code 128; `code` is what a shell would say.
    #[error("failed to start container {id:?}: {message}")]
    Start { id: String, message: String, code: Option<i32> },
    #[error("container {0} did not end after SIGKILL")]
    Stuck(String),
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}

pub(crate) struct Entry {
    pub spec: ContainerSpec,
    pub process: Option<Process>,
    pub state: watch::Sender<State>,
}

pub(crate) struct Inner {
    pub options: Options,
    pub hierarchies: Hierarchies,
    pub images: Images,
    pub containers: Mutex<BTreeMap<String, Arc<Entry>>>,
    events: broadcast::Sender<Event>,
    /// Held for reading by every start under way, which a caller's loss of interest does not stop; for writing by the purge.
    pub launching: Arc<tokio::sync::RwLock<()>>,
}

/// All containers of one data directory.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

impl Runtime {
    /// Takes over what an earlier engine left running.
    pub fn open(options: Options) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(Self::take_over(options))
    }

    async fn take_over(options: Options) -> Result<Self, Error> {
        let hierarchies = Hierarchies::detect().map_err(Error::io("looking for control groups"))?;
        for directory in ["containers", "sandboxes", "builds"] {
            let path = options.root.join(directory);
            fs::create_dir_all(&path).map_err(Error::io(path.display().to_string()))?;
        }
        let images = Images::open(options.root.join("images"), options.mirrors.clone())?;
        let (events, _) = broadcast::channel(EVENT_CAPACITY);
        let inner =
            Inner { options, hierarchies, images, containers: Mutex::default(), events, launching: Arc::default() };
        let runtime = Self { inner: Arc::new(inner) };
        runtime.adopt_all().await?;
        Ok(runtime)
    }

    pub fn images(&self) -> &Images {
        &self.inner.images
    }

    async fn adopt_all(&self) -> Result<(), Error> {
        let directory = self.inner.options.root.join("containers");
        let entries = fs::read_dir(&directory).map_err(Error::io(directory.display().to_string()))?;
        for entry in entries.flatten() {
            let dir = entry.path();
            let id = entry.file_name().to_string_lossy().into_owned();
            if let Err(error) = self.adopt(&dir).await {
                tracing::warn!(container = id, %error, "left alone: its record cannot be read");
            }
        }
        Ok(())
    }

    async fn adopt(&self, dir: &Path) -> Result<(), Error> {
        let what = || dir.display().to_string();
        let spec = files::read_json::<ContainerSpec>(&dir.join("spec.json")).map_err(Error::io(what()))?;
        let found = containers::look(dir).await.map_err(Error::io(what()))?;
        match (spec, found) {
            (Some(spec), Found::Running(state)) => drop(self.register(spec, state)),
            (Some(spec), Found::Ended(exit)) => {
                let (sender, _) = watch::channel(State::Exited(exit));
                let entry = Entry { process: None, state: sender, spec };
                self.inner.containers.lock().insert(entry.spec.id.clone(), Arc::new(entry));
            }
            (spec, _) => {
                if let Some(spec) = spec {
                    self.remove_group(&spec.cgroup)?;
                }
                files::remove_tree(dir).map_err(Error::io(what()))?;
            }
        }
        Ok(())
    }

    /// Makes a running container known, and watches for its end.
    fn register(&self, spec: ContainerSpec, state: SavedState) -> Arc<Entry> {
        let running = State::Running { pid: state.pid, started_at: state.started_at };
        let entry = Arc::new(Entry { process: Some(Process::find(state)), state: watch::channel(running).0, spec });
        self.inner.containers.lock().insert(entry.spec.id.clone(), entry.clone());
        let (runtime, watched, dir) = (self.clone(), entry.clone(), self.directory(&entry.spec.id));
        coracle_tasks::spawn("container", async move {
            let exit = containers::ended(&dir, state).await;
            if exit.lost {
                // Where no shim is left, what it would have removed is ours.
                let group = runtime.group(&watched.spec.cgroup);
                let _ = tokio::task::spawn_blocking(move || group.remove()).await;
            }
            watched.state.send_replace(State::Exited(exit.clone()));
            // Nobody listening is no error.
            let _ = runtime.inner.events.send(Event { id: watched.spec.id.clone(), exit });
        });
        entry
    }

    pub(crate) fn directory(&self, id: &str) -> PathBuf {
        self.inner.options.root.join("containers").join(id)
    }

    /// The whole path of a group below ours.
    pub(crate) fn cgroup_path(&self, path: &str) -> String {
        format!("{}/{}", self.inner.options.cgroup.trim_end_matches('/'), path.trim_matches('/'))
    }

    pub(crate) fn group(&self, path: &str) -> Group {
        self.inner.hierarchies.group(&self.cgroup_path(path))
    }

    pub(crate) fn entry(&self, id: &str) -> Result<Arc<Entry>, Error> {
        self.inner.containers.lock().get(id).cloned().ok_or_else(|| Error::NotFound(id.to_owned()))
    }

    /// Makes the container and runs its command.
    pub async fn start(&self, spec: ContainerSpec) -> Result<ContainerStatus, Error> {
        check_id(&spec.id)?;
        if spec.process.args.is_empty() {
            return Err(Error::NoCommand { id: spec.id });
        }
        let runtime = self.clone();
        let under_way = self.inner.launching.clone().read_owned().await;
        let started = tokio::task::spawn_blocking(move || {
            let _under_way = under_way;
            runtime.launch_container(spec)
        })
        .await;
        let (spec, state) = started.map_err(|e| Error::io("starting a container")(io::Error::other(e)))??;
        Ok(status(&self.register(spec, state)))
    }

    fn launch_container(&self, spec: ContainerSpec) -> Result<(ContainerSpec, SavedState), Error> {
        let id = spec.id.clone();
        let dir = self.directory(&id);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(Error::Exists(id)),
            result => result.map_err(Error::io(dir.display().to_string()))?,
        }
        let result = self.launch_in(&dir, spec);
        if result.is_err() {
            let _ = files::remove_tree(&dir);
        }
        result
    }

    fn launch_in(&self, dir: &Path, spec: ContainerSpec) -> Result<(ContainerSpec, SavedState), Error> {
        let lock = containers::lock(dir).map_err(Error::io("locking the container's directory"))?;
        files::replace_json(&dir.join("spec.json"), &spec).map_err(Error::io("recording the container"))?;
        let request = RunRequest {
            dir: dir.to_owned(),
            upper: dir.join("upper"),
            work: dir.join("work"),
            tied: false,
            ..self.request(spec)
        };
        let (_, report, _) = launch(&self.inner.options.shim, "run", &request, &[lock.as_fd()])
            .map_err(|error| launch_error(&request.spec.id, error))?;
        match report {
            Report::Started { pid, start_ticks, started_at } => {
                Ok((request.spec, SavedState { pid, start_ticks, started_at }))
            }
            Report::Failed(_) | Report::Exited(_) => {
                Err(Error::Create { id: request.spec.id, message: "the shim answered out of turn".into() })
            }
        }
    }

    pub(crate) fn request(&self, spec: ContainerSpec) -> RunRequest {
        RunRequest {
            dir: PathBuf::new(),
            layers_dir: self.inner.images.layers_dir().to_owned(),
            upper: PathBuf::new(),
            work: PathBuf::new(),
            hierarchies: self.inner.hierarchies.clone(),
            cgroup: self.cgroup_path(&spec.cgroup),
            tied: true,
            spec,
        }
    }

    pub fn list(&self) -> Vec<ContainerStatus> {
        self.inner.containers.lock().values().map(|entry| status(entry)).collect()
    }

    pub fn status(&self, id: &str) -> Option<ContainerStatus> {
        self.inner.containers.lock().get(id).map(|entry| status(entry))
    }

    /// Every end from now on. After `Lagged`, [`Runtime::list`] tells what was missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Until the container has ended; at once where it has.
    pub async fn wait(&self, id: &str) -> Result<Exit, Error> {
        let mut state = self.entry(id)?.state.subscribe();
        let ended = state.wait_for(|state| matches!(state, State::Exited(_))).await;
        match ended.as_deref() {
            Ok(State::Exited(exit)) => Ok(exit.clone()),
            _ => Err(Error::NotFound(id.to_owned())),
        }
    }

    /// To the first process. No error where it has ended.
    pub fn signal(&self, id: &str, signal: i32) -> Result<(), Error> {
        match &self.entry(id)?.process {
            Some(process) => process.signal(signal).map_err(Error::io(format!("signalling container {id}"))),
            None => Ok(()),
        }
    }

    /// `signal`, and SIGKILL to the whole container where it is not over after `grace`.
    pub async fn stop(&self, id: &str, signal: i32, grace: Duration) -> Result<Exit, Error> {
        if !grace.is_zero() {
            self.signal(id, signal)?;
            if let Ok(exit) = tokio::time::timeout(grace, self.wait(id)).await {
                return exit;
            }
        }
        self.signal(id, SIGKILL)?;
        self.group(&self.entry(id)?.spec.cgroup).kill();
        tokio::time::timeout(KILL_PATIENCE, self.wait(id)).await.map_err(|_| Error::Stuck(id.to_owned()))?
    }

    /// Ends the container where it runs, and forgets it. Its log stays. No error where there is none.
    pub async fn remove(&self, id: &str) -> Result<(), Error> {
        let Ok(entry) = self.entry(id) else { return Ok(()) };
        self.stop(id, SIGKILL, Duration::ZERO).await?;
        let dir = self.directory(id);
        // The shim is about to go; what it still removes must not be removed under its hands.
        let patience = tokio::time::Instant::now() + SHIM_PATIENCE;
        while containers::shim_lives(&dir).unwrap_or(false) && tokio::time::Instant::now() < patience {
            tokio::time::sleep(POLL).await;
        }
        let runtime = self.clone();
        let cgroup = entry.spec.cgroup.clone();
        let removed = tokio::task::spawn_blocking(move || {
            runtime.remove_group(&cgroup)?;
            files::remove_tree(&dir).map_err(Error::io(dir.display().to_string()))
        });
        removed.await.map_err(|e| Error::io("removing a container")(io::Error::other(e)))??;
        self.inner.containers.lock().remove(id);
        Ok(())
    }

    /// Parents stay: a pod's group has limits that its next container needs.
    fn remove_group(&self, cgroup: &str) -> Result<(), Error> {
        Ok(self.group(cgroup).remove_tree()?)
    }

    pub async fn stats(&self, id: &str) -> Result<Stats, Error> {
        let group = self.group(&self.entry(id)?.spec.cgroup);
        let read = tokio::task::spawn_blocking(move || group.stats()).await;
        Ok(read.map_err(|e| Error::io("reading counters")(io::Error::other(e)))??)
    }

    /// Makes the group (of a pod, `pods/UID`) and sets its limits; both may have been done before.
    pub fn set_cgroup(&self, path: &str, resources: &Resources) -> Result<(), Error> {
        let group = self.group(path);
        group.create()?;
        Ok(group.limit(resources)?)
    }

    pub fn cgroup_stats(&self, path: &str) -> Result<Stats, Error> {
        Ok(self.group(path).stats()?)
    }

    /// Kills what is in the group and below it, and removes it. No error where there is none.
    pub fn remove_cgroup(&self, path: &str) -> Result<(), Error> {
        self.remove_group(path)
    }

    /// Removes the images `keep` does not want and no container runs, and the layers nothing needs any more.
    pub async fn collect_garbage(&self, keep: impl Fn(&Image) -> bool) -> Result<Collected, Error> {
        let entries: Vec<Arc<Entry>> = self.inner.containers.lock().values().cloned().collect();
        let layers = entries.iter().flat_map(|entry| entry.spec.layers.iter().cloned()).collect();
        let used = |image: &Image| entries.iter().any(|entry| entry.spec.image == image.id);
        Ok(self.inner.images.collect_garbage(|image| keep(image) || used(image), layers).await?)
    }

    /// Ends everything and takes away all that was ever made: processes, mounts, control groups, files.
    pub async fn purge(self) -> Result<(), Error> {
        let launching = self.inner.launching.clone();
        let _nothing_starts = launching.write().await;
        let ids: Vec<String> = self.inner.containers.lock().keys().cloned().collect();
        for id in ids {
            self.remove(&id).await?;
        }
        for sandbox in self.sandboxes() {
            self.remove_sandbox(&sandbox.id).await?;
        }
        let cleaned = tokio::task::spawn_blocking(move || {
            self.inner.hierarchies.group(&self.inner.options.cgroup).remove_tree()?;
            let root = &self.inner.options.root;
            unmount_below(root).map_err(Error::io("unmounting"))?;
            for directory in ["containers", "sandboxes", "builds", "images"] {
                let path = root.join(directory);
                files::remove_tree(&path).map_err(Error::io(path.display().to_string()))?;
            }
            Ok(())
        });
        cleaned.await.map_err(|e| Error::io("purging")(io::Error::other(e)))?
    }
}

pub(crate) fn launch_error(id: &str, error: LaunchError) -> Error {
    let id = id.to_owned();
    match error {
        LaunchError::Failed(failure) if failure.start => {
            Error::Start { id, message: failure.message, code: failure.code }
        }
        LaunchError::Failed(failure) => Error::Create { id, message: failure.message },
        LaunchError::Io(source) => Error::Io { what: "starting the shim".into(), source },
    }
}

fn status(entry: &Entry) -> ContainerStatus {
    let spec = &entry.spec;
    let state = entry.state.borrow().clone();
    ContainerStatus {
        id: spec.id.clone(),
        labels: spec.labels.clone(),
        image: spec.image.clone(),
        log: spec.log.as_ref().map(|log| log.path.clone()),
        cgroup: spec.cgroup.clone(),
        state,
    }
}

fn check_id(id: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let good = id.len() <= MAX_ID_BYTES && id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.chars().all(fits);
    if good { Ok(()) } else { Err(Error::InvalidId(id.to_owned())) }
}

/// Takes off every mount below `root`, the latest first.
fn unmount_below(root: &Path) -> io::Result<()> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    for line in mounts.lines().rev() {
        let Some(target) = line.split(' ').nth(4) else { continue };
        let target = PathBuf::from(target.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"));
        if target.starts_with(root) && target != root {
            rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH)?;
        }
    }
    Ok(())
}
