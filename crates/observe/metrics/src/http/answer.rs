//! Answers as Prometheus gives them: `{"status":"success","data":…}`, or an error with its kind.

use std::io::Write;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use coracle_promql::{
    FloatHistogram, Labels,
    engine::{QueryError, SampleValue, Value},
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::StoreError;

/// Shorter answers are not worth packing.
const PACK_FROM_BYTES: usize = 1400;

/// Why a request failed, with the word and the status Prometheus has for that.
#[derive(Debug)]
pub(super) enum ApiError {
    BadData(String),
    Execution(String),
    Cancelled(String),
    Timeout(String),
    Internal(String),
    Unavailable(String),
    NotFound(String),
}

impl ApiError {
    pub(super) fn parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::BadData(format!("invalid parameter \"{name}\": {why}"))
    }

    fn parts(self) -> (&'static str, StatusCode, String) {
        match self {
            Self::BadData(why) => ("bad_data", StatusCode::BAD_REQUEST, why),
            Self::Execution(why) => ("execution", StatusCode::UNPROCESSABLE_ENTITY, why),
            Self::Cancelled(why) => ("canceled", StatusCode::from_u16(499).expect("a status of three digits"), why),
            Self::Timeout(why) => ("timeout", StatusCode::SERVICE_UNAVAILABLE, why),
            Self::Internal(why) => ("internal", StatusCode::INTERNAL_SERVER_ERROR, why),
            Self::Unavailable(why) => ("unavailable", StatusCode::INTERNAL_SERVER_ERROR, why),
            Self::NotFound(why) => ("not_found", StatusCode::NOT_FOUND, why),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (kind, status, why) = self.parts();
        let mut body = b"{\"status\":\"error\",\"errorType\":".to_vec();
        put_text(&mut body, kind);
        body.extend_from_slice(b",\"error\":");
        put_text(&mut body, &why);
        body.push(b'}');
        (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Invalid(why) => Self::BadData(why),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        let why = error.to_string();
        match error {
            QueryError::Parse(_) | QueryError::Invalid(_) => Self::parameter("query", why),
            QueryError::TimedOut(_) => Self::Timeout(why),
            QueryError::Cancelled(_) => Self::Cancelled(why),
            QueryError::Storage(_) => Self::Internal(why),
            _ => Self::Execution(why),
        }
    }
}

/// What is said beside the data.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: Vec<String>,
    pub(super) infos: Vec<String>,
}

/// Frames JSON data as a success, packed if the client likes that.
pub(super) fn success(headers: &HeaderMap, data: &[u8], notes: &Notes) -> Response {
    let mut body = Vec::with_capacity(data.len() + 64);
    body.extend_from_slice(b"{\"status\":\"success\",\"data\":");
    body.extend_from_slice(data);
    for (name, texts) in [("warnings", &notes.warnings), ("infos", &notes.infos)] {
        if !texts.is_empty() {
            body.extend_from_slice(b",");
            put_text(&mut body, name);
            body.push(b':');
            put_list(&mut body, texts, |body, text| put_text(body, text));
        }
    }
    body.push(b'}');
    packed(headers, "application/json", body)
}

/// A success of something serde can write.
pub(super) fn success_json(headers: &HeaderMap, data: &serde_json::Value) -> Response {
    success(headers, data.to_string().as_bytes(), &Notes::default())
}

/// A body of some type, packed if the client likes that.
pub(super) fn packed(headers: &HeaderMap, content_type: &'static str, body: Vec<u8>) -> Response {
    let accepts = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
    let gzip = accepts.split(',').any(|each| each.split(';').next().map(str::trim) == Some("gzip"));
    let mut response = if gzip && body.len() >= PACK_FROM_BYTES {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        match encoder.write_all(&body).and_then(|()| encoder.finish()) {
            Ok(packed) => {
                let mut response = Response::new(Body::from(packed));
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                response
            }
            Err(_) => Response::new(Body::from(body)),
        }
    } else {
        Response::new(Body::from(body))
    };
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

pub(super) fn put_text(into: &mut Vec<u8>, text: &str) {
    let plain = text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\');
    if plain {
        into.push(b'"');
        into.extend_from_slice(text.as_bytes());
        into.push(b'"');
    } else {
        serde_json::to_writer(into, text).expect("writing a text to memory does not fail");
    }
}

pub(super) fn put_list<T>(
    into: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut put: impl FnMut(&mut Vec<u8>, T),
) {
    into.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        put(into, item);
    }
    into.push(b']');
}

pub(super) fn put_labels(into: &mut Vec<u8>, labels: &Labels) {
    into.push(b'{');
    for (index, (name, value)) in labels.iter().enumerate() {
        if index > 0 {
            into.push(b',');
        }
        put_text(into, name);
        into.push(b':');
        put_text(into, value);
    }
    into.push(b'}');
}

fn put_integer(into: &mut Vec<u8>, value: i64) {
    write!(into, "{value}").expect("writing to memory does not fail");
}

/// Milliseconds as seconds, without needless zeros in front, three digits behind the point if there are any.
pub(super) fn put_time(into: &mut Vec<u8>, time_ms: i64) {
    if time_ms < 0 {
        into.push(b'-');
    }
    let time_ms = time_ms.unsigned_abs();
    put_integer(into, (time_ms / 1000) as i64);
    if !time_ms.is_multiple_of(1000) {
        write!(into, ".{:03}", time_ms % 1000).expect("writing to memory does not fail");
    }
}

/// The shortest text that reads back the same, in quotes; with an exponent when it is very large or small.
pub(super) fn put_float(into: &mut Vec<u8>, value: f64) {
    into.push(b'"');
    put_bare_float(into, value);
    into.push(b'"');
}

fn put_bare_float(into: &mut Vec<u8>, value: f64) {
    const WHOLE_MAX: f64 = 1e15;
    let size = value.abs();
    if size < WHOLE_MAX && value.fract() == 0.0 && (value != 0.0 || value.is_sign_positive()) {
        return put_integer(into, value as i64);
    }
    let written = match value {
        _ if value.is_nan() => write!(into, "NaN"),
        f64::INFINITY => write!(into, "+Inf"),
        f64::NEG_INFINITY => write!(into, "-Inf"),
        _ if size != 0.0 && !(1e-6..1e21).contains(&size) => {
            let text = format!("{value:e}");
            let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |digits| ("-", digits));
            write!(into, "{mantissa}e{sign}{digits:0>2}")
        }
        _ => write!(into, "{value}"),
    };
    written.expect("writing to memory does not fail");
}

fn put_point(into: &mut Vec<u8>, time_ms: i64, value: f64) {
    into.push(b'[');
    put_time(into, time_ms);
    into.push(b',');
    put_float(into, value);
    into.push(b']');
}

fn put_histogram_point(into: &mut Vec<u8>, time_ms: i64, histogram: &FloatHistogram) {
    into.push(b'[');
    put_time(into, time_ms);
    into.extend_from_slice(b",{\"count\":");
    put_float(into, histogram.count);
    into.extend_from_slice(b",\"sum\":");
    put_float(into, histogram.sum);
    let buckets: Vec<_> = histogram.all_buckets().into_iter().filter(|bucket| bucket.count != 0.0).collect();
    if !buckets.is_empty() {
        into.extend_from_slice(b",\"buckets\":");
        put_list(into, buckets, |into, bucket| {
            let boundaries = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            into.push(b'[');
            put_integer(into, boundaries);
            for value in [bucket.lower, bucket.upper, bucket.count] {
                into.push(b',');
                put_float(into, value);
            }
            into.push(b']');
        });
    }
    into.extend_from_slice(b"}]");
}

/// A query's value as `data` has it.
pub(super) fn put_value(into: &mut Vec<u8>, value: &Value) {
    into.extend_from_slice(b"{\"resultType\":");
    put_text(into, value.type_name());
    into.extend_from_slice(b",\"result\":");
    match value {
        Value::Scalar { time_ms, value } => put_point(into, *time_ms, *value),
        Value::String { time_ms, value } => {
            into.push(b'[');
            put_time(into, *time_ms);
            into.push(b',');
            put_text(into, value);
            into.push(b']');
        }
        Value::Vector(samples) => put_list(into, samples, |into, sample| {
            into.extend_from_slice(b"{\"metric\":");
            put_labels(into, &sample.labels);
            match &sample.value {
                SampleValue::Float(value) => {
                    into.extend_from_slice(b",\"value\":");
                    put_point(into, sample.time_ms, *value);
                }
                SampleValue::Histogram(histogram) => {
                    into.extend_from_slice(b",\"histogram\":");
                    put_histogram_point(into, sample.time_ms, histogram);
                }
            }
            into.push(b'}');
        }),
        Value::Matrix(series) => put_list(into, series, |into, series| {
            into.extend_from_slice(b"{\"metric\":");
            put_labels(into, &series.labels);
            if !series.floats.is_empty() {
                into.extend_from_slice(b",\"values\":");
                put_list(into, &series.floats, |into, point| put_point(into, point.time_ms, point.value));
            }
            if !series.histograms.is_empty() {
                into.extend_from_slice(b",\"histograms\":");
                put_list(into, &series.histograms, |into, point| {
                    put_histogram_point(into, point.time_ms, &point.value)
                });
            }
            into.push(b'}');
        }),
    }
    into.push(b'}');
}
