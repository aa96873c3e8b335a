//! `query`, `query_range` and `format_query`.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use coracle_logql::{
    Limits, Query, evaluate,
    syntax::{Expr, parse, pretty},
};
use serde_json::{Value, json};

use super::{
    answer::{self, Categorize},
    error::Failure,
    params::Params,
    tenant,
};
use crate::store::Store;

/// No query may take longer.
const TIMEOUT: Duration = Duration::from_secs(300);

pub(super) async fn instant(
    State(store): State<Store>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let now = store.now();
    let at = params.time(now)?;
    let expr = parse(params.query()).map_err(Failure::bad_request)?;
    if matches!(expr, Expr::Log(_)) {
        return Err(Failure::bad_request(
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ));
    }
    let query = Query {
        expr,
        start: at,
        end: at,
        step: 0,
        interval: 0,
        limit: params.limit()?,
        direction: params.direction()?,
        now,
    };
    run(store, &headers, query).await
}

pub(super) async fn range(
    State(store): State<Store>,
    headers: HeaderMap,
    params: Params,
) -> Result<Json<Value>, Failure> {
    let now = store.now();
    let (start, end) = params.proper_bounds(now)?;
    let expr = parse(params.query()).map_err(Failure::bad_request)?;
    let query = Query {
        step: params.step((start, end))?,
        interval: params.interval()?,
        limit: params.limit()?,
        direction: params.direction()?,
        expr,
        start,
        end,
        now,
    };
    let limits = store.limits(&tenant(&headers));
    if matches!(query.expr, Expr::Log(_)) && query.limit > limits.max_query_lines {
        let (asked, most) = (query.limit, limits.max_query_lines);
        return Err(Failure::bad_request(format!(
            "max entries limit per query exceeded, limit > max_entries_limit_per_query ({asked} > {most})"
        )));
    }
    run(store, &headers, query).await
}

async fn run(store: Store, headers: &HeaderMap, query: Query) -> Result<Json<Value>, Failure> {
    let tenant_name = tenant(headers);
    let flags = headers.get("X-Loki-Response-Encoding-Flags").and_then(|flags| flags.to_str().ok()).unwrap_or_default();
    let categorize = Categorize(flags.split(',').any(|flag| flag.trim() == "categorize-labels"));
    let limits = Limits { max_series: store.limits(&tenant_name).max_query_series, ..Limits::default() };
    let source = store.tenant(&tenant_name);
    // Whoever asked may go, or wait too long.
    let _cancel = source.cancel_on_drop();
    let answered = tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let answer = evaluate(&query, &limits, &source)?;
        Ok(answer::body(answer, categorize, &source.reading(), started.elapsed()))
    });
    match tokio::time::timeout(TIMEOUT, answered).await {
        Ok(answered) => answered.map_err(Failure::internal)?.map(Json),
        Err(_) => Err(Failure::new(
            StatusCode::GATEWAY_TIMEOUT,
            "request timed out, decrease the duration of the request or add more label matchers (prefer exact match over \
             regex match) to reduce the amount of data processed",
        )),
    }
}

pub(super) async fn format(params: Params) -> Result<Json<Value>, Failure> {
    match parse(params.query()) {
        Ok(expr) => Ok(Json(json!({"status": "success", "data": pretty(&expr)}))),
        Err(error) => Ok(Json(json!({"status": "invalid-query", "error": error.to_string()}))),
    }
}
