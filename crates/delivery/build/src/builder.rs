//! Builds: finds what is there, makes what is not.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    io::Read as _,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use coracle_registry::{Digest, OCI_MANIFEST, Store};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use crate::{
    BaseImage, BaseLayer, BuildError, Context, ImageConfig, Images, RunOutcome, RunStep, Sandbox,
    archive::{self, Content},
    cache::Cache,
    config::{History, ImageDocument},
    dockerfile,
    layers::Layers,
    pattern::Ignore,
    place::{self, Owner, Placing},
    plan::{Action, ActionKind, Base, CopyAction, Needs, Plan, RunAction, Wish},
    scratch::Scratch,
    select::{self, ContextFiles, Found, FoundKind, Source, ViewFiles},
};

/// A Dockerfile or `.dockerignore` is no longer than this.
const LONGEST_TEXT_BYTES: u64 = 1 << 20;
/// Lines of a failed command that go into the error.
const SHOWN_LINES: usize = 30;
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// Called with each line a person wants to see.
pub type Report = Arc<dyn Fn(String) + Send + Sync>;

/// How much one build may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The files that `.dockerignore` leaves in, together.
    pub context_bytes: u64,
    /// One command.
    pub step: Duration,
    /// Everything.
    pub build: Duration,
    /// Layers with less in them are left unpacked: making and unpacking them is then hardly more than copying.
    pub packed_from_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            context_bytes: 2 << 30,
            step: Duration::from_secs(30 * 60),
            build: Duration::from_secs(60 * 60),
            packed_from_bytes: 16 << 20,
        }
    }
}

/// Builds images into the registry's store. Cheap to clone.
#[derive(Clone)]
pub struct Builder {
    /// Where images go.
    pub store: Store,
    /// Where base images come from.
    pub images: Arc<dyn Images>,
    /// What RUN runs in; without it RUN is refused.
    pub sandbox: Option<Arc<dyn Sandbox>>,
    /// A directory for the layer cache and for work in progress, on a file system that can hold overlays.
    pub cache_dir: PathBuf,
    /// How much one build may take.
    pub limits: Limits,
}

/// What to build.
#[derive(Clone)]
pub struct Request {
    /// The repository in the registry that takes the image: the app's name.
    pub name: String,
    /// The files.
    pub context: Arc<dyn Context>,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage to build; the last one where there is none.
    pub target: Option<String>,
}

impl Request {
    /// The `Dockerfile` at the root of `context`, for repository `name`.
    pub fn new(name: impl Into<String>, context: Arc<dyn Context>) -> Self {
        Self { name: name.into(), context, dockerfile: "Dockerfile".into(), args: BTreeMap::new(), target: None }
    }
}

/// An image that is in the registry now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its manifest's digest.
    pub digest: Digest,
    /// The tag that names it by what went into it.
    pub tag: String,
    /// What containers of it start with.
    pub config: ImageConfig,
    /// Its layers' lengths together.
    pub size_bytes: u64,
    /// Whether it was there already, so that nothing was built.
    pub reused: bool,
}

/// What was read before anything is fetched.
struct Prepared {
    text: String,
    parsed: dockerfile::Dockerfile,
    files: ContextFiles,
    needs: Needs,
}

/// `linux/amd64`, or what this machine is.
fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    };
    format!("linux/{architecture}")
}

impl Builder {
    /// The image for `request`: found where the same content was built before, built otherwise.
    pub async fn build(&self, request: Request, report: Report) -> Result<Built, BuildError> {
        match tokio::time::timeout(self.limits.build, self.build_untimed(request, report)).await {
            Ok(result) => result,
            Err(_) => Err(BuildError::TimedOut(self.limits.build.as_secs())),
        }
    }

    /// The digests of layers that later builds may use again; the registry's garbage collection should keep them.
    pub fn cached_layers(&self) -> Vec<Digest> {
        self.cache().layers()
    }

    fn cache(&self) -> Cache {
        Cache::new(self.cache_dir.join("steps"))
    }

    async fn build_untimed(&self, request: Request, report: Report) -> Result<Built, BuildError> {
        let begun = Instant::now();
        let this = self.clone();
        let prepared = {
            let request = request.clone();
            blocking(move || this.prepare(&request)).await?
        };
        let platform = platform();
        let images = self.fetch(&request, &prepared, &platform).await?;
        let this = self.clone();
        let planned = {
            let request = request.clone();
            let images = images.clone();
            blocking(move || {
                let wish = wish(&request, &prepared, &platform);
                let plan = wish.plan(&prepared.needs, &images, &prepared.files, &*request.context)?;
                let found = this.find(&request.name, &plan)?;
                Ok((plan, prepared.files, found))
            })
        };
        let (plan, files, found) = planned.await?;
        for warning in &plan.warnings {
            report(format!("warning: {warning}"));
        }
        if let Some(found) = found {
            report(format!("image {} is there already, nothing to build", short(&found.digest)));
            return Ok(found);
        }
        let scratch = Arc::new(Scratch::new(&self.cache_dir.join("work")).map_err(BuildError::Context)?);
        let layers = Layers::new(
            self.store.clone(),
            request.name.clone(),
            self.cache_dir.join("index"),
            scratch.clone(),
            self.limits.packed_from_bytes,
        );
        fs::create_dir_all(self.cache_dir.join("index")).map_err(BuildError::Context)?;
        let shared = Arc::new(Shared {
            builder: self.clone(),
            request,
            images,
            plan,
            files,
            layers,
            scratch,
            report: report.clone(),
        });
        let mut execution = Execution { shared: shared.clone(), done: HashMap::new() };
        let executed = match execution.stage(shared.plan.target).await {
            Ok(executed) => executed,
            Err(error) => {
                // The steps that went well need not be done again.
                blocking(move || Ok(shared.layers.commit(|_| Ok(()))?)).await?;
                return Err(error);
            }
        };
        let built = blocking(move || shared.finish(&executed)).await?;
        report(format!("image {} built in {}", short(&built.digest), human(begun.elapsed())));
        Ok(built)
    }

    fn prepare(&self, request: &Request) -> Result<Prepared, BuildError> {
        let context = &*request.context;
        let entries = context.entries().map_err(BuildError::Context)?;
        let there = |path: &str| entries.iter().any(|entry| entry.path == path);
        if !there(&request.dockerfile) {
            return Err(BuildError::NoDockerfile { path: request.dockerfile.clone() });
        }
        let text = read_text(context, &request.dockerfile)?;
        let parsed = dockerfile::parse(&request.dockerfile, &text)?;
        let own = format!("{}.dockerignore", request.dockerfile);
        let ignore = [own.as_str(), ".dockerignore"].into_iter().find(|path| there(path));
        let ignored = match ignore {
            Some(path) => Ignore::parse(&read_text(context, path)?),
            None => Ignore::default(),
        };
        let files = ContextFiles::new(entries, ignored);
        if files.size_bytes() > self.limits.context_bytes {
            let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
            return Err(BuildError::TooMuch { found: mib(files.size_bytes()), limit: mib(self.limits.context_bytes) });
        }
        let platform = platform();
        let wish = Wish {
            file: &request.dockerfile,
            text: &text,
            dockerfile: &parsed,
            args: &request.args,
            target: request.target.as_deref(),
            platform: &platform,
        };
        let needs = wish.needs()?;
        Ok(Prepared { files, needs, parsed, text })
    }

    async fn fetch(
        &self,
        request: &Request,
        prepared: &Prepared,
        platform: &str,
    ) -> Result<HashMap<String, BaseImage>, BuildError> {
        let mut images = HashMap::new();
        let mut problems = Vec::new();
        for (reference, place) in &prepared.needs.images {
            match self.images.fetch(reference, platform).await {
                Ok(image) => {
                    images.insert(reference.clone(), image);
                }
                Err(error) => {
                    problems.extend(wish(request, prepared, platform).problems(place, error.to_string(), None).0)
                }
            }
        }
        if problems.is_empty() { Ok(images) } else { Err(BuildError::Dockerfile(dockerfile::Problems(problems))) }
    }

    /// The image that `plan` would build, where it is there already.
    fn find(&self, name: &str, plan: &Plan) -> Result<Option<Built>, BuildError> {
        let reference = coracle_registry::Reference::Tag(plan.tag.clone());
        let Some(manifest) = self.store.manifest(name, &reference)? else { return Ok(None) };
        let Ok(image) = BaseImage::from_store(&self.store, manifest.digest, &manifest.content) else { return Ok(None) };
        // A collector that was too eager must not leave us with an image that cannot run.
        if image.layers.iter().any(|layer| self.store.blob_size_bytes(&layer.digest).is_none()) {
            return Ok(None);
        }
        let Ok(document) = serde_json::from_slice::<ImageDocument>(&image.config) else { return Ok(None) };
        let size_bytes = image.layers.iter().map(|layer| layer.size_bytes).sum();
        Ok(Some(Built {
            digest: manifest.digest,
            tag: plan.tag.clone(),
            config: document.config,
            size_bytes,
            reused: true,
        }))
    }
}

fn wish<'a>(request: &'a Request, prepared: &'a Prepared, platform: &'a str) -> Wish<'a> {
    Wish {
        file: &request.dockerfile,
        text: &prepared.text,
        dockerfile: &prepared.parsed,
        args: &request.args,
        target: request.target.as_deref(),
        platform,
    }
}

fn read_text(context: &dyn Context, path: &str) -> Result<String, BuildError> {
    let mut text = String::new();
    let input = context.open(path).map_err(BuildError::Context)?;
    input.take(LONGEST_TEXT_BYTES).read_to_string(&mut text).map_err(BuildError::Context)?;
    Ok(text)
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(BuildError::Internal(error.to_string())))
}

fn short(digest: &Digest) -> String {
    format!("sha256:{}", &digest.hex()[..12])
}

fn human(took: Duration) -> String {
    match took.as_millis() {
        millis if millis < 1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

/// What all steps of one build share.
struct Shared {
    builder: Builder,
    request: Request,
    images: HashMap<String, BaseImage>,
    plan: Plan,
    files: ContextFiles,
    layers: Layers,
    scratch: Arc<Scratch>,
    report: Report,
}

/// A stage that is done.
#[derive(Debug, Clone)]
struct Executed {
    layers: Vec<BaseLayer>,
    history: Vec<History>,
}

struct Execution {
    shared: Arc<Shared>,
    done: HashMap<usize, Arc<Executed>>,
}

impl Execution {
    /// Does stage `number`, and first what it stands on.
    fn stage(&mut self, number: usize) -> BoxFuture<'_, Result<Arc<Executed>, BuildError>> {
        Box::pin(async move {
            if let Some(done) = self.done.get(&number) {
                return Ok(done.clone());
            }
            let shared = self.shared.clone();
            let stage = &shared.plan.stages[&number];
            let mut executed = match &stage.base {
                Base::Stage(other) => Executed::clone(&*self.stage(*other).await?),
                Base::Scratch => Executed { layers: Vec::new(), history: Vec::new() },
                Base::Image(reference) => {
                    let image = &shared.images[reference];
                    let document: ImageDocument = serde_json::from_slice(&image.config).unwrap_or_default();
                    Executed { layers: image.layers.clone(), history: document.history }
                }
            };
            shared.say(stage.number, &stage.place.text, "");
            let mut results = Vec::new();
            for action in &stage.actions {
                let layer = self.action(action, &executed.layers).await?;
                executed.layers.extend(layer.clone());
                results.push(layer);
            }
            for (text, action) in &stage.history {
                let empty = action.is_none_or(|action| results[action].is_none());
                executed.history.push(History::of(text, empty));
            }
            let executed = Arc::new(executed);
            self.done.insert(number, executed.clone());
            Ok(executed)
        })
    }

    /// Does one step on top of `below`: its layer, where it leaves one.
    async fn action(&mut self, action: &Action, below: &[BaseLayer]) -> Result<Option<BaseLayer>, BuildError> {
        let begun = Instant::now();
        let shared = self.shared.clone();
        if let Some(cached) = shared.builder.cache().get(&action.key, &shared.builder.store, &shared.request.name) {
            shared.say(action.number, &action.place.text, " ... cached");
            return Ok(cached);
        }
        let layer = match &action.kind {
            ActionKind::Run(run) => {
                shared.say(action.number, &action.place.text, "");
                let layer = shared.run(action, run, below).await?;
                shared.say(action.number, "done in", &format!(" {}", human(begun.elapsed())));
                Some(layer)
            }
            ActionKind::Copy(copy) => {
                let origin = match &copy.from {
                    Some(Base::Stage(other)) => Some(self.stage(*other).await?.layers.clone()),
                    Some(Base::Image(reference)) => Some(shared.images[reference].layers.clone()),
                    Some(Base::Scratch) | None => None,
                };
                let (work, copy, below, action) = (shared.clone(), copy.clone(), below.to_vec(), action.clone());
                let layer = blocking(move || work.copy(&action, &copy, origin.as_deref(), &below)).await?;
                Some(layer)
            }
            ActionKind::Workdir(path) => {
                let (work, path, below, action) = (shared.clone(), path.clone(), below.to_vec(), action.clone());
                blocking(move || work.workdir(&action, &path, &below)).await?
            }
        };
        if !matches!(action.kind, ActionKind::Run(_)) {
            shared.say(action.number, &action.place.text, &format!(" ... {}", human(begun.elapsed())));
        }
        shared.builder.cache().put(&action.key, layer.as_ref(), &shared.scratch);
        Ok(layer)
    }
}

impl Shared {
    fn say(&self, number: usize, text: &str, end: &str) {
        (self.report)(format!("[{number}/{}] {text}{end}", self.plan.total));
    }

    fn refuse(&self, action: &Action, detail: impl Into<String>) -> BuildError {
        BuildError::Step {
            file: self.request.dockerfile.clone(),
            place: Box::new(action.place.clone()),
            detail: detail.into(),
            output: Vec::new(),
        }
    }

    fn copy(
        &self,
        action: &Action,
        copy: &CopyAction,
        origin: Option<&[BaseLayer]>,
        below: &[BaseLayer],
    ) -> Result<BaseLayer, BuildError> {
        let failed = |error: std::io::Error| self.refuse(action, error.to_string());
        let view = self.layers.view(below).map_err(failed)?;
        let mut sources = match origin {
            None => select::find(&self.files, &copy.sources, &copy.exclude),
            Some(layers) => {
                let view = self.layers.view(layers).map_err(failed)?;
                let called = match &copy.from {
                    Some(Base::Image(reference)) => format!("image {reference}"),
                    _ => "that stage".into(),
                };
                select::find(&ViewFiles { view: &view, called }, &copy.sources, &copy.exclude)
            }
        }
        .map_err(|(message, hint)| {
            self.refuse(action, hint.map_or(message.clone(), |hint| format!("{message} ({hint})")))
        })?;
        if copy.unpack {
            sources = place::unpack(sources, &|content, size_bytes| self.open(content, size_bytes))
                .map_err(|why| self.refuse(action, why))?;
        }
        for (name, content) in &copy.inline {
            let size_bytes = content.len() as u64;
            let content = Content::Bytes(content.clone().into_bytes());
            let found = Found { kind: FoundKind::File { content, size_bytes }, mode: 0o644 };
            sources.push(Source { name: name.clone(), found, inside: BTreeMap::new() });
        }
        let owner = match &copy.chown {
            Some(chown) => place::owner(chown, &view, &self.layers).map_err(|why| self.refuse(action, why))?,
            None => Owner::default(),
        };
        let mut placing = Placing { view: &view, owner, mode: copy.chmod, layer: BTreeMap::new() };
        placing.copy(&sources, &copy.destination).map_err(|why| self.refuse(action, why))?;
        let layer = archive::write(&placing.layer, &*self.request.context, &self.layers)?;
        Ok(layer)
    }

    fn open(&self, content: &Content, size_bytes: u64) -> std::io::Result<Box<dyn std::io::Read>> {
        Ok(match content {
            Content::Context(path) => self.request.context.open(path)?,
            Content::Layer(layer, offset) => Box::new(self.layers.open(layer, *offset, size_bytes)?),
            Content::Bytes(bytes) => Box::new(std::io::Cursor::new(bytes.clone())),
        })
    }

    /// Makes the working directory, where it is not there.
    fn workdir(&self, action: &Action, path: &str, below: &[BaseLayer]) -> Result<Option<BaseLayer>, BuildError> {
        let view = self.layers.view(below).map_err(|error| self.refuse(action, error.to_string()))?;
        let mut placing = Placing { view: &view, owner: Owner::default(), mode: None, layer: BTreeMap::new() };
        placing.directory(path).map_err(|why| self.refuse(action, why))?;
        if placing.layer.is_empty() {
            return Ok(None);
        }
        let layer = archive::write(&placing.layer, &*self.request.context, &self.layers)?;
        Ok(Some(layer))
    }

    async fn run(&self, action: &Action, run: &RunAction, below: &[BaseLayer]) -> Result<BaseLayer, BuildError> {
        let Some(sandbox) = &self.builder.sandbox else {
            return Err(self.refuse(action, "commands cannot be run here: this machine lacks what containers need"));
        };
        if below.is_empty() {
            return Err(
                self.refuse(action, "there is nothing in the image that could run it: FROM scratch has no shell")
            );
        }
        let overlay = self.scratch.path().join(format!("run{}", action.number));
        let (upper, work) = (overlay.join("upper"), overlay.join("work"));
        for directory in [&upper, &work] {
            fs::create_dir_all(directory).map_err(BuildError::Context)?;
        }
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let output = {
            let (last, report) = (last.clone(), self.report.clone());
            Arc::new(move |line: &str| {
                let mut last = last.lock();
                if last.len() == SHOWN_LINES {
                    last.pop_front();
                }
                last.push_back(line.to_owned());
                report(format!("  | {line}"));
            })
        };
        let step = RunStep {
            layers: below.to_vec(),
            upper: upper.clone(),
            work,
            argv: run.argv.clone(),
            env: run.env.clone(),
            cwd: run.cwd.clone(),
            user: run.user.clone(),
            offline: run.offline,
            output,
            timeout: self.builder.limits.step,
        };
        let layers = self.layers.clone();
        blocking(move || Ok(layers.commit(|_| Ok(()))?)).await?;
        let outcome = sandbox.run(step).await.map_err(|error| self.refuse(action, error.to_string()))?;
        let detail = match outcome {
            RunOutcome::Exited(0) => {
                let layers = self.layers.clone();
                return blocking(move || Ok(archive::write_upper(&layers, &upper)?)).await;
            }
            RunOutcome::Exited(code) => format!("exited with {code}"),
            RunOutcome::Killed(signal) => format!("was killed by signal {signal}"),
            RunOutcome::TimedOut => format!("took longer than {} and was killed", human(self.builder.limits.step)),
        };
        let output = last.lock().iter().cloned().collect();
        Err(BuildError::Step {
            file: self.request.dockerfile.clone(),
            place: Box::new(action.place.clone()),
            detail,
            output,
        })
    }

    /// Writes the configuration and the manifest.
    fn finish(&self, executed: &Executed) -> Result<Built, BuildError> {
        let name = self.request.name.as_str();
        let target = &self.plan.stages[&self.plan.target];
        let mut document = ImageDocument::empty(&platform());
        document.stamp();
        document.config = target.config.clone();
        document.history = executed.history.clone();
        document.rootfs.diff_ids = executed.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let config = serde_json::to_vec(&document).expect("a configuration is JSON");
        let layers: Vec<_> = executed
            .layers
            .iter()
            .map(|layer| json!({"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size_bytes}))
            .collect();
        let digest = self.layers.commit(|batch| {
            for layer in &executed.layers {
                batch.link_blob(name, &layer.digest)?;
            }
            let (config_digest, config_size) = batch.put_blob(name, &mut config.as_slice())?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": {"mediaType": CONFIG_TYPE, "digest": config_digest, "size": config_size},
                "layers": layers,
            });
            batch.put_manifest(name, Some(&self.plan.tag), OCI_MANIFEST, manifest.to_string().as_bytes())
        })?;
        let size_bytes = executed.layers.iter().map(|layer| layer.size_bytes).sum();
        Ok(Built { digest, tag: self.plan.tag.clone(), config: document.config, size_bytes, reused: false })
    }
}
