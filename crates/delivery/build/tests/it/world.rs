//! A directory to build from, a store, and a sandbox that does what simple commands say.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use coracle_build::{
    BuildError, Builder, Built, DirectoryContext, ImageDocument, Limits, Request, RunOutcome, RunStep, Sandbox,
    SandboxError, StoreImages,
};
use coracle_registry::{Reference, Store};
use futures::future::BoxFuture;
use parking_lot::Mutex;

pub const HOST: &str = "registry.coracle.internal";

/// Understands `write PATH TEXT`, `delete PATH`, `print TEXT` and `fail CODE`, joined by ` && `. Keeps what it was asked.
#[derive(Default)]
pub struct Pretending {
    pub steps: Mutex<Vec<String>>,
}

impl Sandbox for Pretending {
    fn run(&self, step: RunStep) -> BoxFuture<'_, Result<RunOutcome, SandboxError>> {
        self.steps.lock().push(format!(
            "{:?} in {} as {:?} with {:?} on {} layers",
            step.argv,
            step.cwd,
            step.user,
            step.env,
            step.layers.len()
        ));
        let mut outcome = RunOutcome::Exited(0);
        for command in step.argv.last().unwrap().trim().split(" && ") {
            let words: Vec<&str> = command.splitn(3, ' ').collect();
            match words.as_slice() {
                ["write", path, text] => {
                    let path = step.upper.join(path.trim_start_matches('/'));
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, text).unwrap();
                }
                ["delete", path] => {
                    let path = step.upper.join(path.trim_start_matches('/'));
                    let device = rustix::fs::makedev(0, 0);
                    rustix::fs::mknodat(
                        rustix::fs::CWD,
                        path,
                        rustix::fs::FileType::CharacterDevice,
                        rustix::fs::Mode::empty(),
                        device,
                    )
                    .unwrap();
                }
                ["print", text @ ..] => (step.output)(&text.join(" ")),
                ["fail", code] => outcome = RunOutcome::Exited(code.parse().unwrap()),
                other => panic!("the sandbox does not understand {other:?}"),
            }
        }
        Box::pin(std::future::ready(Ok(outcome)))
    }
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub store: Store,
    pub sandbox: Arc<Pretending>,
    pub lines: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path().join("registry")).unwrap();
        fs::create_dir(directory.path().join("context")).unwrap();
        Self { directory, store, sandbox: Arc::default(), lines: Arc::default() }
    }

    pub fn context(&self) -> PathBuf {
        self.directory.path().join("context")
    }

    /// Writes a file of the context.
    pub fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.context().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub fn builder(&self) -> Builder {
        Builder {
            store: self.store.clone(),
            images: Arc::new(StoreImages::new(self.store.clone(), HOST)),
            sandbox: Some(self.sandbox.clone()),
            cache_dir: self.directory.path().join("cache"),
            limits: Limits::default(),
        }
    }

    pub fn request(&self, name: &str) -> Request {
        Request::new(name, Arc::new(DirectoryContext::new(self.context())))
    }

    pub fn run(&self, builder: &Builder, request: Request) -> Result<Built, BuildError> {
        let lines = self.lines.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(builder.build(request, Arc::new(move |line| lines.lock().push(line))))
    }

    pub fn try_build(&self, dockerfile: &str) -> Result<Built, BuildError> {
        self.file("Dockerfile", dockerfile);
        self.run(&self.builder(), self.request("hello"))
    }

    pub fn build(&self, dockerfile: &str) -> Built {
        self.try_build(dockerfile).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn fails(&self, dockerfile: &str) -> String {
        format!("{}\n", self.try_build(dockerfile).expect_err("the build fails"))
    }

    /// What was said since last asked, times left out.
    pub fn said(&self) -> String {
        let mut out = String::new();
        for line in std::mem::take(&mut *self.lines.lock()) {
            let mut words: Vec<&str> = line.split(' ').collect();
            if let [.., number, "ms" | "s"] = words.as_slice()
                && number.parse::<f64>().is_ok()
            {
                words.truncate(words.len() - 2);
                words.push("TIME");
            }
            if let ["image", digest, ..] = words.as_mut_slice() {
                *digest = "DIGEST";
            }
            let shown = words.join(" ");
            out += &format!("{shown}\n");
        }
        out
    }

    pub fn document(&self, built: &Built) -> ImageDocument {
        serde_json::from_slice(
            &coracle_build::BaseImage::from_store(&self.store, built.digest, &self.manifest(built)).unwrap().config,
        )
        .unwrap()
    }

    fn manifest(&self, built: &Built) -> Vec<u8> {
        self.store.manifest("hello", &Reference::Digest(built.digest)).unwrap().unwrap().content
    }

    /// The layers of an image, entry by entry.
    pub fn layers(&self, built: &Built) -> String {
        let image = coracle_build::BaseImage::from_store(&self.store, built.digest, &self.manifest(built)).unwrap();
        image.layers.iter().map(|layer| show(&self.store.blob_path(&layer.digest))).collect::<Vec<_>>().join("--\n")
    }
}

fn show(path: &Path) -> String {
    let mut out = String::new();
    for entry in tar::Archive::new(fs::File::open(path).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let kind = match header.entry_type() {
            tar::EntryType::Directory => "d".to_owned(),
            tar::EntryType::Symlink => format!("-> {}", entry.link_name().unwrap().unwrap().display()),
            _ => {
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                format!("{text:?}")
            }
        };
        out += &format!(
            "{:o} {}:{} {} {kind}\n",
            header.mode().unwrap(),
            header.uid().unwrap(),
            header.gid().unwrap(),
            entry.path().unwrap().display()
        );
    }
    out
}

pub fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
