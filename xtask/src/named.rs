//! Programs that environment variables name.

use std::{env, ffi::OsString, path::PathBuf};

use anyhow::Context;

/// The engine to test; the release build where it is not named.
const ENGINE: &str = "CORACLE_BINARY";

/// The program that a variable names.
pub fn program(variable: &str) -> anyhow::Result<OsString> {
    env::var_os(variable).with_context(|| format!("{variable} names no binary"))
}

/// The engine's binary.
pub fn engine() -> PathBuf {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release/coracle");
    env::var_os(ENGINE).map_or_else(|| PathBuf::from(built), PathBuf::from)
}
