//! Patterns over paths: COPY's wildcards and `.dockerignore`.

/// Whether `path` matches `pattern`: `*` and `?` stay within one name, `**` spans any number of them, `[a-z]` and `[^a-z]` are sets,
/// `\` takes the next character as it is.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    components(&pattern, &path)
}

/// Whether a word has anything in it that [`matches`] treats specially.
pub fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '['])
}

fn components(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| components(rest, &path[skipped..])),
        ([first, pattern @ ..], [name, path @ ..]) => {
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            characters(&first, &name) && components(pattern, path)
        }
        _ => false,
    }
}

fn characters(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        (['*', rest @ ..], _) => (0..=name.len()).any(|skipped| characters(rest, &name[skipped..])),
        (['?', rest @ ..], [_, name @ ..]) => characters(rest, name),
        (['[', rest @ ..], [c, name @ ..]) => match set(rest) {
            Some((ranges, negated, rest)) => {
                ranges.iter().any(|(from, to)| (from..=to).contains(&c)) != negated && characters(rest, name)
            }
            None => *c == '[' && characters(rest, name),
        },
        (['\\', escaped, rest @ ..], [c, name @ ..]) => escaped == c && characters(rest, name),
        ([expected, rest @ ..], [c, name @ ..]) => expected == c && characters(rest, name),
        _ => false,
    }
}

type Set<'a> = (Vec<(char, char)>, bool, &'a [char]);

/// The ranges of a set, whether it is negated, and what follows its `]`.
fn set(mut pattern: &[char]) -> Option<Set<'_>> {
    let negated = pattern.first() == Some(&'^');
    if negated {
        pattern = &pattern[1..];
    }
    let mut ranges = Vec::new();
    loop {
        pattern = match pattern {
            [']', rest @ ..] if !ranges.is_empty() => return Some((ranges, negated, rest)),
            [from, '-', to, rest @ ..] if *to != ']' => {
                ranges.push((*from, *to));
                rest
            }
            [one, rest @ ..] => {
                ranges.push((*one, *one));
                rest
            }
            [] => return None,
        };
    }
}

/// The rules of a `.dockerignore`.
#[derive(Debug, Default)]
pub struct Ignore {
    /// Patterns in order, and whether each takes files back in.
    rules: Vec<(String, bool)>,
}

impl Ignore {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Self {
        let mut rules = Vec::new();
        for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
            if line.starts_with('#') {
                continue;
            }
            let line = line.trim();
            let (line, takes_back) = match line.strip_prefix('!') {
                Some(rest) => (rest.trim(), true),
                None => (line, false),
            };
            let clean: Vec<&str> = line.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            if !clean.is_empty() {
                rules.push((clean.join("/"), takes_back));
            }
        }
        Self { rules }
    }

    /// Whether the file at `path` is left out: the last rule that matches it or a directory above it decides.
    pub fn excludes(&self, path: &str) -> bool {
        let applies = |pattern: &str| {
            let above = path.match_indices('/').map(|(at, _)| &path[..at]);
            above.chain([path]).any(|path| matches(pattern, path))
        };
        self.rules.iter().rev().find(|(pattern, _)| applies(pattern)).is_some_and(|(_, takes_back)| !takes_back)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ignore, matches};

    #[test]
    fn wildcards() {
        for (pattern, path) in [
            ("a", "a"),
            ("*", "a"),
            ("*.rs", "x.rs"),
            ("a?c", "abc"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            ("\\*", "*"),
            ("a/*/c", "a/b/c"),
            ("**/x", "x"),
            ("**/x", "a/b/x"),
            ("a/**", "a/b/c"),
            ("a/**/c", "a/c"),
            ("**", "a/b"),
            ("[", "["),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("a", "b"),
            ("*", "a/b"),
            ("*.rs", "a/x.rs"),
            ("[a-c]x", "dx"),
            ("\\*", "a"),
            ("a/*/c", "a/c"),
            ("**/x", "a/y"),
            ("a", "a/b"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn ignoring() {
        let ignore = Ignore::parse(
            "# comment\n*.md\n!README.md\n/target\nnode_modules/\n**/*.log\n!keep/**/deep.log\n\n./a/b\n",
        );
        let excluded: Vec<&str> = [
            "x.md",
            "README.md",
            "sub/x.md",
            "target",
            "target/debug/x",
            "sub/target",
            "node_modules/m",
            "a.log",
            "b/c.log",
            "keep/x/deep.log",
            "a/b/c",
            "a/c",
        ]
        .into_iter()
        .filter(|path| ignore.excludes(path))
        .collect();
        assert_eq!(excluded, ["x.md", "target", "target/debug/x", "node_modules/m", "a.log", "b/c.log", "a/b/c"]);
        let whitelist = Ignore::parse("*\n!src\n");
        assert!(whitelist.excludes("x") && !whitelist.excludes("src/main.rs") && whitelist.excludes("other/src"));
    }
}
