//! Pushes that are refused, and what the person who pushed reads.

use std::io::{Read as _, Write as _};

use expect_test::{Expect, expect};

use crate::world::{Options, TOKEN, World};

fn check(world: &World, url: &str, refspec: &str, expected: Expect) {
    let work = world.path("work");
    expected.assert_eq(&world.git_fails(&work, &["push", url, refspec]));
}

#[test]
fn who_may_not_is_told_why() {
    let world = World::new(Options::default());
    world.work_tree("work");
    let with = |credentials: &str, app: &str| format!("http://{credentials}{}/{app}.git", world.address);
    check(
        &world,
        &with("me:wrong@", "hello"),
        "main",
        expect![[r#"
            remote: this token is not valid here: give the one of this installation as the password
            fatal: Authentication failed for 'http://ADDRESS/hello.git/'"#]],
    );
    check(
        &world,
        &with("", "hello"),
        "main",
        expect!["fatal: could not read Username for 'http://ADDRESS': terminal prompts disabled"],
    );
    check(
        &world,
        &world.url("My_App"),
        "main",
        expect![[r#"
            remote: "My_App" cannot be an app: use lower-case letters, digits and '-', beginning and ending with a letter or digit, for example "my-app"
            fatal: unable to access 'http://ADDRESS/My_App.git/': The requested URL returned error: 400"#]],
    );
    let output = world.git_fails(world.directory.path(), &["clone", &world.url("nothing"), "clone"]);
    assert!(output.contains(r#"remote: there is no app "nothing" here; push to it and it will be made"#), "{output}");
    assert!(world.repositories.list().unwrap().is_empty());
}

#[test]
fn refs_that_are_not_kept_are_refused_with_words() {
    let world = World::new(Options::default());
    world.work_tree("work");
    check(
        &world,
        &world.url("hello"),
        "main:refs/for/main",
        expect![[r#"
            To http://ADDRESS/hello.git
             ! [remote rejected] main -> refs/for/main (only branches and tags are kept here)
            error: failed to push some refs to 'http://ADDRESS/hello.git'"#]],
    );
    check(
        &world,
        &world.url("hello"),
        "main:forbidden",
        expect![[r#"
            To http://ADDRESS/hello.git
             ! [remote rejected] main -> forbidden (branch forbidden is not deployed (First))
            error: failed to push some refs to 'http://ADDRESS/hello.git'"#]],
    );
    assert_eq!(world.seen(), "");
    assert!(world.repositories.get("hello").unwrap().unwrap().refs().unwrap().is_empty());
    assert_eq!(files(&world, "hello.git/objects/pack"), 0, "nothing of a refused push is kept");
}

fn files(world: &World, path: &str) -> usize {
    std::fs::read_dir(world.path("server").join(path)).unwrap().count()
}

#[test]
fn a_push_that_is_too_big_is_refused_with_words() {
    let world = World::new(Options { push_bytes: 20_000, ..Default::default() });
    let work = world.work_tree("work");
    let noise: String =
        (0..40_000_u64).map(|number| format!("{:x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    world.commit(&work, "noise", &noise, "Noise");
    check(
        &world,
        &world.url("hello"),
        "main",
        expect![[r#"
            error: remote unpack failed: the push is larger than the 0 MiB allowed here
            To http://ADDRESS/hello.git
             ! [remote rejected] main -> main (not unpacked)
            error: failed to push some refs to 'http://ADDRESS/hello.git'"#]],
    );
    assert_eq!(files(&world, "hello.git/incoming"), 0);
}

/// Sends `body` as a push and returns the whole answer; hangs up early where `declared` is more than is sent.
fn raw_push(world: &World, body: &[u8], declared: usize) -> String {
    use base64::Engine as _;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("me:{TOKEN}"));
    let mut stream = std::net::TcpStream::connect(world.address).unwrap();
    let head = format!(
        "POST /hello.git/git-receive-pack HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-git-receive-pack-request\r\nContent-Length: {declared}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    if declared > body.len() {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn command(new: &str) -> Vec<u8> {
    let line = format!("{} {new} refs/heads/x\0 report-status", "0".repeat(40));
    format!("{:04x}{line}0000", line.len() + 4).into_bytes()
}

/// A pack of `main` of the work tree that lacks its blob, and one that is whole.
fn packs(world: &World) -> (String, Vec<u8>, Vec<u8>) {
    let work = world.path("work");
    let pack = |names: &[&str]| {
        let objects: Vec<String> = names.iter().map(|name| world.git(&work, &["rev-parse", name])).collect();
        let mut command = world.command(&work, &["pack-objects", "-q", "--stdout"]);
        let mut child =
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{}\n", objects.join("\n")).as_bytes()).unwrap();
        child.wait_with_output().unwrap().stdout
    };
    (world.head(&work), pack(&["HEAD", "HEAD^{tree}"]), pack(&["HEAD", "HEAD^{tree}", "HEAD:file"]))
}

#[test]
fn broken_packs_leave_the_repository_as_it_was() {
    let world = World::new(Options::default());
    world.work_tree("work");
    let (head, incomplete, whole) = packs(&world);
    let send = |pack: &[u8], declared_more: usize| {
        let body = [command(&head), pack.to_vec()].concat();
        let answer = raw_push(&world, &body, body.len() + declared_more);
        answer.split("\r\n\r\n").nth(1).unwrap_or_default().lines().collect::<Vec<_>>().join("|")
    };
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let answers =
        [send(&incomplete, 0), send(&damaged, 0), send(&whole[..whole.len() - 9], 0), send(&whole[..40], 100)];
    assert!(answers[0].contains("which is neither here nor in the push"), "{answers:?}");
    for answer in &answers[1..3] {
        assert!(answer.contains("unpack the pack cannot be taken in"), "{answers:?}");
    }
    let repository = world.repositories.get("hello").unwrap().unwrap();
    assert!(repository.refs().unwrap().is_empty());
    assert_eq!((files(&world, "hello.git/incoming"), files(&world, "hello.git/objects/pack")), (0, 0));
    assert_eq!(world.seen(), "");
    let answer = send(&whole, 0);
    assert!(answer.contains("ok refs/heads/x"), "{answer}");
    world.wait_finished(1);
    assert_eq!(repository.branch("x").unwrap().unwrap().to_string(), head);
    world.fsck("hello");
}

#[test]
fn what_an_interrupted_server_left_is_removed() {
    let world = World::new(Options::default());
    world.repositories.create("hello").unwrap();
    let left = world.path("server/hello.git/incoming/0/pack");
    std::fs::create_dir_all(&left).unwrap();
    std::fs::create_dir_all(world.path("server/other.creating")).unwrap();
    let again = coracle_git::Repositories::open(world.path("server")).unwrap();
    assert!(!left.exists() && !world.path("server/other.creating").exists());
    assert_eq!(again.list().unwrap(), ["hello"]);
}
