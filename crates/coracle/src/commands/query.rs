//! `coracle query`: one module a language.

mod ask;
mod logql;
mod plot;
mod promql;

use crate::{cli::Query, paths::DataDir};

pub fn run(dir: &DataDir, query: &Query) -> anyhow::Result<()> {
    match query {
        Query::Promql(query) => promql::run(dir, query),
        Query::Logql(query) => logql::run(dir, query),
    }
}
