//! Slash-separated paths, as text.

use coracle_gotemplate::{Call, Function, Type};

use crate::args::text;

const S: &[Type] = &[Type::String];

pub(crate) const TABLE: &[Function] = &[
    Function::new("base", S, BASE),
    Function::new("osBase", S, BASE),
    Function::new("dir", S, DIR),
    Function::new("osDir", S, DIR),
    Function::new("clean", S, CLEAN),
    Function::new("osClean", S, CLEAN),
    Function::new("ext", S, EXT),
    Function::new("osExt", S, EXT),
    Function::new("isAbs", S, IS_ABS),
    Function::new("osIsAbs", S, IS_ABS),
];

const BASE: Call = |_, a| Ok(base(&text(&a[0])).into());
const DIR: Call = |_, a| Ok(dir(&text(&a[0])).into());
const CLEAN: Call = |_, a| Ok(clean(&text(&a[0])).into());
const EXT: Call = |_, a| Ok(extension(&text(&a[0])).into());
const IS_ABS: Call = |_, a| Ok(text(&a[0]).starts_with('/').into());

fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { "/" } else { trimmed.rsplit('/').next().unwrap_or(trimmed) }
}

fn dir(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |at| at + 1)])
}

fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The shortest path to the same place, by its text alone.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut steps: Vec<&str> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." if steps.last().is_some_and(|last| *last != "..") => {
                steps.pop();
            }
            ".." if rooted => {}
            step => steps.push(step),
        }
    }
    match (rooted, steps.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}
