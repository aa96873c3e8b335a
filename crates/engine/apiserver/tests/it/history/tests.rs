//! A history that holds, and what is said when one thing in it is changed.

use expect_test::{Expect, expect};

use super::*;

fn data(mark: &str) -> Data {
    Data::from([(MARK.to_owned(), mark.to_owned())])
}

fn object(version: u64, mark: &str) -> Object {
    Object { version, uid: "u1".to_owned(), data: data(mark) }
}

fn did(begun: u64, ended: u64, asked: Asked, answer: Answer) -> Operation {
    Operation { name: "a".to_owned(), asked, begun, ended, answer }
}

fn listed(version: u64, objects: &[Object]) -> Listing {
    Listing { version, objects: objects.iter().map(|object| ("a".to_owned(), object.clone())).collect() }
}

fn changed(change: Change, object: Object) -> Sight {
    Sight::Changed { change, name: "a".to_owned(), object, at: 100 }
}

/// Created, updated, patched by a client that never heard of it, deleted, created again; with reads between.
fn sound() -> History {
    let anew = Object { uid: "u2".to_owned(), ..object(6, "m5") };
    let operations = vec![
        did(1, 2, Asked::Create(data("m1")), Answer::Shown(object(2, "m1"))),
        did(3, 4, Asked::Update(2, data("m2")), Answer::Shown(object(3, "m2"))),
        did(3, 5, Asked::Update(2, data("m3")), Answer::Refused),
        did(6, 9, Asked::Patch(data("m4")), Answer::Unknown),
        did(6, 7, Asked::Get, Answer::Shown(object(3, "m2"))),
        did(8, 10, Asked::Get, Answer::Shown(object(4, "m4"))),
        did(11, 12, Asked::Delete, Answer::Deleted("u1".to_owned())),
        did(13, 14, Asked::Get, Answer::NotFound),
        did(15, 16, Asked::Create(data("m5")), Answer::Shown(anew.clone())),
        did(17, 18, Asked::List, Answer::Listed(listed(6, std::slice::from_ref(&anew)))),
    ];
    let watcher = vec![
        Sight::Listed(listed(1, &[])),
        changed(Change::Added, object(2, "m1")),
        changed(Change::Modified, object(3, "m2")),
        changed(Change::Modified, object(4, "m4")),
        changed(Change::Deleted, object(5, "m4")),
        Sight::Bookmark(5),
        changed(Change::Added, anew),
    ];
    History { operations, watchers: vec![watcher] }
}

fn refused(spoil: impl FnOnce(&mut History), expected: Expect) {
    let mut history = sound();
    spoil(&mut history);
    expected.assert_eq(&match check(&history) {
        Ok(summary) => format!("{summary:?}"),
        Err(refusal) => refusal,
    });
}

#[test]
fn what_one_server_can_have_done_is_accepted() {
    refused(|_| {}, expect!["Summary { versions: 5, unwatched: 0 }"]);
    // A write without an answer may have come to nothing.
    refused(
        |history| history.operations.push(did(19, 20, Asked::Delete, Answer::Unknown)),
        expect!["Summary { versions: 5, unwatched: 0 }"],
    );
    // A watcher that was told 410 lists again, and need not know what was between.
    refused(
        |history| {
            let anew = Object { uid: "u2".to_owned(), ..object(6, "m5") };
            let relisted = Sight::Listed(listed(6, &[anew]));
            history.watchers.push(vec![
                Sight::Listed(listed(1, &[])),
                changed(Change::Added, object(2, "m1")),
                relisted,
            ]);
        },
        expect!["Summary { versions: 5, unwatched: 0 }"],
    );
}

#[test]
fn lost_writes_are_noticed() {
    // The list at the end no longer has what was created.
    refused(
        |history| history.operations[9].answer = Answer::Listed(listed(7, &[])),
        expect![[r#"a list at 7 has a at None, not Some(6)"#]],
    );
    // A write that somebody saw is gone again.
    refused(
        |history| history.operations.push(did(11, 12, Asked::Get, Answer::Shown(object(3, "m2")))),
        expect![[
            r#"Get of a at 11, answered Shown(Object { version: 3, uid: "u1", data: {"mark": "m2"} }), has no moment"#
        ]],
    );
    refused(
        |history| history.operations.push(did(19, 20, Asked::Get, Answer::NotFound)),
        expect![[r#"Get of a at 19, answered NotFound, has no moment"#]],
    );
}

#[test]
fn versions_are_given_once_and_in_order() {
    let other = || Operation {
        name: "b".to_owned(),
        ..did(1, 2, Asked::Create(data("m9")), Answer::Shown(Object { uid: "u9".to_owned(), ..object(3, "m9") }))
    };
    refused(|history| history.operations.push(other()), expect!["version 3 was given to a and to b"]);
    refused(
        |history| history.operations[5].answer = Answer::Shown(object(4, "m2")),
        expect!["version 4 of a was shown in two ways"],
    );
    refused(
        |history| (history.operations[8].begun, history.operations[8].ended) = (0, 0),
        expect!["the write at 2 to a began after 6 was there"],
    );
    refused(
        |history| history.operations[9].answer = Answer::Listed(listed(4, &[object(4, "m4")])),
        expect!["a list at 4 began after 6 was there"],
    );
}

#[test]
fn each_write_follows_from_the_one_before() {
    refused(
        |history| history.operations[1].asked = Asked::Update(1, data("m2")),
        expect!["version 3 of a was to replace 1, and replaced 2"],
    );
    refused(
        |history| history.operations[3].asked = Asked::Create(data("m4")),
        expect!["version 4 of a creates what was there"],
    );
    refused(
        |history| {
            let more = ("more".to_owned(), "than was written".to_owned());
            let Asked::Patch(data) = &mut history.operations[3].asked else { unreachable!() };
            data.extend([more]);
        },
        expect!["version 4 of a holds something else than was written"],
    );
    refused(
        |history| history.operations[3].answer = Answer::Refused,
        expect!["the write m4 made version 4, and was answered Refused"],
    );
    refused(|history| drop(history.operations.remove(3)), expect!["nobody wrote version 4 of a"]);
    refused(
        |history| drop(history.operations.remove(6)),
        expect!["version 5 of a is a deletion that nobody asked for"],
    );
    refused(
        |history| history.operations[2].answer = Answer::Shown(object(3, "m2")),
        expect!["the write m3 was answered with m2"],
    );
}

#[test]
fn watchers_are_shown_every_change_once() {
    refused(|history| drop(history.watchers[0].remove(3)), expect!["a watcher at 3 was not shown 4 of a"]);
    refused(
        |history| history.watchers[0].insert(3, changed(Change::Modified, object(3, "m2"))),
        expect!["a watcher at 3 was shown 3"],
    );
    refused(|history| history.watchers[0].swap(2, 3), expect!["a watcher at 2 was not shown 3 of a"]);
    refused(
        |history| history.watchers[0][3] = changed(Change::Added, object(4, "m4")),
        expect!["a watcher was shown Added a at 4 after Some(3)"],
    );
    refused(
        |history| {
            history.watchers.push(history.watchers[0].clone());
            history.watchers[1][5] = Sight::Bookmark(6);
            history.watchers[1].truncate(6);
        },
        expect!["a watcher at 5 was not shown 6 of a"],
    );
    refused(
        |history| {
            let Sight::Changed { at, .. } = &mut history.watchers[0][6] else { unreachable!() };
            *at = 14;
        },
        expect!["a watcher was shown 6 before it was written"],
    );
}

#[test]
fn where_nobody_watched_nothing_is_made_up() {
    refused(
        |history| {
            // All that was seen of the second and third version is that the fourth came after them.
            let rest = history.watchers[0].split_off(4);
            history.watchers[0] = vec![Sight::Listed(listed(4, &[object(4, "m4")]))];
            history.watchers[0].extend(rest);
        },
        expect!["Summary { versions: 5, unwatched: 3 }"],
    );
}
