//! The controllers and the scheduler against the API server, as people see them work together.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod certificates;
mod cluster;
mod deployments;
mod endpoints;
mod garbage;
mod namespaces;
mod workloads;
