//! Charts against what the real tools made of them.

mod errors;
mod golden;
mod hostile;
mod loaded;
