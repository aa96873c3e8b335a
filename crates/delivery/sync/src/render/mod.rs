//! From the files of a commit to the objects to deploy.
//!
//! [`plan`] finds out what a repository holds, without building anything; [`Plan::finish`] gives the objects once the
//! image is there, where one is wanted.

mod chart;
mod directory;
mod generated;
mod image;
mod kustomization;
mod preview;
mod settings;

use crate::application::HelmSource;
use crate::builder::Image;
use crate::manifest::Manifest;
use crate::names::Environment;
use crate::source::{SourceError, Sources, Tree};

pub(crate) use image::images;
pub use settings::{FILE as SETTINGS_FILE, Settings};

/// The file that says how to build the app.
pub const DOCKERFILE: &str = "Dockerfile";
/// Where manifests lie when they are not at the root, in the order they are looked for.
const DIRECTORIES: [&str; 4] = ["deploy", "k8s", "kubernetes", "manifests"];

/// Why files are not objects. `file` is empty when it is no single file's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct RenderError {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl RenderError {
    fn whole(message: impl Into<String>) -> Self {
        RenderError { file: String::new(), line: 0, column: 0, message: message.into() }
    }

    fn text(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => self.message.clone(),
            (file, 0) => format!("{file}: {}", self.message),
            (file, line) => format!("{file}:{line}:{}: {}", self.column, self.message),
        }
    }
}

impl From<SourceError> for RenderError {
    fn from(error: SourceError) -> Self {
        RenderError::whole(error.to_string())
    }
}

/// What the objects of a repository are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    Helm,
    Kustomize,
    Directory,
    /// Made up from the Dockerfile and the settings file.
    Generated,
}

/// Where to look in the tree.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The directory; empty or `.` for the root, where the usual directories are looked through as well.
    pub path: String,
    pub recurse: bool,
    /// What the Application says of a chart.
    pub helm: Option<HelmSource>,
    /// The app: a chart's release, and the name whose image manifests mean the one built here by.
    pub app: String,
    /// Where a chart is told it is deployed to.
    pub namespace: String,
    /// What a chart is told the time is, in seconds and nanoseconds since 1970.
    pub now: (i64, u32),
}

/// What a commit holds.
#[derive(Debug)]
pub struct Plan {
    pub source_type: SourceType,
    /// Whether an image has to be there before the objects can be.
    pub wants_image: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Manifests(Vec<Manifest>),
    Settings(Settings),
}

/// Reads what is there to deploy. Bases of kustomizations in other repositories come from `sources`.
pub fn plan(tree: &dyn Tree, place: &Place, sources: Option<&dyn Sources>) -> Result<Plan, RenderError> {
    let looking = Looking { tree, paths: tree.paths()?, place, sources };
    let paths = &looking.paths;
    let has_dockerfile = paths.iter().any(|path| path == DOCKERFILE);
    let root = place.path.trim_matches('/').trim_start_matches("./");
    let at_root = root.is_empty() || root == ".";
    let found = if at_root {
        looking
            .within("", place.recurse, true)?
            .map_or_else(|| looking.in_usual_directories(), |found| Ok(Some(found)))?
    } else {
        looking.within(root, place.recurse, false)?
    };
    if let Some((source_type, manifests)) = found {
        let wants_image =
            has_dockerfile && manifests.iter().any(|manifest| image::is_used(&manifest.object, &place.app));
        return Ok(Plan { source_type, wants_image, content: Content::Manifests(manifests) });
    }
    if !at_root {
        return Err(RenderError::whole(format!("there are no manifests in {root}")));
    }
    if !has_dockerfile {
        let places = DIRECTORIES.join("/, ");
        let message = format!(
            "nothing to deploy: no Dockerfile, no kustomization.yaml and no manifests, neither at the root nor in {places}/"
        );
        return Err(RenderError::whole(message));
    }
    let settings = settings::read(tree)?;
    Ok(Plan { source_type: SourceType::Generated, wants_image: true, content: Content::Settings(settings) })
}

type Found = Option<(SourceType, Vec<Manifest>)>;

/// A search through a tree.
struct Looking<'l> {
    tree: &'l dyn Tree,
    paths: Vec<String>,
    place: &'l Place,
    sources: Option<&'l dyn Sources>,
}

impl Looking<'_> {
    fn in_usual_directories(&self) -> Result<Found, RenderError> {
        for directory in DIRECTORIES {
            let found = self.within(directory, true, false)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn within(&self, directory: &str, recurse: bool, only_objects: bool) -> Result<Found, RenderError> {
        let is_here = |name: &str| self.paths.iter().any(|path| *path == join(directory, name));
        if is_here(chart::FILE) {
            let manifests = chart::rendered(self.tree, &self.paths, directory, self.place)?;
            return Ok(Some((SourceType::Helm, manifests)));
        }
        if coracle_kustomize::FILE_NAMES.iter().any(|name| is_here(name)) {
            let manifests = kustomization::built(self.tree, directory, self.place, self.sources)?;
            return Ok(Some((SourceType::Kustomize, manifests)));
        }
        let manifests = directory::read(self.tree, &self.paths, directory, recurse, only_objects)?;
        Ok((!manifests.is_empty()).then_some((SourceType::Directory, manifests)))
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The files that stand for what is generated from a Dockerfile and the settings, as path and content. In a repository
/// they deploy the same, and can be changed at will. `exposed_ports` are the image's, the first one for requests.
pub fn eject(tree: &dyn Tree, app: &str, exposed_ports: &[u16]) -> Result<Vec<(String, String)>, RenderError> {
    Ok(generated::files(app, &settings::read(tree)?, exposed_ports))
}

impl Plan {
    /// The objects of this environment, with the built image in its place.
    pub fn finish(self, environment: &Environment, image: Option<&Image>) -> Vec<Manifest> {
        let mut manifests = match self.content {
            Content::Manifests(manifests) => manifests,
            Content::Settings(settings) => {
                let ports = image.map(|image| image.exposed_ports.as_slice()).unwrap_or_default();
                let objects = generated::objects(environment, &settings, ports);
                objects.into_iter().map(Manifest::generated).collect()
            }
        };
        for manifest in &mut manifests {
            if let Some(image) = image {
                image::replace(&mut manifest.object, &environment.app, &image.reference);
            }
            if self.source_type != SourceType::Generated {
                preview::adapt(&mut manifest.object, environment);
            }
        }
        manifests
    }
}

#[cfg(test)]
mod tests;
