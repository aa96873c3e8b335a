//! Expressions in, values, errors and costs out.

#![allow(clippy::unwrap_used)]

mod conformance;
mod cost;
mod hostile;
mod language;
mod rules;
mod textproto;
