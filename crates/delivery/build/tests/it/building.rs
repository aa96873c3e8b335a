//! Stages, caching, configuration, and what goes wrong.

use std::{os::unix::fs::PermissionsExt as _, time::Instant};

use coracle_build::BuildError;
use expect_test::expect;

use crate::world::{HOST, World, args};

const HELLO: &str = "FROM scratch\nCOPY hello /hello\nEXPOSE 8080\nENTRYPOINT [\"/hello\"]\n";

#[test]
fn a_binary_on_nothing() {
    let world = World::new();
    world.file("hello", "binary");
    std::fs::set_permissions(world.context().join("hello"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let built = world.build(HELLO);
    expect![[r#"
        [1/2] FROM scratch
        [2/2] COPY hello /hello ... TIME
        image DIGEST built in TIME
    "#]]
    .assert_eq(&world.said());
    expect![[r#"
        755 0:0 hello "binary"
    "#]]
    .assert_eq(&world.layers(&built));
    assert_eq!((built.config.tcp_ports(), built.reused, built.size_bytes), (vec![8080], false, 2048));
    let document = world.document(&built);
    expect![[r#"{"ExposedPorts":{"8080/tcp":{}},"Entrypoint":["/hello"]}"#]]
        .assert_eq(&serde_json::to_string(&document.config).unwrap());
    let history: Vec<(String, bool)> =
        document.history.into_iter().map(|line| (line.created_by.unwrap(), line.empty_layer)).collect();
    assert_eq!(history.iter().map(|(_, empty)| *empty).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn the_same_content_is_found_and_gives_the_same_digest_elsewhere() {
    let world = World::new();
    world.file("hello", "one").file("README", "not copied");
    let first = world.build(HELLO);
    world.file("README", "changed").file("Dockerfile", &format!("# a comment\n{HELLO}"));
    let again = world.run(&world.builder(), world.request("hello")).unwrap();
    assert!(again.reused);
    assert_eq!((again.digest, &again.tag, &again.config), (first.digest, &first.tag, &first.config));
    world.said();
    world.file("hello", "two");
    assert_ne!(world.build(HELLO).digest, first.digest);
    world.file("hello", "one");
    let back = world.build(HELLO);
    assert!(back.reused && back.digest == first.digest);
    let elsewhere = World::new();
    elsewhere.file("hello", "one");
    let other = elsewhere.build(HELLO);
    assert_eq!((other.digest, other.tag), (first.digest, first.tag));
}

#[test]
fn a_small_build_takes_milliseconds() {
    let world = World::new();
    let binary = "x".repeat(1 << 20);
    world.file("hello", &binary);
    let begun = Instant::now();
    world.build(HELLO);
    let first = begun.elapsed();
    let begun = Instant::now();
    assert!(world.build(HELLO).reused);
    println!("built in {first:?}, found in {:?}", begun.elapsed());
}

const STAGES: &str = "ARG BASE=base
FROM registry.coracle.internal/${BASE} AS build
ARG WHO=world
ENV GREETING=hello
WORKDIR /src
COPY src .
RUN print compiling && write /src/out $GREETING
FROM registry.coracle.internal/base AS unused
RUN fail 1
FROM scratch
COPY --from=build /src/out /out
CMD [\"/out\"]
";

fn base(world: &World) {
    let mut request = world.request("base");
    world.file("base.Dockerfile", "FROM scratch\nCOPY <<passwd <<group /etc/\nroot:x:0:0\napp:x:1000:1001\npasswd\nroot:x:0\nstaff:x:50\ngroup\nENV PATH=/bin A=1\nCMD [\"sh\"]\n");
    request.dockerfile = "base.Dockerfile".into();
    let built = world.run(&world.builder(), request).unwrap();
    let manifest = world.store.manifest("base", &coracle_registry::Reference::Digest(built.digest)).unwrap().unwrap();
    world.store.put_manifest("base", Some("latest"), &manifest.media_type, &manifest.content).unwrap();
    world.said();
}

#[test]
fn stages_are_built_when_needed_and_steps_cached() {
    let world = World::new();
    base(&world);
    world.file("src/main", "one");
    let built = world.build(STAGES);
    expect![[r#"
        [1/6] FROM registry.coracle.internal/${BASE} AS build
        [2/6] WORKDIR /src ... TIME
        [3/6] COPY src . ... TIME
        [4/6] RUN print compiling && write /src/out $GREETING
          | compiling
        [4/6] done in TIME
        [6/6] COPY --from=build /src/out /out ... TIME
        image DIGEST built in TIME
    "#]]
    .assert_eq(&world.said().replace("[5/6] FROM scratch\n", ""));
    expect![[r#"
        ["/bin/sh", "-c", "print compiling && write /src/out $GREETING"] in /src as "" with ["PATH=/bin", "A=1", "GREETING=hello", "WHO=world", "HOME=/root"] on 3 layers"#]]
    .assert_eq(&world.sandbox.steps.lock().join("\n"));
    expect![[r#"
        644 0:0 out "$GREETING"
    "#]]
    .assert_eq(&world.layers(&built));
    // Another file: what comes before it is found, what comes after is done again.
    world.file("src/main", "two");
    world.build(STAGES);
    assert!(world.said().contains("WORKDIR /src ... cached"));
    assert_eq!(world.sandbox.steps.lock().len(), 2);
    // Another command at the end: the stage before it is not even begun.
    world.build(&STAGES.replace("/out\"]", "/other\"]"));
    let said = world.said();
    assert!(said.contains("COPY --from=build /src/out /out ... cached") && !said.contains("WORKDIR"), "{said}");
    let mut request = world.request("hello");
    request.args = args(&[("WHO", "ada"), ("TYPO", "x")]);
    request.target = Some("build".into());
    world.file("Dockerfile", STAGES);
    let built = world.run(&world.builder(), request).unwrap();
    assert!(world.sandbox.steps.lock()[2].contains("WHO=ada"));
    assert!(world.said().contains("no ARG takes the build argument TYPO"));
    assert_eq!(built.config.variable("GREETING"), Some("hello"));
    assert_eq!(built.config.cmd.as_deref(), Some(["sh".to_owned()].as_slice()));
}

#[test]
fn deletions_become_whiteouts_and_count_for_later_steps() {
    let world = World::new();
    base(&world);
    let dockerfile =
        format!("FROM {HOST}/base\nRUN write /a/one 1 && write /a/two 2\nRUN write /a/three 3 && delete /a/one\n");
    let built = world.build(&dockerfile);
    let last = world.layers(&built);
    expect![[r#"
        755 0:0 a/ d
        0 0:0 a/.wh.one ""
        644 0:0 a/three "3"
    "#]]
    .assert_eq(last.rsplit("--\n").next().unwrap());
    let copied = world.build(&format!("{dockerfile}FROM scratch\nCOPY --from=0 /a /b/\n"));
    expect![[r#"
        755 0:0 b/ d
        644 0:0 b/three "3"
        644 0:0 b/two "2"
    "#]]
    .assert_eq(&world.layers(&copied));
}

#[test]
fn a_command_that_fails_is_shown_with_what_it_printed() {
    let world = World::new();
    base(&world);
    expect![[r#"
        Dockerfile:2: RUN print first line && print cannot find x && fail 2: exited with 2
        the last it printed:
          | first line
          | cannot find x
    "#]]
    .assert_eq(&world.fails(&format!("FROM {HOST}/base\nRUN print first line && print cannot find x && fail 2\n")));
    expect![[r#"
        Dockerfile:2: RUN x: there is nothing in the image that could run it: FROM scratch has no shell
    "#]]
    .assert_eq(&world.fails("FROM scratch\nRUN x\n"));
    let mut builder = world.builder();
    builder.sandbox = None;
    world.file("Dockerfile", &format!("FROM {HOST}/base\nRUN y\n"));
    let error = world.run(&builder, world.request("hello")).unwrap_err().to_string();
    assert_eq!(error, "Dockerfile:2: RUN y: commands cannot be run here: this machine lacks what containers need");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_built() {
    let world = World::new();
    world.file("hello", "x").file("Hallo", "x").file(".dockerignore", "secret\n").file("secret", "x");
    let mut out = world.fails("FROM nothing:1\nFROM registry.coracle.internal/none\nCOPY --from=0 a b\n");
    out += &world.fails("FROM scratch\nCOPY hallo /x\nCOPY secret /x\nCOPY *.go /x/\nCOPY ../x /x\nEXPOSE web\nCOPY --chmod=u+x hello /x\nENV X=${Y%z}\n");
    out += &world.fails("ARG BASE\nFROM $BASE\n");
    out += &world.fails("FROM --platform=linux/s390x scratch\n");
    expect![[r#"
        Dockerfile:2:1: image registry.coracle.internal/none was not found: the registry has no none at latest
          2 | FROM registry.coracle.internal/none
            | ^
        Dockerfile:1:1: image nothing:1 was not found: only images of registry.coracle.internal can be used here: push it there first
          1 | FROM nothing:1
            | ^
        Dockerfile:2:1: "hallo" is not in the build context
          2 | COPY hallo /x
            | ^ there is "Hallo"
        Dockerfile:3:1: "secret" is not in the build context
          3 | COPY secret /x
            | ^ .dockerignore leaves it out
        Dockerfile:4:1: nothing in the build context matches "*.go"
          4 | COPY *.go /x/
            | ^
        Dockerfile:5:1: "../x" is outside of the build context
          5 | COPY ../x /x
            | ^ only what is in the repository can be copied
        Dockerfile:6:1: "web" is not a port: write EXPOSE 8080 or 53/udp
          6 | EXPOSE web
            | ^
        Dockerfile:7:1: --chmod=u+x is not understood
          7 | COPY --chmod=u+x hello /x
            | ^ give it in octal digits: --chmod=755
        Dockerfile:8:1: ${Y%z}: ${Y%z} is not understood: use ${name}, ${name:-default} or ${name:+value}
          8 | ENV X=${Y%z}
            | ^
        Dockerfile:2:1: "$BASE" is empty, so there is no base image
          2 | FROM $BASE
            | ^ give it a default: ARG NAME=VALUE before the first FROM
        Dockerfile:1:1: images for linux/s390x cannot be built on this machine, which is linux/amd64
          1 | FROM --platform=linux/s390x scratch
            | ^ leave --platform out, or use $BUILDPLATFORM
    "#]]
    .assert_eq(&out.replace("linux/arm64", "linux/amd64"));
    assert!(world.said().is_empty());
}

#[test]
fn limits_and_missing_dockerfiles() {
    let world = World::new();
    let error = world.run(&world.builder(), world.request("hello")).unwrap_err();
    assert_eq!(error.to_string(), "there is no Dockerfile in the repository: add one, or name its path");
    world.file("Dockerfile", HELLO).file("hello", &"x".repeat(5 << 20));
    let mut builder = world.builder();
    builder.limits.context_bytes = 1 << 20;
    let error = world.run(&builder, world.request("hello")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the build context is 5 MiB, more than the 1 MiB allowed: leave things out in .dockerignore"
    );
    world.file(".dockerignore", "hello");
    assert!(matches!(world.run(&builder, world.request("hello")), Err(BuildError::Dockerfile(_))));
}

#[test]
fn configuration_is_inherited_and_changed() {
    let world = World::new();
    base(&world);
    let built = world.build(&format!(
        "FROM {HOST}/base\nARG PORT=80\nENV A=2 B=$A\nENV C=${{B:-none}}$A\nLABEL v=\"$PORT x\"\nEXPOSE $PORT 53/udp 8000-8001\nUSER app\nVOLUME /data\nSTOPSIGNAL SIGINT\nHEALTHCHECK --timeout=5s CMD check\nENTRYPOINT run it\n"
    ));
    expect![[r#"{"User":"app","ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}},"Env":["PATH=/bin","A=2","B=1","C=12"],"Entrypoint":["/bin/sh","-c","run it"],"Volumes":{"/data":{}},"Labels":{"v":"80 x"},"StopSignal":"SIGINT","Healthcheck":{"Test":["CMD-SHELL","check"],"Timeout":5000000000}}"#]]
    .assert_eq(&serde_json::to_string(&built.config).unwrap());
}

#[test]
fn big_layers_are_packed_and_can_be_built_on() {
    let world = World::new();
    let mut builder = world.builder();
    builder.limits.packed_from_bytes = 1 << 16;
    world.file("big", &"0123456789abcdef".repeat(1 << 13)).file("small", "s");
    world.file("Dockerfile", "FROM scratch\nCOPY big small /\n");
    let built = world.run(&builder, world.request("hello")).unwrap();
    assert!(built.size_bytes < 1 << 13, "{}", built.size_bytes);
    world.file("Dockerfile", "FROM scratch AS one\nCOPY big small /\nFROM scratch\nCOPY --from=one small /s\n");
    let copied = world.run(&builder, world.request("hello")).unwrap();
    expect![[r#"
        644 0:0 s "s"
    "#]]
    .assert_eq(&world.layers(&copied));
    assert_eq!(builder.cached_layers().len(), 2);
}

#[test]
fn steps_that_went_well_are_kept_when_a_later_one_fails() {
    let world = World::new();
    base(&world);
    world.file("a", "a");
    world.fails(&format!("FROM {HOST}/base\nCOPY a /a\nRUN write /b b\nRUN fail 1\n"));
    world.said();
    world.build(&format!("FROM {HOST}/base\nCOPY a /a\nRUN write /b b\nRUN write /c c\n"));
    expect![[r#"
        [1/4] FROM registry.coracle.internal/base
        [2/4] COPY a /a ... cached
        [3/4] RUN write /b b ... cached
        [4/4] RUN write /c c
        [4/4] done in TIME
        image DIGEST built in TIME
    "#]]
    .assert_eq(&world.said());
}
