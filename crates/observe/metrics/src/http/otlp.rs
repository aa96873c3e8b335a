//! OpenTelemetry's metrics over HTTP.

use std::io::Read;

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use flate2::read::GzDecoder;
use http::{HeaderMap, StatusCode, header};

use super::{Server, write::complaint};
use crate::{Batch, Value, otlp};

fn header(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

fn unpack(body: Bytes, encoding: &str, bytes_max: usize) -> Result<Bytes, String> {
    match encoding {
        "" | "identity" => Ok(body),
        "gzip" => {
            let mut bytes = Vec::new();
            let mut decoder = GzDecoder::new(&body[..]).take(bytes_max as u64 + 1);
            decoder.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
            match bytes.len() > bytes_max {
                true => Err(format!("the body has more than {bytes_max} bytes unpacked, the limit")),
                false => Ok(bytes.into()),
            }
        }
        other => Err(format!("{other} encoding is not accepted; only gzip is")),
    }
}

pub(super) async fn write(State(server): State<Server>, headers: HeaderMap, body: Bytes) -> Response {
    if !server.0.settings.receive {
        return (StatusCode::NOT_FOUND, "otlp receiver needs to be enabled\n").into_response();
    }
    let content_type = header(&headers, header::CONTENT_TYPE).split(';').next().unwrap_or("").trim().to_owned();
    let is_json = match content_type.as_str() {
        "application/json" => true,
        "application/x-protobuf" => false,
        other => {
            let why =
                format!("unsupported content type: {other}, supported: [application/json, application/x-protobuf]\n");
            return (StatusCode::UNSUPPORTED_MEDIA_TYPE, why).into_response();
        }
    };
    let bytes = unpack(body, header(&headers, header::CONTENT_ENCODING), server.0.settings.body_bytes_max);
    let work = move || -> Result<Option<(StatusCode, String)>, (StatusCode, String)> {
        let bad = |why: String| (StatusCode::BAD_REQUEST, why);
        let bytes = bytes.map_err(bad)?;
        let resources = match is_json {
            true => otlp::decode_json(&bytes).map_err(bad)?,
            false => otlp::decode_proto(&bytes).map_err(|error| bad(error.to_string()))?,
        };
        let (series, errors) = otlp::series(&resources);
        let appended = server
            .0
            .store
            .append(&batch(&series))
            .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        Ok(errors.into_iter().next().map(bad).or_else(|| complaint(&appended)))
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(None)) if is_json => ([(header::CONTENT_TYPE, "application/json")], "{}").into_response(),
        Ok(Ok(None)) => StatusCode::OK.into_response(),
        Ok(Ok(Some((status, why))) | Err((status, why))) => (status, format!("{why}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn batch(series: &[otlp::OwnedSeries]) -> Batch<'_> {
    let mut batch = Batch::default();
    for each in series {
        batch.start_series(each.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        match &each.value {
            Value::Float(value) => batch.push_float(each.time_ms, *value),
            Value::Histogram(histogram) => batch.push_histogram(each.time_ms, histogram.clone()),
        }
        each.exemplars.iter().for_each(|exemplar| batch.push_exemplar(exemplar.clone()));
        let name = each.labels.last().map(|(_, value)| value.as_str());
        if let (Some(name), Some(metadata)) = (name, &each.metadata) {
            batch.push_metadata(name, metadata.clone());
        }
    }
    batch
}
