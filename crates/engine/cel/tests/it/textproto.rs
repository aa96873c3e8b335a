//! As much of protobuf's text format as the conformance suite is written in.

/// A field's value.
#[derive(Clone, Debug)]
pub enum Field {
    Word(String),
    Text(Vec<u8>),
    Message(Message),
}

/// The fields of a message in their order.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<(String, Field)>);

impl Message {
    /// Reads a whole file.
    pub fn parse(text: &str) -> Self {
        Reader { bytes: text.as_bytes(), at: 0 }.message(None)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Field> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
    }

    pub fn get<'a>(&'a self, name: &'a str) -> Option<&'a Field> {
        self.all(name).next()
    }

    pub fn messages<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Message> {
        self.all(name).filter_map(|field| match field {
            Field::Message(message) => Some(message),
            _ => None,
        })
    }

    pub fn text(&self, name: &str) -> String {
        match self.get(name) {
            Some(Field::Text(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            Some(Field::Word(word)) => word.clone(),
            _ => String::new(),
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            match byte {
                b'#' => {
                    while self.bytes.get(self.at).is_some_and(|byte| *byte != b'\n') {
                        self.at += 1;
                    }
                }
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b';' => self.at += 1,
                _ => return Some(byte),
            }
        }
    }

    fn message(&mut self, close: Option<u8>) -> Message {
        let mut message = Message::default();
        while let Some(byte) = self.peek() {
            if Some(byte) == close {
                self.at += 1;
                break;
            }
            let name = self.word();
            if self.peek() == Some(b':') {
                self.at += 1;
            }
            if self.peek() == Some(b'[') {
                self.at += 1;
                while self.peek().is_some_and(|byte| byte != b']') {
                    let value = self.value();
                    message.0.push((name.clone(), value));
                }
                self.at += 1;
                continue;
            }
            let value = self.value();
            message.0.push((name, value));
        }
        message
    }

    fn word(&mut self) -> String {
        self.peek();
        let start = self.at;
        if self.bytes[self.at] == b'[' {
            while self.bytes[self.at] != b']' {
                self.at += 1;
            }
            self.at += 1;
        }
        while self.bytes.get(self.at).is_some_and(|b| b.is_ascii_alphanumeric() || b"_.-+/".contains(b)) {
            self.at += 1;
        }
        assert!(self.at > start, "no word at byte {start}");
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    fn value(&mut self) -> Field {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                Field::Message(self.message(Some(b'}')))
            }
            Some(b'<') => {
                self.at += 1;
                Field::Message(self.message(Some(b'>')))
            }
            Some(b'"' | b'\'') => {
                let mut text = Vec::new();
                while let Some(quote @ (b'"' | b'\'')) = self.peek() {
                    self.at += 1;
                    self.quoted(quote, &mut text);
                }
                Field::Text(text)
            }
            _ => Field::Word(self.word()),
        }
    }

    fn quoted(&mut self, quote: u8, out: &mut Vec<u8>) {
        loop {
            let byte = self.bytes[self.at];
            self.at += 1;
            match byte {
                b'\\' => self.escape(out),
                byte if byte == quote => return,
                byte => out.push(byte),
            }
        }
    }

    fn number(&mut self, most: usize, radix: u32) -> u32 {
        let start = self.at;
        while self.at - start < most && char::from(self.bytes[self.at]).is_digit(radix) {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.bytes[start..self.at]).unwrap();
        u32::from_str_radix(digits, radix).unwrap()
    }

    fn escape(&mut self, out: &mut Vec<u8>) {
        let byte = self.bytes[self.at];
        self.at += 1;
        match byte {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'a' => out.push(7),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'v' => out.push(11),
            b'x' | b'X' => out.push(self.number(2, 16) as u8),
            b'u' | b'U' => {
                let code = self.number(if byte == b'u' { 4 } else { 8 }, 16);
                out.extend(char::from_u32(code).unwrap().to_string().bytes());
            }
            b'0'..=b'7' => {
                self.at -= 1;
                out.push(self.number(3, 8) as u8);
            }
            other => out.push(other),
        }
    }
}
