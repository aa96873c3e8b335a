//! Backups made while the engine runs, restored into another directory; and secrets that never stand on the disk.

use std::{fs, path::Path};

use coracle_harness::Engine;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;

/// Whether a word stands in any file below a directory.
fn holds(dir: &Path, word: &str) -> anyhow::Result<bool> {
    for file in fs::read_dir(dir)? {
        if fs::read(file?.path())?.windows(word.len()).any(|window| window == word.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn secrets(engine: &Engine) -> anyhow::Result<Api<Secret>> {
    Ok(Api::namespaced(engine.client().await?, "default"))
}

async fn make(engine: &Engine, name: &str) -> anyhow::Result<Secret> {
    let secret = json!({"metadata": {"name": name}, "stringData": {"k": "a-hushed-word"}});
    Ok(secrets(engine).await?.create(&PostParams::default(), &serde_json::from_value(secret)?).await?)
}

fn said(output: std::process::Output) -> anyhow::Result<String> {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    anyhow::ensure!(output.status.success(), "{text}");
    Ok(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_goes_on_from_a_backup_as_it_was_at_a_revision() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    let engine = Engine::start(super::binary())?;
    make(&engine, "first").await?;
    said(engine.run(&["rotate-keys"])?)?;
    let second = make(&engine, "second").await?;
    make(&engine, "third").await?;
    let file = home.path().join("backup").display().to_string();
    let text = said(engine.run(&["backup", &file])?)?;
    assert!(text.contains("Secrets in it stay encrypted"), "{text}");
    for word in ["a-hushed-word", "YS1odXNoZWQtd29yZA"] {
        assert!(!holds(&engine.dir().join("store"), word)? && !holds(home.path(), word)?, "{word}");
    }
    let keys = engine.dir().join("pki/encryption.yaml").display().to_string();
    let target = home.path().join("restored");
    let restore = |more: &[&str]| {
        let mut command = std::process::Command::new(super::binary());
        command.args(["restore", &file, "--data-dir"]).arg(&target).args(more);
        command.output()
    };
    let revision = second.resource_version().unwrap_or_default();
    let refused = restore(&["--to", "1", "--keys", &keys])?;
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("the backup reaches from revision"),
        "before the rotation"
    );
    said(restore(&["--to", &revision, "--keys", &keys])?)?;
    let again = Engine::start_in(super::binary(), &target)?;
    let names: Vec<String> =
        secrets(&again).await?.list(&Default::default()).await?.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(secrets(&again).await?.get("first").await?.data, secrets(&engine).await?.get("first").await?.data);
    let refused = restore(&[])?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("an engine runs in"), "{text}");
    Ok(())
}
