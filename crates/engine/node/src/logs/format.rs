//! The CRI log format, `TIME STREAM F|P TEXT`, cut to what a client asks for. Pure.

use jiff::Timestamp;

/// A line longer than this without an end is passed on in pieces.
const MAX_LINE_BYTES: usize = 256 << 10;

/// What a client wants of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail_lines: Option<usize>,
    pub since: Option<Timestamp>,
    pub limit_bytes: Option<usize>,
    /// `stdout` or `stderr` only.
    pub stream: Option<String>,
}

/// Turns the bytes of a log file into what the client sees.
pub struct Cutter {
    options: Options,
    unfinished: Vec<u8>,
    /// The piece before did not end its line.
    mid_line: bool,
    left_bytes: usize,
}

impl Cutter {
    pub fn new(options: Options) -> Self {
        let left_bytes = options.limit_bytes.unwrap_or(usize::MAX);
        Self { options, unfinished: Vec::new(), mid_line: false, left_bytes }
    }

    /// The client has all it asked for.
    pub fn is_full(&self) -> bool {
        self.left_bytes == 0
    }

    /// Takes more of the file, and appends what the client is to see.
    pub fn cut(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if self.unfinished.is_empty() {
                self.line(line, out);
            } else {
                let mut whole = std::mem::take(&mut self.unfinished);
                whole.extend_from_slice(line);
                self.line(&whole, out);
            }
        }
        self.unfinished.extend_from_slice(rest);
        if self.unfinished.len() > MAX_LINE_BYTES {
            let whole = std::mem::take(&mut self.unfinished);
            self.line(&whole, out);
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = Entry::parse(line) else { return };
        let too_old = self.options.since.is_some_and(|since| entry.time().is_some_and(|time| time < since));
        let other_stream = self.options.stream.as_deref().is_some_and(|stream| stream.as_bytes() != entry.stream);
        if too_old || other_stream {
            return;
        }
        if self.options.timestamps && !self.mid_line {
            self.put(entry.timestamp, out);
            self.put(b" ", out);
        }
        self.put(entry.text, out);
        if !entry.partial {
            self.put(b"\n", out);
        }
        self.mid_line = entry.partial;
    }

    fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let length = bytes.len().min(self.left_bytes);
        out.extend_from_slice(&bytes[..length]);
        self.left_bytes -= length;
    }
}

struct Entry<'a> {
    timestamp: &'a [u8],
    stream: &'a [u8],
    partial: bool,
    text: &'a [u8],
}

impl<'a> Entry<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.splitn(4, |byte| *byte == b' ');
        let (timestamp, stream, tag) = (words.next()?, words.next()?, words.next()?);
        // Tags are separated by colons; the first says whether the line is whole.
        let partial = tag.first() == Some(&b'P');
        Some(Self { timestamp, stream, partial, text: words.next().unwrap_or_default() })
    }

    fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.timestamp).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{Cutter, Options};

    const LOG: &str = "2026-01-01T00:00:00.5Z stdout F first\n\
        2026-01-01T00:00:01Z stderr P sec\n\
        2026-01-01T00:00:02Z stderr F ond\n\
        garbage\n\
        2026-01-01T00:00:03Z stdout F \n\
        2026-01-01T00:00:04Z stdout F last  one\n";

    fn check(options: Options, expected: Expect) {
        // In pieces of every size the answer is the same.
        let cut = |size: usize| {
            let (mut cutter, mut out) = (Cutter::new(options.clone()), Vec::new());
            LOG.as_bytes().chunks(size).for_each(|chunk| cutter.cut(chunk, &mut out));
            String::from_utf8(out).expect("text")
        };
        let whole = cut(LOG.len());
        for size in 1..40 {
            assert_eq!(cut(size), whole, "{size}");
        }
        expected.assert_eq(&whole);
    }

    #[test]
    fn entries_become_lines() {
        check(
            Options::default(),
            expect![[r#"
            first
            second

            last  one
        "#]],
        );
    }

    #[test]
    fn timestamps_stand_before_lines_not_pieces() {
        check(
            Options { timestamps: true, ..Options::default() },
            expect![[r#"
            2026-01-01T00:00:00.5Z first
            2026-01-01T00:00:01Z second
            2026-01-01T00:00:03Z 
            2026-01-01T00:00:04Z last  one
        "#]],
        );
    }

    #[test]
    fn a_client_may_want_less() {
        let since = Some("2026-01-01T00:00:03Z".parse().expect("a time"));
        check(
            Options { since, ..Options::default() },
            expect![[r#"

            last  one
        "#]],
        );
        check(
            Options { limit_bytes: Some(9), ..Options::default() },
            expect![[r#"
            first
            sec"#]],
        );
        check(
            Options { stream: Some("stderr".into()), ..Options::default() },
            expect![[r#"
            second
        "#]],
        );
    }
}
