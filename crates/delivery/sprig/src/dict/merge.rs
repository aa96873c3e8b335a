//! Merging maps as the library that Sprig uses does: deeply, into the first map, which shares with the others whatever
//! it takes over whole.

use std::rc::Rc;

use coracle_gotemplate::{Dict, Value};

use crate::defaults::is_empty;

/// Merges the later maps into the first and gives it back. Without `overwrite` only what is empty in it is filled.
pub(super) fn merge(arguments: &[Value], overwrite: bool) -> Value {
    if let Value::Dict(target) = &arguments[0] {
        for source in &arguments[1..] {
            if let Value::Dict(source) = source {
                merge_into(target, source, overwrite);
            }
        }
        return arguments[0].clone();
    }
    // A nil first map is replaced by a new one.
    let target = Rc::new(Dict::default());
    for source in arguments[1..].iter().filter_map(Value::as_dict) {
        merge_into(&target, source, overwrite);
    }
    Value::Dict(target)
}

fn merge_into(target: &Rc<Dict>, source: &Dict, overwrite: bool) {
    if std::ptr::eq(&**target, source) {
        return;
    }
    for (key, new) in source.snapshot() {
        let old = target.get(&key);
        if new.is_nil() {
            if overwrite {
                target.set(key, new);
            }
            continue;
        }
        if let (Some(Value::Dict(old)), Value::Dict(new)) = (&old, &new) {
            merge_into(old, new, overwrite);
            if !old.is_empty() {
                continue;
            }
        }
        if overwrite || old.as_ref().is_none_or(is_empty) {
            target.set(key, new);
        }
    }
}
