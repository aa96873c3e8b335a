//! Where rendered charts go: standard output, files, or a comparison.

use std::{
    collections::HashSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use coracle_helm::{Output, Request, Shown};

use super::Helm;
use crate::commands::render::{diff, print};

pub(super) fn write(helm: &Helm, output: &Output, request: &Request) -> Result<ExitCode, String> {
    let shown = Shown { crds: helm.include_crds, no_hooks: helm.no_hooks, no_tests: helm.skip_tests };
    if let Some(dir) = &helm.output_dir {
        return write_files(helm, output, shown, dir, &request.release.name);
    }
    let text = if helm.show_only.is_empty() {
        output.text(shown)
    } else {
        output.only(shown, &helm.show_only, request.flavour)?
    };
    if let Some(other) = &helm.diff {
        let differs = diff::show_against(other, &text).map_err(|error| format!("{error:#}"))?;
        return Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A file a template, each document under a line that names it.
fn write_files(helm: &Helm, output: &Output, shown: Shown, dir: &Path, release: &str) -> Result<ExitCode, String> {
    let below = if helm.release_name { dir.join(release) } else { dir.to_owned() };
    let mut files = Files { written: HashSet::new() };
    if shown.crds {
        for (path, data) in &output.crds {
            files.write(dir, path, &String::from_utf8_lossy(data))?;
        }
    }
    for manifest in &output.manifests {
        files.write(&below, &manifest.path, &manifest.content)?;
    }
    for hook in output.shown_hooks(shown) {
        files.write(&below, &hook.manifest.path, &hook.manifest.content)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Files {
    written: HashSet<PathBuf>,
}

impl Files {
    fn write(&mut self, dir: &Path, name: &str, content: &str) -> Result<(), String> {
        let path = dir.join(name);
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let again = !self.written.insert(path.clone());
        let mut options = std::fs::OpenOptions::new();
        options.create(true).write(true).append(again).truncate(!again);
        let mut file = options.open(&path).map_err(failed)?;
        file.write_all(format!("---\n# Source: {name}\n{content}\n").as_bytes()).map_err(failed)?;
        println!("wrote {}", path.display());
        Ok(())
    }
}
