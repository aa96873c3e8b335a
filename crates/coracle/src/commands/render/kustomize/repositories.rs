//! Remote bases: repositories are fetched with the git that is installed, into directories that go away with the
//! command.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
};

use coracle_kustomize::{Checkout, Files, GitReference, Remote};
use tempfile::TempDir;

use super::disk::chart;

/// Fetches repositories, each once.
#[derive(Default)]
pub struct Git {
    fetched: RefCell<Vec<(GitReference, Rc<Repository>)>>,
}

struct Repository {
    root: PathBuf,
    _directory: TempDir,
}

impl Remote for Git {
    fn file(&self, _url: &str) -> Result<Vec<u8>, String> {
        Err("single files are not downloaded; name the repository they are in".to_owned())
    }

    fn repository(&self, reference: &GitReference) -> Result<Checkout, String> {
        let same =
            |known: &GitReference| known.clone_url() == reference.clone_url() && known.reference == reference.reference;
        let known = self.fetched.borrow().iter().find(|(known, _)| same(known)).map(|(_, files)| files.clone());
        let repository = match known {
            Some(repository) => repository,
            None => {
                let repository = Rc::new(fetch(reference)?);
                self.fetched.borrow_mut().push((reference.clone(), repository.clone()));
                repository
            }
        };
        Ok(Checkout { files: repository, name: reference.clone_url() })
    }
}

fn fetch(reference: &GitReference) -> Result<Repository, String> {
    let directory = TempDir::with_prefix("coracle-kustomize-").map_err(|error| error.to_string())?;
    let root = directory.path().canonicalize().map_err(|error| error.to_string())?;
    let wanted = if reference.reference.is_empty() { "HEAD" } else { &reference.reference };
    git(&root, &["init", "--quiet"])?;
    git(&root, &["fetch", "--quiet", "--depth=1", "--", &reference.clone_url(), wanted])?;
    git(&root, &["checkout", "--quiet", "FETCH_HEAD"])?;
    if reference.with_submodules && root.join(".gitmodules").exists() {
        git(&root, &["submodule", "update", "--quiet", "--init", "--recursive"])?;
    }
    Ok(Repository { root, _directory: directory })
}

fn git(directory: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env("GIT_TERMINAL_PROMPT", "0")
        .output()
        .map_err(|error| format!("git cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("git {}: {}", arguments[0], reason.trim()))
}

impl Files for Repository {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root.join(path)).ok()
    }

    fn is_directory(&self, path: &str) -> bool {
        self.root.join(path).is_dir()
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let resolved = self.root.join(path).canonicalize().ok()?;
        resolved.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
    }

    fn below(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        chart(&self.root.join(directory))
    }
}
