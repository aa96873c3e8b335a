//! The arrows between the rooms, read from what cargo knows: `coracle` above the halves, the halves above the kit, and
//! no half reaching into the other.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Rooms that know no clock, no network and no async runtime.
const PURE: &[&str] = &[
    "coracle-cel",
    "coracle-gotemplate",
    "coracle-helm",
    "coracle-kustomize",
    "coracle-logql",
    "coracle-promql",
    "coracle-quantity",
    "coracle-rules",
    "coracle-schema",
    "coracle-sprig",
];
const NOT_PURE: [&str; 6] = ["tokio", "hyper", "kube", "axum", "coracle-clock", "coracle-tasks"];
/// Build tools that a bare machine does not have.
const NOT_ON_A_BARE_MACHINE: [&str; 4] = ["cmake", "bindgen", "protobuf-src", "openssl-sys"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Fails with every arrow that points the wrong way.
pub fn check() -> anyhow::Result<()> {
    let wrong = wrong_arrows(&metadata()?);
    ensure!(wrong.is_empty(), "these dependencies are not as the design wants them:\n  {}", wrong.join("\n  "));
    println!("every arrow points the right way");
    Ok(())
}

fn metadata() -> anyhow::Result<Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest])
        .output()
        .context("starting cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("what cargo metadata said")
}

fn wrong_arrows(metadata: &Metadata) -> Vec<String> {
    let rooms: BTreeMap<&str, &str> = metadata
        .packages
        .iter()
        .filter(|package| metadata.workspace_members.contains(&package.id))
        .map(|package| (package.name.as_str(), half(&package.manifest_path)))
        .collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let Some(from) = rooms.get(package.name.as_str()) else { continue };
        for dependency in package.dependencies.iter().filter(|d| d.kind.as_deref() != Some("dev")) {
            let to = rooms.get(dependency.name.as_str());
            if to.is_some_and(|to| !may_depend(from, to))
                || (PURE.contains(&package.name.as_str()) && NOT_PURE.contains(&dependency.name.as_str()))
            {
                wrong.push(format!("{} -> {}", package.name, dependency.name));
            }
        }
    }
    wrong.extend(
        metadata
            .packages
            .iter()
            .filter(|p| NOT_ON_A_BARE_MACHINE.contains(&p.name.as_str()))
            .map(|p| format!("{} is in the lock file", p.name)),
    );
    wrong
}

/// The half a room is in: the folder above it.
fn half(manifest_path: &str) -> &str {
    let mut folders = manifest_path.rsplit('/').skip(1);
    match folders.next() {
        Some("coracle") => "coracle",
        Some("xtask") => "xtask",
        _ => folders.next().unwrap_or_default(),
    }
}

fn may_depend(from: &str, to: &str) -> bool {
    match from {
        "coracle" => to != "xtask",
        "xtask" => true,
        "console" => matches!(to, "console" | "delivery" | "kit"),
        half => to == half || to == "kit",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_arrow_points_the_right_way() {
        super::check().unwrap();
    }

    #[test]
    fn the_halves_do_not_reach_into_each_other() {
        assert!(!super::may_depend("delivery", "engine"));
        assert!(!super::may_depend("kit", "engine"));
        assert!(super::may_depend("coracle", "engine"));
    }
}
