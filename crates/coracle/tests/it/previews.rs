//! A branch is an environment of its own, and gone with the branch.

use coracle_harness::{Engine, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_becomes_a_preview_and_goes_with_it() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let repository = super::deploy_hello(&engine, "shop")?;
    repository.git(&["checkout", "--quiet", "-b", "try-red"])?;
    let dockerfile = include_str!("../../../../examples/hello/Dockerfile").replace("COLOUR=teal", "COLOUR=red");
    repository.write("Dockerfile", dockerfile.as_bytes(), false)?;
    repository.commit("Try red")?;
    let (pushed, said) = super::push(&engine, &repository, "shop", "try-red")?;
    assert!(pushed && said.contains("http://try-red.shop.localhost"), "{said}");
    assert!(super::get(&engine, "try-red.shop.localhost", "/api")?.contains("red"));
    assert!(super::get(&engine, "shop.localhost", "/api")?.contains("teal"), "the app's own environment is untouched");

    let (pushed, said) = super::push(&engine, &repository, "shop", ":try-red")?;
    assert!(pushed, "{said}");
    let namespaces = kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(engine.client().await?);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        wait_until("the preview's namespace is gone", || {
            runtime.block_on(namespaces.get_opt("shop-try-red")).is_ok_and(|found| found.is_none())
        })
    })?;
    assert!(super::get(&engine, "shop.localhost", "/api")?.contains("teal"));
    Ok(())
}
