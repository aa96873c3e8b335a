//! The same request as JSON: names in camel case, 64-bit numbers as texts or numbers.

use serde_json::Value;

use super::{
    Attributes, Buckets, DELTA, Data, Exponential, Histogram, Metric, NO_RECORDED_VALUE, Number, Point, Resource,
    SentExemplar, Summary,
};

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Resource>, String> {
    let request: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !request.is_object() {
        return Err("the request is no object".to_owned());
    }
    Ok(list(&request, "resourceMetrics").iter().map(resource).collect())
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or("").to_owned()
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            text => text.parse().ok(),
        },
        _ => None,
    }
}

fn unsigned(value: &Value) -> u64 {
    match value {
        Value::Number(number) => number.as_u64().unwrap_or(0),
        Value::String(text) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

fn signed(value: &Value) -> i32 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).and_then(|number| number.try_into().ok()).unwrap_or(0)
}

fn resource(value: &Value) -> Resource {
    let metrics = list(value, "scopeMetrics").iter().flat_map(|scope| list(scope, "metrics")).map(metric).collect();
    Resource { attributes: attributes(&value["resource"]), metrics }
}

fn attributes(value: &Value) -> Attributes {
    list(value, "attributes").iter().map(attribute).collect()
}

fn attribute(value: &Value) -> (String, String) {
    (text(value, "key"), any_value(&value["value"]))
}

fn any_value(value: &Value) -> String {
    let Some((_, inner)) = value.as_object().and_then(|object| object.iter().next()) else { return String::new() };
    match inner {
        Value::String(text) => text.clone(),
        Value::Object(_) => {
            let items: Vec<String> = list(inner, "values").iter().map(any_value).collect();
            serde_json::json!(items).to_string()
        }
        other => other.to_string(),
    }
}

fn metric(value: &Value) -> Metric {
    let delta = |data: &Value| match &data["aggregationTemporality"] {
        Value::String(name) => name == "AGGREGATION_TEMPORALITY_DELTA",
        number => unsigned(number) == DELTA,
    };
    let points = |data: &Value| list(data, "dataPoints").to_vec();
    let of = |name: &str| value.get(name);
    let data = if let Some(data) = of("gauge") {
        Data::Gauge(points(data).iter().map(number).collect())
    } else if let Some(data) = of("sum") {
        let monotonic = data["isMonotonic"].as_bool().unwrap_or(false);
        Data::Sum { points: points(data).iter().map(number).collect(), delta: delta(data), monotonic }
    } else if let Some(data) = of("histogram") {
        Data::Histogram { points: points(data).iter().map(histogram).collect(), delta: delta(data) }
    } else if let Some(data) = of("exponentialHistogram") {
        Data::Exponential { points: points(data).iter().map(exponential).collect(), delta: delta(data) }
    } else if let Some(data) = of("summary") {
        Data::Summary(points(data).iter().map(summary).collect())
    } else {
        Data::Nothing
    };
    Metric { name: text(value, "name"), description: text(value, "description"), unit: text(value, "unit"), data }
}

fn exemplar(value: &Value) -> crate::Exemplar {
    let id = |name: &str| text(value, name).to_ascii_lowercase();
    let attributes = list(value, "filteredAttributes").iter().map(attribute).collect();
    let number = float(&value["asDouble"]).or_else(|| float(&value["asInt"])).unwrap_or(0.0);
    let time_ns = unsigned(&value["timeUnixNano"]);
    SentExemplar { trace_id: id("traceId"), span_id: id("spanId"), attributes, time_ns, value: number }.finish()
}

fn point(value: &Value) -> Point {
    Point {
        attributes: attributes(value),
        time_ns: unsigned(&value["timeUnixNano"]),
        ended: unsigned(&value["flags"]) & NO_RECORDED_VALUE != 0,
        exemplars: list(value, "exemplars").iter().map(exemplar).collect(),
    }
}

fn number(value: &Value) -> Number {
    let number = float(&value["asDouble"]).or_else(|| float(&value["asInt"]));
    Number { point: point(value), value: number.unwrap_or(0.0) }
}

fn histogram(value: &Value) -> Histogram {
    Histogram {
        point: point(value),
        count: unsigned(&value["count"]),
        sum: float(&value["sum"]),
        counts: list(value, "bucketCounts").iter().map(unsigned).collect(),
        bounds: list(value, "explicitBounds").iter().filter_map(float).collect(),
    }
}

fn exponential(value: &Value) -> Exponential {
    let buckets = |value: &Value| Buckets {
        offset: signed(&value["offset"]),
        counts: list(value, "bucketCounts").iter().map(unsigned).collect(),
    };
    Exponential {
        point: point(value),
        count: unsigned(&value["count"]),
        sum: float(&value["sum"]).unwrap_or(0.0),
        scale: signed(&value["scale"]),
        zero_count: unsigned(&value["zeroCount"]),
        zero_threshold: float(&value["zeroThreshold"]).unwrap_or(0.0),
        positive: buckets(&value["positive"]),
        negative: buckets(&value["negative"]),
    }
}

fn summary(value: &Value) -> Summary {
    let quantile = |value: &Value| (float(&value["quantile"]).unwrap_or(0.0), float(&value["value"]).unwrap_or(0.0));
    Summary {
        point: point(value),
        count: unsigned(&value["count"]),
        sum: float(&value["sum"]).unwrap_or(0.0),
        quantiles: list(value, "quantileValues").iter().map(quantile).collect(),
    }
}
