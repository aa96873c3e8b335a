//! LogQL as those who use it see it.

mod cases;
mod hostile;
mod naive;
mod source;
