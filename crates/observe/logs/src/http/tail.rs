//! `tail`: lines as they come, over a WebSocket.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::{HeaderMap, Uri},
    response::Response,
};
use coracle_logql::{
    Direction, Limits, Query, Request, Sink, Source, SourceEntry, evaluate,
    syntax::{Expr, parse},
};
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{
    answer::{self, Categorize},
    error::Failure,
    params::Params,
    tenant,
};
use crate::{entry::Batch, store::Store, streams::matches};

/// Lines that are shown from before, unless the request says otherwise.
const DEFAULT_LIMIT: usize = 100;
/// A delay beyond this is refused.
const MAX_DELAY_SECONDS: usize = 5;
/// Batches that wait for their delay.
const MAX_WAITING: usize = 1024;

pub(super) async fn tail(
    State(store): State<Store>,
    headers: HeaderMap,
    uri: Uri,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let params = Params::of_query(uri.query().unwrap_or_default());
    let expr = parse(params.query()).map_err(Failure::bad_request)?;
    if !matches!(expr, Expr::Log(_)) {
        return Err(Failure::bad_request("only log selector is supported"));
    }
    let delay = match params.get("delay_for") {
        None | Some("0") => 0,
        Some(_) => params.number("delay_for", 0)?,
    };
    if delay > MAX_DELAY_SECONDS {
        return Err(Failure::bad_request(format!("delay_for can't be greater than {MAX_DELAY_SECONDS}")));
    }
    let flags = headers.get("X-Loki-Response-Encoding-Flags").and_then(|flags| flags.to_str().ok()).unwrap_or_default();
    let (start, now) = (params.bounds(store.now())?.0, store.now());
    let query = Query {
        expr,
        start,
        end: now.saturating_add(1),
        step: 0,
        interval: 0,
        limit: params.number("limit", DEFAULT_LIMIT)?,
        direction: Direction::Backward,
        now,
    };
    let tail = Tail {
        tenant: tenant(&headers),
        query,
        categorize: Categorize(flags.contains("categorize-labels")),
        delay: Duration::from_secs(delay as u64),
        arrivals: store.tails(),
        store,
    };
    Ok(upgrade.on_upgrade(|socket| async move {
        // Whoever listens may go at any time.
        drop(tail.run(socket).await);
    }))
}

struct Tail {
    store: Store,
    tenant: String,
    query: Query,
    categorize: Categorize,
    delay: Duration,
    arrivals: Receiver<Arc<Batch>>,
}

impl Tail {
    async fn run(mut self, mut socket: WebSocket) -> Result<(), axum::Error> {
        // What is already there first; batches that come meanwhile wait in the channel.
        let (query, source) = (self.query.clone(), self.store.tenant(&self.tenant));
        let before = tokio::task::spawn_blocking(move || evaluate(&query, &Limits::default(), &source)).await;
        if let Ok(Ok(coracle_logql::Answer::Streams(mut streams))) = before {
            streams.iter_mut().for_each(|stream| stream.entries.reverse());
            self.send(&mut socket, streams).await?;
        }
        let mut waiting: VecDeque<(tokio::time::Instant, Arc<Batch>)> = VecDeque::new();
        loop {
            let due = waiting.front().map(|(at, _)| *at);
            tokio::select! {
                arrived = self.arrivals.recv(), if waiting.len() < MAX_WAITING => match arrived {
                    Ok(batch) if batch.tenant == self.tenant => {
                        waiting.push_back((tokio::time::Instant::now() + self.delay, batch));
                    }
                    // Whoever is too slow misses some lines.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = tokio::time::sleep_until(due.unwrap_or_else(tokio::time::Instant::now)), if due.is_some() => {
                    if let Some((_, batch)) = waiting.pop_front() {
                        let streams = self.filter(batch);
                        self.send(&mut socket, streams).await?;
                    }
                }
                message = socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(()),
                    Some(Ok(_)) => {}
                },
            }
        }
    }

    /// The query over what has just come.
    fn filter(&self, batch: Arc<Batch>) -> Vec<coracle_logql::LogStream> {
        let everything = Query { start: i64::MIN, end: i64::MAX, limit: usize::MAX, ..self.query.clone() };
        let forward = Query { direction: Direction::Forward, ..everything };
        match evaluate(&forward, &Limits::default(), &Arrived(batch)) {
            Ok(coracle_logql::Answer::Streams(streams)) => streams,
            _ => Vec::new(),
        }
    }

    async fn send(&self, socket: &mut WebSocket, streams: Vec<coracle_logql::LogStream>) -> Result<(), axum::Error> {
        if streams.is_empty() {
            return Ok(());
        }
        let mut body = json!({"streams": answer::streams(streams, self.categorize)});
        if self.categorize.0 {
            body["encodingFlags"] = json!(["categorize-labels"]);
        }
        socket.send(Message::text(body.to_string())).await
    }
}

/// A batch as something to be asked.
struct Arrived(Arc<Batch>);

impl Source for Arrived {
    type Error = std::convert::Infallible;

    fn read(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<(), Self::Error> {
        for stream in self.0.streams.iter().filter(|stream| matches(&stream.labels, request.matchers)) {
            let labels = Arc::new(stream.labels.clone());
            for entry in &stream.entries {
                let given = SourceEntry { labels: &labels, ts: entry.ts, line: &entry.line, metadata: &entry.metadata };
                if let ControlFlow::Break(()) = sink.take(given) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
