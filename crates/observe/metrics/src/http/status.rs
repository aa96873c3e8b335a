//! What the server is and holds, and the places of what it does not do itself.

use axum::{
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    Server,
    answer::{ApiError, success_json},
    params::Params,
};
use crate::{NamedCount, codec::varint};

/// The version of Prometheus whose interface this is; clients decide by it what they ask for.
const SPEAKS_LIKE: &str = "3.13.0";

pub(super) async fn status(
    State(server): State<Server>,
    Path(what): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let data = match what.as_str() {
        "config" => json!({"yaml": ""}),
        "flags" => server.flags(),
        "runtimeinfo" => server.runtime_info(),
        "buildinfo" => build_info(),
        "tsdb" => server.tsdb(&params)?,
        "walreplay" => json!({"min": 0, "max": 0, "current": 0}),
        _ => return Err(ApiError::NotFound(format!("there is no status {what}"))),
    };
    Ok(success_json(&params.headers, &data))
}

fn build_info() -> Value {
    json!({
        "version": SPEAKS_LIKE,
        "revision": format!("coracle-{}", env!("CARGO_PKG_VERSION")),
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    })
}

fn date_time(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms).map_or_else(|_| String::new(), |time| time.to_string())
}

impl Server {
    fn flags(&self) -> Value {
        let flags = self.0.settings.flags.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        Value::Object(flags.collect::<Map<_, _>>())
    }

    fn runtime_info(&self) -> Value {
        let options = self.0.store.options();
        let age = options.retention_ms.map(coracle_promql::number::duration_text);
        let size = options.retention_bytes.map(|bytes| format!("{}MiB", bytes >> 20));
        let retention: Vec<String> = [age, size].into_iter().flatten().collect();
        json!({
            "startTime": date_time(self.0.started_ms),
            "CWD": self.0.store.place(),
            "hostname": "",
            "serverTime": date_time(self.0.store.now_ms()),
            "reloadConfigSuccess": true,
            "lastConfigTime": date_time(self.0.started_ms),
            "corruptionCount": self.0.store.complaints().len(),
            "goroutineCount": coracle_tasks::list().iter().map(|(_, count)| count).sum::<usize>(),
            "GOMAXPROCS": std::thread::available_parallelism().map_or(1, usize::from),
            "GOMEMLIMIT": options.memory_bytes,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": retention.join(" or "),
        })
    }

    fn tsdb(&self, params: &Params) -> Result<Value, ApiError> {
        let limit = match params.get("limit") {
            "" => 10,
            text => text
                .parse::<usize>()
                .ok()
                .filter(|limit| *limit >= 1)
                .ok_or_else(|| ApiError::BadData("limit must be a positive number".to_owned()))?,
        };
        let head = self.0.store.head_statistics(limit);
        let (min_ms, max_ms) = head.span_ms.unwrap_or((i64::MAX, i64::MIN));
        let list = |counts: &[NamedCount]| {
            Value::Array(counts.iter().map(|each| json!({"name": each.name, "value": each.count})).collect())
        };
        Ok(json!({
            "headStats": {
                "numSeries": head.series,
                "numLabelPairs": head.label_pairs,
                "chunkCount": head.chunks,
                "minTime": min_ms,
                "maxTime": max_ms,
            },
            "seriesCountByMetricName": list(&head.series_by_metric),
            "labelValueCountByLabelName": list(&head.values_by_label),
            "memoryInBytesByLabelName": list(&head.bytes_by_label),
            "seriesCountByLabelValuePair": list(&head.series_by_pair),
        }))
    }
}

pub(super) async fn blocks(State(server): State<Server>, headers: HeaderMap) -> Response {
    let blocks: Vec<Value> = server
        .0
        .store
        .statistics()
        .blocks
        .iter()
        .map(|block| {
            json!({
                "ulid": format!("{:016x}", varint::zigzag(block.first_ms)),
                "minTime": block.first_ms,
                "maxTime": block.last_ms + 1,
                "stats": {"numSamples": block.samples, "numSeries": block.series, "numChunks": block.chunks},
                "compaction": {"level": block.level},
                "version": 1,
            })
        })
        .collect();
    success_json(&headers, &json!({"blocks": blocks}))
}

pub(super) async fn rules(headers: HeaderMap) -> Response {
    success_json(&headers, &json!({"groups": []}))
}

pub(super) async fn alerts(headers: HeaderMap) -> Response {
    success_json(&headers, &json!({"alerts": []}))
}

pub(super) async fn alertmanagers(headers: HeaderMap) -> Response {
    success_json(&headers, &json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}))
}

pub(super) async fn targets(headers: HeaderMap) -> Response {
    success_json(&headers, &json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}))
}

pub(super) async fn targets_metadata(headers: HeaderMap) -> Response {
    success_json(&headers, &json!([]))
}

pub(super) async fn scrape_pools(headers: HeaderMap) -> Response {
    success_json(&headers, &json!({"scrapePools": []}))
}

pub(super) async fn healthy() -> Response {
    (StatusCode::OK, "Coracle is Healthy.\n").into_response()
}

pub(super) async fn ready() -> Response {
    (StatusCode::OK, "Coracle is Ready.\n").into_response()
}
