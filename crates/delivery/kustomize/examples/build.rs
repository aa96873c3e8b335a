//! Builds a kustomization from the disk, for comparing with the real tool: `build ROOT DIRECTORY`.

use std::path::PathBuf;
use std::process::ExitCode;

use coracle_kustomize::{Files, Options, build};

struct Disk(PathBuf);

impl Files for Disk {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.join(path)).ok()
    }

    fn is_directory(&self, path: &str) -> bool {
        self.0.join(path).is_dir()
    }

    fn resolve(&self, path: &str) -> Option<String> {
        let resolved = self.0.join(path).canonicalize().ok()?;
        resolved.strip_prefix(&self.0).ok()?.to_str().map(str::to_owned)
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(root), Some(directory)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: build ROOT DIRECTORY");
        return ExitCode::FAILURE;
    };
    match build(&Disk(root.into()), &directory, &Options::default()) {
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
