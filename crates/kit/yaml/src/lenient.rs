//! Within brackets and quotes Go's library asks for no indentation; the parser here does. Where it complains, the line is
//! indented, which changes nothing of what such a text means, and the text is read once more.

use std::{borrow::Cow, collections::BTreeSet};

/// How much may be read anew; texts with many such lines are small, unless they mean harm.
const READ_LIMIT_BYTES: usize = 32 << 20;

/// A text, and the lines of it that have been indented.
pub(crate) struct Lenient<'text> {
    text: Cow<'text, str>,
    /// Deeper than any block of the text.
    indent: usize,
    indented: BTreeSet<usize>,
    read_bytes: usize,
}

impl<'text> Lenient<'text> {
    pub fn new(text: &'text str) -> Self {
        Lenient { text: text.into(), indent: 0, indented: BTreeSet::new(), read_bytes: 0 }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// How far the line, counted from 1, stands to the right of where it was written.
    pub fn shift(&self, line: usize) -> usize {
        if self.indented.contains(&line) { self.indent } else { 0 }
    }

    /// Whether the text was changed, so that the complaint may be gone.
    pub fn mend(&mut self, complaint: &str, line: usize) -> bool {
        let wanted = match complaint {
            "invalid indentation" | "invalid indentation in flow construct" => Some(line),
            // The line that the complaint names is the one with the opening quote.
            "invalid indentation in quoted scalar" => self.next_within_quotes(line),
            _ => None,
        };
        wanted.is_some_and(|line| self.indent_line(line))
    }

    fn next_within_quotes(&self, start: usize) -> Option<usize> {
        let mut lines = self.text.lines().enumerate().skip(start).map(|(index, content)| (index + 1, content));
        let (line, content) =
            lines.find(|(line, content)| !content.trim().is_empty() && !self.indented.contains(line))?;
        // A line that ends the document ends it within quotes too.
        (!content.starts_with("---") && !content.starts_with("...")).then_some(line)
    }

    fn indent_line(&mut self, line: usize) -> bool {
        if self.indent == 0 {
            let widths = self.text.lines().map(|line| line.len() - line.trim_start_matches(' ').len());
            self.indent = widths.max().unwrap_or(0) + 1;
        }
        self.read_bytes = self.read_bytes.saturating_add(self.text.len() + self.indent);
        if self.read_bytes > READ_LIMIT_BYTES || !self.indented.insert(line) {
            return false;
        }
        let at = self.text.split_inclusive('\n').take(line - 1).map(str::len).sum();
        self.text.to_mut().insert_str(at, &" ".repeat(self.indent));
        true
    }
}
