//! Compiles the sample app into one static binary, which the program carries so that `coracle demo` needs no toolchain.

use std::{env, path::PathBuf, process::Command};

fn main() {
    // Addresses are fixed when the program is linked: eighty thousand of them need not be written anew at each start, which
    // is most of what a short command costs, and each container's shim shares those pages with the others.
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "gnu") {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
    let source = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../examples/hello/src/main.rs");
    let binary = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("hello");
    println!("cargo::rerun-if-changed={}", source.display());
    let status = Command::new(env::var_os("RUSTC").expect("cargo sets it"))
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "panic=abort",
            "-C",
            "strip=symbols",
            "-o",
        ])
        .arg(&binary)
        .arg(&source)
        .status()
        .expect("rustc can be started");
    assert!(status.success(), "the sample app {} does not compile", source.display());
}
