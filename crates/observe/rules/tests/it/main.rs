//! Rules from outside: files, alerts over time, templates, promtool's unit tests.

#![allow(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod promtool;
mod unit_tests;
