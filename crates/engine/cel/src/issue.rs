//! What is wrong with an expression, shown the way cel-go shows it: position, text, the line and a caret under the place.

use std::fmt;

/// One thing wrong, at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Byte offset into the expression.
    pub offset: usize,
    /// What is wrong.
    pub message: String,
}

/// An expression that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    source_text: String,
    /// What is wrong, in the order of the places.
    pub issues: Vec<Issue>,
}

/// More are not told.
const MOST_SHOWN: usize = 100;

impl CompileError {
    pub(crate) fn new(source: &str, mut issues: Vec<Issue>) -> Self {
        issues.sort_by_key(|issue| issue.offset);
        Self { source_text: source.to_owned(), issues }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().take(MOST_SHOWN).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let before = &self.source_text[..issue.offset.min(self.source_text.len())];
            let line_start = before.rfind('\n').map_or(0, |at| at + 1);
            let line = self.source_text[line_start..].split('\n').next().unwrap_or_default();
            let number = before.matches('\n').count() + 1;
            let column = before[line_start..].chars().count();
            write!(f, "ERROR: <input>:{number}:{}: {}", column + 1, issue.message)?;
            // Wide characters get wide dots, as upstream does it.
            let dots: String = line.chars().take(column).map(|c| if c.is_ascii() { '.' } else { '\u{ff0e}' }).collect();
            let at = line.chars().nth(column);
            let caret = if at.is_some_and(|c| !c.is_ascii()) { '\u{ff3e}' } else { '^' };
            write!(f, "\n | {}\n | {dots}{caret}", line.replace('\t', " "))?;
        }
        Ok(())
    }
}
