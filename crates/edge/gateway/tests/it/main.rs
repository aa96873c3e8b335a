//! The gateway between clients and pods that live on loopback: routes, balance, kills, drains, TLS, upgrades.

mod support;

mod answers;
mod failures;
mod secure;
mod switching;
