//! What the rest of the platform reads out of a repository.

use coracle_git::{GitError, Repository};
use expect_test::expect;

use crate::world::{Options, World};

fn pushed(world: &World) -> Repository {
    let work = world.work_tree("work");
    world.commit(&work, "app/Dockerfile", "FROM scratch\n", "Second\n\nWith a body.");
    std::os::unix::fs::symlink("Dockerfile", work.join("app/link")).unwrap();
    std::fs::write(work.join("app/run.sh"), "#!/bin/sh\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(work.join("app/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    world.commit(&work, "app-2/x", "", "Third");
    world.git(&work, &["tag", "-a", "v1", "-m", "One", "HEAD~1"]);
    world.git(&work, &["push", "-q", &world.url("hello"), "main", "v1"]);
    world.repositories.get("hello").unwrap().unwrap()
}

#[test]
fn files() {
    let world = World::new(Options::default());
    let repository = pushed(&world);
    let tree = repository.tree(repository.branch("main").unwrap().unwrap()).unwrap();
    let mut out = String::new();
    for entry in tree.walk(100).unwrap() {
        out += &format!("{:?} {}\n", entry.kind, entry.path);
    }
    expect![[r#"
        Directory app-2
        File app-2/x
        Directory app
        File app/Dockerfile
        Symlink app/link
        Executable app/run.sh
        File file
    "#]]
    .assert_eq(&out);
    assert_eq!(tree.read("app/Dockerfile", 100).unwrap().unwrap(), b"FROM scratch\n");
    assert_eq!(tree.read("app/none", 100).unwrap(), None);
    assert_eq!(tree.read("app", 100).unwrap(), None);
    assert!(matches!(tree.read("app/Dockerfile", 3), Err(GitError::TooLarge { size_bytes: 13, .. })));
    assert!(matches!(tree.walk(3), Err(GitError::TooMany { .. })));
    let app = tree.subtree("app").unwrap().unwrap();
    assert_eq!(app.list().unwrap().len(), 3);
    assert_eq!(Some(app.id()), tree.entry("app/").unwrap().map(|entry| entry.id));
}

#[test]
fn commits() {
    let world = World::new(Options::default());
    let repository = pushed(&world);
    let main = repository.resolve("main").unwrap().unwrap();
    let log = repository.log(main, 10).unwrap();
    let subjects: Vec<&str> = log.iter().map(|commit| commit.subject.as_str()).collect();
    assert_eq!(subjects, ["Third", "Second", "First"]);
    assert_eq!(
        (log[1].author.as_str(), log[1].author_email.as_str(), log[1].body.as_str()),
        ("Ada", "ada@example.org", "With a body.")
    );
    assert_eq!(repository.resolve("v1").unwrap(), Some(log[1].id));
    assert_eq!(repository.resolve(&log[2].id.to_string()[..10]).unwrap(), Some(log[2].id));
    assert_eq!(repository.resolve("nothing").unwrap(), None);
    assert_eq!(repository.resolve("deadbeef").unwrap(), None);
    assert!(repository.is_ancestor(log[2].id, main).unwrap());
    assert!(!repository.is_ancestor(main, log[2].id).unwrap());
}
