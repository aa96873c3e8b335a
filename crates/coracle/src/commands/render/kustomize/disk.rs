//! The whole disk as a tree of files: a kustomization may lead anywhere, as far as it is allowed to.

use std::path::{Path, PathBuf};

use coracle_kustomize::Files;

use super::progress::Progress;

pub struct Disk {
    pub progress: Progress,
}

fn absolute(path: &str) -> PathBuf {
    PathBuf::from(format!("/{path}"))
}

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let content = std::fs::read(absolute(path)).ok()?;
        self.progress.file_read();
        Some(content)
    }

    fn is_directory(&self, path: &str) -> bool {
        absolute(path).is_dir()
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let resolved = absolute(path).canonicalize().ok()?;
        Some(resolved.to_str()?.trim_start_matches('/').to_owned())
    }

    fn below(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        chart(&absolute(directory))
    }
}

/// The files of a chart's directory, which alone are asked for by directory.
pub fn chart(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, String> {
    let files = coracle_helm::load::directory(directory).map_err(|error| error.to_string())?;
    Ok(files.into_iter().map(|file| (file.name, file.data.to_vec())).collect())
}
