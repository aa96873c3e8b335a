//! Where privileges are short: a clear word, never a stack trace.

use std::{os::unix::process::CommandExt, process::Command};

use coracle_harness::Engine;

const NOBODY: u32 = 65534;

#[test]
fn without_root_up_and_doctor_say_what_is_missing() {
    if !Engine::is_possible() {
        return;
    }
    // Nobody may not pass through the build directory, so the program is put where everybody can reach it.
    let place =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir().unwrap();
    let program = place.path().join("coracle");
    std::fs::copy(super::binary(), &program).unwrap();
    for command in ["up", "doctor"] {
        let output = Command::new(&program)
            .args([command, "--data-dir"])
            .arg(place.path().join("data"))
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("privileges: user id 65534"), "{command}: {said}");
        assert!(said.contains("run it as root"), "{command}: {said}");
        assert!(!said.contains("panicked"), "{command}: {said}");
    }
}
