//! Builds the kustomization in a directory of the disk and prints it, as `kustomize build DIRECTORY` does: the room as a
//! process of its own, for measuring.

use std::path::PathBuf;
use std::process::ExitCode;

use coracle_kustomize::{Files, Options, build};

struct Disk;

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

fn main() -> ExitCode {
    let directory = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let Some(path) = std::path::absolute(&directory).ok().and_then(|path| Some(path.to_str()?.to_owned())) else {
        eprintln!("{directory}: not a directory");
        return ExitCode::FAILURE;
    };
    match build(&Disk, &path, &Options::default()) {
        Ok(documents) => {
            print!("{}", documents.to_yaml());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
