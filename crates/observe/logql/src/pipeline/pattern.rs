//! Patterns: text with `<captures>`.

use memchr::memmem;

enum Piece {
    /// `<name>`, or `<_>` for what nobody wants.
    Capture(Option<String>),
    Literal(Vec<u8>),
}

/// A pattern, of a parser or of a line filter.
pub(super) struct Pattern(Vec<Piece>);

impl Pattern {
    /// For `| pattern`: at least one named capture.
    pub(super) fn parser(text: &str) -> Result<Self, String> {
        let pieces = pieces(text)?;
        let mut names: Vec<&str> = Vec::new();
        for piece in &pieces {
            if let Piece::Capture(Some(name)) = piece {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        check_consecutive(&pieces)?;
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                return Err(format!("duplicate capture name ({name}): invalid expression"));
            }
        }
        Ok(Self(pieces))
    }

    /// For `|>`: no named captures.
    pub(super) fn filter(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let pieces = pieces(text)?;
        check_consecutive(&pieces)?;
        for piece in &pieces {
            if let Piece::Capture(Some(name)) = piece {
                return Err(format!("named captures are not allowed: found '<{name}>'"));
            }
        }
        Ok(Self(pieces))
    }

    /// Gives what the named captures take. A line that ends early gives its rest to the capture that was open.
    pub(super) fn captures<'l>(&self, line: &'l str, mut each: impl FnMut(&str, &'l str)) {
        if line.is_empty() {
            return;
        }
        let (mut rest, mut pieces) = (line, self.0.as_slice());
        if let [Piece::Literal(literal), after @ ..] = pieces {
            if !rest.as_bytes().starts_with(literal) {
                return;
            }
            rest = &rest[literal.len()..];
            pieces = after;
        }
        while let [Piece::Capture(name), after @ ..] = pieces {
            let found = match after.first() {
                Some(Piece::Literal(literal)) => memmem::find(rest.as_bytes(), literal).map(|at| (at, literal.len())),
                _ => None,
            };
            let (taken, next) = match found {
                Some((at, len)) => (&rest[..at], Some(&rest[at + len..])),
                None => (rest, None),
            };
            if let Some(name) = name {
                each(name, taken);
            }
            let Some(next) = next else { return };
            rest = next;
            pieces = &after[1..];
        }
    }

    /// Whether a line has the pattern's shape: captures are not empty, and nothing is left over.
    pub(super) fn matches(&self, line: &str) -> bool {
        let Some(last) = self.0.last() else { return line.is_empty() };
        if line.is_empty() {
            return false;
        }
        let mut at = 0;
        for (index, piece) in self.0.iter().enumerate() {
            let Piece::Literal(literal) = piece else { continue };
            match memmem::find(&line.as_bytes()[at..], literal) {
                Some(0) if index > 0 => return false,
                Some(found) => at += found + literal.len(),
                None => return false,
            }
        }
        matches!(last, Piece::Capture(_)) == (at != line.len())
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    if text.is_empty() {
        return Err("syntax error: unexpected $end, expecting IDENTIFIER or LITERAL".to_owned());
    }
    let (mut pieces, mut literal, mut rest) = (Vec::new(), Vec::new(), text);
    while let Some(c) = rest.chars().next() {
        if let Some(name) = capture(rest) {
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Capture((name != "_").then(|| name.to_owned())));
            rest = &rest[name.len() + 2..];
        } else {
            literal.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
            rest = &rest[c.len_utf8()..];
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

/// The name of a capture that the text starts with.
fn capture(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some(name)
}

fn check_consecutive(pieces: &[Piece]) -> Result<(), String> {
    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "_".to_owned());
    for pair in pieces.windows(2) {
        if let [Piece::Capture(first), Piece::Capture(second)] = pair {
            let both = format!("<{}><{}>", name(first), name(second));
            return Err(format!("found consecutive capture '{both}': invalid expression"));
        }
    }
    Ok(())
}
