//! Remote read's answer as a stream: frames of a length, a CRC-32C and a message of chunks of one series, in the order of
//! queries and of labels.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use coracle_promql::Columns;
use futures::{StreamExt, stream};
use http::header;
use tokio::sync::mpsc;

use super::{Query, put_labels};
use crate::{
    codec::varint,
    http::{Server, answer::ApiError, query::Running},
    prometheus::encode::{self, Chunk},
    proto,
};

const CONTENT_TYPE: &str = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
/// A frame is sent once it has so many bytes.
const FRAME_BYTES: usize = 1 << 20;
/// Frames that wait for a slow client.
const FRAMES_WAITING: usize = 4;

type Frames = mpsc::Sender<Result<Bytes, ApiError>>;

pub(super) async fn respond(server: &Server, queries: Vec<Query>) -> Response {
    let (frames, mut coming) = mpsc::channel(FRAMES_WAITING);
    let server = server.clone();
    coracle_tasks::spawn("remote-read", async move {
        let out = frames.clone();
        let work = move |server: &Server, running: &Running| send(server, running, &queries, &out);
        if let Err(error) = server.run(server.0.settings.query_timeout, work).await {
            // A client that has gone away does not want to know.
            let _ = frames.send(Err(error)).await;
        }
    });
    let first = match coming.recv().await {
        Some(Ok(frame)) => frame,
        Some(Err(error)) => return error.into_response(),
        None => Bytes::new(),
    };
    let later = stream::unfold(coming, |mut coming| async move {
        // An answer that breaks off is told by its connection breaking off.
        let frame = coming.recv().await?.map_err(|error| std::io::Error::other(format!("{error:?}")));
        Some((frame, coming))
    });
    let body = Body::from_stream(stream::iter([Ok(first)]).chain(later));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

fn send(server: &Server, running: &Running, queries: &[Query], frames: &Frames) -> Result<(), ApiError> {
    let mut columns = Columns::default();
    for (number, query) in queries.iter().enumerate() {
        for series in server.0.store.export(&query.matchers, query.start_ms, query.end_ms)?.iter() {
            columns.clear();
            series.read(query.start_ms, query.end_ms, &mut columns)?;
            let mut labels = Vec::new();
            put_labels(&mut labels, series.labels());
            let mut message = labels.clone();
            for chunk in chunks(&columns) {
                if running.interruption().is_some() {
                    return Err(ApiError::Timeout("the read took too long".to_owned()));
                }
                proto::put_message(&mut message, 2, |message| put_chunk(message, &chunk));
                if message.len() >= FRAME_BYTES && !send_frame(frames, number, &mut message, &labels) {
                    return Ok(());
                }
            }
            if message.len() > labels.len() && !send_frame(frames, number, &mut message, &labels) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// In the order of time; where floats and histograms alternate, each stretch is a chunk.
fn chunks(columns: &Columns) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let (mut float_times, mut floats) = (&columns.floats.times_ms[..], &columns.floats.values[..]);
    let (mut histogram_times, mut histograms) = (&columns.histograms.times_ms[..], &columns.histograms.values[..]);
    let before = |times: &[i64], other: &[i64]| match other.first() {
        Some(end) => times.partition_point(|time_ms| time_ms < end),
        None => times.len(),
    };
    while !float_times.is_empty() || !histogram_times.is_empty() {
        let len = before(float_times, histogram_times);
        encode::floats(&float_times[..len], &floats[..len], |chunk| chunks.push(chunk));
        (float_times, floats) = (&float_times[len..], &floats[len..]);
        let len = match before(histogram_times, float_times) {
            // A float and a histogram of one time: one of them has to come first.
            0 if len == 0 => 1,
            len => len,
        };
        encode::histograms(&histogram_times[..len], &histograms[..len], |chunk| chunks.push(chunk));
        (histogram_times, histograms) = (&histogram_times[len..], &histograms[len..]);
    }
    chunks
}

fn put_chunk(message: &mut Vec<u8>, chunk: &Chunk) {
    proto::put_varint(message, 1, chunk.first_ms as u64);
    proto::put_varint(message, 2, chunk.last_ms as u64);
    proto::put_varint(message, 3, u64::from(chunk.encoding));
    proto::put_bytes(message, 4, &chunk.bytes);
}

/// Sends what there is of a series, and begins anew with its labels. Whether somebody still wants more.
fn send_frame(frames: &Frames, query: usize, message: &mut Vec<u8>, labels: &[u8]) -> bool {
    let series = std::mem::replace(message, labels.to_vec());
    let mut content = Vec::with_capacity(series.len() + 16);
    proto::put_bytes(&mut content, 1, &series);
    proto::put_varint(&mut content, 2, query as u64);
    let mut frame = Vec::with_capacity(content.len() + 16);
    varint::put(&mut frame, content.len() as u64);
    frame.extend_from_slice(&crc32c::crc32c(&content).to_be_bytes());
    frame.extend_from_slice(&content);
    frames.blocking_send(Ok(frame.into())).is_ok()
}
