//! The server as its clients see it.

mod access;
mod connections;
mod definitions;
mod kubectl;
mod objects;
mod races;
mod support;
mod watching;
mod wire;
