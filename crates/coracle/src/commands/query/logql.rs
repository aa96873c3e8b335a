//! `coracle query logql`: log lines, or numbers made of them, from a server or from a data directory.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{ask, plot, when::When};
use crate::{
    cli::{Order, QueryLogql},
    commands::{block_on, logs_store},
    paths::DataDir,
    print::{self, Colour, coloured},
};

pub fn run(dir: &DataDir, query: &QueryLogql) -> anyhow::Result<()> {
    let (path, form) = request(query)?;
    let (status, body) = block_on(async {
        match &query.url {
            Some(url) => ask::ask_server(url, path, form).await,
            None => {
                let store = logs_store::open_existing(dir)?;
                let answer = ask::ask_router(coracle_logs::http::router(store.clone()), path, form).await;
                store.close().await;
                answer
            }
        }
    })?;
    if !status.is_success() {
        bail!("{}", String::from_utf8_lossy(&body).trim());
    }
    let answer: Answer = serde_json::from_slice(&body)
        .with_context(|| format!("the answer is no Loki answer: {}", String::from_utf8_lossy(&body)))?;
    show(query, answer.data)
}

/// The path that is asked and the form that goes with it. Numbers are asked for at one moment, unless a range is named.
fn request(query: &QueryLogql) -> anyhow::Result<(&'static str, String)> {
    let is_lines = matches!(coracle_logql::syntax::parse(&query.expression), Ok(coracle_logql::syntax::Expr::Log(_)));
    let mut pairs = vec![("query", query.expression.clone()), ("limit", query.limit.to_string())];
    let nanoseconds = |ms: i64| format!("{ms}000000");
    let (start_ms, end_ms, step) = match When::of(&query.evaluation, is_lines)? {
        When::Moment { time_ms } => {
            pairs.push(("time", nanoseconds(time_ms)));
            return Ok(("/loki/api/v1/query", ask::form(&pairs)));
        }
        When::Range { start_ms, end_ms, step } => (start_ms, end_ms, step),
    };
    let direction = match query.order {
        Order::Newest => "backward",
        Order::Oldest => "forward",
    };
    pairs.extend([
        ("start", nanoseconds(start_ms)),
        ("end", nanoseconds(end_ms)),
        ("step", step),
        ("direction", direction.to_owned()),
    ]);
    Ok(("/loki/api/v1/query_range", ask::form(&pairs)))
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Value,
}

type Labels = BTreeMap<String, String>;

#[derive(Deserialize)]
struct Stream {
    stream: Labels,
    values: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    value: Option<(f64, String)>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

fn name(labels: &Labels) -> String {
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", labels.join(", "))
}

fn show(query: &QueryLogql, data: Data) -> anyhow::Result<()> {
    if query.evaluation.output.json {
        return print::json(&serde_json::json!({"resultType": data.result_type, "result": data.result}));
    }
    match data.result_type.as_str() {
        "streams" => lines(query, serde_json::from_value(data.result)?),
        "scalar" => {
            let (_, value): (f64, String) = serde_json::from_value(data.result)?;
            println!("{value}");
            Ok(())
        }
        kind => {
            let series: Vec<Series> = serde_json::from_value(data.result)?;
            if query.evaluation.plot { draw(&series) } else { table(kind, &series) }
        }
    }
}

/// Lines of all streams in one order; labels that all have in common are said once.
fn lines(query: &QueryLogql, streams: Vec<Stream>) -> anyhow::Result<()> {
    let mut common = streams.first().map(|stream| stream.stream.clone()).unwrap_or_default();
    common.retain(|name, value| streams.iter().all(|stream| stream.stream.get(name) == Some(value)));
    if !common.is_empty() {
        eprintln!("{} {}", coloured(Colour::Dim, "common labels:"), name(&common));
    }
    let mut lines = Vec::new();
    for mut stream in streams {
        stream.stream.retain(|name, _| !common.contains_key(name));
        let own = if stream.stream.is_empty() { String::new() } else { format!("{} ", name(&stream.stream)) };
        for (ts, line) in stream.values {
            let ts: i64 = ts.parse().with_context(|| format!("{ts} is no time"))?;
            lines.push((ts, own.clone(), line));
        }
    }
    lines.sort_by_key(|(ts, ..)| *ts);
    if matches!(query.order, Order::Newest) {
        lines.reverse();
    }
    for (ts, own, line) in lines {
        println!(
            "{} {}{line}",
            coloured(Colour::Dim, &super::date_time(ts as f64 / 1e9)),
            coloured(Colour::Green, &own)
        );
    }
    Ok(())
}

fn draw(series: &[Series]) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for each in series {
        let points = each.values.iter().map(|(time, value)| Ok((*time, value.parse::<f64>()?)));
        lines.push((name(&each.metric), points.collect::<anyhow::Result<Vec<_>>>()?));
    }
    print!("{}", plot::plot(&lines));
    Ok(())
}

fn table(kind: &str, series: &[Series]) -> anyhow::Result<()> {
    if series.is_empty() {
        println!("nothing matches");
        return Ok(());
    }
    if kind == "vector" {
        let value = |each: &Series| each.value.as_ref().map(|(_, value)| value.clone()).unwrap_or_default();
        let rows: Vec<_> = series.iter().map(|each| vec![name(&each.metric), value(each)]).collect();
        print::table(&["SERIES", "VALUE"], &rows);
        return Ok(());
    }
    let row =
        |each: &Series, (time, value): &(f64, String)| vec![name(&each.metric), super::date_time(*time), value.clone()];
    let rows: Vec<_> = series.iter().flat_map(|each| each.values.iter().map(move |point| row(each, point))).collect();
    print::table(&["SERIES", "TIME", "VALUE"], &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, Query};

    fn check(arguments: &[&str], path: &str, form: &str) {
        let words = ["coracle", "query", "logql"].iter().chain(arguments);
        let Command::Query(Query::Logql(query)) = Cli::parse_from(words).command else { panic!("another command") };
        assert_eq!(request(&query).unwrap(), (path, form.to_owned()));
    }

    #[test]
    fn lines_are_a_range_and_numbers_a_moment() {
        check(
            &["{a=\"b\"}", "--start=1000", "--end=2000", "--order=oldest"],
            "/loki/api/v1/query_range",
            "query=%7Ba%3D%22b%22%7D&limit=100&start=1000000000000&end=2000000000000&step=4&direction=forward",
        );
        check(&["1+1", "--time=12.5"], "/loki/api/v1/query", "query=1%2B1&limit=100&time=12500000000");
    }
}
