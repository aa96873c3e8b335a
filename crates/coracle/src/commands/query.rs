//! `coracle query`: one module a language.

mod ask;
mod logql;
mod plot;
mod promql;
mod when;

use crate::{cli::Query, paths::DataDir};

pub fn run(dir: &DataDir, query: &Query) -> anyhow::Result<()> {
    match query {
        Query::Promql(query) => promql::run(dir, query),
        Query::Logql(query) => logql::run(dir, query),
    }
}

/// A moment in UTC, with as much of a second as it has.
fn date_time(seconds: f64) -> String {
    let time = jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64);
    time.map_or_else(|_| seconds.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string())
}
