//! What goes wrong is told where the person is looking: in the output of their push. What runs goes on running.

use coracle_harness::{Engine, Repository};

#[test]
fn every_mistake_is_told_in_the_push_and_breaks_nothing() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let repository = super::deploy_hello(&engine, "shop")?;
    let good = repository.head()?;

    let pod = |image: &str, extra: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: extra\nspec:\n  containers:\n    - name: c\n      image: {image}\n{extra}"
        )
    };
    let mistakes: [(&str, &str, String, &[&str]); 5] = [
        (
            "a broken Dockerfile",
            "Dockerfile",
            "FROM scratch\nCOPPY hello /hello\n".to_owned(),
            &["Dockerfile:2:1", "COPPY"],
        ),
        (
            "a file that is not there",
            "Dockerfile",
            "FROM scratch\nCOPY nothing /hello\n".to_owned(),
            &["Dockerfile:2", "nothing"],
        ),
        ("YAML that does not parse", "app.yaml", "apiVersion: v1\nkind: [\n".to_owned(), &["app.yaml:"]),
        ("an unknown field", "app.yaml", pod("hello", "  replicass: 3\n"), &["unknown field \"spec.replicass\""]),
        (
            "an image that does not exist",
            "app.yaml",
            pod("registry.coracle.internal/nobody:1", ""),
            &["registry.coracle.internal/nobody:1"],
        ),
    ];
    for (what, file, content, words) in mistakes {
        let (_, said) = push_changed(&engine, &repository, &good, file, &content)?;
        for word in words {
            assert!(said.contains(word), "{what}: the push does not say {word:?}:\n{said}");
        }
        assert!(super::get(&engine, "shop.localhost", "/api").is_ok(), "{what}: the old version no longer answers");
    }
    let (pushed, said) = super::push(&engine, &repository, "shop", &format!("{good}:main"))?;
    assert!(pushed && said.contains("healthy"), "the good commit again: {said}");
    Ok(())
}

/// Pushes `good` with one file changed.
fn push_changed(
    engine: &Engine,
    repository: &Repository,
    good: &str,
    file: &str,
    content: &str,
) -> anyhow::Result<(bool, String)> {
    repository.git(&["reset", "--quiet", "--hard", good])?;
    repository.write(file, content.as_bytes(), false)?;
    repository.commit(&format!("Change {file}"))?;
    super::push(engine, repository, "shop", "main")
}

#[test]
fn a_wrong_token_and_a_wrong_name_are_refused_in_words() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let repository = super::hello_repository()?;
    let wrong = format!("{}/shop.git", engine.url("git").trim_end_matches('/').replace("://", "://coracle:wrong@"));
    let refused = repository.try_git(&["push", &wrong, "main"])?;
    assert!(!refused.status.success());
    let (pushed, said) = super::push(&engine, &repository, "Not_A_Name", "main")?;
    assert!(!pushed && said.contains("Not_A_Name"), "{said}");
    Ok(())
}
