//! Charts against what the real tools made of them.

mod golden;
mod hostile;
