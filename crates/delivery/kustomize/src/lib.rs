//! Kustomizations to manifests: a tree of files in, documents or a located error out.
//!
//! The order of work is kustomize's own: resources, generators, components, then the transformers, one after the other,
//! layer by layer from the innermost base outwards; at the very end names get their content hashes, references follow
//! the names they refer to, variables are filled in, and the documents are put in order. Where the original has quirks
//! that trees in use depend on, they are kept, and the comment at the place says so.
//!
//! The room knows no network and starts no process: what lies outside the tree comes in through [`Remote`], and Helm
//! charts through [`Charts`], most often [`helm::InProcess`].
//!
//! ```
//! use coracle_kustomize::{MemoryFiles, Options, build};
//!
//! let mut files = MemoryFiles::default();
//! files.insert("kustomization.yaml", "configMapGenerator:\n- name: colours\n  literals: [sky=blue]\n");
//! let documents = build(&files, ".", &Options::default()).unwrap();
//! assert!(documents.to_yaml().contains("name: colours-"));
//! ```

mod build;
mod config;
mod documents;
mod error;
mod fieldspec;
mod files;
mod folded;
mod generate;
mod gitref;
mod hash;
pub mod helm;
mod id;
mod jsonpatch;
mod load;
mod merge;
mod nameref;
mod options;
mod order;
mod origin;
mod patchfiles;
mod plugins;
mod read;
mod resource;
mod resources;
mod scalars;
mod select;
mod steps;
mod transform;
mod vars;

use coracle_yaml::Node;

pub use error::Error;
pub use files::{Files, MemoryFiles};
pub use gitref::GitReference;
pub use options::{ChartRequest, Charts, Checkout, LoadRestriction, Options, Order, Remote};

/// The file names a directory's kustomization may have.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What a build gives: documents in the order they should be written.
#[derive(Debug, Clone)]
pub struct Documents {
    pub list: Vec<Node>,
    /// The names of the files the documents' marks speak of, by file number.
    pub files: Vec<String>,
    /// Deprecated fields that were used and the like, in a person's words.
    pub warnings: Vec<String>,
}

impl Documents {
    /// All documents as one YAML text, as `kustomize build` prints them.
    pub fn to_yaml(&self) -> String {
        let mut text = String::new();
        for node in &self.list {
            if !text.is_empty() {
                text.push_str("---\n");
            }
            text.push_str(&coracle_yaml::emit(&node.to_json()));
        }
        text
    }

    /// Each document as a file of its own, as `kustomize build -o DIRECTORY` writes them.
    pub fn to_files(&self) -> Vec<(String, String)> {
        let ids: Vec<_> = self.list.iter().map(|node| resource::Resource::new(node.clone()).id()).collect();
        let namespaces: std::collections::BTreeSet<&str> =
            ids.iter().filter(|id| !id.cluster_scoped).map(id::Id::effective_namespace).collect();
        let file = |(id, node): (&id::Id, &Node)| {
            let parts = [&id.gvk.group, &id.gvk.version, &id.gvk.kind];
            let kind = parts.into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("_");
            let mut name = format!("{kind}_{}.yaml", id.name).to_lowercase();
            if !id.cluster_scoped && namespaces.len() > 1 {
                name = format!("{}_{name}", id.effective_namespace().to_lowercase());
            }
            (name, coracle_yaml::emit(&node.to_json()))
        };
        ids.iter().zip(&self.list).map(file).collect()
    }
}

/// Builds the kustomization in the directory `path` of `files` (`.` or the empty path for its root).
pub fn build(files: &dyn Files, path: &str, options: &Options<'_>) -> Result<Documents, Error> {
    build::run(files, path, options)
}
