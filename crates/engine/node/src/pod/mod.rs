//! One pod: what is known of it, what to do next, and what its status says. Everything here is pure but [`worker`] and [`effects`].

pub mod backoff;
pub mod decide;
pub mod observe;
pub mod qos;
pub mod state;
pub mod status;

#[cfg(test)]
mod scenarios;
