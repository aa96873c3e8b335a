//! What a real API server answered, replayed against this crate; and objects made up by the types themselves, put through
//! everything; and input that means harm.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod hostile;
mod made_up;
mod recorded;
