//! Loki's HTTP interface.

mod answer;
mod body;
mod error;
mod metadata;
mod otlp;
mod otlp_json;
mod params;
mod protobuf;
mod push;
mod query;
mod tail;

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::HeaderMap,
    routing::{get, post},
};
use serde_json::{Value, json};

use crate::store::Store;

/// Who pushes and asks without saying who it is.
pub const DEFAULT_TENANT: &str = "fake";
/// A request body as it comes, compressed.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Which Loki's interface this is.
const LOKI_VERSION: &str = "3.5.0";

/// All paths, below `/loki/api/v1` and beside it.
pub fn router(store: Store) -> Router {
    let both = |path: &str| format!("/loki/api/v1/{path}");
    Router::new()
        .route(&both("push"), post(push::push))
        .route("/api/prom/push", post(push::push))
        .route("/otlp/v1/logs", post(otlp::push))
        .route(&both("query"), get(query::instant).post(query::instant))
        .route(&both("query_range"), get(query::range).post(query::range))
        .route(&both("labels"), get(metadata::labels).post(metadata::labels))
        .route(&both("label"), get(metadata::labels).post(metadata::labels))
        .route(&both("label/{name}/values"), get(metadata::label_values).post(metadata::label_values))
        .route(&both("series"), get(metadata::series).post(metadata::series))
        .route(&both("index/stats"), get(metadata::statistics).post(metadata::statistics))
        .route(&both("index/volume"), get(metadata::volume).post(metadata::volume))
        .route(&both("index/volume_range"), get(metadata::volume_range).post(metadata::volume_range))
        .route(&both("patterns"), get(metadata::patterns).post(metadata::patterns))
        .route(&both("detected_labels"), get(metadata::detected_labels).post(metadata::detected_labels))
        .route(&both("detected_fields"), get(metadata::detected_fields).post(metadata::detected_fields))
        .route(&both("detected_field/{name}/values"), get(metadata::detected_field_values))
        .route(&both("format_query"), get(query::format).post(query::format))
        .route(&both("tail"), get(tail::tail))
        .route(&both("status/buildinfo"), get(build_info))
        .route("/ready", get(|| async { "ready\n" }))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(store)
}

async fn build_info() -> Json<Value> {
    Json(json!({
        "version": LOKI_VERSION,
        "revision": env!("CARGO_PKG_VERSION"),
        "branch": "coracle",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

/// Who asks, by `X-Scope-OrgID`.
fn tenant(headers: &HeaderMap) -> String {
    let named = headers.get("X-Scope-OrgID").and_then(|value| value.to_str().ok()).filter(|name| !name.is_empty());
    named.unwrap_or(DEFAULT_TENANT).to_owned()
}
