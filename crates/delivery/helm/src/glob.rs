//! Two kinds of file name patterns: `filepath.Match`'s, and those of `.Files.Glob`.

/// `filepath.Match`: `*` and `?` stop at slashes, `[a-z]` is a class, `\` quotes. A malformed pattern matches nothing.
pub(crate) fn matches_path(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    is_valid(&pattern) && path(&pattern, &name)
}

pub(crate) fn is_valid_path_pattern(pattern: &str) -> bool {
    is_valid(&pattern.chars().collect::<Vec<_>>())
}

fn is_valid(pattern: &[char]) -> bool {
    let mut rest = pattern;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            '\\' if tail.is_empty() => return false,
            '\\' => &tail[1..],
            '[' => match class(tail, '\0') {
                Some((_, after)) => after,
                None => return false,
            },
            _ => tail,
        };
    }
    true
}

fn path(pattern: &[char], name: &[char]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => {
            let reach = name.iter().position(|character| *character == '/').unwrap_or(name.len());
            let rest: &[char] = &rest[rest.iter().take_while(|character| **character == '*').count()..];
            (0..=reach).any(|taken| path(rest, &name[taken..]))
        }
        '?' => name.first().is_some_and(|character| *character != '/') && path(rest, &name[1..]),
        '[' => match (name.first(), class(rest, name.first().copied().unwrap_or('\0'))) {
            (Some(_), Some((true, after))) => path(after, &name[1..]),
            _ => false,
        },
        '\\' => !rest.is_empty() && name.first() == rest.first() && path(&rest[1..], &name[1..]),
        literal => name.first() == Some(literal) && path(rest, &name[1..]),
    }
}

/// Whether a character is in the class that begins after `[`, and what follows the class; `None` if it is malformed.
fn class(pattern: &[char], character: char) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.first()? {
        '^' => (true, &pattern[1..]),
        _ => (false, pattern),
    };
    let mut found = false;
    let mut count = 0;
    loop {
        if *rest.first()? == ']' && count > 0 {
            return Some((found != negated, &rest[1..]));
        }
        let (low, after) = class_character(rest)?;
        let mut high = low;
        rest = after;
        if rest.first() == Some(&'-') {
            (high, rest) = class_character(&rest[1..])?;
        }
        found |= (low..=high).contains(&character);
        count += 1;
    }
}

fn class_character(pattern: &[char]) -> Option<(char, &[char])> {
    match pattern {
        [] | ['-' | ']', ..] => None,
        ['\\', quoted, rest @ ..] => (!rest.is_empty()).then_some((*quoted, rest)),
        ['\\'] => None,
        [first, rest @ ..] => (!rest.is_empty()).then_some((*first, rest)),
    }
}

/// A pattern of `.Files.Glob`: `*` stops at slashes and `**` does not, `{a,b}` are alternatives, `[!a-z]` is a class.
pub(crate) struct Glob {
    parts: Vec<Part>,
}

enum Part {
    Text(char),
    Any,
    AnyPath,
    One,
    Class { negated: bool, items: Vec<(char, char)> },
    Choice(Vec<Vec<Part>>),
}

impl Glob {
    /// `None` where the pattern is malformed.
    pub fn compile(pattern: &str) -> Option<Glob> {
        let characters: Vec<char> = pattern.chars().collect();
        let (parts, rest) = parse(&characters, 0)?;
        rest.is_empty().then_some(Glob { parts })
    }

    /// What a malformed pattern stands for.
    pub fn everything() -> Glob {
        Glob { parts: vec![Part::AnyPath] }
    }

    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        matches(&self.parts.iter().collect::<Vec<_>>(), &name)
    }
}

/// Braces nested deeper than this are malformed.
const BRACES_LIMIT: u32 = 16;

/// The parts up to the end, or within braces up to the comma or brace that ends them, which is left in the rest.
fn parse(mut rest: &[char], depth: u32) -> Option<(Vec<Part>, &[char])> {
    if depth > BRACES_LIMIT {
        return None;
    }
    let mut parts = Vec::new();
    while let Some((first, tail)) = rest.split_first() {
        if depth > 0 && matches!(first, ',' | '}') {
            return Some((parts, rest));
        }
        let part;
        (part, rest) = match first {
            '*' if tail.first() == Some(&'*') => (Part::AnyPath, &tail[1..]),
            '*' => (Part::Any, tail),
            '?' => (Part::One, tail),
            '\\' => (Part::Text(*tail.first()?), &tail[1..]),
            '[' => parse_class(tail)?,
            '{' => parse_choice(tail, depth + 1)?,
            other => (Part::Text(*other), tail),
        };
        parts.push(part);
    }
    (depth == 0).then_some((parts, rest))
}

fn parse_class(tail: &[char]) -> Option<(Part, &[char])> {
    let end = tail.iter().position(|character| *character == ']')?;
    let (inner, rest) = (&tail[..end], &tail[end + 1..]);
    let (negated, mut inner) = match inner.first()? {
        '!' => (true, &inner[1..]),
        _ => (false, inner),
    };
    let mut items = Vec::new();
    while let Some((first, after)) = inner.split_first() {
        let last;
        (last, inner) = match after {
            ['-', last, after @ ..] => (*last, after),
            _ => (*first, after),
        };
        items.push((*first, last));
    }
    (!items.is_empty()).then_some((Part::Class { negated, items }, rest))
}

fn parse_choice(mut rest: &[char], depth: u32) -> Option<(Part, &[char])> {
    let mut choices = Vec::new();
    loop {
        let (parts, after) = parse(rest, depth)?;
        choices.push(parts);
        match after {
            [',', after @ ..] => rest = after,
            ['}', after @ ..] => return Some((Part::Choice(choices), after)),
            _ => return None,
        }
    }
}

fn matches(parts: &[&Part], name: &[char]) -> bool {
    let Some((first, rest)) = parts.split_first() else { return name.is_empty() };
    let one = |fits: &dyn Fn(char) -> bool| {
        name.first().is_some_and(|character| fits(*character)) && matches(rest, &name[1..])
    };
    match first {
        Part::Text(text) => one(&|character| character == *text),
        Part::One => one(&|character| character != '/'),
        Part::Class { negated, items } => {
            one(&|character| items.iter().any(|(low, high)| (*low..=*high).contains(&character)) != *negated)
        }
        Part::Any => {
            let reach = name.iter().position(|character| *character == '/').unwrap_or(name.len());
            (0..=reach).any(|taken| matches(rest, &name[taken..]))
        }
        Part::AnyPath => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        Part::Choice(choices) => choices.iter().any(|choice| {
            let whole: Vec<&Part> = choice.iter().chain(rest.iter().copied()).collect();
            matches(&whole, name)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::{Glob, matches_path};

    #[test]
    fn globs_know_paths_and_alternatives() {
        let cases = [
            ("conf/*", "conf/a.yaml", true),
            ("conf/*", "conf/sub/a.yaml", false),
            ("conf/**", "conf/sub/a.yaml", true),
            ("**.yaml", "conf/sub/a.yaml", true),
            ("*.{yaml,yml}", "a.yml", true),
            ("*.{yaml,yml}", "a.txt", false),
            ("[!a]?", "bc", true),
            ("[!a]?", "ac", false),
            ("{a,b{c,d}}e", "bde", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(Glob::compile(pattern).expect("a pattern").matches(name), expected, "{pattern} {name}");
        }
        assert!(Glob::compile("{a").is_none());
        assert!(Glob::compile("[").is_none());
    }

    #[test]
    fn paths_match_as_gos_do() {
        let cases = [
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a/b.yaml", false),
            ("a/[^b-d]x", "a/ex", true),
            ("a/[^b-d]x", "a/cx", false),
            ("a\\*", "a*", true),
            ("[", "[", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches_path(pattern, name), expected, "{pattern} {name}");
        }
    }
}
