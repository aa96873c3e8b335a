//! RUN steps: commands in containers, on the way to an image.

use coracle_harness::{Engine, Repository};

const BASE: &str = "FROM scratch AS tools\nCOPY hello /hello\n";

fn repository(dockerfile: &str) -> anyhow::Result<Repository> {
    let repository = Repository::new()?;
    repository.write("hello", &super::hello()?, true)?;
    repository.write("Dockerfile", dockerfile.as_bytes(), false)?;
    repository.commit("Build with a command")?;
    Ok(repository)
}

#[test]
fn a_command_runs_in_a_container_and_its_failure_is_shown() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let rest = "FROM scratch\nCOPY --from=tools /hello /bin/hello\nEXPOSE 8080\nENTRYPOINT [\"/bin/hello\"]\n";
    let good = repository(&format!("{BASE}ENV VERSION=from-the-build\nRUN [\"/hello\", \"version\"]\n{rest}"))?;
    let (pushed, said) = super::push(&engine, &good, "shop", "main")?;
    assert!(pushed && said.contains("healthy"), "{said}");

    let bad = repository(&format!(
        "{BASE}RUN [\"/hello\", \"version\"]\nENV FAIL_AT_START=nothing-to-build\nRUN [\"/hello\"]\n"
    ))?;
    let (_, said) = super::push(&engine, &bad, "other", "main")?;
    for word in ["fatal: nothing-to-build", "Dockerfile:5"] {
        assert!(said.contains(word), "the push does not say {word:?}:\n{said}");
    }
    Ok(())
}
