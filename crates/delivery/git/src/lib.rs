//! The Git server people push to, and reading sources.
