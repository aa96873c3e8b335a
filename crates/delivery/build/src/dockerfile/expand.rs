//! Quotes, escapes and variables in a word: `$x`, `${x}`, `${x:-word}`, `${x:+word}`, `${x:?word}` and the same without the colon.

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote or brace that does not close.
    #[error("{0} is not closed")]
    Open(&'static str),
    /// A form that is not known.
    #[error("${{{0}}} is not understood: use ${{name}}, ${{name:-default}} or ${{name:+value}}")]
    Form(String),
    /// `${x:?word}` with no x.
    #[error("{0}")]
    Required(String),
}

/// The word without its quotes, its variables replaced by what `lookup` says; unset ones become nothing.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let mut reader = Reader { rest: word, escape, lookup };
    reader.words(None)
}

struct Reader<'a> {
    rest: &'a str,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// Reads to the end, or to an unquoted `until`, which is taken too.
    fn words(&mut self, until: Option<char>) -> Result<String, ExpandError> {
        let mut out = String::new();
        while let Some(c) = self.next() {
            match c {
                c if Some(c) == until => return Ok(out),
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out)?,
                '$' => out += &self.variable()?,
                c if c == self.escape => out.extend(self.next()),
                c => out.push(c),
            }
        }
        if until.is_some() { Err(ExpandError::Open("a brace")) } else { Ok(out) }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        let end = self.rest.find('\'').ok_or(ExpandError::Open("a quote"))?;
        *out += &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(())
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.next().ok_or(ExpandError::Open("a quote"))? {
                '"' => return Ok(()),
                '$' => *out += &self.variable()?,
                c if c == self.escape => match self.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    next => {
                        out.push(c);
                        out.extend(next);
                    }
                },
                c => out.push(c),
            }
        }
    }

    fn variable(&mut self) -> Result<String, ExpandError> {
        if self.rest.starts_with('{') {
            self.next();
            return self.braced();
        }
        let name = self.name();
        // A `$` before anything else stands for itself.
        if name.is_empty() { Ok("$".into()) } else { Ok((self.lookup)(&name).unwrap_or_default()) }
    }

    fn name(&mut self) -> String {
        let first_is_digit = self.rest.starts_with(|c: char| c.is_ascii_digit());
        let length = match first_is_digit {
            true => 1,
            false => self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len()),
        };
        let name = self.rest[..length].to_owned();
        self.rest = &self.rest[length..];
        name
    }

    fn braced(&mut self) -> Result<String, ExpandError> {
        let whole = self.rest;
        let form = |_| ExpandError::Form(whole.split('}').next().unwrap_or_default().to_owned());
        let name = self.name();
        if name.is_empty() {
            return Err(form(()));
        }
        let value = (self.lookup)(&name);
        let mut operator = self.next().ok_or(ExpandError::Open("a brace"))?;
        if operator == '}' {
            return Ok(value.unwrap_or_default());
        }
        let colon = operator == ':';
        if colon {
            operator = self.next().ok_or(ExpandError::Open("a brace"))?;
        }
        if !matches!(operator, '-' | '+' | '?') {
            return Err(form(()));
        }
        let word = self.words(Some('}'))?;
        // With the colon an empty value counts as none.
        let set = value.as_ref().is_some_and(|value| !colon || !value.is_empty());
        match (operator, set) {
            ('-', true) => Ok(value.unwrap_or_default()),
            ('-', false) | ('+', true) => Ok(word),
            ('+', false) => Ok(String::new()),
            (_, true) => Ok(value.unwrap_or_default()),
            (_, false) => {
                let reason = if word.is_empty() { "it is not set".to_owned() } else { word };
                Err(ExpandError::Required(format!("{name}: {reason}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    #[test]
    fn words() {
        let lookup = |name: &str| match name {
            "x" => Some("X".to_owned()),
            "empty" => Some(String::new()),
            _ => None,
        };
        let mut out = String::new();
        for word in [
            "a$x",
            "${x}y",
            "$none.",
            "${none:-d}",
            "${empty:-d}",
            "${empty-d}",
            "${x:+set}",
            "${none+set}",
            "${none:-${x}}",
            "'$x'",
            "\"$x $\"",
            "\\$x",
            "a\\ b",
            "\"a\\\"b\\n\"",
            "$",
            "${x:?}",
            "${none:?give it}",
            "${x%y}",
            "${x",
            "'open",
            "${}",
        ] {
            out += &format!(
                "{word} => {}\n",
                match super::expand(word, '\\', &lookup) {
                    Ok(text) => format!("{text:?}"),
                    Err(error) => format!("error: {error}"),
                }
            );
        }
        expect![[r#"
            a$x => "aX"
            ${x}y => "Xy"
            $none. => "."
            ${none:-d} => "d"
            ${empty:-d} => "d"
            ${empty-d} => ""
            ${x:+set} => "set"
            ${none+set} => ""
            ${none:-${x}} => "X"
            '$x' => "$x"
            "$x $" => "X $"
            \$x => "$x"
            a\ b => "a b"
            "a\"b\n" => "a\"b\\n"
            $ => "$"
            ${x:?} => "X"
            ${none:?give it} => error: none: give it
            ${x%y} => error: ${x%y} is not understood: use ${name}, ${name:-default} or ${name:+value}
            ${x => error: a brace is not closed
            'open => error: a quote is not closed
            ${} => error: ${} is not understood: use ${name}, ${name:-default} or ${name:+value}
        "#]]
        .assert_eq(&out);
    }
}
