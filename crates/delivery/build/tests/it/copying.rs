//! COPY and ADD: what goes where, whose it is, and with which permissions.

use std::os::unix::fs::symlink;

use expect_test::{Expect, expect};

use crate::world::World;

fn context() -> World {
    let world = World::new();
    world.file("a.txt", "a").file("b.txt", "b").file("dir/one", "1").file("dir/sub/two", "2").file("dir/.hidden", "h");
    std::fs::create_dir(world.context().join("dir/empty")).unwrap();
    symlink("one", world.context().join("dir/link")).unwrap();
    symlink("dir/one", world.context().join("top")).unwrap();
    world
}

fn check(instructions: &str, expected: Expect) {
    let world = context();
    let built = world.try_build(&format!("FROM scratch\n{instructions}\n"));
    expected.assert_eq(&match built {
        Ok(built) => world.layers(&built),
        Err(error) => format!("{error}\n"),
    });
}

#[test]
fn destinations() {
    check(
        "COPY a.txt /x",
        expect![[r#"
        644 0:0 x "a"
    "#]],
    );
    check(
        "COPY a.txt /x/",
        expect![[r#"
        755 0:0 x/ d
        644 0:0 x/a.txt "a"
    "#]],
    );
    check(
        "WORKDIR /w\nCOPY a.txt b.txt ./",
        expect![[r#"
        755 0:0 w/ d
        --
        644 0:0 w/a.txt "a"
        644 0:0 w/b.txt "b"
    "#]],
    );
    check(
        "COPY a.txt /x/\nCOPY b.txt /x",
        expect![[r#"
        755 0:0 x/ d
        644 0:0 x/a.txt "a"
        --
        644 0:0 x/b.txt "b"
    "#]],
    );
    check(
        "COPY a.txt b.txt /x",
        expect![[r#"
        Dockerfile:2: COPY a.txt b.txt /x: several files are copied, so "/x" must end with /
    "#]],
    );
    check(
        "COPY a.txt /x\nCOPY b.txt /x/y",
        expect![[r#"
        Dockerfile:3: COPY b.txt /x/y: /x is a file, so nothing can be put into it
    "#]],
    );
}

#[test]
fn directories_give_their_content() {
    check(
        "COPY dir /d",
        expect![[r#"
        755 0:0 d/ d
        644 0:0 d/.hidden "h"
        755 0:0 d/empty/ d
        777 0:0 d/link -> one
        644 0:0 d/one "1"
        755 0:0 d/sub/ d
        644 0:0 d/sub/two "2"
    "#]],
    );
    check(
        "COPY --exclude=sub --exclude=.* dir a.txt /d/",
        expect![[r#"
        755 0:0 d/ d
        644 0:0 d/a.txt "a"
        755 0:0 d/empty/ d
        777 0:0 d/link -> one
        644 0:0 d/one "1"
    "#]],
    );
    check(
        "COPY top /t",
        expect![[r#"
        644 0:0 t "1"
    "#]],
    );
}

#[test]
fn wildcards_and_words() {
    check(
        "ENV N=b\nCOPY *.txt ${N}.txt /x/",
        expect![[r#"
        755 0:0 x/ d
        644 0:0 x/a.txt "a"
        644 0:0 x/b.txt "b"
    "#]],
    );
    check(
        "COPY dir/[o]* /x/",
        expect![[r#"
        755 0:0 x/ d
        644 0:0 x/one "1"
    "#]],
    );
}

#[test]
fn owners_and_permissions() {
    check(
        "COPY --chown=7:8 --chmod=640 a.txt /x/y",
        expect![[r#"
        640 7:8 x/ d
        640 7:8 x/y "a"
    "#]],
    );
    check(
        "COPY --chown=7 dir/sub /x",
        expect![[r#"
        755 7:7 x/ d
        644 7:7 x/two "2"
    "#]],
    );
    check(
        "COPY <<passwd <<group /etc/\napp:x:1000:1\npasswd\nstaff:x:50\ngroup\nCOPY --chown=app:staff a.txt /x",
        expect![[r#"
        755 0:0 etc/ d
        644 0:0 etc/group "staff:x:50\n"
        644 0:0 etc/passwd "app:x:1000:1\n"
        --
        644 1000:50 x "a"
    "#]],
    );
    check(
        "COPY --chown=nobody a.txt /x",
        expect![[r#"
        Dockerfile:2: COPY --chown=nobody a.txt /x: the image has no user "nobody" in /etc/passwd
    "#]],
    );
}

#[test]
fn inline_files() {
    check(
        "ENV N=v\nCOPY <<EOF /etc/conf\nname = \"$N\"\nEOF\nCOPY <<'EOF' /raw\n$N\nEOF",
        expect![[r#"
        755 0:0 etc/ d
        644 0:0 etc/conf "name = \"v\"\n"
        --
        644 0:0 raw "$N\n"
    "#]],
    );
}

#[test]
fn links_in_the_image_are_followed() {
    let world = context();
    std::fs::create_dir(world.context().join("root")).unwrap();
    world.file("root/usr/bin/sh", "sh");
    symlink("usr/bin", world.context().join("root/bin")).unwrap();
    let built = world.build("FROM scratch\nCOPY root /\nCOPY a.txt /bin/a\nCOPY b.txt /bin/\n");
    expect![[r#"
        777 0:0 bin -> usr/bin
        755 0:0 usr/ d
        755 0:0 usr/bin/ d
        644 0:0 usr/bin/sh "sh"
        --
        644 0:0 usr/bin/a "a"
        --
        644 0:0 usr/bin/b.txt "b"
    "#]]
    .assert_eq(&world.layers(&built));
}

#[test]
fn add_unpacks_archives() {
    let world = context();
    let archive = |packed: bool| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o750);
        builder.append_data(&mut header, "in/file", b"hi".as_slice()).unwrap();
        let plain = builder.into_inner().unwrap();
        if !packed {
            return plain;
        }
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &plain).unwrap();
        packer.finish().unwrap()
    };
    std::fs::write(world.context().join("x.tar"), archive(false)).unwrap();
    std::fs::write(world.context().join("y.tgz"), archive(true)).unwrap();
    let built = world.build("FROM scratch\nADD x.tar a.txt /x/\nADD y.tgz /y\nCOPY x.tar /z/\n");
    let shown = world.layers(&built);
    let (unpacked, copied) = shown.rsplit_once("--\n").unwrap();
    expect![[r#"
        755 0:0 x/ d
        644 0:0 x/a.txt "a"
        755 0:0 x/in/ d
        750 0:0 x/in/file "hi"
        --
        755 0:0 y/ d
        755 0:0 y/in/ d
        750 0:0 y/in/file "hi"
    "#]]
    .assert_eq(unpacked);
    assert!(copied.contains("z/x.tar"));
}
