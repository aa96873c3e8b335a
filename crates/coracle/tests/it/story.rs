//! The whole story, as `coracle demo` tells and checks it.

use std::process::Command;

use coracle_harness::Engine;

#[test]
fn the_demo_holds_from_start_to_purge() {
    if !Engine::is_possible() {
        return;
    }
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("demo");
    let output = Command::new(super::binary()).args(["demo", "--once", "--data-dir"]).arg(&dir).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!dir.exists(), "the data directory is left");
}
