//! Queries over several lines, where one would be too long.

use super::{
    ast::{Binary, Expr, LogExpr, LogRange, MetricExpr, RangeAggregation, Stage, VectorAggregation},
    print::Joined,
};
use crate::go;

const MAX_LINE_CHARS: usize = 100;

/// A query as people like to read it.
pub fn pretty(expr: &Expr) -> String {
    match expr {
        Expr::Log(log) => log_expr(log, 0),
        Expr::Metric(metric) => metric_expr(metric, 0),
    }
}

fn indent(level: usize) -> String {
    "  ".repeat(level)
}

fn fits(text: &str) -> bool {
    text.len() <= MAX_LINE_CHARS
}

fn log_expr(log: &LogExpr, level: usize) -> String {
    let line = log.to_string();
    if fits(&line) {
        return indent(level) + &line;
    }
    let mut lines = vec![format!("{}{{{}}}", indent(level), Joined(&log.matchers, ", "))];
    for stage in &log.stages {
        match stage {
            Stage::Lines(filters) if !fits(&stage.to_string()) => {
                lines.extend(filters.iter().map(|filter| format!("{}{filter}", indent(level + 1))));
            }
            stage => lines.push(format!("{}{stage}", indent(level + 1))),
        }
    }
    lines.join("\n")
}

fn log_range(range: &LogRange, level: usize) -> String {
    let mut text = log_expr(&range.selector, level);
    if let Some(unwrap) = &range.unwrap {
        text += &format!("\n{}{unwrap}", indent(level + 1));
    }
    text += &format!(" [{}]", go::format_prometheus_duration(range.interval_ns));
    if range.offset_ns != 0 {
        text += &format!(" offset {}", go::format_prometheus_duration(range.offset_ns));
    }
    text
}

fn metric_expr(metric: &MetricExpr, level: usize) -> String {
    let line = metric.to_string();
    if fits(&line) {
        return indent(level) + &line;
    }
    match metric {
        MetricExpr::Range(range) => range_aggregation(range, level),
        MetricExpr::Vector(vector) => vector_aggregation(vector, level),
        MetricExpr::Binary(binary) => operation(binary, level),
        MetricExpr::Literal(_) | MetricExpr::VectorLiteral(_) => indent(level) + &line,
        MetricExpr::LabelReplace(replace) => {
            let how = &replace.how;
            let texts = [&how.destination, &how.replacement, &how.source, &how.regex];
            let parts = texts.map(|text| format!(",\n{}{}", indent(level + 1), go::quote(text))).concat();
            let (outer, of) = (indent(level), metric_expr(&replace.of, level + 1));
            format!("{outer}label_replace(\n{of}{parts}\n{outer})")
        }
    }
}

fn range_aggregation(range: &RangeAggregation, level: usize) -> String {
    let parameter = range
        .parameter
        .map_or_else(String::new, |number| format!("{}{},\n", indent(level + 1), go::shortest_float(number)));
    let grouping = range.grouping.as_ref().map_or_else(String::new, ToString::to_string);
    let (outer, inner) = (indent(level), log_range(&range.range, level + 1));
    format!("{outer}{}(\n{parameter}{inner}\n{outer}){grouping}", range.op.name())
}

fn vector_aggregation(vector: &VectorAggregation, level: usize) -> String {
    let grouping = if vector.grouping.is_singleton() { String::new() } else { vector.grouping.to_string() };
    let parameter = match vector.parameter {
        0 => String::new(),
        parameter => format!("{}{parameter},\n", indent(level + 1)),
    };
    let (outer, inner) = (indent(level), metric_expr(&vector.of, level + 1));
    format!("{outer}{}{grouping}(\n{parameter}{inner}\n{outer})", vector.op.name())
}

fn operation(binary: &Binary, level: usize) -> String {
    let (left, right) = (metric_expr(&binary.left, level + 1), metric_expr(&binary.right, level + 1));
    format!("{left}\n{}{}\n{right}", indent(level), binary.operator())
}
