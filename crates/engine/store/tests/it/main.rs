//! The store through its public interface: semantics, damage, full disks, kills, backups.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backup;
mod commits;
mod damage;
mod kill;
mod watching;

use coracle_store::{Change, Expect, Meta, Value};

/// A change that writes an object whose value says its revision.
fn put(key: &str, expect: Expect) -> Change {
    Change::put(key, expect, meta(key), value())
}

fn meta(key: &str) -> Meta {
    Meta {
        uid: format!("uid-of-{key}"),
        labels: vec![("app".to_owned(), "web".to_owned()), ("tier".to_owned(), String::new())],
        fields: vec![("spec.nodeName".to_owned(), "node".to_owned())],
        owners: vec!["owner".to_owned()],
    }
}

fn value() -> Value {
    Value::spliced(r#"{"resourceVersion":""#, r#""}"#)
}
