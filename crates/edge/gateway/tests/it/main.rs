//! The gateway between clients and pods that live on loopback: routes, balance, kills, drains, TLS, upgrades.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod support;

mod answers;
mod failures;
mod secure;
mod switching;
