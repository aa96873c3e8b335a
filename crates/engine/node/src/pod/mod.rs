//! One pod: what is known of it, what to do next, and what its status says. Everything here is pure but [`worker`] and [`effects`].

pub mod adopt;
pub mod backoff;
pub mod decide;
pub mod observe;
pub mod qos;
pub mod state;
pub mod status;
pub mod worker;

#[cfg(test)]
mod lives;
#[cfg(test)]
mod scenarios;
