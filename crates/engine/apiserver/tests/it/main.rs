//! The server as its clients see it.

mod objects;
mod support;
