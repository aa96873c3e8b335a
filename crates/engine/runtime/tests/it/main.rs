//! Real containers, as root: nothing here is pretended. Each test has its own data directory and control group.

#![allow(clippy::unwrap_used, reason = "a test that meets an error fails")]

mod adoption;
mod build;
mod containers;
mod exec;
mod images;
mod limits;
mod rig;
mod security;
mod speed;
