//! Kustomizations to manifests: a tree of files in, documents or a located error out.
//!
//! The order of work is kustomize's own: resources, generators, components, then the transformers, one after the other,
//! layer by layer from the innermost base outwards; at the very end names get their content hashes, references follow
//! the names they refer to, and the documents are put in order. What this room does not do yet is refused by name.

mod accumulate;
mod error;
mod fieldspec;
mod files;
mod generators;
mod hash;
mod jsonpatch;
mod kustomization;
mod merge;
mod order;
mod references;
mod resource;
mod tables;
mod transform;

use coracle_yaml::Node;

pub use error::Error;
pub use files::{Files, MemoryFiles};
pub use order::Order;

/// The file names a directory's kustomization may have.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What a build gives: documents in the order they should be written.
#[derive(Debug, Clone)]
pub struct Documents {
    pub list: Vec<Node>,
    /// The names of the files the documents' marks speak of, by file number.
    pub files: Vec<String>,
    /// Deprecated fields that were used, in a person's words.
    pub warnings: Vec<String>,
}

impl Documents {
    /// All documents as one YAML text, as `kustomize build` prints them.
    pub fn to_yaml(&self) -> String {
        let documents: Vec<_> = self.list.iter().map(Node::to_json).collect();
        coracle_yaml::emit_documents(&documents)
    }
}

/// Builds the kustomization in the directory `path` of `files` (`.` or the empty path for its root).
pub fn build(files: &dyn Files, path: &str, order: Order) -> Result<Documents, Error> {
    accumulate::build(files, path, order)
}
