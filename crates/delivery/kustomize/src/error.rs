//! What can go wrong, and where.

use coracle_yaml::Mark;

/// Errors of one kind are shown up to this many.
const SHOWN: usize = 20;

/// Why a kustomization cannot be built. `file` is empty when the trouble is not in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub file: String,
    /// Line and column from 1; 0 when the trouble is with the file as a whole.
    pub line: u32,
    pub column: u32,
    pub message: String,
    /// The line the trouble is in, as written.
    pub text: Option<Box<str>>,
    /// The kustomizations that led here, outermost first.
    pub chain: Vec<String>,
    /// More of the same: a build reports what it can at once.
    pub others: Vec<Error>,
}

impl Error {
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Self {
        Error::at(file, Mark::default(), message)
    }

    pub(crate) fn at(file: &str, mark: Mark, message: impl Into<String>) -> Self {
        Error {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            message: message.into(),
            text: None,
            chain: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The first of several, with the rest behind it.
    pub(crate) fn all(errors: Vec<Error>) -> Result<(), Error> {
        let mut errors = errors.into_iter();
        let Some(mut first) = errors.next() else { return Ok(()) };
        for mut error in errors {
            let more = std::mem::take(&mut error.others);
            first.others.push(error);
            first.others.extend(more);
        }
        first.others.truncate(SHOWN);
        Err(first)
    }

    fn write(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        if let Some(text) = &self.text {
            write!(f, "\n  | {text}")?;
        }
        for includer in self.chain.iter().rev() {
            write!(f, "\n  included from {includer}")?;
        }
        Ok(())
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write(f)?;
        for other in &self.others {
            writeln!(f)?;
            other.write(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Trouble with a node: where it stood, and what is wrong. The file's name is added by who knows it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub mark: Mark,
    pub message: String,
}

impl Trouble {
    pub fn new(mark: Mark, message: impl Into<String>) -> Self {
        Trouble { mark, message: message.into() }
    }

    /// The same, said to be at `mark` unless it has a place of its own.
    pub fn or_at(mut self, mark: Mark) -> Self {
        if self.mark.line == 0 {
            self.mark = mark;
        }
        self
    }
}

impl From<coracle_yaml::decode::DecodeError> for Trouble {
    fn from(error: coracle_yaml::decode::DecodeError) -> Self {
        Trouble { mark: error.mark, message: error.message }
    }
}
