//! What a real API server answered, replayed against this crate; and objects made up by the types themselves, put through
//! everything.

mod made_up;
mod recorded;
