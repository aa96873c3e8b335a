//! Images on disk: what is known by which name, with which configuration and layers.

mod archive;
mod layers;
mod pull;
mod unpack;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

pub use layers::LayerError;
pub use pull::{Progress, PullCredentials, PullOptions};
pub use users::UserError;

use self::layers::Layers;
use crate::{
    files,
    reference::{Digest, Reference, ReferenceError},
    registry::{Client, ManifestError, RegistryError},
    spec::User,
};

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// `ErrImagePull`.
    #[error("failed to pull and unpack image \"{reference}\": {source}")]
    Pull { reference: String, source: Box<PullError> },
    #[error("failed to load {path}: {reason}")]
    Load { path: String, reason: String },
    /// `InvalidImageName`.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error("image store {path}: {source}")]
    Store { path: String, source: io::Error },
}

/// The second half of what a failed pull says.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("failed to resolve reference \"{reference}\": {source}")]
    Resolve { reference: String, source: RegistryError },
    #[error("failed to copy: {0}")]
    Fetch(#[from] RegistryError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("the image's configuration cannot be used: {0}")]
    Config(String),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("writing the image store: {0}")]
    Io(#[from] io::Error),
}

/// The parts of an image's configuration that matter for running it. Names as in Go's JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub stop_signal: Option<String>,
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// `8080/tcp` to nothing.
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
}

fn null_is_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(default)]
    config: Option<ImageConfig>,
    rootfs: RootFs,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// An image that can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of its configuration.
    pub id: String,
    /// `registry/repository@sha256:…`: what a container's status shows as `imageID`. Empty for images that were loaded from a file
    /// without one.
    pub digest: String,
    /// All names it is known by, tags and digests.
    pub references: Vec<String>,
    /// Diff ids, lowest first.
    pub layers: Vec<String>,
    pub config: ImageConfig,
    /// Of its packed layers.
    pub size_bytes: u64,
    pub pulled_at: Timestamp,
}

/// What is on disk for one name.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    version: u32,
    reference: Reference,
    /// Of the manifest or index that the name led to.
    digest: Option<Digest>,
    config: Digest,
    size_bytes: u64,
    pulled_at: Timestamp,
}

const RECORD_VERSION: u32 = 1;

struct Config {
    config: ImageConfig,
    diff_ids: Vec<Digest>,
}

#[derive(Default)]
struct Known {
    records: BTreeMap<Reference, Record>,
    configs: BTreeMap<Digest, Arc<Config>>,
}

struct Inner {
    root: PathBuf,
    layers: Layers,
    registry: Client,
    known: RwLock<Known>,
    /// Held for reading by whoever adds, for writing by whoever clears up.
    clearing: tokio::sync::RwLock<()>,
}

/// All images of one data directory.
#[derive(Clone)]
pub struct Images {
    inner: Arc<Inner>,
}

/// What garbage collection took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    pub images: usize,
    pub layers: usize,
}

impl Images {
    pub(crate) fn open(root: PathBuf, mirrors: BTreeMap<String, String>) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Store { path: root.display().to_string(), source };
        for directory in ["configs", "records"] {
            fs::create_dir_all(root.join(directory)).map_err(failed)?;
        }
        let layers = Layers::open(&root).map_err(failed)?;
        let known = RwLock::new(Known::read(&root, &layers).map_err(failed)?);
        let registry = Client::new(mirrors);
        Ok(Self { inner: Arc::new(Inner { root, layers, registry, known, clearing: tokio::sync::RwLock::default() }) })
    }

    pub(crate) fn layers_dir(&self) -> &Path {
        self.inner.layers.directory()
    }

    /// For whoever needs manifests and packed blobs themselves.
    pub fn registry(&self) -> &Client {
        &self.inner.registry
    }

    /// Present already, with all its layers? By tag or digest as given, or by any tag of the same repository with that digest.
    pub fn find(&self, reference: &Reference) -> Option<Image> {
        let known = self.inner.known.read();
        let record = known.records.get(&reference.clone().without_idle_tag()).or_else(|| {
            let digest = reference.digest.as_ref()?;
            let same = |r: &&Record| r.digest.as_ref() == Some(digest) && r.reference.name() == reference.name();
            known.records.values().find(same)
        })?;
        let image = known.image(record)?;
        known.configs.get(&record.config)?.diff_ids.iter().all(|layer| self.inner.layers.has(layer)).then_some(image)
    }

    /// By the digest of its configuration, as a container's record has it.
    pub fn find_id(&self, id: &str) -> Option<Image> {
        let known = self.inner.known.read();
        known.image(known.records.values().find(|record| record.config.as_str() == id)?)
    }

    /// Each image once.
    pub fn list(&self) -> Vec<Image> {
        let known = self.inner.known.read();
        let mut seen = BTreeSet::new();
        known
            .records
            .values()
            .filter(|record| seen.insert(&record.config))
            .filter_map(|record| known.image(record))
            .collect()
    }

    /// Forgets one name. The layers go with the next garbage collection.
    pub fn remove(&self, reference: &Reference) -> Result<bool, ImageError> {
        let reference = reference.clone().without_idle_tag();
        let removed = self.inner.known.write().records.remove(&reference);
        let path = record_path(&self.inner.root, &reference);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ImageError::Store { path: path.display().to_string(), source })
            }
            _ => Ok(removed.is_some()),
        }
    }

    /// Removes the images `keep` does not want, and then all layers that neither an image nor `layers_in_use` has.
    pub(crate) async fn collect_garbage(
        &self,
        keep: impl Fn(&Image) -> bool,
        layers_in_use: BTreeSet<String>,
    ) -> Result<Collected, ImageError> {
        let _nobody_adds = self.inner.clearing.write().await;
        let mut collected = Collected::default();
        for image in self.list().iter().filter(|image| !keep(image)) {
            for reference in &image.references {
                self.remove(&reference.parse()?)?;
            }
            let diff_ids: Vec<Digest> = image.layers.iter().filter_map(|layer| layer.parse().ok()).collect();
            self.inner.layers.forget_use(&diff_ids);
            collected.images += 1;
        }
        let mut wanted = layers_in_use;
        wanted.extend(self.list().into_iter().flat_map(|image| image.layers));
        let images = self.clone();
        let cleared = tokio::task::spawn_blocking(move || {
            images.drop_unnamed_configs()?;
            images.inner.layers.collect(&wanted)
        });
        let failed = |source| ImageError::Store { path: self.inner.root.display().to_string(), source };
        collected.layers = cleared.await.map_err(|e| failed(io::Error::other(e)))?.map_err(failed)?;
        Ok(collected)
    }

    fn drop_unnamed_configs(&self) -> io::Result<()> {
        let mut known = self.inner.known.write();
        let named: BTreeSet<Digest> = known.records.values().map(|record| record.config.clone()).collect();
        known.configs.retain(|digest, _| named.contains(digest));
        for entry in fs::read_dir(self.inner.root.join("configs"))?.flatten() {
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy()).parse::<Digest>();
            if digest.is_ok_and(|digest| !named.contains(&digest)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes a single layer present, from a blob at hand; no work where it is there. For builds.
    pub async fn unpack_layer(&self, diff_id: &Digest, blob: impl Read + Send + 'static) -> Result<(), LayerError> {
        let _no_clearing = self.inner.clearing.read().await;
        let _turn = self.inner.layers.turn(diff_id).await;
        if self.inner.layers.has(diff_id) {
            return Ok(());
        }
        let (images, diff_id) = (self.clone(), diff_id.clone());
        let made = tokio::task::spawn_blocking(move || images.inner.layers.make(&diff_id, None, blob)).await;
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map(drop)
    }

    pub fn has_layer(&self, diff_id: &Digest) -> bool {
        self.inner.layers.has(diff_id)
    }

    /// Who `user` (`name`, `uid`, either with `:group`; empty is the image's own, then root) is inside the image.
    pub fn resolve_user(&self, image: &Image, user: Option<&str>) -> Result<User, UserError> {
        let user = user.filter(|user| !user.is_empty()).unwrap_or(&image.config.user);
        self.user_of_layers(&image.layers, user)
    }

    pub(crate) fn user_of_layers(&self, layers: &[String], user: &str) -> Result<User, UserError> {
        let directories: Vec<PathBuf> =
            layers.iter().rev().filter_map(|layer| Some(self.inner.layers.path(&layer.parse().ok()?))).collect();
        users::resolve(&directories, user)
    }

    /// Makes an image known by these names. Its layers must be there.
    fn record(&self, record: &Record, config_bytes: &[u8], names: Vec<Reference>) -> Result<Image, PullError> {
        let config = Arc::new(parse_config(config_bytes)?);
        files::replace(&self.inner.root.join("configs").join(record.config.hex()), config_bytes)?;
        let mut known = self.inner.known.write();
        known.configs.insert(record.config.clone(), config);
        for reference in names {
            let named = Record { reference: reference.clone(), ..record.clone() };
            files::replace_json(&record_path(&self.inner.root, &reference), &named)?;
            known.records.insert(reference, named);
        }
        known.image(record).ok_or_else(|| PullError::Config("it vanished while it was recorded".into()))
    }

    /// Lets the disk catch up without anybody waiting.
    fn sync_soon(&self) {
        let images = self.clone();
        coracle_tasks::spawn("image-sync", async move {
            let synced = tokio::task::spawn_blocking(move || images.inner.layers.sync()).await;
            if let Ok(Err(error)) = synced {
                tracing::warn!(%error, "new layers may not have reached the disk; after a power cut they are made again");
            }
        });
    }
}

impl Known {
    fn read(root: &Path, layers: &Layers) -> io::Result<Self> {
        let mut known = Self::default();
        for entry in fs::read_dir(root.join("records"))?.flatten() {
            let path = entry.path();
            let record = match files::read_json::<Record>(&path) {
                Ok(Some(record)) if record.version == RECORD_VERSION => record,
                // Cut off by a power cut, or of another time: the image is pulled again when it is needed.
                _ => {
                    fs::remove_file(&path)?;
                    continue;
                }
            };
            if !known.configs.contains_key(&record.config) {
                let bytes = fs::read(root.join("configs").join(record.config.hex())).unwrap_or_default();
                let usable = Digest::of(&bytes) == record.config;
                match parse_config(&bytes) {
                    Ok(config) if usable && config.diff_ids.iter().all(|layer| layers.path(layer).is_dir()) => {
                        known.configs.insert(record.config.clone(), Arc::new(config));
                    }
                    _ => {
                        fs::remove_file(&path)?;
                        continue;
                    }
                }
            }
            known.records.insert(record.reference.clone(), record);
        }
        Ok(known)
    }

    fn image(&self, record: &Record) -> Option<Image> {
        let config = self.configs.get(&record.config)?;
        let names = self
            .records
            .values()
            .filter(|other| other.config == record.config)
            .map(|other| other.reference.to_string());
        Some(Image {
            id: record.config.to_string(),
            digest: record
                .digest
                .as_ref()
                .map(|digest| format!("{}@{digest}", record.reference.name()))
                .unwrap_or_default(),
            references: names.collect(),
            layers: config.diff_ids.iter().map(Digest::to_string).collect(),
            config: config.config.clone(),
            size_bytes: record.size_bytes,
            pulled_at: record.pulled_at,
        })
    }
}

impl Reference {
    /// `name:tag@digest` is kept as `name@digest`: the tag decides nothing.
    fn without_idle_tag(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        }
        self
    }
}

fn record_path(root: &Path, reference: &Reference) -> PathBuf {
    root.join("records").join(Digest::of(reference.to_string().as_bytes()).hex())
}

fn parse_config(bytes: &[u8]) -> Result<Config, PullError> {
    let file: ConfigFile = serde_json::from_slice(bytes).map_err(|error| PullError::Config(error.to_string()))?;
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let fits =
        (file.os.is_empty() || file.os == "linux") && (file.architecture.is_empty() || file.architecture == here);
    if !fits {
        return Err(PullError::Config(format!(
            "it is for {}/{}, this node is linux/{here}",
            file.os, file.architecture
        )));
    }
    Ok(Config { config: file.config.unwrap_or_default(), diff_ids: file.rootfs.diff_ids })
}
