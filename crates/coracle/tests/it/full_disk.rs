//! A disk that fills up: told where the person is looking, what runs goes on, and nothing acknowledged is lost.

use coracle_harness::{Engine, Kubectl, SmallDisk, wait_until};

const DISK_MIB: usize = 128;

/// Creates an object of 100 kB with kubectl, where there is one; what it said when that was refused.
fn refusal(engine: &Engine, name: &str) -> anyhow::Result<Option<String>> {
    let Some(kubectl) = Kubectl::find(engine) else { return Ok(None) };
    let value = format!("--from-literal=key={}", "x".repeat(100_000));
    let output = kubectl.try_run(&["create", "configmap", name, &value])?;
    Ok((!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let disk = SmallDisk::new(DISK_MIB)?;
    let mut engine = Engine::start_in(super::binary(), &disk.dir("data"))?;
    let repository = super::deploy_hello(&engine, "shop")?;
    assert_eq!(refusal(&engine, "before")?, None);

    if Kubectl::find(&engine).is_some() {
        let mut refused = None;
        let mut count = 0;
        wait_until("a write is refused", || {
            count += 1;
            disk.fill().expect("the disk can be filled");
            refused = refusal(&engine, &format!("during-{count}")).expect("kubectl starts");
            refused.is_some()
        })?;
        let said = refused.unwrap_or_default();
        assert!(said.contains("no space left on the disk that holds the store"), "{said}");
    }
    disk.fill()?;
    let dockerfile = include_str!("../../../../examples/hello/Dockerfile").replace("COLOUR=teal", "COLOUR=red");
    repository.write("Dockerfile", dockerfile.as_bytes(), false)?;
    repository.commit("Try red on a full disk")?;
    let (_, said) = super::push(&engine, &repository, "shop", "main")?;
    assert!(said.to_lowercase().contains("no space left"), "{said}");
    assert!(super::get(&engine, "shop.localhost", "/api")?.contains("teal"), "the old version no longer answers");

    disk.free()?;
    wait_until("writes go on by themselves", || refusal(&engine, "after").is_ok_and(|said| said.is_none()))?;
    repository.git(&["commit", "--quiet", "--allow-empty", "--message", "Try red again"])?;
    let (pushed, said) = super::push(&engine, &repository, "shop", "main")?;
    assert!(pushed && said.contains("healthy"), "{said}");
    engine.kill()?;
    engine.up()?;
    if let Some(kubectl) = Kubectl::find(&engine) {
        let names = kubectl.run(&["get", "configmaps", "--output=name"])?;
        assert!(names.contains("configmap/before") && names.contains("configmap/after"), "{names}");
    }
    assert!(super::get(&engine, "shop.localhost", "/api")?.contains("red"));
    Ok(())
}
