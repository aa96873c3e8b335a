//! Templates against what Go made of them: `golden.jsonl` was recorded from `text/template`.

mod golden;
mod hostile;
