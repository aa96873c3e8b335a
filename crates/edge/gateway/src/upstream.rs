//! The pods behind a service port: which one is next, and the connections that are kept to each.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::body::Attempt;

/// Unused connections kept to one pod.
const IDLE_PER_POD: usize = 64;
/// A pod that refused a connection is passed over for this long while others take requests.
const SUSPECT_FOR: Duration = Duration::from_millis(500);

pub(crate) type Connection = SendRequest<Attempt>;

/// One pod.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    in_flight: AtomicUsize,
    state: Mutex<State>,
    idle_timeout: Duration,
}

#[derive(Default)]
struct State {
    idle: Vec<(Connection, Instant)>,
    suspect_until: Option<Instant>,
    /// No longer an endpoint: open requests end, and their connections with them.
    retired: bool,
}

impl Endpoint {
    fn new(address: SocketAddr, idle_timeout: Duration) -> Arc<Self> {
        Arc::new(Self { address, in_flight: AtomicUsize::new(0), state: Mutex::default(), idle_timeout })
    }

    /// Counts a request to this pod until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// A kept connection that still looks alive, and was used no longer than `within` ago.
    pub(crate) fn take_idle(&self, within: Duration) -> Option<Connection> {
        let mut state = self.state.lock();
        while let Some((connection, since)) = state.idle.pop() {
            if since.elapsed() > within {
                // The others are older still.
                state.idle.push((connection, since));
                return None;
            }
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    /// Remembers that it does not take connections.
    pub(crate) fn suspect(&self) {
        let mut state = self.state.lock();
        state.suspect_until = Some(Instant::now() + SUSPECT_FOR);
        state.idle.clear();
    }

    pub(crate) fn trust(&self) {
        self.state.lock().suspect_until = None;
    }

    fn is_suspect(&self, now: Instant) -> bool {
        self.state.lock().suspect_until.is_some_and(|until| now < until)
    }

    fn retire(&self) {
        let mut state = self.state.lock();
        state.retired = true;
        state.idle.clear();
    }

    /// Closes connections that nobody used for long.
    fn tidy(&self) {
        self.state
            .lock()
            .idle
            .retain(|(connection, since)| since.elapsed() < self.idle_timeout && !connection.is_closed());
    }

    fn keep(&self, connection: Connection) {
        let mut state = self.state.lock();
        if !state.retired && !connection.is_closed() && state.idle.len() < IDLE_PER_POD {
            state.idle.push((connection, Instant::now()));
        }
    }
}

/// One request that a pod is busy with.
pub(crate) struct Busy(Arc<Endpoint>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that a response is still arriving on.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) busy: Busy,
}

impl Lease {
    /// The response is over: the connection may be used again.
    pub(crate) fn give_back(self) {
        let Self { connection, busy } = self;
        busy.0.keep(connection);
    }
}

/// The ready pods of one service port.
pub(crate) struct Upstream {
    endpoints: ArcSwap<Vec<Arc<Endpoint>>>,
    turn: AtomicUsize,
    changed: watch::Sender<()>,
    idle_timeout: Duration,
}

impl Upstream {
    pub(crate) fn new(idle_timeout: Duration) -> Arc<Self> {
        let (changed, _) = watch::channel(());
        Arc::new(Self { endpoints: ArcSwap::default(), turn: AtomicUsize::new(0), changed, idle_timeout })
    }

    /// Takes over the ready pods. Those that left get no new request; what they are busy with goes on.
    pub(crate) fn set(&self, addresses: &[SocketAddr]) {
        let old = self.endpoints.load_full();
        if old.iter().map(|endpoint| &endpoint.address).eq(addresses) {
            return;
        }
        let kept = |address| old.iter().find(|endpoint| endpoint.address == address).cloned();
        let new = addresses
            .iter()
            .map(|address| kept(*address).unwrap_or_else(|| Endpoint::new(*address, self.idle_timeout)));
        self.endpoints.store(Arc::new(new.collect()));
        old.iter().filter(|endpoint| !addresses.contains(&endpoint.address)).for_each(|endpoint| endpoint.retire());
        self.changed.send_replace(());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.endpoints.load().is_empty()
    }

    pub(crate) fn tidy(&self) {
        self.endpoints.load().iter().for_each(|endpoint| endpoint.tidy());
    }

    /// Returns when the set of ready pods has changed since the receiver was made.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The next pod, other than those in `tried`: the one with the fewest open requests, in turn among equals.
    /// Pods that refused a connection a moment ago come last.
    pub(crate) fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.load();
        let count = endpoints.len().max(1);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let in_turn = endpoints.iter().cycle().skip(turn).take(endpoints.len());
        let now = Instant::now();
        let burden = |endpoint: &&Arc<Endpoint>| (endpoint.is_suspect(now), endpoint.in_flight.load(Ordering::Relaxed));
        in_turn.filter(|endpoint| !tried.contains(&endpoint.address)).min_by_key(burden).cloned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.endpoints.load().iter().for_each(|endpoint| endpoint.retire());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(count: u16) -> Arc<Upstream> {
        let upstream = Upstream::new(Duration::from_secs(1));
        upstream.set(&addresses(count));
        upstream
    }

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|port| SocketAddr::from(([127, 0, 0, 1], 1000 + port))).collect()
    }

    fn picks(upstream: &Upstream, count: usize, tried: &[SocketAddr]) -> Vec<u16> {
        (0..count).filter_map(|_| upstream.pick(tried)).map(|endpoint| endpoint.address.port()).collect()
    }

    #[test]
    fn pods_take_turns() {
        assert_eq!(picks(&upstream(3), 6, &[]), [1000, 1001, 1002, 1000, 1001, 1002]);
        assert_eq!(picks(&upstream(0), 2, &[]), [0; 0]);
    }

    #[test]
    fn a_busy_pod_is_spared() {
        let upstream = upstream(2);
        let first = upstream.pick(&[]).unwrap();
        let busy = first.begin();
        assert_eq!(picks(&upstream, 3, &[]), [1001; 3]);
        drop(busy);
        assert_eq!(picks(&upstream, 2, &[]), [1000, 1001]);
    }

    #[test]
    fn a_suspect_comes_last_and_a_tried_one_never() {
        let upstream = upstream(2);
        upstream.pick(&[]).unwrap().suspect();
        assert_eq!(picks(&upstream, 3, &[]), [1001; 3]);
        assert_eq!(picks(&upstream, 2, &addresses(2)[1..]), [1000; 2]);
        assert_eq!(picks(&upstream, 2, &addresses(2)), [0; 0]);
    }

    #[test]
    fn a_pod_that_left_gets_nothing_and_one_that_stays_is_the_same() {
        let upstream = upstream(2);
        let (first, second) = (upstream.pick(&[]).unwrap(), upstream.pick(&[]).unwrap());
        let mut changes = upstream.changes();
        upstream.set(&addresses(2)[1..]);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert!(first.state.lock().retired);
        assert!(Arc::ptr_eq(&upstream.pick(&[]).unwrap(), &second));
        upstream.set(&addresses(2)[1..]);
        assert!(!changes.has_changed().unwrap(), "the same set is no change");
    }
}
