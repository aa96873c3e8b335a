//! Watching a collection: what there is first, where asked, then every change, in order, none left out and none twice.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use coracle_store::{Event, EventKind, Record, WatchError, Watcher};
use futures::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{Instant, Interval};

use super::{
    Call,
    list::{Selection, too_old, wait_for_revision},
    served_bytes, served_value,
};
use crate::{
    registry::Resource,
    request::{Request, accept::Shape, query::ListOptions},
    response::{self, Answer, BoxError},
    server::Server,
    show,
    status::Failure,
};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Watches that set no limit end after this, or up to twice as long, so that they do not all come back at once.
const SHORTEST_SECONDS: u64 = 30 * 60;
const PIECE_BYTES: usize = 32 * 1024;
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
        true => snapshot.list(&scope).filter(|record| selection.matches(record)).cloned().collect(),
        false => VecDeque::new(),
    };
    let (watcher, problem) = match call.server.store.watch(&scope, after) {
        Ok(watcher) => (Some(watcher), None),
        Err(WatchError::Compacted(compacted)) => (None, Some(too_old(compacted.asked, compacted.oldest))),
        Err(error @ WatchError::Prefix(_)) => return Err(Failure::internal(error)),
    };
    let mut bookmarks = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
    bookmarks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
        last_bookmark: after,
        deadline: Instant::now() + Duration::from_secs(timeout_seconds(&options)),
        columns_sent: false,
        request,
    };
    watching.server.metrics.watching(1);
    let frames = stream::unfold(watching, |mut watching| async move {
        let piece = watching.next_piece().await?;
        Some((Ok::<_, BoxError>(Frame::data(piece)), watching))
    });
    Ok(response::with_body(StatusCode::OK, "application/json", StreamBody::new(frames).boxed_unsync()))
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
    last_bookmark: u64,
    deadline: Instant,
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
        if let Some(piece) = self.initial_piece() {
            return Some(piece);
        }
        if let Some(revision) = self.initial_end.take() {
            return Some(self.bookmark(revision, true));
        }
        if let Some(failure) = self.problem.take() {
            self.watcher = None;
            return Some(frame("ERROR", failure.to_value().to_string().as_bytes()));
        }
        loop {
            match self.turn().await {
                Turn::Events(events) => {
                    let piece = self.encode(&events);
                    if !piece.is_empty() {
                        return Some(piece);
                    }
                }
                Turn::Bookmark => {
                    let progress = self.watcher.as_mut().map_or(0, Watcher::progress);
                    self.last_bookmark = progress;
                    return Some(self.bookmark(progress, false));
                }
                Turn::Failed(failure) => {
                    self.watcher = None;
                    return Some(frame("ERROR", failure.to_value().to_string().as_bytes()));
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
            () = self.server.shutdown.cancelled() => Turn::End,
            () = tokio::time::sleep_until(self.deadline) => Turn::End,
            _ = self.bookmarks.tick(), if self.wants_bookmarks => Turn::Bookmark,
        }
    }

    fn initial_piece(&mut self) -> Option<Bytes> {
        if self.initial.is_empty() {
            return None;
        }
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        while piece.len() < PIECE_BYTES {
            let Some(record) = self.initial.pop_front() else { break };
            self.push(&mut piece, "ADDED", &record);
        }
        Some(piece.freeze())
    }

    fn encode(&mut self, events: &[Arc<Event>]) -> Bytes {
        let mut piece = BytesMut::new();
        for event in events {
            let now = event.kind != EventKind::Deleted && self.selection.matches(&event.record);
            let before = event.previous.as_ref().is_some_and(|previous| self.selection.matches(previous));
            match (before, now) {
                (false, true) => self.push(&mut piece, "ADDED", &event.record),
                (true, true) => self.push(&mut piece, "MODIFIED", &event.record),
                (true, false) if event.kind == EventKind::Deleted => self.push(&mut piece, "DELETED", &event.record),
                (true, false) => self.push_left(&mut piece, event),
                (false, false) => {}
            }
        }
        piece.freeze()
    }

    /// An object that a change took out of the selection: shown as it last was in it, at the revision of the change.
    fn push_left(&mut self, piece: &mut BytesMut, event: &Event) {
        let Some(previous) = &event.previous else { return };
        let Ok(mut value) = served_value(&self.resource, previous) else { return };
        crate::object::set_meta(&mut value, "resourceVersion", Some(json!(event.revision().to_string())));
        self.push_value(piece, "DELETED", value);
    }

    fn push(&mut self, piece: &mut BytesMut, kind: &str, record: &Record) {
        if self.request.accept.shape == Shape::Whole {
            if let Ok(bytes) = served_bytes(&self.resource, record) {
                push_frame(piece, kind, &bytes);
            }
            return;
        }
        if let Ok(value) = served_value(&self.resource, record) {
            self.push_value(piece, kind, value);
        }
    }

    fn push_value(&mut self, piece: &mut BytesMut, kind: &str, value: Value) {
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
        push_frame(piece, kind, shown.to_string().as_bytes());
    }

    fn bookmark(&self, revision: u64, ends_initial: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let object = show::bookmark(&self.resource, &self.request, metadata);
        frame("BOOKMARK", object.to_string().as_bytes())
    }
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut piece = BytesMut::with_capacity(object.len() + 40);
    push_frame(&mut piece, kind, object);
    piece.freeze()
}

fn push_frame(piece: &mut BytesMut, kind: &str, object: &[u8]) {
    piece.extend_from_slice(b"{\"type\":\"");
    piece.extend_from_slice(kind.as_bytes());
    piece.extend_from_slice(b"\",\"object\":");
    piece.extend_from_slice(object);
    piece.extend_from_slice(b"}\n");
}
