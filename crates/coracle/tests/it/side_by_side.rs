//! Several engines on one machine, and ports that are taken.

use std::net::TcpListener;

use coracle_harness::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn two_engines_run_side_by_side_and_know_nothing_of_each_other() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let (one, two) = (Engine::start(super::binary())?, Engine::start(super::binary())?);
    assert_ne!(one.url("api"), two.url("api"));
    let namespaces = |client| kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(client);
    let only_here: k8s_openapi::api::core::v1::Namespace =
        serde_json::from_value(serde_json::json!({"metadata": {"name": "only-here"}}))?;
    namespaces(one.client().await?).create(&kube::api::PostParams::default(), &only_here).await?;
    assert!(namespaces(two.client().await?).get_opt("only-here").await?.is_none());
    Ok(())
}

#[test]
fn a_port_in_use_is_told_with_the_flag_that_chooses_another() {
    if !Engine::is_possible() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(super::binary())
        .args(["up", "--listen", &address, "--data-dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("{address} is in use by another program: choose another address with --listen")),
        "{said}"
    );
}
