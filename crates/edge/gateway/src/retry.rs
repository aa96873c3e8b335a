//! Sending a request to a pod, and to another one where that is safe.
//!
//! A request may go to a second pod when the first never got it, or when doing it twice is as good as once and the
//! whole body is still at hand. So a pod that is killed under load costs time, not answers.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

use crate::{
    body::Replay,
    counters::Counters,
    headers::is_idempotent,
    options::{Dialer, Options},
    upstream::{Connection, Endpoint, Lease, Upstream},
};

/// Between rounds, when every pod refused.
const ROUND_PAUSE: Duration = Duration::from_millis(25);
/// Shorter than any web server's own limit on unused connections.
const IDLE_FOR_ONCE: Duration = Duration::from_secs(1);
/// However short the rounds are.
const MOST_ATTEMPTS: u32 = 100;

/// Why no pod answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failed {
    /// None was ready within the window.
    NoPods,
    /// The last one's refusal.
    Refused { pod: SocketAddr, why: String },
    /// The connection ended after the request was sent, and it may not be sent again.
    Broken { pod: SocketAddr, why: String },
    /// No response in time.
    TimedOut { pod: SocketAddr },
    /// The client's body is larger than is allowed.
    TooLarge,
}

/// What a request is sent with.
pub(crate) struct Sending<'a> {
    pub(crate) upstream: &'a Upstream,
    pub(crate) counters: &'a Counters,
    pub(crate) dialer: &'a Arc<dyn Dialer>,
    pub(crate) options: &'a Options,
}

/// A pod's answer, whose body is still to come.
pub(crate) struct Answer {
    pub(crate) response: Response<Incoming>,
    pub(crate) lease: Lease,
    pub(crate) pod: SocketAddr,
    pub(crate) attempts: u32,
}

/// One attempt that gave no response.
struct Failure {
    /// The pod cannot have seen the request.
    unsent: bool,
    /// The connection was a kept one: that it ended says nothing of the pod.
    reused: bool,
    timed_out: bool,
    why: String,
}

impl Sending<'_> {
    /// Sends until there is a response, or there cannot be one.
    pub(crate) async fn send(&self, head: &Request<()>, replay: &Replay) -> Result<Answer, Failed> {
        let deadline = Instant::now() + self.options.retry_window;
        let (mut tried, mut last) = (Vec::new(), Failed::NoPods);
        for attempts in 1..=MOST_ATTEMPTS {
            let Some(endpoint) = self.next_pod(&mut tried, deadline).await else { break };
            if attempts > 1 {
                self.counters.retried();
            }
            let failure = match self.attempt(&endpoint, head, replay).await {
                Ok((response, lease)) => {
                    endpoint.trust();
                    return Ok(Answer { response, lease, pod: endpoint.address, attempts });
                }
                Err(failure) => failure,
            };
            let pod = endpoint.address;
            tracing::debug!(%pod, why = failure.why, unsent = failure.unsent, "attempt failed");
            if replay.is_too_large() {
                return Err(Failed::TooLarge);
            }
            if failure.timed_out {
                return Err(Failed::TimedOut { pod });
            }
            if !failure.reused {
                endpoint.suspect();
                tried.push(pod);
            }
            if !(replay.is_whole() && (failure.unsent || is_idempotent(head.method()))) {
                return Err(Failed::Broken { pod, why: failure.why });
            }
            last = Failed::Refused { pod, why: failure.why };
        }
        Err(last)
    }

    /// The next pod to try; waits within the window for one to become ready, or to take connections again.
    async fn next_pod(&self, tried: &mut Vec<SocketAddr>, deadline: Instant) -> Option<Arc<Endpoint>> {
        loop {
            let mut changes = self.upstream.changes();
            if let Some(endpoint) = self.upstream.pick(tried) {
                return Some(endpoint);
            }
            let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
            if self.upstream.is_empty() {
                // The sender lives as long as the upstream, which is borrowed here.
                let _ = timeout(left, changes.changed()).await;
            } else {
                sleep(ROUND_PAUSE.min(left)).await;
            }
            tried.clear();
        }
    }

    async fn attempt(
        &self,
        endpoint: &Arc<Endpoint>,
        head: &Request<()>,
        replay: &Replay,
    ) -> Result<(Response<Incoming>, Lease), Failure> {
        let busy = endpoint.begin();
        let (mut connection, reused) = match ready_idle(endpoint, self.idle_within(head)).await {
            Some(connection) => (connection, true),
            None => (self.connect(endpoint.address).await?, false),
        };
        let mut request = Request::new(replay.attempt());
        *request.method_mut() = head.method().clone();
        *request.uri_mut() = head.uri().clone();
        request.headers_mut().clone_from(head.headers());
        let mut sent = pin!(connection.try_send_request(request));
        let mut progress = replay.progress();
        let outcome = loop {
            match timeout(self.options.response_timeout, &mut sent).await {
                Ok(outcome) => break outcome,
                // The client is still sending: the pod cannot be expected to answer.
                Err(_) if replay.progress() != progress => progress = replay.progress(),
                Err(_) => {
                    let why = format!("no response within {:?}", self.options.response_timeout);
                    return Err(Failure { unsent: false, reused, timed_out: true, why });
                }
            }
        };
        match outcome {
            Ok(response) => Ok((response, Lease { connection, busy })),
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                Err(Failure { unsent, reused, timed_out: false, why: describe(&error.into_error()) })
            }
        }
    }

    /// How long a kept connection may have been unused. A pod may close one just as a request is on its way; what may
    /// not be sent again is only trusted to one that was used a moment ago.
    fn idle_within(&self, head: &Request<()>) -> Duration {
        if is_idempotent(head.method()) {
            self.options.idle_timeout
        } else {
            IDLE_FOR_ONCE.min(self.options.idle_timeout)
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<Connection, Failure> {
        let failed = |why: String| Failure { unsent: true, reused: false, timed_out: false, why };
        let dialed = timeout(self.options.connect_timeout, self.dialer.dial(address)).await;
        let stream = match dialed {
            Ok(stream) => stream.map_err(|error| failed(error.to_string()))?,
            Err(_) => return Err(failed(format!("no connection within {:?}", self.options.connect_timeout))),
        };
        let _ = stream.set_nodelay(true);
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|error| failed(describe(&error)))?;
        coracle_tasks::spawn("gateway-upstream", async move {
            // Its errors reach whoever waits for a response on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

/// A kept connection that takes a request now.
async fn ready_idle(endpoint: &Endpoint, within: Duration) -> Option<Connection> {
    while let Some(mut connection) = endpoint.take_idle(within) {
        if connection.ready().await.is_ok() {
            return Some(connection);
        }
    }
    None
}

/// hyper's errors say what was done; their sources say what went wrong.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
