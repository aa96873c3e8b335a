//! Application: source, render, diff, apply, health, record.
