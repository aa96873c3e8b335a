//! `label_replace` and `label_join`: they look at labels only.

use std::borrow::Cow;

use super::{
    QueryError,
    context::{Context, Frame},
    eval::{self, Evaluated, Outer},
    instant::{label_name, text},
    series::merge_same_labels,
};
use crate::{
    go_regex,
    labels::METRIC_NAME,
    parser::ast::{Call, Expr},
};

pub(super) fn replace(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let arg = |at: usize| text(&call.args[at]).unwrap_or_default();
    let (replacement, source, pattern) = (arg(2), arg(3), arg(4));
    let regex = go_regex::compile_anchored(pattern)
        .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
    let target = named(&call.args[1], "destination", "label_replace")?;
    let mut all = eval::eval_in(context, &call.args[0], frame, outer)?;
    for series in &mut all {
        let Some(captures) = regex.captures(series.labels.value(source)) else { continue };
        let value = go_regex::expand(replacement, &captures);
        series.labels = series.labels.with(target, &value);
        series.drop_name &= target != METRIC_NAME;
    }
    merge_same_labels(all)
}

/// An argument that names a label.
fn named<'a>(arg: &'a Expr, role: &str, function: &str) -> Result<&'a str, QueryError> {
    label_name(arg).map_err(|_| {
        let written = text(arg).unwrap_or_default();
        QueryError::Execution(format!("invalid {role} label name in {function}(): {written}"))
    })
}

pub(super) fn join(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let arg = |at: usize| text(&call.args[at]).unwrap_or_default();
    let separator = arg(2);
    let sources = call.args[3..].iter().map(|source| named(source, "source", "label_join"));
    let sources: Vec<&str> = sources.collect::<Result<_, _>>()?;
    let target = named(&call.args[1], "destination", "label_join")?;
    let mut all = eval::eval_in(context, &call.args[0], frame, outer)?;
    for series in &mut all {
        let values: Vec<Cow<'_, str>> = sources.iter().map(|source| Cow::from(series.labels.value(source))).collect();
        let value = values.join(separator);
        series.labels = series.labels.with(target, &value);
        series.drop_name &= target != METRIC_NAME;
    }
    merge_same_labels(all)
}
