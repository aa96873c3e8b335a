//! The server as its clients see it.

mod definitions;
mod kubectl;
mod objects;
mod support;
