//! Where manifests come from: repositories, commits and the files at a commit.

use std::sync::Arc;

/// A commit, as far as a deployment speaks of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    pub id: String,
    pub subject: String,
    pub author: String,
}

impl Commit {
    pub fn short(&self) -> &str {
        short(&self.id)
    }
}

/// A commit's name as people say it.
pub fn short(id: &str) -> &str {
    id.get(..7).unwrap_or(id)
}

/// The files of one commit. Paths are relative, with `/` between names.
pub trait Tree: Send + Sync {
    /// Names the content: equal for equal trees.
    fn id(&self) -> String;
    /// The paths of all files, sorted.
    fn paths(&self) -> Result<Vec<String>, SourceError>;
    /// A file's content; nothing if it is not there.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError>;
    /// The tree itself, for a builder that knows what kind of tree it is given.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Repositories by their address.
pub trait Sources: Send + Sync + 'static {
    /// What `revision` (a branch, a tag, a commit, `HEAD`) means now; nothing if it does not exist.
    fn resolve(&self, repo_url: &str, revision: &str) -> Result<Option<Commit>, SourceError>;
    /// The files at a commit.
    fn tree(&self, repo_url: &str, commit: &str) -> Result<Arc<dyn Tree>, SourceError>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error("repository {0}: not one of this server's; other repositories are not read yet")]
    Foreign(String),
    #[error("repository {0} does not exist")]
    NoRepository(String),
    #[error("revision {revision:?} does not exist in {repo_url}")]
    NoRevision { repo_url: String, revision: String },
    #[error("reading {what}: {reason}")]
    Read { what: String, reason: String },
}

/// A tree seen as the kustomize room wants its files.
pub(crate) struct KustomizeFiles<'a> {
    tree: &'a dyn Tree,
    paths: Vec<String>,
}

impl<'a> KustomizeFiles<'a> {
    pub fn new(tree: &'a dyn Tree) -> Result<Self, SourceError> {
        Ok(KustomizeFiles { tree, paths: tree.paths()? })
    }
}

impl coracle_kustomize::Files for KustomizeFiles<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.tree.read(path).ok().flatten()
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty() || self.paths.iter().any(|known| known.starts_with(path) && known[path.len()..].starts_with('/'))
    }
}
