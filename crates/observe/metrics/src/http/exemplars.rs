//! The exemplars of the series a query reads.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use coracle_promql::{
    Matcher,
    parser::{self, ast::Expr},
};
use http::StatusCode;

use super::{
    Server,
    answer::{ApiError, Notes, put_float, put_labels, put_list, put_time, success},
    params::{MAX_MS, MIN_MS, Params},
};

pub(super) async fn exemplars(State(server): State<Server>, params: Params) -> Result<Response, ApiError> {
    let (start_ms, end_ms) = (params.time("start", MIN_MS)?, params.time("end", MAX_MS)?);
    if end_ms < start_ms {
        return Err(ApiError::BadData("end timestamp must not be before start timestamp".to_owned()));
    }
    let expr = parser::parse(params.get("query"), server.0.engine.options.parser)
        .map_err(|error| ApiError::BadData(error.to_string()))?;
    let mut sets = Vec::new();
    selectors(&expr, &mut sets);
    if sets.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let found = server.0.store.exemplars(&sets, start_ms, end_ms);
    let mut data = Vec::new();
    put_list(&mut data, &found, |into, (labels, exemplars)| {
        into.extend_from_slice(b"{\"seriesLabels\":");
        put_labels(into, labels);
        into.extend_from_slice(b",\"exemplars\":");
        put_list(into, exemplars, |into, exemplar| {
            into.extend_from_slice(b"{\"labels\":");
            put_labels(into, &exemplar.labels);
            into.extend_from_slice(b",\"value\":");
            put_float(into, exemplar.value);
            into.extend_from_slice(b",\"timestamp\":");
            put_time(into, exemplar.time_ms);
            into.push(b'}');
        });
        into.push(b'}');
    });
    Ok(success(&params.headers, &data, &Notes::default()))
}

/// The matchers of all selectors of an expression.
fn selectors(expr: &Expr, into: &mut Vec<Vec<Matcher>>) {
    match expr {
        Expr::Vector(selector) => into.push(selector.matchers.clone()),
        Expr::Matrix(selector) => into.push(selector.selector.matchers.clone()),
        Expr::Aggregate(aggregate) => {
            selectors(&aggregate.expr, into);
            aggregate.param.iter().for_each(|param| selectors(param, into));
        }
        Expr::Binary(binary) => {
            selectors(&binary.lhs, into);
            selectors(&binary.rhs, into);
        }
        Expr::Call(call) => call.args.iter().for_each(|arg| selectors(arg, into)),
        Expr::Paren(paren) => selectors(&paren.expr, into),
        Expr::Subquery(subquery) => selectors(&subquery.expr, into),
        Expr::Unary(unary) => selectors(&unary.expr, into),
        Expr::StepInvariant(inner) => selectors(inner, into),
        Expr::Number(_) | Expr::String(_) => {}
    }
}
