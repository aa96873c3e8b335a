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
    Direction, Limits, LogEntry, LogStream, Query, Request, Sink, Source, SourceEntry, evaluate,
    syntax::{Expr, parse},
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        mpsc,
    },
    time::Instant,
};

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
/// Messages that wait for a slow client.
const MAX_RESPONSES: usize = 10;
/// Lines without room that are named; of more nothing is said.
const MAX_DROPPED: usize = 1000;
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
    async fn run(mut self, socket: WebSocket) -> Result<(), axum::Error> {
        let (mut to_client, mut from_client) = socket.split();
        let (responses, mut waiting_responses) = mpsc::channel::<Message>(MAX_RESPONSES);
        // A client that reads slowly holds up only this.
        let sending = async move {
            while let Some(message) = waiting_responses.recv().await {
                to_client.send(message).await?;
            }
            Ok(())
        };
        let mut outlet = Outlet { responses, dropped: Vec::new(), categorize: self.categorize };
        let collecting = async {
            self.send_history(&mut outlet).await;
            let mut waiting: VecDeque<(Instant, Arc<Batch>)> = VecDeque::new();
            loop {
                let due = waiting.front().map(|(at, _)| *at);
                tokio::select! {
                    arrived = self.arrivals.recv() => match arrived {
                        Ok(batch) if batch.tenant == self.tenant => {
                            if waiting.len() < MAX_WAITING {
                                waiting.push_back((Instant::now() + self.delay, batch));
                            } else {
                                outlet.drop_all(&self.filter(batch));
                            }
                        }
                        // Batches that were not even looked at have no names.
                        Ok(_) | Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    },
                    () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                        if let Some((_, batch)) = waiting.pop_front() {
                            outlet.send(self.filter(batch));
                        }
                    }
                }
            }
        };
        let closed =
            async { while !matches!(from_client.next().await, Some(Ok(Message::Close(_)) | Err(_)) | None) {} };
        tokio::select! {
            sent = sending => sent,
            () = collecting => Ok(()),
            () = closed => Ok(()),
        }
    }

    /// What is already there first; batches that come meanwhile wait in the channel.
    async fn send_history(&self, outlet: &mut Outlet) {
        let (query, source) = (self.query.clone(), self.store.tenant(&self.tenant));
        let before = tokio::task::spawn_blocking(move || evaluate(&query, &Limits::default(), &source)).await;
        if let Ok(Ok(coracle_logql::Answer::Streams(mut streams))) = before {
            streams.iter_mut().for_each(|stream| stream.entries.reverse());
            outlet.send(streams);
        }
    }

    /// The query over what has just come.
    fn filter(&self, batch: Arc<Batch>) -> Vec<LogStream> {
        let everything = Query { start: i64::MIN, end: i64::MAX, limit: usize::MAX, ..self.query.clone() };
        let forward = Query { direction: Direction::Forward, ..everything };
        match evaluate(&forward, &Limits::default(), &Arrived(batch)) {
            Ok(coracle_logql::Answer::Streams(streams)) => streams,
            _ => Vec::new(),
        }
    }
}

/// Where lines go to the client; what finds no room is named in the next message that does.
struct Outlet {
    responses: mpsc::Sender<Message>,
    dropped: Vec<Value>,
    categorize: Categorize,
}

impl Outlet {
    fn send(&mut self, streams: Vec<LogStream>) {
        if streams.is_empty() {
            return;
        }
        let Ok(place) = self.responses.try_reserve() else { return self.drop_all(&streams) };
        let mut body = json!({"streams": answer::streams(streams, self.categorize)});
        if !self.dropped.is_empty() {
            body["dropped_entries"] = std::mem::take(&mut self.dropped).into();
        }
        if self.categorize.0 {
            body["encodingFlags"] = json!(["categorize-labels"]);
        }
        place.send(Message::text(body.to_string()));
    }

    fn drop_all(&mut self, streams: &[LogStream]) {
        for stream in streams {
            let room = MAX_DROPPED.saturating_sub(self.dropped.len());
            let labels = answer::object(&stream.labels);
            let dropped = |entry: &LogEntry| json!({"timestamp": entry.ts.to_string(), "labels": labels});
            self.dropped.extend(stream.entries.iter().take(room).map(dropped));
        }
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
