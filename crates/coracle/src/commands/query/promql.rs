//! `coracle query promql`: an expression's value, from a server or from a data directory, for people or programs.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{ask, plot, when::When};
use crate::{
    cli::QueryPromql,
    commands::{block_on, metrics},
    paths::DataDir,
    print,
};

pub fn run(dir: &DataDir, query: &QueryPromql) -> anyhow::Result<()> {
    let (path, form) = request(query)?;
    let body = match &query.url {
        Some(url) => block_on(ask::ask_server(url, path, form))?.1,
        None => block_on(ask_directory(dir, path, form))?,
    };
    let answer: Answer = serde_json::from_slice(&body)
        .with_context(|| format!("the answer is no Prometheus answer: {}", String::from_utf8_lossy(&body)))?;
    if answer.status != "success" {
        bail!("{}", answer.error.unwrap_or_else(|| "the query failed, for no reason that is told".to_owned()));
    }
    for note in answer.warnings.iter().chain(&answer.infos) {
        eprintln!("{} {note}", print::coloured(print::Colour::Yellow, "note:"));
    }
    show(query, answer.data.unwrap_or_default())
}

/// The path that is asked and the form that goes with it.
fn request(query: &QueryPromql) -> anyhow::Result<(&'static str, String)> {
    let mut pairs = vec![("query", query.expression.clone())];
    let path = match When::of(&query.evaluation, false)? {
        When::Moment { time_ms } => {
            pairs.push(("time", seconds(time_ms)));
            "/api/v1/query"
        }
        When::Range { start_ms, end_ms, step } => {
            pairs.extend([("start", seconds(start_ms)), ("end", seconds(end_ms)), ("step", step)]);
            "/api/v1/query_range"
        }
    };
    Ok((path, ask::form(&pairs)))
}

fn seconds(ms: i64) -> String {
    (ms as f64 / 1000.0).to_string()
}

async fn ask_directory(dir: &DataDir, path: &str, form: String) -> anyhow::Result<Vec<u8>> {
    let store = metrics::open_existing(dir)?;
    let router =
        coracle_metrics::http::router(store, metrics::engine(true), coracle_metrics::http::Settings::default());
    Ok(ask::ask_router(router, path, form).await?.1)
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

/// A series of an answer.
#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: Option<(f64, String)>,
    histogram: Option<(f64, Value)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<(f64, Value)>,
}

impl Series {
    fn name(&self) -> String {
        let labels = self.metric.iter().filter(|(name, _)| *name != "__name__");
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
        let name = self.metric.get("__name__").map_or("", String::as_str);
        if labels.is_empty() && !name.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", labels.join(", ")) }
    }
}

fn show(query: &QueryPromql, data: Data) -> anyhow::Result<()> {
    if query.evaluation.output.json {
        return print::json(&serde_json::json!({"resultType": data.result_type, "result": data.result}));
    }
    match data.result_type.as_str() {
        "scalar" | "string" => {
            let (_, value): (f64, String) = serde_json::from_value(data.result)?;
            println!("{value}");
            Ok(())
        }
        _ => {
            let series: Vec<Series> = serde_json::from_value(data.result)?;
            if query.evaluation.plot { plot(&series) } else { table(&data.result_type, &series) }
        }
    }
}

fn plot(series: &[Series]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for each in series {
        let points = each.values.iter().map(|(time, value)| Ok((*time, number(value)?)));
        lines.push((each.name(), points.collect::<anyhow::Result<Vec<_>>>()?));
    }
    print!("{}", plot::plot(&lines));
    Ok(())
}

fn number(text: &str) -> anyhow::Result<f64> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        "-Inf" => Ok(f64::NEG_INFINITY),
        text => text.parse().with_context(|| format!("{text} is no number")),
    }
}

fn table(result_type: &str, series: &[Series]) -> anyhow::Result<()> {
    if series.is_empty() {
        println!("nothing matches");
        return Ok(());
    }
    let histogram = |value: &Value| format!("count {} sum {}", value["count"], value["sum"]).replace('"', "");
    let mut rows = Vec::new();
    for each in series {
        if result_type == "vector" {
            let value = match (&each.value, &each.histogram) {
                (Some((_, value)), _) => value.clone(),
                (_, Some((_, value))) => histogram(value),
                _ => String::new(),
            };
            rows.push(vec![each.name(), value]);
        } else {
            let name = each.name();
            let floats = each.values.iter().map(|(time, value)| (*time, value.clone()));
            let mut points: Vec<(f64, String)> =
                floats.chain(each.histograms.iter().map(|(time, value)| (*time, histogram(value)))).collect();
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
            rows.extend(points.into_iter().map(|(time, value)| vec![name.clone(), super::date_time(time), value]));
        }
    }
    match result_type {
        "vector" => print::table(&["SERIES", "VALUE"], &rows),
        _ => print::table(&["SERIES", "TIME", "VALUE"], &rows),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Evaluation;

    #[test]
    fn what_is_asked_is_a_form() {
        let query = QueryPromql {
            expression: "up + 1".to_owned(),
            url: None,
            evaluation: Evaluation { time: Some("12.5".to_owned()), ..Evaluation::default() },
        };
        let (path, form) = request(&query).unwrap();
        assert_eq!((path, form.as_str()), ("/api/v1/query", "query=up%20%2B%201&time=12.5"));
    }
}
