//! Remote read, answered with samples, or with a stream of chunks for clients that take those.

mod stream;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use coracle_promql::{Columns, MatchOp, Matcher};
use http::{StatusCode, header};

use super::{Server, answer::ApiError, query::Running, write::unpack};
use crate::proto::{self, Malformed, each_field};

struct Query {
    start_ms: i64,
    end_ms: i64,
    matchers: Vec<Matcher>,
}

/// What a client asks for.
struct Request {
    queries: Vec<Query>,
    /// Whether it would rather have chunks, as they come, than all samples at once.
    streamed: bool,
}

/// Samples an answer may have.
const SAMPLES_MAX: usize = 50_000_000;

pub(super) async fn read(State(server): State<Server>, body: Bytes) -> Response {
    let bytes = match unpack(&body, server.0.settings.body_bytes_max) {
        Ok(bytes) => bytes,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let Request { queries, streamed } = match decode(&bytes) {
        Ok(request) => request,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    if streamed {
        return stream::respond(&server, queries).await;
    }
    let work = move |server: &Server, running: &Running| answer(server, running, &queries);
    match server.run(server.0.settings.query_timeout, work).await {
        Ok(packed) => {
            let headers = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
            (headers, packed).into_response()
        }
        Err(error) => error.into_response(),
    }
}

fn decode(bytes: &[u8]) -> Result<Request, String> {
    const SAMPLES: u64 = 0;
    const CHUNKS: u64 = 1;
    let (mut queries, mut types) = (Vec::new(), Vec::new());
    let mut wrong = None;
    let decoded = each_field(bytes, |number, field| {
        match number {
            1 => match query(field.bytes()?)? {
                Ok(query) => queries.push(query),
                Err(why) => wrong = Some(why),
            },
            2 => field.each_varint(|kind| types.push(kind))?,
            _ => {}
        }
        Ok(())
    });
    decoded.map_err(|error| error.to_string())?;
    // The first that is known here counts.
    let kind = types.iter().copied().find(|kind| matches!(*kind, SAMPLES | CHUNKS));
    if kind.is_none() && !types.is_empty() {
        return Err(format!("server does not support any of the requested response types: {types:?}"));
    }
    wrong.map_or(Ok(Request { queries, streamed: kind == Some(CHUNKS) }), Err)
}

fn query(bytes: &[u8]) -> Result<Result<Query, String>, Malformed> {
    let mut query = Query { start_ms: 0, end_ms: 0, matchers: Vec::new() };
    let mut wrong = None;
    each_field(bytes, |number, field| {
        match number {
            1 => query.start_ms = field.signed()?,
            2 => query.end_ms = field.signed()?,
            3 => match matcher(field.bytes()?)? {
                Ok(matcher) => query.matchers.push(matcher),
                Err(why) => wrong = Some(why),
            },
            _ => {}
        }
        Ok(())
    })?;
    Ok(wrong.map_or(Ok(query), Err))
}

fn matcher(bytes: &[u8]) -> Result<Result<Matcher, String>, Malformed> {
    let (mut op, mut name, mut value) = (MatchOp::Equal, "", "");
    each_field(bytes, |number, field| {
        match number {
            1 => {
                op = match field.number()? {
                    0 => MatchOp::Equal,
                    1 => MatchOp::NotEqual,
                    2 => MatchOp::Regex,
                    3 => MatchOp::NotRegex,
                    _ => return Err(Malformed),
                }
            }
            2 => name = field.text()?,
            3 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Matcher::new(op, name, value).map_err(|error| error.to_string()))
}

fn answer(server: &Server, running: &Running, queries: &[Query]) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut samples = 0;
    let mut columns = Columns::default();
    for query in queries {
        let found = server.0.store.export(&query.matchers, query.start_ms, query.end_ms)?;
        let mut result = Vec::new();
        for series in found.iter() {
            if running.interruption().is_some() {
                return Err(ApiError::Timeout("the read took too long".to_owned()));
            }
            columns.clear();
            series.read(query.start_ms, query.end_ms, &mut columns)?;
            samples += columns.len();
            if samples > SAMPLES_MAX {
                return Err(ApiError::BadData(format!("exceeded sample limit ({SAMPLES_MAX})")));
            }
            if !columns.is_empty() {
                proto::put_message(&mut result, 1, |message| put_series(message, series.labels(), &columns));
            }
        }
        proto::put_bytes(&mut bytes, 1, &result);
    }
    snap::raw::Encoder::new().compress_vec(&bytes).map_err(|error| ApiError::Internal(error.to_string()))
}

fn put_series(message: &mut Vec<u8>, labels: &coracle_promql::Labels, columns: &Columns) {
    put_labels(message, labels);
    for (time_ms, value) in columns.floats.times_ms.iter().zip(&columns.floats.values) {
        proto::put_message(message, 2, |message| {
            proto::put_double(message, 1, *value);
            proto::put_varint(message, 2, *time_ms as u64);
        });
    }
    for (time_ms, histogram) in columns.histograms.times_ms.iter().zip(&columns.histograms.values) {
        proto::put_histogram(message, 4, *time_ms, histogram);
    }
}

fn put_labels(message: &mut Vec<u8>, labels: &coracle_promql::Labels) {
    for (name, value) in labels {
        proto::put_message(message, 1, |message| {
            proto::put_bytes(message, 1, name.as_bytes());
            proto::put_bytes(message, 2, value.as_bytes());
        });
    }
}
