//! Clones and fetches, in both protocols.

use crate::world::{Options, World};

fn each_version(test: fn(&World, &str)) {
    for version in ["protocol.version=2", "protocol.version=0"] {
        let world = World::new(Options::default());
        test(&world, version);
    }
}

fn history(world: &World) -> std::path::PathBuf {
    let work = world.work_tree("work");
    for number in 2..=5 {
        world.commit(&work, &format!("dir/file{number}"), &format!("{number}\n"), &format!("Commit {number}"));
    }
    world.git(&work, &["tag", "-a", "v1", "-m", "One"]);
    world.git(&work, &["push", "-q", &world.url("hello"), "main", "v1"]);
    work
}

#[test]
fn a_clone_has_everything() {
    each_version(|world, version| {
        let work = history(world);
        world.git(world.directory.path(), &["-c", version, "clone", "-q", &world.url("hello"), "clone"]);
        let clone = world.path("clone");
        assert_eq!(world.head(&clone), world.head(&work));
        assert_eq!(world.git(&clone, &["log", "--format=%s"]), world.git(&work, &["log", "--format=%s"]));
        assert_eq!(world.git(&clone, &["describe"]), "v1");
        assert_eq!(world.git(&clone, &["branch", "--show-current"]), "main");
        world.git(&clone, &["fsck", "--full", "--strict"]);
    });
}

#[test]
fn a_fetch_brings_only_what_is_new() {
    each_version(|world, version| {
        let work = history(world);
        world.git(world.directory.path(), &["-c", version, "clone", "-q", &world.url("hello"), "clone"]);
        let clone = world.path("clone");
        world.commit(&clone, "mine", "local\n", "Local");
        world.commit(&work, "dir/new", "6\n", "Commit 6");
        world.git(&work, &["tag", "-a", "v2", "-m", "Two"]);
        world.git(&work, &["push", "-q", &world.url("hello"), "main", "v2"]);
        let output = world.git(&clone, &["-c", version, "fetch", "--progress"]);
        // A commit, its two trees, the new file, and the tag that comes along.
        assert!(output.contains("Sending 5 objects"), "{output}");
        assert!(output.contains("v2"), "{output}");
        assert_eq!(world.git(&clone, &["rev-parse", "origin/main"]), world.head(&work));
        world.git(&clone, &["fsck", "--full", "--strict"]);
    });
}

#[test]
fn history_can_be_cut_and_deepened() {
    each_version(|world, version| {
        let work = history(world);
        world.git(world.directory.path(), &["-c", version, "clone", "-q", "--depth=2", &world.url("hello"), "clone"]);
        let clone = world.path("clone");
        let count = |what: &str| {
            assert_eq!(world.git(&clone, &["rev-list", "--count", "HEAD"]), what);
            world.git(&clone, &["fsck", "--full", "--strict"]);
        };
        count("2");
        world.git(&clone, &["-c", version, "fetch", "-q", "--depth=3"]);
        count("3");
        world.git(&clone, &["-c", version, "fetch", "-q", "--deepen=1"]);
        count("4");
        world.commit(&clone, "mine", "pushed from a shallow clone\n", "Shallow");
        world.git(&clone, &["push", "-q", "origin", "main"]);
        world.git(&clone, &["-c", version, "fetch", "-q", "--unshallow"]);
        count("6");
        world.fsck("hello");
        drop(work);
    });
}

#[test]
fn an_empty_app_can_be_cloned() {
    each_version(|world, version| {
        world.repositories.create("empty").unwrap();
        world.git(world.directory.path(), &["-c", version, "clone", "-q", &world.url("empty"), "clone"]);
        let head = world.git(&world.path("clone"), &["symbolic-ref", "HEAD"]);
        // The older protocol cannot name a branch that is not born.
        assert!(head == "refs/heads/main" || version.ends_with('0'), "{head}");
    });
}

#[test]
fn refs_are_listed() {
    each_version(|world, version| {
        let work = history(world);
        let listed = world.git(&work, &["-c", version, "ls-remote", "--symref", &world.url("hello")]);
        let local = world.git(&work, &["show-ref", "--head", "--dereference"]);
        let mut expected = vec!["ref: refs/heads/main\tHEAD".to_owned()];
        expected.extend(local.lines().map(|line| line.replacen(' ', "\t", 1)));
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected);
    });
}

#[test]
fn a_private_server_asks_fetchers_too() {
    let world = World::new(Options { private: true, ..Default::default() });
    history(&world);
    let anonymous = format!("http://{}/hello.git", world.address);
    let output = world.git_fails(world.directory.path(), &["clone", &anonymous, "clone"]);
    assert!(output.contains("could not read Username"), "{output}");
    world.git(world.directory.path(), &["clone", "-q", &world.url("hello"), "clone"]);
}
