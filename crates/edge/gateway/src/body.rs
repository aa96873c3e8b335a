//! Bodies: the response's, which gives its connection back at its end, and the request's, which can be sent again.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::upstream::Lease;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// What a client gets.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, BoxError>;

/// Bodies up to this size can be sent to a second pod when the first fails while it reads.
const REPLAY_BYTES: usize = 64 << 10;

/// A body that is all there.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response body on its way from a pod to a client.
pub(crate) struct Passing {
    inner: Incoming,
    lease: Option<Lease>,
}

impl Passing {
    pub(crate) fn new(inner: Incoming, lease: Lease) -> Self {
        let mut passing = Self { inner, lease: Some(lease) };
        passing.finish_at_end();
        passing
    }

    /// The reader may stop asking once the body says that it is over, so this looks after every frame.
    fn finish_at_end(&mut self) {
        if self.inner.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        match &polled {
            Poll::Ready(None) => drop(self.lease.take().map(Lease::give_back)),
            // A broken connection is not used again.
            Poll::Ready(Some(Err(_))) => drop(self.lease.take()),
            Poll::Ready(Some(Ok(_))) => self.finish_at_end(),
            Poll::Pending => {}
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request's body, kept so that another pod can be sent it from the start.
#[derive(Clone)]
pub(crate) struct Replay(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Counts frames, so that a slow upload can be told from a pod that does not answer.
    progress: AtomicU64,
    limit_bytes: Option<u64>,
}

struct State {
    source: Incoming,
    /// What was read so far; `None` once that became too much to keep.
    recorded: Option<Vec<Bytes>>,
    recorded_bytes: usize,
    read_bytes: u64,
    /// Only the latest attempt may read on.
    attempt: u64,
    too_large: bool,
}

impl Replay {
    pub(crate) fn new(source: Incoming, limit_bytes: Option<u64>) -> Self {
        let recorded = Some(Vec::new());
        let state = State { source, recorded, recorded_bytes: 0, read_bytes: 0, attempt: 0, too_large: false };
        Self(Arc::new(Shared { state: Mutex::new(state), progress: AtomicU64::new(0), limit_bytes }))
    }

    /// Whether an attempt would send all of the body.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.state.lock().recorded.is_some()
    }

    /// Whether the client sent more than is allowed.
    pub(crate) fn is_too_large(&self) -> bool {
        self.0.state.lock().too_large
    }

    pub(crate) fn progress(&self) -> u64 {
        self.0.progress.load(Ordering::Relaxed)
    }

    /// The body for the next attempt; those of earlier ones end with an error.
    pub(crate) fn attempt(&self) -> Attempt {
        let mut state = self.0.state.lock();
        state.attempt += 1;
        Attempt { shared: Arc::clone(&self.0), number: state.attempt, sent: 0 }
    }
}

/// The request body as one pod is sent it.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    number: u64,
    /// How many of the recorded pieces this attempt has sent.
    sent: usize,
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        if state.attempt != self.number {
            return Poll::Ready(Some(Err("another pod is sent this request".into())));
        }
        if let Some(piece) = state.recorded.as_ref().and_then(|pieces| pieces.get(self.sent)).cloned() {
            self.sent += 1;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        let polled = Pin::new(&mut state.source).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            shared.progress.fetch_add(1, Ordering::Relaxed);
            self.sent += state.record(frame);
            if shared.limit_bytes.is_some_and(|limit| state.read_bytes > limit) {
                state.too_large = true;
                return Poll::Ready(Some(Err("the request body is larger than is allowed".into())));
            }
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.state.lock();
        let all_sent = state.recorded.as_ref().is_none_or(|pieces| pieces.len() == self.sent);
        all_sent && state.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.shared.state.lock();
        let pending = state.recorded.iter().flat_map(|pieces| pieces.get(self.sent..).unwrap_or_default());
        let pending: u64 = pending.map(|piece| piece.len() as u64).sum();
        let rest = state.source.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(pending + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(pending + upper);
        }
        hint
    }
}

impl State {
    /// Keeps a piece if that is still possible; returns how many pieces were added to the record.
    fn record(&mut self, frame: &Frame<Bytes>) -> usize {
        let Some(piece) = frame.data_ref() else {
            // Trailers are not kept, so what has them cannot be sent again.
            self.recorded = None;
            return 0;
        };
        self.read_bytes += piece.len() as u64;
        self.recorded_bytes += piece.len();
        if self.recorded_bytes > REPLAY_BYTES {
            self.recorded = None;
        }
        self.recorded.as_mut().map_or(0, |pieces| {
            pieces.push(piece.clone());
            1
        })
    }
}
