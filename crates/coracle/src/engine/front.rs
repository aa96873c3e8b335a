//! The one address people know: the console at `/`, Git at `/APP.git`, the registry at `/v2/`.

use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use coracle_build::{Limits as BuildLimits, StoreImages};
use coracle_clock::SystemClock;
use coracle_git::{Limits as GitLimits, Repositories, Server as GitServer, Tokens};
use coracle_registry::{Registry, Store as RegistryStore};
use coracle_runtime::Runtime;
use coracle_sync::{Controller, DockerfileBuilder, GitSources, Parts};

use super::{REGISTRY_HOST, base_images::BaseImages, run_steps::RunSteps};
use crate::paths::DataDir;

/// The rooms of the delivery half, wired together.
pub struct Delivery {
    pub controller: Controller,
    repositories: Repositories,
    registry: RegistryStore,
}

impl Delivery {
    pub fn open(dir: &DataDir, client: kube::Client, runtime: Runtime, gateway_http_port: u16) -> anyhow::Result<Self> {
        let repositories = Repositories::open(dir.git()).context("the Git repositories")?;
        let registry = RegistryStore::open(dir.registry()).context("the registry")?;
        let images = BaseImages::new(StoreImages::new(registry.clone(), REGISTRY_HOST), registry.clone());
        let builder = coracle_build::Builder {
            store: registry.clone(),
            images: Arc::new(images),
            sandbox: Some(Arc::new(RunSteps { runtime, store: registry.clone() })),
            cache_dir: dir.builds(),
            limits: BuildLimits::default(),
        };
        let controller = Controller::new(Parts {
            client,
            sources: Arc::new(GitSources::new(Arc::new(repositories.clone()))),
            builder: Arc::new(DockerfileBuilder { builder, host: REGISTRY_HOST.to_owned() }),
            clock: Arc::new(SystemClock),
            gateway_http_port,
        });
        Ok(Self { controller, repositories, registry })
    }
}

/// Whoever reaches the address may pull; pushing takes the token.
struct RegistryAccess(Tokens);

impl coracle_registry::Access for RegistryAccess {
    fn knows(&self, user: &str, token: &str) -> bool {
        coracle_git::Access::identify(&self.0, user, token).is_some()
    }

    fn anonymous_pull(&self) -> bool {
        true
    }
}

/// What the console is told.
pub struct Console {
    pub client: kube::Client,
    pub git: String,
    pub kubeconfig: String,
}

/// All routes of the address.
pub fn router(delivery: &Delivery, console: Console, push_token: &str) -> Router {
    let git = coracle_git::router(GitServer {
        repositories: delivery.repositories.clone(),
        access: Arc::new(Tokens::shared(push_token)),
        handler: Arc::new(delivery.controller.clone()),
        create_on_push: true,
        private: true,
        limits: GitLimits::default(),
    });
    let registry = coracle_registry::router(Registry {
        store: delivery.registry.clone(),
        access: Arc::new(RegistryAccess(Tokens::shared(push_token))),
    });
    let facts = coracle_console::Facts {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        git: console.git,
        kubeconfig: console.kubeconfig,
    };
    git.merge(registry).merge(coracle_console::router(coracle_console::Live::start(&console.client), facts))
}
