//! Expressions as the JSON of the HTTP interface's `parse_query`.

use serde_json::{Value, json};

use super::ast::{At, DurationExpr, Expr, Length, Offset, ValueType, VectorSelector};
use crate::{matcher::Matcher, number::plain_float};

pub fn to_json(expr: &Expr) -> Value {
    match expr {
        Expr::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.name(),
            "expr": to_json(&aggregate.expr),
            "param": aggregate.param.as_ref().map(to_json),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        Expr::Binary(binary) => json!({
            "type": "binaryExpr",
            "op": binary.op.name(),
            "lhs": to_json(&binary.lhs),
            "rhs": to_json(&binary.rhs),
            "matching": binary.matching.as_ref().map(|matching| json!({
                "card": matching.cardinality.name(),
                "labels": matching.labels,
                "on": matching.on,
                "include": matching.include,
                "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
            })),
            "bool": binary.return_bool,
        }),
        Expr::Call(call) => json!({
            "type": "call",
            "func": {
                "name": call.function.name,
                "argTypes": call.function.args.iter().copied().map(ValueType::name).collect::<Vec<_>>(),
                "variadic": call.function.variadic,
                "returnType": call.function.returns.name(),
            },
            "args": call.args.iter().map(to_json).collect::<Vec<_>>(),
        }),
        Expr::Matrix(matrix) => {
            let mut value = selector(&matrix.selector, "matrixSelector");
            value["range"] = length_ms(&matrix.range);
            value["rangeExpr"] = length_expr(&matrix.range);
            value
        }
        Expr::Subquery(subquery) => json!({
            "type": "subquery",
            "expr": to_json(&subquery.expr),
            "range": length_ms(&subquery.range),
            "rangeExpr": length_expr(&subquery.range),
            "offset": offset_ms(&subquery.offset),
            "offsetExpr": offset_expr(&subquery.offset),
            "step": subquery.step.as_ref().map_or(json!(0), length_ms),
            "stepExpr": subquery.step.as_ref().map_or(Value::Null, length_expr),
            "timestamp": timestamp(subquery.at),
            "startOrEnd": start_or_end(subquery.at),
        }),
        Expr::Number(number) => json!({"type": "numberLiteral", "val": plain_float(number.value)}),
        Expr::Paren(paren) => json!({"type": "parenExpr", "expr": to_json(&paren.expr)}),
        Expr::String(text) => json!({"type": "stringLiteral", "val": text.value}),
        Expr::Unary(unary) => json!({
            "type": "unaryExpr",
            "op": if unary.negative { "-" } else { "+" },
            "expr": to_json(&unary.expr),
        }),
        Expr::Vector(vector) => selector(vector, "vectorSelector"),
        Expr::StepInvariant(inner) => to_json(inner),
    }
}

fn selector(selector: &VectorSelector, kind: &str) -> Value {
    json!({
        "type": kind,
        "name": selector.name,
        "offset": offset_ms(&selector.offset),
        "offsetExpr": offset_expr(&selector.offset),
        "matchers": selector.matchers.iter().map(matcher).collect::<Vec<_>>(),
        "timestamp": timestamp(selector.at),
        "startOrEnd": start_or_end(selector.at),
        "anchored": selector.anchored,
        "smoothed": selector.smoothed,
    })
}

fn matcher(matcher: &Matcher) -> Value {
    json!({"name": &*matcher.name, "value": &*matcher.value, "type": matcher.op.to_string()})
}

fn timestamp(at: Option<At>) -> Value {
    match at {
        Some(At::TimeMs(ms)) => json!(ms),
        _ => Value::Null,
    }
}

fn start_or_end(at: Option<At>) -> Value {
    match at {
        Some(At::Start) => json!("start"),
        Some(At::End) => json!("end"),
        _ => Value::Null,
    }
}

fn length_ms(length: &Length) -> Value {
    json!(length.ns() / 1_000_000)
}

fn length_expr(length: &Length) -> Value {
    match length {
        Length::Ns(_) => Value::Null,
        Length::Computed(expr) => duration(expr, false),
    }
}

fn offset_ms(offset: &Offset) -> Value {
    match offset {
        Offset::Ns(ns) => json!(ns / 1_000_000),
        _ => json!(0),
    }
}

fn offset_expr(offset: &Offset) -> Value {
    match offset {
        Offset::Computed(expr) => duration(expr, false),
        _ => Value::Null,
    }
}

fn duration(expr: &DurationExpr, wrapped: bool) -> Value {
    let node = |op: &str, lhs: Value, rhs: Value| json!({"type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": wrapped});
    match expr {
        DurationExpr::Literal(number) => {
            json!({"type": "numberLiteral", "val": plain_float(number.value), "duration": number.duration})
        }
        DurationExpr::Step(_) => node("step", Value::Null, Value::Null),
        DurationExpr::Range(_) => node("range", Value::Null, Value::Null),
        DurationExpr::Extreme { most, lhs, rhs, .. } => {
            node(if *most { "max_of" } else { "min_of" }, duration(lhs, false), duration(rhs, false))
        }
        DurationExpr::Negated { expr, .. } => node("-", Value::Null, duration(expr, false)),
        DurationExpr::Binary { op, lhs, rhs } => node(op.name(), duration(lhs, false), duration(rhs, false)),
        DurationExpr::Wrapped(inner) => duration(inner, true),
    }
}
