//! Helm charts to manifests, as Helm renders them: charts and values in, documents or a located error out.
//!
//! [`template`] does what `helm template` does. It reads no cluster and knows no clock: both come in through [`World`].
//! Behaviour is Helm 4's or Helm 3's, by [`Flavour`]. A [`Chart`] is loaded once ([`load()`] from the disk, [`load::archive`]
//! from bytes, [`load::files`] from files at hand) and rendered any number of times; its templates are parsed once.
//!
//! ```
//! use coracle_helm::*;
//!
//! /// It is always the same second, and chance has no choice.
//! struct Still(NoCluster);
//!
//! impl World for Still {
//!     fn now(&mut self) -> (i64, u32) {
//!         (1_700_000_000, 0)
//!     }
//!     fn random(&mut self, buffer: &mut [u8]) {
//!         buffer.fill(7);
//!     }
//!     fn lookup(&mut self) -> &mut dyn Lookup {
//!         &mut self.0
//!     }
//! }
//!
//! let file = |name: &str, text: &str| File { name: name.to_owned(), data: text.as_bytes().into() };
//! let files = vec![
//!     file("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
//!     file("values.yaml", "colour: blue\n"),
//!     file("templates/a.yaml", "kind: Paint\nname: {{ .Release.Name }}\ncolour: {{ .Values.colour | upper }}\n"),
//! ];
//! let mut warnings = Warnings::default();
//! let chart = load::files(files, Flavour::Helm4, &mut warnings).unwrap();
//! let request = Request {
//!     release: Release { name: "shop".into(), namespace: "default".into(), is_upgrade: false, revision: 1 },
//!     values: values::read("colour: red\n", Flavour::Helm4).unwrap(),
//!     capabilities: Capabilities::default_of(Flavour::Helm4),
//!     flavour: Flavour::Helm4,
//!     skip_schema: false,
//! };
//! let output = template(&chart, &request, &mut Still(NoCluster), &mut warnings).unwrap();
//! assert_eq!(output.manifests[0].content, "kind: Paint\nname: shop\ncolour: RED\n");
//! ```

mod chart;
mod dependencies;
mod engine;
mod excerpt;
mod glob;
mod json;
pub mod load;
mod manifest;
mod metadata;
mod schema;
mod template;
pub mod values;

pub use chart::{Chart, File};
pub use engine::{
    Capabilities, KubeVersion, Lookup, NoCluster, Place, Release, RenderError, World, on_deep_stack, on_main_stack,
    release_name,
};
pub use excerpt::Excerpt;
pub use load::{LoadError, load};
pub use manifest::{Hook, Manifest};
pub use metadata::{Dependency, Import, Maintainer, Metadata};
pub use template::{Error, Output, Request, Shown, template};

/// Whose behaviour: they differ in blank lines, in some ordering, in nulls of chart defaults, and in how errors read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Flavour {
    #[default]
    Helm4,
    Helm3,
}

impl Flavour {
    /// The version whose behaviour this is.
    pub const fn version(self) -> &'static str {
        match self {
            Flavour::Helm4 => "v4.3.1",
            Flavour::Helm3 => "v3.22.0",
        }
    }

    const fn kube_version(self) -> &'static str {
        match self {
            Flavour::Helm4 => "v1.37.0",
            Flavour::Helm3 => "v1.37.0",
        }
    }

    const fn values_type(self) -> &'static str {
        match self {
            Flavour::Helm4 => "common.Values",
            Flavour::Helm3 => "chartutil.Values",
        }
    }

    const fn capabilities_type(self) -> &'static str {
        match self {
            Flavour::Helm4 => "*common.Capabilities",
            Flavour::Helm3 => "*chartutil.Capabilities",
        }
    }

    const fn kube_version_type(self) -> &'static str {
        match self {
            Flavour::Helm4 => "common.KubeVersion",
            Flavour::Helm3 => "chartutil.KubeVersion",
        }
    }

    const fn version_set_type(self) -> &'static str {
        match self {
            Flavour::Helm4 => "common.VersionSet",
            Flavour::Helm3 => "chartutil.VersionSet",
        }
    }
}

/// A text that is not the YAML it should be; the words are those of Go's library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    message: String,
    /// The line the message names.
    line: Option<Box<Excerpt>>,
}

impl YamlError {
    fn new(message: impl Into<String>) -> YamlError {
        YamlError { message: message.into(), line: None }
    }

    /// What is wrong with `text`.
    fn within(text: &str, message: String) -> YamlError {
        YamlError { line: Excerpt::of_yaml("", text, &message).map(Box::new), message }
    }

    /// The line it is about, in the file of that name.
    fn excerpt(&self, file: &str) -> Option<Excerpt> {
        let line = self.line.as_deref()?.clone();
        Some(Excerpt { file: file.to_owned(), ..line })
    }
}

/// What a person should know although it stops nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warnings(Vec<String>);

impl Warnings {
    fn add(&mut self, warning: impl Into<String>) {
        self.0.push(warning.into());
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// An error of the file system in Go's words.
fn io_error_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "is a directory".to_owned(),
        _ => error.to_string(),
    }
}
