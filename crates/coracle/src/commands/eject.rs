//! `coracle eject`: writes out the manifests that a repository with only a Dockerfile stands for, so that nobody is locked in.

use std::fs;

use anyhow::{Context, ensure};
use coracle_build::dockerfile::{self, Instruction};
use coracle_sync::{render, source::DirectoryTree};

use crate::cli::Eject;

pub fn run(eject: &Eject) -> anyhow::Result<()> {
    let dir = fs::canonicalize(&eject.dir).with_context(|| format!("directory {}", eject.dir.display()))?;
    let named_by_dir = || dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let app = eject.app.clone().or_else(named_by_dir).context("name the app with --app")?;
    let tree = DirectoryTree::new(&dir);
    let path = dir.join("Dockerfile");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("{}: only a Dockerfile stands for manifests", path.display()))?;
    let ports = exposed_ports(&text)?;
    let files = render::eject(&tree, &app, &ports)?;
    let existing: Vec<&str> =
        files.iter().map(|(name, _)| name.as_str()).filter(|name| dir.join(name).exists()).collect();
    ensure!(existing.is_empty(), "these files are there already and are not written over: {}", existing.join(", "));
    for (name, content) in &files {
        let path = dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("directory {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("file {}", path.display()))?;
        println!("wrote {name}");
    }
    println!("Commit them, and they are what is deployed; the image is still built from the Dockerfile.");
    Ok(())
}

/// The TCP ports the last stage exposes, as far as they are numbers.
fn exposed_ports(text: &str) -> anyhow::Result<Vec<u16>> {
    let parsed = dockerfile::parse("Dockerfile", text)?;
    let last = parsed.stages.last().context("the Dockerfile has no stage")?;
    let declared = last.steps.iter().filter_map(|step| match &step.instruction {
        Instruction::Expose(ports) => Some(ports),
        _ => None,
    });
    Ok(declared.flatten().filter_map(|port| port.strip_suffix("/tcp").unwrap_or(port).parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_says_which_ports() {
        let text = "FROM scratch AS a\nEXPOSE 1\nFROM scratch\nEXPOSE 8080 53/udp 9000/tcp\n";
        assert_eq!(exposed_ports(text).unwrap(), [8080, 9000]);
    }

    #[test]
    fn what_is_written_is_what_would_be_deployed_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Dockerfile"), "FROM scratch\nEXPOSE 8080\n").unwrap();
        let eject = Eject { dir: dir.path().to_owned(), app: Some("shop".to_owned()) };
        run(&eject).unwrap();
        assert!(fs::read_to_string(dir.path().join("deploy/kustomization.yaml")).unwrap().contains("resources"));
        assert!(run(&eject).unwrap_err().to_string().contains("deploy/kustomization.yaml"));
    }
}
