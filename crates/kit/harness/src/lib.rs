//! A private engine in milliseconds, for scenario tests.
