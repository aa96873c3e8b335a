//! `coracle render kustomize`: what `kustomize build` prints, with its flags.

mod disk;
mod progress;
mod repositories;

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum, ValueHint};
use coracle_kustomize::{ChartRequest, Documents, LoadRestriction, Options, Order, helm::InProcess};

use disk::Disk;
use progress::Progress;
use repositories::Git;

use super::helm::ThisMachine;

/// Set to `on`, this marks all objects as managed by kustomize.
const MANAGED_BY_VARIABLE: &str = "KUSTOMIZE_ENABLE_MANAGEDBY_LABEL";

fn load_restriction(text: &str) -> Result<LoadRestriction, String> {
    match text {
        "LoadRestrictionsRootOnly" => Ok(LoadRestriction::RootOnly),
        "LoadRestrictionsNone" => Ok(LoadRestriction::None),
        _ => Err(format!(
            "illegal flag value --load-restrictor {text}; legal values: [LoadRestrictionsRootOnly LoadRestrictionsNone]"
        )),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Reorder {
    Legacy,
    None,
}

#[derive(Debug, Clone, Args)]
#[allow(dead_code, reason = "some flags are taken for the sake of scripts only")]
pub struct Kustomize {
    /// The kustomization's directory
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    arguments: Vec<PathBuf>,
    /// Write the manifests to this file, or each to a file of its own in this directory
    #[arg(short, long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    output: Option<PathBuf>,
    /// Which files a kustomization may name: those in or below its directory, or any
    #[arg(long, value_name = "RESTRICTION", default_value = "LoadRestrictionsRootOnly", value_parser = load_restriction)]
    load_restrictor: LoadRestriction,
    /// Render helmCharts
    #[arg(long)]
    enable_helm: bool,
    /// Accepted for the sake of scripts; charts are rendered in process
    #[arg(long, value_name = "PATH", default_value = "helm")]
    helm_command: String,
    /// API versions charts are told the cluster has
    #[arg(long, value_name = "VERSION")]
    helm_api_versions: Vec<String>,
    /// Kubernetes version charts are told the cluster has
    #[arg(long, value_name = "VERSION")]
    helm_kube_version: Option<String>,
    /// Accepted for the sake of scripts; errors of charts are always told in full
    #[arg(long)]
    helm_debug: bool,
    /// Mark all objects as managed by kustomize (deprecated: use buildMetadata)
    #[arg(long)]
    enable_managedby_label: bool,
    /// Put the objects in the legacy order, or leave them as they come (deprecated: use sortOptions)
    #[arg(long, value_enum)]
    reorder: Option<Reorder>,
    /// Accepted for the sake of scripts; plugins that are programs or containers are refused all the same
    #[arg(long)]
    enable_alpha_plugins: bool,
    /// Only for plugins in containers, which are refused
    #[arg(long, hide = true)]
    network: bool,
    /// Only for plugins in containers, which are refused
    #[arg(long, hide = true, default_value = "bridge")]
    network_name: String,
    /// Only for plugins in containers, which are refused
    #[arg(long, hide = true)]
    mount: Vec<String>,
    /// Only for plugins in containers, which are refused
    #[arg(short, long, hide = true)]
    env: Vec<String>,
    /// Only for plugins in containers, which are refused
    #[arg(long, hide = true)]
    as_current_user: bool,
    /// Only for plugins that are programs, which are refused
    #[arg(long, hide = true)]
    enable_exec: bool,
    /// Accepted for the sake of scripts
    #[arg(long, hide = true)]
    stack_trace: bool,
    /// Say how many files were read; on a terminal that is said anyway while it takes long
    #[arg(long)]
    progress: bool,
    /// Instead of the manifests, print how they differ from those in OTHER
    #[arg(long, value_name = "OTHER", value_hint = ValueHint::FilePath)]
    diff: Option<PathBuf>,
}

pub fn run(kustomize: &Kustomize) -> ExitCode {
    match render(kustomize) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("Error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn render(kustomize: &Kustomize) -> Result<ExitCode, String> {
    for (used, flag, instead) in [
        (kustomize.reorder.is_some(), "reorder", "use the new 'sortOptions' field in kustomization.yaml instead."),
        (
            kustomize.enable_managedby_label,
            "enable-managedby-label",
            "The flag `enable-managedby-label` has been deprecated. Use the `managedByLabel` option in the \
             `buildMetadata` field instead.",
        ),
    ] {
        if used {
            eprintln!("Flag --{flag} has been deprecated, {instead}");
        }
    }
    let documents = build(kustomize)?;
    documents.warnings.iter().for_each(|warning| eprintln!("{warning}"));
    if let Some(directory) = kustomize.output.as_deref().filter(|path| path.is_dir()) {
        for (name, text) in documents.to_files() {
            write(&directory.join(name), &text)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let text = documents.to_yaml();
    if let Some(other) = &kustomize.diff {
        let differs = super::diff::show_against(other, &text).map_err(|error| format!("{error:#}"))?;
        return Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS });
    }
    match &kustomize.output {
        Some(file) => write(file, &text)?,
        None => super::print(&text)?,
    }
    // The process ends here: giving all this back piece by piece would only take time.
    std::mem::forget(documents);
    Ok(ExitCode::SUCCESS)
}

impl Kustomize {
    /// Charts are enabled by their own flag, and along with plugins.
    fn enables_helm(&self) -> bool {
        self.enable_helm || self.enable_alpha_plugins
    }
}

fn build(kustomize: &Kustomize) -> Result<Documents, String> {
    let here = std::env::current_dir().map_err(|error| format!("the working directory: {error}"))?;
    let directory = match kustomize.arguments.as_slice() {
        [] => &here,
        [directory] => &here.join(directory),
        _ => return Err("specify one path to kustomization.yaml".to_owned()),
    };
    if !directory.is_dir() {
        let given = kustomize.arguments.first().unwrap_or(directory);
        return Err(format!("{}: a kustomization is built from a directory", given.display()));
    }
    let path = directory.to_str().ok_or("the directory's name is not UTF-8")?;
    let managed_by_variable = std::env::var(MANAGED_BY_VARIABLE).is_ok_and(|value| value == "on");
    let git = Git::default();
    let world = |_: &ChartRequest| -> Box<dyn coracle_helm::World + Send> { Box::new(ThisMachine::default()) };
    let charts = InProcess {
        api_versions: kustomize.helm_api_versions.clone(),
        kube_version: kustomize.helm_kube_version.clone(),
        only_deployed: false,
        worlds: &world,
        warnings: RefCell::default(),
    };
    let options = Options {
        order: if kustomize.reorder == Some(Reorder::None) { Order::Fifo } else { Order::Legacy },
        load: kustomize.load_restrictor,
        managed_by_label: kustomize.enable_managedby_label || managed_by_variable,
        charts: kustomize.enables_helm().then_some(&charts as &dyn coracle_kustomize::Charts),
        remote: Some(&git),
    };
    let disk = Disk { progress: Progress::new(kustomize.progress) };
    let built = coracle_kustomize::build(&disk, path, &options);
    drop(disk);
    charts.warnings.take().iter().for_each(|warning| eprintln!("{warning}"));
    built.map_err(|error| relative(&error.to_string(), &here))
}

/// The text with the paths in it as seen from the working directory.
fn relative(text: &str, here: &Path) -> String {
    let here = here.to_string_lossy();
    match here.trim_start_matches('/') {
        "" => text.to_owned(),
        prefix => text.replace(&format!("{prefix}/"), ""),
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
