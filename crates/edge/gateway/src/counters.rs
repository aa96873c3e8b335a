//! What each route did, counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;

/// Live counts of one route.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    by_class: [AtomicU64; 5],
    in_flight: AtomicU64,
    retries: AtomicU64,
    duration_us: AtomicU64,
}

/// The counts of one route at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStats {
    /// `NAMESPACE/NAME` of the Ingress.
    pub ingress: String,
    /// Empty: any host.
    pub host: String,
    pub path: String,
    /// `NAMESPACE/NAME:PORT` of the Service.
    pub service: String,
    /// Answers by class of status, 1xx to 5xx.
    pub responses: [u64; 5],
    pub in_flight: u64,
    /// Attempts beyond a request's first.
    pub retries: u64,
    /// Sum over all requests, to the head of the response.
    pub duration_us: u64,
}

impl Counters {
    /// Counts a request as open until the guard is dropped.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
        self.duration_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn read(&self, ingress: String, host: String, path: String, service: String) -> RouteStats {
        RouteStats {
            ingress,
            host,
            path,
            service,
            responses: std::array::from_fn(|class| self.by_class[class].load(Ordering::Relaxed)),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            duration_us: self.duration_us.load(Ordering::Relaxed),
        }
    }
}

/// One open request.
pub(crate) struct Open(Arc<Counters>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
