//! The line an error is about.

use std::fmt;

/// Lines longer than this are shown by their beginning.
const SHOWN_CHARS: usize = 200;

/// How complaints begin that are about a line.
const OF_A_LINE: [&str; 5] =
    ["mapping values are not", "did not find expected", "could not find expected", "found ", "block sequence entries"];

/// A place in a file, the line of text that stands there, and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 0, as Go counts; nothing where it is not known.
    pub column: Option<usize>,
    pub text: String,
    /// Where templates were called that led here, the nearest first: `file:line:column`.
    pub chain: Vec<String>,
}

impl Excerpt {
    /// The line that a message of Go's YAML library names. It leaves out the number of the first.
    pub(crate) fn of_yaml(file: &str, text: &str, message: &str) -> Option<Excerpt> {
        let (_, complaint) = message.split_once("yaml: ")?;
        let Some(rest) = complaint.strip_prefix("line ") else {
            let is_of_a_line = OF_A_LINE.iter().any(|words| complaint.starts_with(words));
            return is_of_a_line.then(|| Excerpt::at(file, text, 1)).flatten();
        };
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        Excerpt::at(file, text, rest[..digits].parse().ok()?)
    }

    pub(crate) fn at(file: &str, text: &str, line: usize) -> Option<Excerpt> {
        let shown = text.lines().nth(line.checked_sub(1)?)?.chars().take(SHOWN_CHARS).collect();
        Some(Excerpt { file: file.to_owned(), line, column: None, text: shown, chain: Vec::new() })
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, "\n  | {}", self.text)?;
        self.chain.iter().try_for_each(|place| write!(f, "\n  included from {place}"))
    }
}
