//! The whole disk as a tree of files: a kustomization may lead anywhere, as far as it is allowed to.

use std::path::PathBuf;

use coracle_kustomize::Files;

pub struct Disk;

fn absolute(path: &str) -> PathBuf {
    PathBuf::from(format!("/{path}"))
}

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(absolute(path)).ok()
    }

    fn is_directory(&self, path: &str) -> bool {
        absolute(path).is_dir()
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let resolved = absolute(path).canonicalize().ok()?;
        Some(resolved.to_str()?.trim_start_matches('/').to_owned())
    }
}
