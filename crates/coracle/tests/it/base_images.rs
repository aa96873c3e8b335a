//! Base images from a registry that is not the engine's own: here another engine's, on loopback.

use coracle_harness::{Engine, Repository};

/// The image the app `base` runs, as the registry of `engine` names it on this machine's loopback.
async fn pushed_image(engine: &Engine) -> anyhow::Result<String> {
    let deployments = kube::Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(engine.client().await?, "base");
    let deployment = serde_json::to_value(deployments.get("base").await?)?;
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
    let registry = engine.url("registry").trim_start_matches("http://");
    Ok(image.replace("registry.coracle.internal", registry))
}

fn built_from(base: &str) -> anyhow::Result<Repository> {
    let repository = Repository::new()?;
    let dockerfile = format!("FROM {base}\nENV COLOUR=violet\n");
    repository.write("Dockerfile", dockerfile.as_bytes(), false)?;
    repository.commit("Build on somebody's image")?;
    Ok(repository)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_from_another_registrys() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let (theirs, ours) = (Engine::start(super::binary())?, Engine::start(super::binary())?);
    super::deploy_hello(&theirs, "base")?;
    let base = pushed_image(&theirs).await?;

    let (pushed, said) = super::push(&ours, &built_from(&base)?, "shop", "main")?;
    assert!(pushed && said.contains("healthy"), "{said}");
    assert!(super::get(&ours, "shop.localhost", "/api")?.contains("violet"));

    let nobody = format!("{}/nobody:1", base.split('/').next().unwrap_or_default());
    let (_, said) = super::push(&ours, &built_from(&nobody)?, "shop", "main")?;
    assert!(said.contains(&nobody) && said.contains("not found") && said.contains("Dockerfile:1"), "{said}");
    assert!(super::get(&ours, "shop.localhost", "/api")?.contains("violet"), "the old version no longer answers");
    Ok(())
}
