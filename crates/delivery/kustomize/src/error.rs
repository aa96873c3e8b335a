//! What can go wrong, and where.

use coracle_yaml::Mark;

/// Why a kustomization cannot be built. `file` is empty when the trouble is not in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub file: String,
    /// Line and column from 1; 0 when the trouble is with the file as a whole.
    pub line: u32,
    pub column: u32,
    pub message: String,
    /// The kustomizations that led here, outermost first.
    pub chain: Vec<String>,
}

impl Error {
    pub(crate) fn whole(file: &str, message: impl Into<String>) -> Self {
        Error { file: file.to_owned(), line: 0, column: 0, message: message.into(), chain: Vec::new() }
    }

    pub(crate) fn at(file: &str, mark: Mark, message: impl Into<String>) -> Self {
        Error {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            message: message.into(),
            chain: Vec::new(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{}", self.message)?;
        for includer in self.chain.iter().rev() {
            write!(f, "\n  included from {includer}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
