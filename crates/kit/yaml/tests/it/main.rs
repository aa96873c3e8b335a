//! Texts of any kind, read and written.

mod hostile;
