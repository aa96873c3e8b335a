//! Rules from outside: files, alerts over time, templates, promtool's unit tests.

mod promtool;
mod unit_tests;
