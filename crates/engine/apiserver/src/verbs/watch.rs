//! Watching a collection: what there is first, where asked, then every change, in order, none left out and none twice.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use coracle_schema::protobuf;
use coracle_store::{Event, EventKind, Record, WatchError, Watcher};
use futures::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval};
use tokio_util::sync::CancellationToken;

use super::{
    Call, all_served_bytes,
    list::{Selection, too_old, wait_for_revision},
    served_bytes, served_value,
};
use crate::{
    registry::Resource,
    request::{
        Request,
        accept::{Format, Shape},
        query::ListOptions,
    },
    response::{self, Answer, BoxError},
    server::Server,
    show,
    status::Failure,
};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Watches that set no limit end after this, or up to twice as long, so that they do not all come back at once.
const SHORTEST_SECONDS: u64 = 30 * 60;
const PIECE_BYTES: usize = 32 * 1024;
const INITIAL_AT_ONCE: usize = 100;
/// What an event is beside its object.
const FRAMING_BYTES: usize = 40;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Answers with a stream of events.
pub async fn watch(call: &Call<'_>, request: Arc<Request>) -> Result<Answer, Failure> {
    let options = ListOptions::parse(&request.query, true)?;
    let selection = Selection::parse(call, &options)?;
    let scope = call.resource.scope(&request.info.namespace);
    let asked = options.resource_version.unwrap_or(0);
    let stream_list = options.send_initial_events;
    let with_initial = stream_list.unwrap_or(asked == 0);
    if with_initial {
        wait_for_revision(call.server, asked).await?;
    }
    let snapshot = call.server.store.snapshot();
    let after = if with_initial || asked == 0 { snapshot.revision() } else { asked };
    let initial: VecDeque<Arc<Record>> = match with_initial {
        true => {
            let candidates = snapshot.list(&scope).filter(|record| selection.may_match(record));
            selection.confirmed(candidates.cloned().collect()).await?.into()
        }
        false => VecDeque::new(),
    };
    let (watcher, problem) = match call.server.store.watch(&scope, after) {
        Ok(watcher) => (Some(watcher), None),
        Err(WatchError::Compacted(compacted)) => (None, Some(too_old(compacted.asked, compacted.oldest))),
        Err(error @ WatchError::Prefix(_)) => return Err(Failure::internal(error)),
    };
    let mut bookmarks = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
    bookmarks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let deadline = Instant::now() + Duration::from_secs(timeout_seconds(&options));
    let watching = Watching {
        server: call.server.clone(),
        resource: call.resource.clone(),
        selection,
        watcher,
        initial,
        initial_end: (stream_list == Some(true) && options.bookmarks).then_some(after),
        problem,
        bookmarks,
        wants_bookmarks: options.bookmarks,
        end: Box::pin(end(call.server.shutdown.clone(), deadline)),
        columns_sent: false,
        request,
    };
    watching.server.metrics.watching(1);
    let content_type = watching.request.accept.stream_type();
    let frames = stream::unfold(watching, |mut watching| async move {
        let piece = watching.next_piece().await?;
        Some((Ok::<_, BoxError>(Frame::data(piece)), watching))
    });
    Ok(response::with_body(StatusCode::OK, content_type, StreamBody::new(frames).boxed_unsync()))
}

/// When a watch ends whatever happens.
async fn end(shutdown: CancellationToken, deadline: Instant) {
    let _either = tokio::time::timeout_at(deadline, shutdown.cancelled_owned()).await;
}

fn timeout_seconds(options: &ListOptions) -> u64 {
    options.timeout_seconds.unwrap_or_else(|| SHORTEST_SECONDS + rand::rng().random_range(0..SHORTEST_SECONDS))
}

struct Watching {
    server: Server,
    resource: Arc<Resource>,
    request: Arc<Request>,
    selection: Selection,
    watcher: Option<Watcher>,
    initial: VecDeque<Arc<Record>>,
    initial_end: Option<u64>,
    problem: Option<Failure>,
    bookmarks: Interval,
    wants_bookmarks: bool,
    /// One future for the whole stream: timers and the server's end are not asked anew for each event.
    end: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    columns_sent: bool,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.server.metrics.watching(-1);
    }
}

enum Turn {
    Events(Vec<Arc<Event>>),
    Bookmark,
    Failed(Failure),
    End,
}

impl Watching {
    /// The next bytes; `None` at the end.
    async fn next_piece(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.initial_piece().await {
            return Some(piece);
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(self.bookmark(revision, true));
        }
        if let Some(failure) = self.problem.take() {
            self.watcher = None;
            return Some(self.frame("ERROR", &failure.to_value()));
        }
        loop {
            match self.turn().await {
                Turn::Events(events) => {
                    let piece = self.encode(&events).await;
                    if !piece.is_empty() {
                        return Some(piece);
                    }
                    if let Some(failure) = self.problem.take() {
                        self.watcher = None;
                        return Some(self.frame("ERROR", &failure.to_value()));
                    }
                }
                Turn::Bookmark => {
                    let progress = self.watcher.as_mut().map_or(0, Watcher::progress);
                    return Some(self.bookmark(progress, false));
                }
                Turn::Failed(failure) => {
                    self.watcher = None;
                    return Some(self.frame("ERROR", &failure.to_value()));
                }
                Turn::End => return None,
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let Some(watcher) = &mut self.watcher else { return Turn::End };
        tokio::select! {
            biased;
            events = watcher.next() => match events {
                Ok(events) => Turn::Events(events),
                Err(compacted) => Turn::Failed(too_old(compacted.asked, compacted.oldest)),
            },
            () = &mut self.end => Turn::End,
            _ = self.bookmarks.tick(), if self.wants_bookmarks => Turn::Bookmark,
        }
    }

    async fn initial_piece(&mut self) -> Option<Bytes> {
        if self.initial.is_empty() {
            return None;
        }
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        // Whoever converts objects is asked about many at once.
        let at_once = if self.resource.conversion.is_remote() { INITIAL_AT_ONCE } else { 1 };
        while piece.len() < PIECE_BYTES && !self.initial.is_empty() {
            let records: Vec<_> = self.initial.drain(..at_once.min(self.initial.len())).collect();
            let encoded = match all_served_bytes(&self.resource, &records).await {
                Ok(all) => all.into_iter().map(|bytes| self.encoded(bytes)).collect::<Result<Vec<_>, _>>(),
                Err(failure) => Err(failure),
            };
            match encoded {
                Ok(all) => all.iter().for_each(|object| self.push(&mut piece, "ADDED", object)),
                Err(failure) => self.break_off(failure),
            }
        }
        Some(piece.into())
    }

    /// Ends the stream with what went wrong.
    fn break_off(&mut self, failure: Failure) {
        self.initial.clear();
        self.initial_end = None;
        self.problem = Some(failure);
    }

    async fn encode(&mut self, events: &[Arc<Event>]) -> Bytes {
        let mut piece = Vec::new();
        for (at, event) in events.iter().enumerate() {
            let kind = match self.kind_of(event).await {
                Ok(Some(kind)) => kind,
                Ok(None) => continue,
                Err(failure) => {
                    self.break_off(failure);
                    break;
                }
            };
            let object = if kind == "DELETED" && event.kind != EventKind::Deleted {
                self.left(event).await
            } else {
                self.shared(&event.record).await
            };
            match object {
                Ok(object) => {
                    if piece.is_empty() {
                        piece.reserve(room(&events[at..]));
                    }
                    self.push(&mut piece, kind, &object);
                }
                Err(failure) => {
                    self.break_off(failure);
                    break;
                }
            }
        }
        piece.into()
    }

    /// What a change is to those who watch the selection.
    async fn kind_of(&self, event: &Event) -> Result<Option<&'static str>, Failure> {
        let now = event.kind != EventKind::Deleted && self.selection.selects(&event.record).await?;
        let before = match &event.previous {
            Some(previous) => self.selection.selects(previous).await?,
            None => false,
        };
        Ok(match (before, now) {
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
            (false, false) => None,
        })
    }

    /// An object that a change took out of the selection: shown as it last was in it, at the revision of the change.
    async fn left(&mut self, event: &Event) -> Result<Bytes, Failure> {
        let previous = event.previous.as_ref().unwrap_or(&event.record);
        let mut value = served_value(&self.resource, previous).await?;
        crate::object::set_meta(&mut value, "resourceVersion", Some(json!(event.revision().to_string())));
        self.shown(value)
    }

    /// An event's object: encoded once for all who watch it in the same representation.
    async fn shared(&mut self, record: &Record) -> Result<Bytes, Failure> {
        let accept = self.request.accept;
        let as_stored =
            accept.shape == Shape::Whole && accept.format != Format::Protobuf && self.resource.is_plain(record);
        if as_stored || accept.shape == Shape::Table {
            let bytes = served_bytes(&self.resource, record).await?;
            return self.encoded(bytes);
        }
        if let Some(known) = self.server.frames.get(&self.resource, record.revision(), accept) {
            return Ok(known);
        }
        let bytes = served_bytes(&self.resource, record).await?;
        let encoded = self.encoded(bytes)?;
        self.server.frames.put(&self.resource, record.revision(), accept, &encoded);
        Ok(encoded)
    }

    /// An object's JSON as the client wants it.
    fn encoded(&mut self, json: Bytes) -> Result<Bytes, Failure> {
        match (self.request.accept.shape, self.request.accept.format) {
            (Shape::Whole, Format::Protobuf) => in_protobuf(&json),
            (Shape::Whole, _) => Ok(json),
            (Shape::Partial, Format::Protobuf) => in_protobuf(&show::partial_json(&self.request, &json)?),
            (Shape::Partial, _) => show::partial_json(&self.request, &json),
            (Shape::Table, _) => self.shown(serde_json::from_slice(&json).map_err(Failure::internal)?),
        }
    }

    fn shown(&mut self, value: Value) -> Result<Bytes, Failure> {
        let shown = match self.request.accept.shape {
            Shape::Whole => value,
            _ => {
                let mut shown = show::one(&self.resource, &self.request, &value, self.server.clock.now());
                // Columns are told once a stream.
                if self.columns_sent && self.request.accept.shape == Shape::Table {
                    shown["columnDefinitions"] = Value::Null;
                }
                self.columns_sent = true;
                shown
            }
        };
        self.written(&shown)
    }

    fn written(&self, document: &Value) -> Result<Bytes, Failure> {
        let json = document.to_string().into_bytes();
        match self.request.accept.format {
            Format::Protobuf => in_protobuf(&json),
            _ => Ok(json.into()),
        }
    }

    fn bookmark(&self, revision: u64, ends_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        self.frame("BOOKMARK", &show::bookmark(&self.resource, &self.request, metadata))
    }

    fn frame(&self, kind: &str, document: &Value) -> Bytes {
        let mut piece = Vec::new();
        if let Ok(object) = self.written(document) {
            self.push(&mut piece, kind, &object);
        }
        piece.into()
    }

    fn push(&self, piece: &mut Vec<u8>, kind: &str, object: &[u8]) {
        if self.request.accept.format == Format::Protobuf {
            return protobuf::watch_event(kind, object, piece);
        }
        piece.reserve(object.len() + FRAMING_BYTES);
        piece.extend_from_slice(b"{\"type\":\"");
        piece.extend_from_slice(kind.as_bytes());
        piece.extend_from_slice(b"\",\"object\":");
        piece.extend_from_slice(object);
        piece.extend_from_slice(b"}\n");
    }
}

/// About as many bytes as events are where all are shown, and as they are stored.
fn room(events: &[Arc<Event>]) -> usize {
    events.iter().map(|event| event.record.value_bytes().len() + FRAMING_BYTES).sum()
}

fn in_protobuf(json: &[u8]) -> Result<Bytes, Failure> {
    protobuf::document(json).map(Bytes::from).map_err(Failure::internal)
}
