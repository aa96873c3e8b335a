//! Kustomizations, with their charts and their bases in other repositories of this server.

use std::{cell::RefCell, sync::Arc};

use coracle_kustomize::{ChartRequest, Options, Order, Remote, helm::InProcess};

use super::{Place, RenderError, chart::Seeded};
use crate::{
    manifest::Manifest,
    source::{KustomizeFiles, RemoteBases, Sources, Tree},
};

/// The objects of the kustomization in `directory`.
pub(super) fn built(
    tree: &dyn Tree,
    directory: &str,
    place: &Place,
    sources: Option<&dyn Sources>,
) -> Result<Vec<Manifest>, RenderError> {
    let files = KustomizeFiles::new(tree)?;
    // Each release has dice of its own, so that two charts do not make up the same password.
    let world = |request: &ChartRequest| -> Box<dyn coracle_helm::World + Send> {
        let seed = format!("{} {} {}", tree.id(), request.name, request.release_name);
        Box::new(Seeded::new(&seed, place.now))
    };
    let charts = InProcess {
        api_versions: Vec::new(),
        kube_version: None,
        only_deployed: true,
        worlds: &world,
        warnings: RefCell::default(),
    };
    let bases = sources.map(RemoteBases);
    let options = Options {
        order: Order::Fifo,
        charts: Some(&charts),
        remote: bases.as_ref().map(|bases| bases as &dyn Remote),
        ..Options::default()
    };
    let documents = coracle_kustomize::build(&files, directory, &options).map_err(|error| {
        let chain: String = error.chain.iter().rev().map(|file| format!(" (included from {file})")).collect();
        let others: String = error.others.iter().map(|other| format!("\n{other}")).collect();
        let message = error.message + &chain + &others;
        RenderError { message, file: error.file, line: error.line, column: error.column }
    })?;
    charts.warnings.take().iter().for_each(|warning| tracing::debug!(directory, warning, "rendering a chart"));
    let names = Arc::new(documents.files);
    Ok(documents.list.into_iter().map(|node| Manifest::written(node, names.clone())).collect())
}
