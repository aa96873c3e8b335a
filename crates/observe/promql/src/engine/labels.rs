//! `label_replace` and `label_join`: they look at labels only.

use std::borrow::Cow;

use super::{
    QueryError,
    context::{Context, Frame},
    eval::{self, Evaluated, Outer},
    instant::text,
    series::merge_same_labels,
};
use crate::{go_regex, labels::METRIC_NAME, parser::ast::Call};

pub(super) fn replace(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let arg = |at: usize| text(&call.args[at]).unwrap_or_default();
    let (target, replacement, source, pattern) = (arg(1), arg(2), arg(3), arg(4));
    let regex = go_regex::compile_anchored(pattern)
        .map_err(|_| QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}")))?;
    if target.is_empty() {
        return Err(QueryError::Execution("invalid destination label name in label_replace(): ".into()));
    }
    let mut all = eval::eval_in(context, &call.args[0], frame, outer)?;
    for series in &mut all {
        let Some(captures) = regex.captures(series.labels.value(source)) else { continue };
        let value = expand(replacement, &captures);
        series.labels = series.labels.with(target, &value);
        series.drop_name &= target != METRIC_NAME;
    }
    merge_same_labels(all)
}

/// Go's way of putting captures into a template: `$1`, `$name`, `${1}text`, `$$`. A name is as long as it can be.
fn expand(template: &str, captures: &regex::Captures<'_>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let braced = rest.starts_with('{');
        let begin = &rest[usize::from(braced)..];
        let length = begin.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(begin.len());
        let name = &begin[..length];
        let after = &begin[length..];
        if name.is_empty() || (braced && !after.starts_with('}')) {
            out.push('$');
            continue;
        }
        rest = if braced { &after[1..] } else { after };
        let found = match name.parse::<usize>() {
            Ok(index) => captures.get(index),
            Err(_) => captures.name(name),
        };
        out.push_str(found.map_or("", |found| found.as_str()));
    }
    out.push_str(rest);
    out
}

pub(super) fn join(context: &Context<'_>, call: &Call, frame: Frame, outer: Outer) -> Evaluated {
    let arg = |at: usize| text(&call.args[at]).unwrap_or_default();
    let (target, separator) = (arg(1), arg(2));
    let sources: Vec<&str> = (3..call.args.len()).map(arg).collect();
    if sources.contains(&"") {
        return Err(QueryError::Execution("invalid source label name in label_join(): ".into()));
    }
    if target.is_empty() {
        return Err(QueryError::Execution("invalid destination label name in label_join(): ".into()));
    }
    let mut all = eval::eval_in(context, &call.args[0], frame, outer)?;
    for series in &mut all {
        let values: Vec<Cow<'_, str>> = sources.iter().map(|source| Cow::from(series.labels.value(source))).collect();
        let value = values.join(separator);
        series.labels = series.labels.with(target, &value);
        series.drop_name &= target != METRIC_NAME;
    }
    merge_same_labels(all)
}
