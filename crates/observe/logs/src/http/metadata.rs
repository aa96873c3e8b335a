//! What there is: labels, series, how much of each.

use std::collections::{BTreeMap, BTreeSet};

use axum::{
    Json,
    extract::{Path, State},
    http::HeaderMap,
};
use coracle_logql::{
    Answer as EvalAnswer, Direction, Labels, Limits, Matcher, Query, evaluate,
    syntax::{Expr, parse, parse_selector},
};
use serde_json::{Value, json};

use super::{
    answer::{self, object},
    error::Failure,
    params::Params,
    tenant,
};
use crate::{
    patterns::{Pattern, Patterns},
    read::Tenant,
    statistics::Volume,
    store::Store,
};

/// Lines that fields are looked for in, unless the request says otherwise.
const DETECTION_LINES: usize = 1000;
/// Lines that patterns are looked for in, the newest.
const PATTERN_LINES: usize = 20_000;
/// Patterns that are told.
const MAX_PATTERNS: usize = 300;
/// Fields that are told.
const DETECTED_FIELDS: usize = 1000;
/// Entries of a volume.
const VOLUME_LIMIT: usize = 100;

type Answered = Result<Json<Value>, Failure>;

/// Reads in a thread that may wait for the disk.
async fn reading<T: Send + 'static>(read: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read).await.map_err(Failure::internal)?
}

fn matchers(query: Option<&str>) -> Result<Vec<Matcher>, Failure> {
    match query {
        None => Ok(Vec::new()),
        Some(query) => parse_selector(query).map_err(Failure::bad_request),
    }
}

async fn all_series(store: Store, headers: HeaderMap, params: Params) -> Result<BTreeSet<Labels>, Failure> {
    let range = params.bounds(store.now())?;
    let selectors = match params.get("query") {
        None => Vec::new(),
        query => vec![matchers(query)?],
    };
    reading(move || Ok(store.tenant(&tenant(&headers)).series(&selectors, range)?)).await
}

pub(super) async fn labels(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let series = all_series(store, headers, params).await?;
    let names: BTreeSet<&str> = series.iter().flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    Ok(success("data", names))
}

pub(super) async fn label_values(
    State(store): State<Store>,
    Path(name): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answered {
    let series = all_series(store, headers, params).await?;
    let values: BTreeSet<&str> = series.iter().filter_map(|labels| labels.get(&name)).collect();
    Ok(success("data", values))
}

/// Loki leaves `data` out where there is nothing.
fn success(name: &str, values: BTreeSet<&str>) -> Json<Value> {
    let mut answer = json!({"status": "success"});
    if !values.is_empty() {
        answer[name] = json!(values);
    }
    Json(answer)
}

pub(super) async fn series(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let range = params.bounds(store.now())?;
    let selectors = params.all("match").iter().chain(params.all("match[]"));
    let selectors: Vec<_> = selectors.map(|text| matchers(Some(text))).collect::<Result<_, _>>()?;
    if selectors.is_empty() {
        return Err(Failure::bad_request("0 matcher groups supplied"));
    }
    let found = reading(move || Ok(store.tenant(&tenant(&headers)).series(&selectors, range)?)).await?;
    Ok(Json(json!({"status": "success", "data": found.iter().map(object).collect::<Vec<_>>()})))
}

pub(super) async fn statistics(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let range = params.bounds(store.now())?;
    let matchers = matchers(params.get("query"))?;
    let found = reading(move || Ok(store.tenant(&tenant(&headers)).statistics(&matchers, range)?)).await?;
    Ok(Json(json!({
        "streams": found.streams, "chunks": found.chunks, "bytes": found.bytes, "entries": found.entries,
    })))
}

/// How volumes are put together.
struct VolumeQuery {
    matchers: Vec<Matcher>,
    targets: Vec<String>,
    by_labels: bool,
    limit: usize,
}

impl VolumeQuery {
    fn of(params: &Params) -> Result<Self, Failure> {
        let matchers = matchers(params.get("query"))?;
        let targets: Vec<String> = match params.get("targetLabels") {
            Some(targets) => targets.split(',').map(|target| target.trim().to_owned()).collect(),
            None => matchers.iter().map(|matcher| matcher.name.clone()).collect(),
        };
        let by_labels = match params.get("aggregateBy") {
            None | Some("series") => false,
            Some("labels") => true,
            Some(_) => return Err(Failure::bad_request("invalid aggregation option")),
        };
        Ok(Self { matchers, targets, by_labels, limit: params.number("limit", VOLUME_LIMIT)? })
    }

    fn read(&self, tenant: &Tenant, range: (i64, i64)) -> Result<Vec<(Labels, u64)>, Failure> {
        let all = self.targets.is_empty();
        let wanted = |name: &str| all || self.targets.iter().any(|target| target == name);
        let volume: Volume = tenant.volume(&self.matchers, range, |labels| match self.by_labels {
            false => vec![labels.keep(wanted)],
            true => {
                let names = labels.iter().map(|(name, _)| name).filter(|name| wanted(name));
                names.map(|name| Labels::new([(name.to_owned(), " ".to_owned())])).collect()
            }
        })?;
        let mut volume: Vec<(Labels, u64)> = volume.into_iter().filter(|(labels, _)| !labels.is_empty()).collect();
        volume.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        volume.truncate(self.limit);
        Ok(volume)
    }

    fn metric(&self, labels: &Labels) -> Value {
        match self.by_labels {
            false => object(labels),
            true => labels.iter().map(|(name, _)| (name.to_owned(), Value::from(""))).collect(),
        }
    }
}

pub(super) async fn volume(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let range = params.bounds(store.now())?;
    let query = VolumeQuery::of(&params)?;
    let result = reading(move || {
        let found = query.read(&store.tenant(&tenant(&headers)), range)?;
        let seconds = range.1 as f64 / 1e9;
        let one = |(labels, bytes): &(Labels, u64)| json!({"metric": query.metric(labels), "value": [seconds, bytes.to_string()]});
        Ok(found.iter().map(one).collect::<Vec<_>>())
    });
    Ok(Json(json!({"status": "success", "data": {"resultType": "vector", "result": result.await?}})))
}

pub(super) async fn volume_range(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let (start, end) = params.proper_bounds(store.now())?;
    let step = params.step((start, end))?;
    let query = VolumeQuery::of(&params)?;
    let result = reading(move || {
        let tenant = store.tenant(&tenant(&headers));
        let mut series: BTreeMap<Labels, Vec<Value>> = BTreeMap::new();
        let mut from = start;
        while from < end {
            let to = from.saturating_add(step).min(end);
            for (labels, bytes) in query.read(&tenant, (from, to - 1))? {
                series.entry(labels).or_default().push(json!([from as f64 / 1e9, bytes.to_string()]));
            }
            from = to;
        }
        let one = |(labels, values): (&Labels, &Vec<Value>)| json!({"metric": query.metric(labels), "values": values});
        Ok(series.iter().map(one).collect::<Vec<_>>())
    });
    Ok(Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result.await?}})))
}

pub(super) async fn detected_labels(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let series = all_series(store, headers, params).await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(Labels::iter) {
        values.entry(name).or_default().insert(value);
    }
    let detected: Vec<Value> =
        values.iter().map(|(name, values)| json!({"label": name, "cardinality": values.len()})).collect();
    Ok(Json(json!({"detectedLabels": detected})))
}

/// The newest lines of a log query.
async fn recent(store: Store, headers: HeaderMap, params: &Params, limit: usize) -> Result<EvalAnswer, Failure> {
    let (start, end) = params.proper_bounds(store.now())?;
    let expr = parse(params.query()).map_err(Failure::bad_request)?;
    if !matches!(expr, Expr::Log(_)) {
        return Err(Failure::bad_request("only log selector is supported"));
    }
    reading(move || {
        let now = store.now();
        let query = Query { expr, start, end, step: 0, interval: 0, limit, direction: Direction::Backward, now };
        Ok(evaluate(&query, &Limits::default(), &store.tenant(&tenant(&headers)))?)
    })
    .await
}

/// Fields of some recent lines, as the parsers for JSON and logfmt find them.
pub(super) async fn detected_fields(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let limit = params.number("limit", DETECTED_FIELDS)?;
    let lines = params.number("line_limit", DETECTION_LINES)?;
    let answer = recent(store, headers, &params, lines).await?;
    let mut fields = answer::detected(&answer);
    fields.truncate(limit);
    Ok(Json(json!({"fields": fields, "limit": limit})))
}

/// The values that one such field has.
pub(super) async fn detected_field_values(
    State(store): State<Store>,
    Path(name): Path<String>,
    headers: HeaderMap,
    params: Params,
) -> Answered {
    let limit = params.number("limit", DETECTED_FIELDS)?;
    let lines = params.number("line_limit", DETECTION_LINES)?;
    let answer = recent(store, headers, &params, lines).await?;
    let mut values = answer::detected_values(&answer, &name);
    values.truncate(limit);
    Ok(Json(json!({"values": values, "limit": limit})))
}

/// Patterns of the newest lines, with how many each has in each step of time.
pub(super) async fn patterns(State(store): State<Store>, headers: HeaderMap, params: Params) -> Answered {
    let step = params.step(params.proper_bounds(store.now())?)?;
    let EvalAnswer::Streams(streams) = recent(store, headers, &params, PATTERN_LINES).await? else {
        return Err(Failure::bad_request("only log selector is supported"));
    };
    let mut patterns = Patterns::default();
    for entry in streams.iter().flat_map(|stream| &stream.entries) {
        patterns.add(entry.ts.div_euclid(step), &entry.line);
    }
    let seconds = |at: i64| at.saturating_mul(step) / 1_000_000_000;
    let samples =
        |pattern: &Pattern| pattern.counts.iter().map(|(at, count)| json!([seconds(*at), count])).collect::<Vec<_>>();
    let data: Vec<Value> = patterns
        .finish()
        .iter()
        .take(MAX_PATTERNS)
        .map(|pattern| json!({"pattern": pattern.text, "samples": samples(pattern)}))
        .collect();
    Ok(Json(json!({"status": "success", "data": data})))
}
