//! Names and values of labels, series, and what is known about metrics.

use axum::{
    extract::{Path, State},
    response::Response,
};
use coracle_promql::quote::quote;
use serde_json::{Map, Value, json};

use super::{
    Server,
    answer::{ApiError, Notes, put_labels, put_list, put_text, success, success_json},
    params::{MAX_MS, MIN_MS, Params},
};
use crate::Texts;

const TRUNCATED: &str = "results truncated due to limit";

fn texts(params: &Params, mut items: Texts, limit: usize) -> Response {
    let mut notes = Notes::default();
    if limit > 0 && items.len() > limit {
        items.truncate(limit);
        notes.warnings.push(TRUNCATED.to_owned());
    }
    let mut data = Vec::new();
    put_list(&mut data, items.iter(), put_text);
    success(&params.headers, &data, &notes)
}

pub(super) async fn names(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let (start_ms, end_ms, sets) = (params.time("start", MIN_MS)?, params.time("end", MAX_MS)?, params.matchers()?);
    let work = move |server: &Server, _: &_| Ok(server.0.store.label_names(&sets, start_ms, end_ms)?);
    let names = server.run(server.0.settings.query_timeout, work).await?;
    Ok(texts(&params, names, limit))
}

pub(super) async fn values(
    State(server): State<Server>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(ApiError::BadData(format!("invalid label name: {}", quote(&name))));
    }
    let limit = params.limit()?;
    let (start_ms, end_ms, sets) = (params.time("start", MIN_MS)?, params.time("end", MAX_MS)?, params.matchers()?);
    let work = move |server: &Server, _: &_| Ok(server.0.store.label_values(&name, &sets, start_ms, end_ms)?);
    let values = server.run(server.0.settings.query_timeout, work).await?;
    Ok(texts(&params, values, limit))
}

/// `U__` and `_` before a code in hexadecimal, as names with any characters are written in addresses.
fn unescape_name(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut text = String::new();
    while let Some(at) = rest.find('_') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('_') {
            text.push('_');
            rest = after;
            continue;
        }
        let code = rest
            .split_once('_')
            .and_then(|(code, after)| Some((char::from_u32(u32::from_str_radix(code, 16).ok()?)?, after)));
        let Some((character, after)) = code else { return name.to_owned() };
        text.push(character);
        rest = after;
    }
    text + rest
}

pub(super) async fn series(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    if params.all("match[]").next().is_none() {
        return Err(ApiError::BadData("no match[] parameter provided".to_owned()));
    }
    let limit = params.limit()?;
    let (start_ms, end_ms) = (params.time("start", MIN_MS)?, params.time("end", MAX_MS)?);
    let sets = params.matchers().map_err(|error| match error {
        ApiError::BadData(why) => ApiError::parameter("match[]", why),
        other => other,
    })?;
    let work = move |server: &Server, _: &_| {
        let mut found = server.0.store.series_labels(&sets, start_ms, end_ms)?;
        let mut notes = Notes::default();
        if limit > 0 && found.len() > limit {
            found.truncate(limit);
            notes.warnings.push(TRUNCATED.to_owned());
        }
        let mut data = Vec::with_capacity(found.len() * 128);
        put_list(&mut data, &found, put_labels);
        Ok((data, notes))
    };
    let (data, notes) = server.run(server.0.settings.query_timeout, work).await?;
    Ok(success(&params.headers, &data, &notes))
}

pub(super) async fn metadata(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let not_a_number = |name: &str| ApiError::BadData(format!("{name} must be a number"));
    let number = |name: &str| match params.get(name) {
        "" => Ok(None),
        text => text.parse::<i64>().map(|number| usize::try_from(number).ok()).map_err(|_| not_a_number(name)),
    };
    let (limit, per_metric) = (number("limit")?, number("limit_per_metric")?);
    let wanted = params.get("metric");
    let mut found = Map::new();
    for (metric, metadata) in server.0.store.metadata() {
        let full = limit.is_some_and(|limit| found.len() >= limit);
        if full || !wanted.is_empty() && metric != wanted {
            continue;
        }
        let mut list = vec![json!({"type": metadata.kind, "help": metadata.help, "unit": metadata.unit})];
        list.truncate(per_metric.filter(|most| *most > 0).unwrap_or(1));
        found.insert(metric, Value::Array(list));
    }
    Ok(success_json(&params.headers, &Value::Object(found)))
}

#[cfg(test)]
mod tests {
    use super::unescape_name;

    #[test]
    fn names_are_unescaped() {
        assert_eq!(unescape_name("plain_name"), "plain_name");
        assert_eq!(unescape_name("U__http_2e_status__code"), "http.status_code");
        assert_eq!(unescape_name("U__broken_zz_"), "U__broken_zz_");
    }
}
