//! What a caller may decide about a build, and the doors to what lies outside the tree.

use std::rc::Rc;

use coracle_yaml::Node;

use crate::files::Files;
use crate::gitref::GitReference;

/// How a build orders its documents, where the kustomization does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// By kind, so that what others need comes first: what `kustomize build` does.
    #[default]
    Legacy,
    /// As they were read.
    Fifo,
}

/// Which files a kustomization may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoadRestriction {
    /// Those in or below its own directory.
    #[default]
    RootOnly,
    /// Any in the tree.
    None,
}

#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    pub order: Order,
    pub load: LoadRestriction,
    /// Mark every object as managed by kustomize.
    pub managed_by_label: bool,
    /// Renders `helmCharts`; without it they are refused.
    pub charts: Option<&'a dyn Charts>,
    /// Fetches remote resources; without it they are refused.
    pub remote: Option<&'a dyn Remote>,
}

/// A chart to render, as a kustomization describes it.
#[derive(Debug, Clone, Default)]
pub struct ChartRequest {
    pub name: String,
    pub version: String,
    pub repository: String,
    /// The directory that holds the chart's directory, in the tree.
    pub home: String,
    pub release_name: String,
    pub namespace: String,
    pub name_template: String,
    /// The values, with the kustomization's own merged in.
    pub values: Option<Node>,
    /// Values files on top of these, by path in the tree, with their content.
    pub values_files: Vec<(String, Vec<u8>)>,
    pub include_crds: bool,
    pub skip_hooks: bool,
    pub skip_tests: bool,
    pub api_versions: Vec<String>,
    pub kube_version: String,
    pub devel: bool,
}

/// Who renders Helm charts.
pub trait Charts {
    /// The manifests of a chart as `helm template` prints them, or why there are none.
    fn render(&self, files: &dyn Files, request: &ChartRequest) -> Result<String, String>;
}

/// A repository that was fetched: its files, and a name for messages.
pub struct Checkout {
    pub files: Rc<dyn Files>,
    pub name: String,
}

/// Who fetches what lies outside the tree.
pub trait Remote {
    /// The content of a file by its URL.
    fn file(&self, url: &str) -> Result<Vec<u8>, String>;
    fn repository(&self, reference: &GitReference) -> Result<Checkout, String>;
}
