//! The server against the real `git`, over loopback.

mod fetching;
mod pushing;
mod reading;
mod refusing;
mod world;
