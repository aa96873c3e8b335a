//! Everything that is tested from outside.

mod script;
mod scripts;
