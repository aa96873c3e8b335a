//! The HTTP interface people know from Prometheus: its API of version 1, federation, and the ways in.

mod admin;
mod answer;
mod exemplars;
mod federate;
mod labels;
mod otlp;
mod params;
mod query;
mod read;
mod status;
mod write;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use coracle_promql::engine::Engine;
use tokio::sync::Semaphore;

use crate::Store;

/// How the interface behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Longest a query may run.
    pub query_timeout: Duration,
    /// Queries that run at one time; others wait.
    pub queries_max: usize,
    /// Bytes a request's body may have, also once it is unpacked.
    pub body_bytes_max: usize,
    /// Whether series may be deleted and snapshots made.
    pub admin: bool,
    /// Whether remote write and OTLP are taken in.
    pub receive: bool,
    /// What `status/flags` shows.
    pub flags: Vec<(String, String)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            query_timeout: Duration::from_secs(120),
            queries_max: 20,
            body_bytes_max: 64 << 20,
            admin: false,
            receive: true,
            flags: Vec::new(),
        }
    }
}

#[derive(Clone)]
struct Server(Arc<Shared>);

struct Shared {
    store: Store,
    engine: Engine,
    settings: Settings,
    running: Semaphore,
    started_ms: i64,
}

/// The interface over a store.
pub fn router(store: Store, engine: Engine, settings: Settings) -> Router {
    let body_bytes_max = settings.body_bytes_max;
    let running = Semaphore::new(settings.queries_max);
    let started_ms = store.now_ms();
    let server = Server(Arc::new(Shared { store, engine, settings, running, started_ms }));
    let api = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/query_exemplars", get(exemplars::exemplars).post(exemplars::exemplars))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route("/series", get(labels::series).post(labels::series))
        .route("/labels", get(labels::names).post(labels::names))
        .route("/label/{name}/values", get(labels::values))
        .route("/metadata", get(labels::metadata))
        .route("/write", post(write::write))
        .route("/otlp/v1/metrics", post(otlp::write))
        .route("/read", post(read::read))
        .route("/status/{what}", get(status::status))
        .route("/status/tsdb/blocks", get(status::blocks))
        .route("/rules", get(status::rules))
        .route("/alerts", get(status::alerts))
        .route("/alertmanagers", get(status::alertmanagers))
        .route("/targets", get(status::targets))
        .route("/targets/metadata", get(status::targets_metadata))
        .route("/scrape_pools", get(status::scrape_pools))
        .route("/admin/tsdb/delete_series", post(admin::delete_series).put(admin::delete_series))
        .route("/admin/tsdb/clean_tombstones", post(admin::clean_tombstones).put(admin::clean_tombstones))
        .route("/admin/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot));
    Router::new()
        .nest("/api/v1", api)
        .route("/federate", get(federate::federate))
        .route("/-/healthy", get(status::healthy).head(status::healthy))
        .route("/-/ready", get(status::ready).head(status::ready))
        .layer(DefaultBodyLimit::max(body_bytes_max))
        .with_state(server)
}
