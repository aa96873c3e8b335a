//! What a real API server answered, replayed against this crate.

mod recorded;
