//! Where manifests come from: repositories, commits and the files at a commit.

use std::{ops::Deref, rc::Rc, sync::Arc};

use coracle_kustomize::{Checkout, GitReference};

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
pub(crate) struct KustomizeFiles<T> {
    tree: T,
    paths: Vec<String>,
}

impl<'t, T: Deref<Target = dyn Tree + 't>> KustomizeFiles<T> {
    pub fn new(tree: T) -> Result<Self, SourceError> {
        let paths = tree.paths()?;
        Ok(KustomizeFiles { tree, paths })
    }
}

impl<'t, T: Deref<Target = dyn Tree + 't>> coracle_kustomize::Files for KustomizeFiles<T> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.tree.read(path).ok().flatten()
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty()
            || self.paths.iter().any(|known| known.starts_with(path) && known[path.len()..].starts_with('/'))
    }

    fn below(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut files = Vec::new();
        for path in &self.paths {
            let Some(name) = path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')) else { continue };
            if let Some(content) = self.tree.read(path).map_err(|error| error.to_string())? {
                files.push((name.to_owned(), content));
            }
        }
        Ok(files)
    }
}

/// The server's repositories as bases of kustomizations.
pub(crate) struct RemoteBases<'a>(pub &'a dyn Sources);

impl coracle_kustomize::Remote for RemoteBases<'_> {
    fn file(&self, _url: &str) -> Result<Vec<u8>, String> {
        Err("single files are not downloaded; name the repository they are in".to_owned())
    }

    fn repository(&self, reference: &GitReference) -> Result<Checkout, String> {
        let url = reference.clone_url();
        let revision = if reference.reference.is_empty() { "HEAD" } else { &reference.reference };
        let commit = self.0.resolve(&url, revision).map_err(|error| error.to_string())?;
        let commit = commit.ok_or_else(|| {
            SourceError::NoRevision { repo_url: url.clone(), revision: revision.to_owned() }.to_string()
        })?;
        let tree = self.0.tree(&url, &commit.id).map_err(|error| error.to_string())?;
        let files = KustomizeFiles::new(tree).map_err(|error| error.to_string())?;
        Ok(Checkout { files: Rc::new(files), name: url })
    }
}

/// A directory on disk as a tree: what a person works in, before it is pushed.
pub struct DirectoryTree(std::path::PathBuf);

impl DirectoryTree {
    pub fn new(root: impl Into<std::path::PathBuf>) -> Self {
        DirectoryTree(root.into())
    }

    fn walk(&self, directory: &str, paths: &mut Vec<String>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(self.0.join(directory))? {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
            // Links are not followed: they could lead anywhere.
            match entry.file_type()? {
                kind if kind.is_dir() && name != ".git" => self.walk(&path, paths)?,
                kind if kind.is_file() => paths.push(path),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Tree for DirectoryTree {
    fn id(&self) -> String {
        self.0.display().to_string()
    }

    fn paths(&self) -> Result<Vec<String>, SourceError> {
        let mut paths = Vec::new();
        self.walk("", &mut paths).map_err(|error| SourceError::Read { what: self.id(), reason: error.to_string() })?;
        paths.sort();
        Ok(paths)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        match std::fs::read(self.0.join(path)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SourceError::Read { what: path.to_owned(), reason: error.to_string() }),
        }
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}
