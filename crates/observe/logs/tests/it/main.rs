//! The store as those who use it see it.
