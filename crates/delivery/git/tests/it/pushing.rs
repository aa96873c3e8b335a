//! Pushes that are accepted.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use expect_test::expect;

use crate::world::{Options, World};

#[test]
fn the_first_push_makes_the_app_and_shows_its_progress() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let output = world.git(&work, &["push", &world.url("hello"), "main"]);
    expect![[r#"
        remote: building
        remote: healthy
        remote: http://hello.localhost
        To http://ADDRESS/hello.git
         * [new branch]      main -> main"#]]
    .assert_eq(&output.replace("remote:  ", "remote: "));
    expect!["hello created refs/heads/main by me []"].assert_eq(&world.seen());
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert_eq!(repository.resolve("HEAD").unwrap().unwrap().to_string(), world.head(&work));
    world.fsck("hello");
}

#[test]
fn progress_arrives_while_the_deployment_runs() {
    let world = World::new(Options { holds: true, ..Default::default() });
    let work = world.work_tree("work");
    let mut command = world.command(&work, &["push", &world.url("hello"), "main"]);
    let mut push = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(push.stderr.take().unwrap()).lines();
    let live = lines.find(|line| line.as_ref().unwrap().contains("building"));
    assert!(live.is_some(), "the line is shown before the deployment ends");
    assert!(push.try_wait().unwrap().is_none());
    world.recorder.release.add_permits(1);
    assert!(lines.any(|line| line.unwrap().contains("healthy")));
    assert!(push.wait().unwrap().success());
}

#[test]
fn the_deployment_goes_on_when_the_pusher_hangs_up() {
    let world = World::new(Options { holds: true, ..Default::default() });
    let work = world.work_tree("work");
    let mut command = world.command(&work, &["push", &world.url("hello"), "main"]);
    let mut push = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(push.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("building")));
    push.kill().unwrap();
    push.wait().unwrap();
    world.recorder.release.add_permits(1);
    world.wait_finished(1);
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert_eq!(repository.branch("main").unwrap().unwrap().to_string(), world.head(&work));
}

#[test]
fn branches_and_tags_are_made_moved_forced_and_deleted() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    world.git(&work, &["push", "-q", &url, "main"]);
    world.commit(&work, "file", "two\n", "Second");
    world.git(&work, &["tag", "-a", "v1", "-m", "One"]);
    world.git(
        &work,
        &["push", "-q", "-o", "colour=blue", "-o", "fast", &url, "main", "v1", "main:refs/heads/preview/x"],
    );
    world.git(&work, &["reset", "-q", "--hard", "HEAD~1"]);
    let refused = world.git_fails(&work, &["push", &url, "main"]);
    assert!(refused.contains("non-fast-forward") || refused.contains("fetch first"), "{refused}");
    world.git(&work, &["push", "-q", "--force", &url, "main"]);
    world.git(&work, &["push", "-q", &url, "--delete", "preview/x", "v1"]);
    expect![[r#"
        hello created refs/heads/main by me []
        hello moved refs/heads/main by me ["colour=blue", "fast"]
        hello created refs/tags/v1 by me ["colour=blue", "fast"]
        hello created refs/heads/preview/x by me ["colour=blue", "fast"]
        hello moved refs/heads/main by me []
        hello deleted refs/heads/preview/x by me []
        hello deleted refs/tags/v1 by me []"#]]
    .assert_eq(&world.seen());
    let repository = world.repositories.get("hello").unwrap().unwrap();
    let refs: Vec<String> = repository.refs().unwrap().into_keys().collect();
    assert_eq!(refs, ["refs/heads/main"]);
    assert_eq!(repository.branch("main").unwrap().unwrap().to_string(), world.head(&work));
    world.fsck("hello");
}

#[test]
fn an_atomic_push_moves_all_or_nothing() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    world.git(&work, &["push", "-q", &url, "main"]);
    world.commit(&work, "file", "two\n", "Second");
    // `main/x` cannot be beside `main`.
    let output = world.git_fails(&work, &["push", "--atomic", &url, "main", "main:refs/heads/main/x"]);
    assert!(output.contains("atomic push failed"), "{output}");
    assert!(output.contains("refs/heads/main exists, and one name cannot be the beginning of the other"), "{output}");
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert_ne!(repository.branch("main").unwrap().unwrap().to_string(), world.head(&work));
    world.git_fails(&work, &["push", &url, "main", "main:refs/heads/main/x"]);
    assert_eq!(repository.branch("main").unwrap().unwrap().to_string(), world.head(&work));
}

#[test]
fn thin_packs_are_completed_and_chunked_bodies_understood() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    let long: String = (0..20_000).map(|number| format!("line {}\n", number * 7919 % 10_007)).collect();
    world.commit(&work, "long", &long, "Long");
    // A small post buffer makes git probe first, then send the pack in chunks.
    world.git(&work, &["-c", "http.postBuffer=4096", "push", "-q", &url, "main"]);
    world.commit(&work, "long", &long.replace("line 7919\n", "changed\n"), "Changed");
    world.git(&work, &["push", "-q", "--thin", &url, "main"]);
    world.fsck("hello");
    let repository = world.repositories.get("hello").unwrap().unwrap();
    let tree = repository.tree(repository.branch("main").unwrap().unwrap()).unwrap();
    let content = String::from_utf8(tree.read("long", 1 << 20).unwrap().unwrap()).unwrap();
    assert_eq!(content.matches("changed").count(), 2);
}

#[test]
fn many_pushes_at_once_all_arrive() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    let mut pushes = Vec::new();
    for number in 0..8 {
        let name = format!("clone{number}");
        world.git(world.directory.path(), &["clone", "-q", "work", &name]);
        world.commit(&world.path(&name), "mine", &format!("{number}\n"), "Mine");
        let target = format!("HEAD:refs/heads/b{number}");
        let mut command = world.command(&world.path(&name), &["push", "-q", &url, &target]);
        pushes.push(command.stderr(Stdio::piped()).spawn().unwrap());
    }
    for push in pushes {
        let output = push.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert_eq!(repository.branches().unwrap().len(), 8);
    assert_eq!(repository.log(repository.branch("b3").unwrap().unwrap(), 10).unwrap().len(), 2);
    world.fsck("hello");
    drop(work);
}

#[test]
fn of_two_pushes_to_one_branch_one_wins() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    world.git(&work, &["push", "-q", &url, "main"]);
    let mut pushes = Vec::new();
    for number in 0..4 {
        let name = format!("clone{number}");
        world.git(world.directory.path(), &["clone", "-q", "work", &name]);
        world.commit(&world.path(&name), "mine", &format!("{number}\n"), "Mine");
        pushes.push(
            world
                .command(&world.path(&name), &["push", "-q", &url, "HEAD:main"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
    }
    let won: Vec<usize> = pushes
        .into_iter()
        .map(|mut push| push.wait().unwrap().success())
        .enumerate()
        .filter(|(_, won)| *won)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(won.len(), 1, "the others must fetch first");
    let repository = world.repositories.get("hello").unwrap().unwrap();
    let winner = world.head(&world.path(&format!("clone{}", won[0])));
    assert_eq!(repository.branch("main").unwrap().unwrap().to_string(), winner);
    world.fsck("hello");
}

#[test]
fn many_small_packs_are_joined() {
    let world = World::new(Options::default());
    let work = world.work_tree("work");
    let url = world.url("hello");
    for number in 0..26 {
        world.commit(&work, "file", &format!("{number}\n"), "Next");
        world.git(&work, &["push", "-q", &url, "main"]);
    }
    world.wait_finished(26);
    let packs = world.path("server/hello.git/objects/pack");
    let count = std::fs::read_dir(packs)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "idx"))
        .count();
    assert!(count < 10, "{count} packs are left");
    world.fsck("hello");
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert_eq!(repository.log(repository.branch("main").unwrap().unwrap(), 100).unwrap().len(), 27);
    world.git(world.directory.path(), &["clone", "-q", &url, "again"]);
    assert_eq!(world.head(&world.path("again")), world.head(&work));
}
