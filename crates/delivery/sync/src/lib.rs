//! Application: source, render, diff, apply, health, record.

pub mod application;
pub mod builder;
mod diff;
pub mod health;
mod manifest;
pub mod names;
mod order;
pub mod render;
mod rollout;
pub mod source;
