//! Everything that is tested from outside.

mod compare;
mod data;
mod golden;
mod parse;
mod random;
mod script;
mod scripts;
