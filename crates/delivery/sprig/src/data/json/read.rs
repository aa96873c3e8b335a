//! Reading JSON with the words of Go's errors.

use coracle_gotemplate::Value;

/// How deep text may nest; deeper text would only come from an attack on the stack.
const DEPTH_LIMIT: usize = 1_000;

/// One value and nothing behind it.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    reader.blanks();
    let value = reader.value("looking for beginning of value")?;
    reader.blanks();
    match reader.peek() {
        None => Ok(value),
        Some(char) => Err(invalid(char, "after top-level value")),
    }
}

fn end_of_input() -> String {
    "unexpected end of JSON input".to_owned()
}

fn invalid(char: char, place: &str) -> String {
    let shown = match char {
        '\'' => r"'\''".to_owned(),
        '"' => r#"'"'"#.to_owned(),
        char => {
            let quoted = coracle_gotemplate::quote(char.to_string().as_bytes());
            format!("'{}'", quoted.trim_matches('"'))
        }
    };
    format!("invalid character {shown} {place}")
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Result<char, String> {
        let char = self.peek().ok_or_else(end_of_input)?;
        self.at += char.len_utf8();
        Ok(char)
    }

    /// The complaint about what stands here.
    fn refuse(&self, place: &str) -> String {
        self.peek().map_or_else(end_of_input, |char| invalid(char, place))
    }

    fn blanks(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn value(&mut self, place: &str) -> Result<Value, String> {
        match self.peek() {
            Some('{') => self.nested(Self::object),
            Some('[') => self.nested(Self::array),
            Some('"') => self.string().map(Value::from),
            Some('t') => self.word("true", true.into()),
            Some('f') => self.word("false", false.into()),
            Some('n') => self.word("null", Value::Nil),
            Some('-' | '0'..='9') => self.number(),
            _ => Err(self.refuse(place)),
        }
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err("exceeded max depth".to_owned());
        }
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut entries = Vec::new();
        self.blanks();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Value::dict::<String>(entries));
        }
        loop {
            self.blanks();
            if self.peek() != Some('"') {
                return Err(self.refuse("looking for beginning of object key string"));
            }
            let key = self.string()?;
            self.blanks();
            if self.peek() != Some(':') {
                return Err(self.refuse("after object key"));
            }
            self.at += 1;
            self.blanks();
            entries.push((key, self.value("looking for beginning of value")?));
            self.blanks();
            match self.peek() {
                Some(',') => self.at += 1,
                Some('}') => {
                    self.at += 1;
                    return Ok(Value::dict(entries));
                }
                _ => return Err(self.refuse("after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<Value, String> {
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Value::list(items));
        }
        loop {
            self.blanks();
            items.push(self.value("looking for beginning of value")?);
            self.blanks();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(Value::list(items));
                }
                _ => return Err(self.refuse("after array element")),
            }
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for expected in word.chars() {
            match self.peek() {
                Some(char) if char == expected => self.at += 1,
                Some(char) => return Err(invalid(char, &format!("in literal {word} (expecting '{expected}')"))),
                None => return Err(end_of_input()),
            }
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        if self.peek() == Some('-') {
            self.at += 1;
        }
        match self.peek() {
            Some('0') => self.at += 1,
            Some('1'..='9') => self.digits(),
            _ => return Err(self.refuse("in numeric literal")),
        }
        if self.peek() == Some('.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some('e' | 'E')) {
            self.at += 1;
            if matches!(self.peek(), Some('+' | '-')) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        let text = &self.text[start..self.at];
        let number: f64 = text.parse().map_err(|_| format!("json: cannot unmarshal number {text}"))?;
        if number.is_finite() {
            Ok(number.into())
        } else {
            Err(format!("json: cannot unmarshal number {text} into Go value of type float64"))
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some('0'..='9')) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, place: &str) -> Result<(), String> {
        if !matches!(self.peek(), Some('0'..='9')) {
            return Err(self.refuse(place));
        }
        self.digits();
        Ok(())
    }

    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let char = self.take()?;
            match char {
                '"' => return Ok(out),
                '\\' => self.escape(&mut out)?,
                '\0'..='\x1F' => return Err(invalid(char, "in string literal")),
                char => out.push(char),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), String> {
        let char = self.take()?;
        out.push(match char {
            '"' | '\\' | '/' => char,
            'b' => '\x08',
            'f' => '\x0C',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.code_unit()?;
                self.character(first)
            }
            other => return Err(invalid(other, "in string escape code")),
        });
        Ok(())
    }

    fn code_unit(&mut self) -> Result<u32, String> {
        let mut unit = 0;
        for _ in 0..4 {
            let char = self.take()?;
            let digit = char.to_digit(16).ok_or_else(|| invalid(char, "in \\u hexadecimal character escape"))?;
            unit = unit * 16 + digit;
        }
        Ok(unit)
    }

    /// A code unit as a character, with the second half of a pair; half a pair alone is a replacement character.
    fn character(&mut self, first: u32) -> char {
        if let 0xD800..0xDC00 = first {
            let second = self.text.get(self.at..self.at + 6).and_then(|text| text.strip_prefix("\\u"));
            let second = second.and_then(|digits| u32::from_str_radix(digits, 16).ok());
            if let Some(second @ 0xDC00..0xE000) = second {
                self.at += 6;
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            }
        }
        char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
    }
}
