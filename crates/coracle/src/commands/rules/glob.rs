//! Paths that match a pattern, as Go's `filepath.Glob` finds them: `*`, `?`, `[a-z]`, `[^a-z]` and `\\` before any of these,
//! in every part of a path.

use std::path::{Component, Path, PathBuf};

/// In the order of their names.
pub fn find(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        let is_plain = !matches!(part, Component::Normal(_)) || !name.contains(['*', '?', '[', '\\']);
        found = match is_plain {
            true => found.into_iter().map(|path| path.join(part)).collect(),
            false => found.iter().flat_map(|directory| entries(directory, &name)).collect(),
        };
    }
    found.retain(|path| path.exists());
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let names = std::fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names: Vec<_> = names.filter(|name| matches(pattern, &name.to_string_lossy())).collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    let Some(wanted) = rest.next() else { return name.is_empty() };
    if wanted == '*' {
        let mut tails = name.char_indices().map(|(at, _)| &name[at..]).chain([""]);
        return tails.any(|tail| matches(rest.as_str(), tail));
    }
    let mut characters = name.chars();
    let Some(character) = characters.next() else { return false };
    let fits = match wanted {
        '?' => true,
        '[' => match class(rest.as_str(), character) {
            Some((fits, behind)) => {
                rest = behind.chars();
                fits
            }
            None => false,
        },
        '\\' => rest.next() == Some(character),
        wanted => wanted == character,
    };
    fits && matches(rest.as_str(), characters.as_str())
}

/// Whether a class of characters has this one, and what comes behind the class; nothing when it does not end.
fn class(pattern: &str, character: char) -> Option<(bool, &str)> {
    let (negated, mut rest) = match pattern.strip_prefix('^') {
        Some(rest) => (true, rest.chars()),
        None => (false, pattern.chars()),
    };
    let one = |rest: &mut std::str::Chars<'_>| match rest.next()? {
        '\\' => rest.next(),
        other => Some(other),
    };
    let mut has = false;
    while !rest.as_str().starts_with(']') {
        let low = one(&mut rest)?;
        let mut high = low;
        if let Some(behind) = rest.as_str().strip_prefix('-') {
            rest = behind.chars();
            high = one(&mut rest)?;
        }
        has |= (low..=high).contains(&character);
    }
    Some((has != negated, &rest.as_str()[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("a*b*", "a-b-c", true),
            ("?.yml", "ab.yml", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_may_be_in_every_part_of_a_path() {
        let directory = tempfile::tempdir().unwrap();
        for path in ["one/rules.yml", "two/rules.yml", "two/other.txt"] {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found = find(&directory.path().join("*/r*.yml"));
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(directory.path()).unwrap()).collect();
        assert_eq!(names, [Path::new("one/rules.yml"), Path::new("two/rules.yml")]);
    }
}
