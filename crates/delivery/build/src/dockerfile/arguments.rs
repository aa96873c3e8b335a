//! The shapes that instructions' arguments come in: flags, JSON arrays, words, and names with values.

/// A wrong argument: where in the instruction's text, and what.
#[derive(Debug)]
pub struct Wrong {
    pub offset: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl Wrong {
    pub fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A part of an instruction's text, which knows where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slice<'a> {
    pub text: &'a str,
    pub offset: usize,
}

impl<'a> Slice<'a> {
    pub fn new(text: &'a str, offset: usize) -> Self {
        let trimmed = text.trim_start();
        Self { text: trimmed.trim_end(), offset: offset + text.len() - trimmed.len() }
    }

    /// The first word and the rest.
    pub fn word(self) -> (Slice<'a>, Slice<'a>) {
        let length = self.text.find(char::is_whitespace).unwrap_or(self.text.len());
        (
            Slice { text: &self.text[..length], offset: self.offset },
            Slice::new(&self.text[length..], self.offset + length),
        )
    }

    /// All words.
    pub fn words(self) -> Vec<Slice<'a>> {
        let mut words = Vec::new();
        let mut rest = self;
        while !rest.text.is_empty() {
            let (word, after) = rest.word();
            words.push(word);
            rest = after;
        }
        words
    }
}

/// `--name=value` flags at the beginning, and what follows them.
pub fn flags<'a>(text: Slice<'a>) -> (Vec<(Slice<'a>, &'a str)>, Slice<'a>) {
    let mut flags = Vec::new();
    let mut rest = text;
    while rest.text.starts_with("--") {
        let (word, after) = rest.word();
        let (name, value) = word.text[2..].split_once('=').unwrap_or((&word.text[2..], ""));
        flags.push((Slice { text: name, offset: word.offset }, value));
        rest = after;
    }
    (flags, rest)
}

/// The strings of a JSON array; None where it is not one.
pub fn json(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `NAME=VALUE ...` with quotes and escapes left in the values, or the old `NAME VALUE`.
pub fn pairs(text: Slice<'_>, escape: char) -> Result<Vec<(String, String)>, Wrong> {
    let (first, rest) = text.word();
    if !first.text.contains('=') {
        if rest.text.is_empty() {
            return Err(Wrong::new(first.offset, format!("{:?} has no value", first.text)).hint("write NAME=VALUE"));
        }
        return Ok(vec![(first.text.to_owned(), rest.text.to_owned())]);
    }
    let mut found = Vec::new();
    for word in quoted_words(text, escape) {
        match word.text.split_once('=') {
            Some((name, value)) if !name.is_empty() => found.push((name.to_owned(), value.to_owned())),
            _ => {
                return Err(Wrong::new(word.offset, format!("{:?} is not NAME=VALUE", word.text))
                    .hint("quote values that contain spaces"));
            }
        }
    }
    Ok(found)
}

/// Words, where blanks within quotes or after the escape character do not separate.
pub fn quoted_words(text: Slice<'_>, escape: char) -> Vec<Slice<'_>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in text.text.char_indices() {
        if c.is_whitespace() && quote.is_none() && !escaped {
            if let Some(from) = start.take() {
                words.push(Slice { text: &text.text[from..at], offset: text.offset + from });
            }
            continue;
        }
        start.get_or_insert(at);
        match (c, quote) {
            _ if escaped => escaped = false,
            (c, Some('\'')) if c != '\'' => {}
            (c, _) if c == escape => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => {}
        }
    }
    if let Some(from) = start {
        words.push(Slice { text: &text.text[from..], offset: text.offset + from });
    }
    words
}

/// A duration as Go writes it (`1m30s`, `500ms`), in nanoseconds.
pub fn duration_nanos(text: &str) -> Option<u64> {
    let mut total: f64 = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let scale = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += value * scale;
        rest = &rest[unit..];
    }
    (!text.is_empty() && total.is_finite()).then_some(total as u64)
}
