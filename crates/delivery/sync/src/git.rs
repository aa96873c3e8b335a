//! The built-in Git server's repositories as sources.

use std::any::Any;
use std::sync::Arc;

use coracle_git::{FileKind, GitError, Repositories, Repository};

use crate::application::app_of_url;
use crate::source::{Commit, SourceError, Sources, Tree};

/// A repository with more files than this is not a deployment's source.
const FILES_LIMIT: usize = 200_000;
/// A manifest or settings file larger than this is not one.
const FILE_LIMIT_BYTES: u64 = 16 << 20;

/// Sources read from the Git server's own directory.
pub struct GitSources(Arc<Repositories>);

impl GitSources {
    pub fn new(repositories: Arc<Repositories>) -> Self {
        GitSources(repositories)
    }

    fn repository(&self, repo_url: &str) -> Result<Repository, SourceError> {
        let app = app_of_url(repo_url).ok_or_else(|| SourceError::Foreign(repo_url.to_owned()))?;
        self.0
            .get(app)
            .map_err(|error| failed(repo_url, &error))?
            .ok_or_else(|| SourceError::NoRepository(repo_url.to_owned()))
    }
}

fn failed(what: &str, error: &GitError) -> SourceError {
    SourceError::Read { what: what.to_owned(), reason: error.to_string() }
}

impl Sources for GitSources {
    fn resolve(&self, repo_url: &str, revision: &str) -> Result<Option<Commit>, SourceError> {
        let repository = self.repository(repo_url)?;
        let found = repository.resolve(revision).map_err(|error| failed(repo_url, &error))?;
        let Some(id) = found else { return Ok(None) };
        let commit = repository.commit(id).map_err(|error| failed(repo_url, &error))?;
        Ok(Some(Commit { id: id.to_string(), subject: commit.subject, author: commit.author }))
    }

    fn tree(&self, repo_url: &str, commit: &str) -> Result<Arc<dyn Tree>, SourceError> {
        let repository = self.repository(repo_url)?;
        let missing = || SourceError::NoRevision { repo_url: repo_url.to_owned(), revision: commit.to_owned() };
        let id = repository.resolve(commit).map_err(|error| failed(repo_url, &error))?.ok_or_else(missing)?;
        let tree = repository.tree(id).map_err(|error| failed(repo_url, &error))?;
        Ok(Arc::new(GitTree(tree)))
    }
}

/// The files of a commit in a repository on this disk. A builder gets at the Git tree by [`GitTree::of`].
pub struct GitTree(coracle_git::Tree);

impl GitTree {
    /// The Git tree behind a source's tree, where it is one.
    pub fn of(tree: &dyn Tree) -> Option<&coracle_git::Tree> {
        tree.as_any().downcast_ref::<GitTree>().map(|tree| &tree.0)
    }
}

impl Tree for GitTree {
    fn id(&self) -> String {
        self.0.id().to_string()
    }

    fn paths(&self) -> Result<Vec<String>, SourceError> {
        let entries = self.0.walk(FILES_LIMIT).map_err(|error| failed(&self.id(), &error))?;
        let files = entries.into_iter().filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Executable));
        let mut paths: Vec<String> = files.map(|entry| entry.path).collect();
        paths.sort();
        Ok(paths)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.0.read(path, FILE_LIMIT_BYTES).map_err(|error| failed(path, &error))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
