//! The server as its clients see it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod applying;
mod clocks;
mod connections;
mod definitions;
mod history;
mod hostile;
mod invalid;
mod keeping;
mod kills;
mod kubectl;
mod objects;
mod policies;
mod quotas;
mod races;
mod selectors;
mod standards;
mod subresources;
mod support;
mod tokens;
mod versions;
mod watching;
mod webhooks;
mod wire;
