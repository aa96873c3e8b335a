//! The newest samples of series, in the text format that scrapers read.

use std::fmt::Write;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use coracle_promql::{Columns, Labels, is_stale, labels::METRIC_NAME, number::plain_float};
use http::StatusCode;

use super::{
    Server,
    answer::{ApiError, packed},
    params::Params,
};
use crate::openmetrics::put_value;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

pub(super) async fn federate(State(server): State<Server>, params: Params) -> Response {
    let sets: Result<Vec<_>, _> = params.all("match[]").map(coracle_promql::parser::parse_selector).collect();
    let sets = match sets {
        Ok(sets) => sets,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let work = move |server: &Server, _: &_| {
        let end_ms = server.0.store.now_ms();
        let start_ms = end_ms - server.0.engine.options.lookback_ms;
        let mut samples = Vec::new();
        let mut columns = Columns::default();
        for set in &sets {
            for series in server.0.store.export(set, start_ms, end_ms)?.iter() {
                columns.clear();
                series.read(start_ms, end_ms, &mut columns)?;
                // Native histograms have no place in this format.
                let (Some(time_ms), Some(value)) = (columns.floats.times_ms.last(), columns.floats.values.last())
                else {
                    continue;
                };
                if !is_stale(*value) {
                    samples.push((series.labels().clone(), *time_ms, *value));
                }
            }
        }
        Ok::<_, ApiError>(text(samples))
    };
    match server.run(server.0.settings.query_timeout, work).await {
        Ok(text) => packed(&params.headers, CONTENT_TYPE, text.into_bytes()),
        Err(error) => error.into_response(),
    }
}

fn text(mut samples: Vec<(Labels, i64, f64)>) -> String {
    let name_and_labels = |sample: &(Labels, i64, f64)| (sample.0.metric_name().to_owned(), sample.0.clone());
    samples.sort_by_cached_key(name_and_labels);
    samples.dedup_by(|one, other| one.0 == other.0);
    let mut text = String::new();
    let mut last = None;
    for (labels, time_ms, value) in &samples {
        let metric = labels.metric_name();
        if last != Some(metric) {
            writeln!(text, "# TYPE {metric} untyped").expect("writing to a string does not fail");
            last = Some(metric);
        }
        text.push_str(metric);
        text.push('{');
        let mut first = true;
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            if !std::mem::take(&mut first) {
                text.push(',');
            }
            put_value(&mut text, name, value);
        }
        if labels.get("instance").is_none() {
            // So that the scraper's own label does not take the place of one that is not there.
            if !first {
                text.push(',');
            }
            text.push_str("instance=\"\"");
        }
        writeln!(text, "}} {} {time_ms}", plain_float(*value)).expect("writing to a string does not fail");
    }
    text
}
