//! Letters: upper and lower case, and the case conventions of programming languages.

use coracle_gotemplate::{Function, Type, Value};

use crate::{
    args::{bytes, text},
    text::chars,
};

const S: &[Type] = &[Type::String];

pub(crate) const TABLE: &[Function] = &[
    Function::new("upper", S, |_, a| Ok(mapped(&a[0], upper))),
    Function::new("lower", S, |_, a| Ok(mapped(&a[0], lower))),
    Function::new("title", S, |_, a| Ok(title(&chars(&a[0])).into())),
    Function::new("untitle", S, |_, a| Ok(untitle(&chars(&a[0])).into())),
    Function::new("swapcase", S, |_, a| Ok(swap_case(&chars(&a[0])).into())),
    Function::new("nospace", S, |_, a| Ok(without_spaces(&a[0]))),
    Function::new("initials", S, |_, a| Ok(initials(bytes(&a[0])).into())),
    Function::new("camelcase", S, |_, a| Ok(pascal_case(&chars(&a[0])).into())),
    Function::new("snakecase", S, |_, a| Ok(separated(&chars(&a[0]), '_').into())),
    Function::new("kebabcase", S, |_, a| Ok(separated(&chars(&a[0]), '-').into())),
];

fn mapped(value: &Value, map: impl Fn(char) -> char) -> Value {
    let text = text(value);
    if text.chars().all(|char| map(char) == char) {
        value.clone()
    } else {
        text.chars().map(map).collect::<String>().into()
    }
}

/// Go maps one character to one, so letters whose capital is two letters stay as they are.
fn upper(char: char) -> char {
    let mut upper = char.to_uppercase();
    if upper.len() == 1 { upper.next().unwrap_or(char) } else { char }
}

fn lower(char: char) -> char {
    if char == 'İ' {
        return 'i';
    }
    let mut lower = char.to_lowercase();
    if lower.len() == 1 { lower.next().unwrap_or(char) } else { char }
}

/// What `strings.Title` takes for the end of a word.
fn is_separator(char: char) -> bool {
    if char.is_ascii() {
        return !char.is_ascii_alphanumeric() && char != '_';
    }
    !char.is_alphanumeric() && char.is_whitespace()
}

fn title(text: &str) -> String {
    let mut before = ' ';
    let mut turn = |char| {
        let turned = if is_separator(before) { upper(char) } else { char };
        before = char;
        turned
    };
    text.chars().map(&mut turn).collect()
}

fn untitle(text: &str) -> String {
    let mut at_word_start = true;
    let mut turn = |char: char| {
        if char.is_whitespace() {
            at_word_start = true;
            return char;
        }
        let turned = if at_word_start { lower(char) } else { char };
        at_word_start = false;
        turned
    };
    text.chars().map(&mut turn).collect()
}

fn swap_case(text: &str) -> String {
    let mut after_space = true;
    let mut turn = |char: char| {
        if char.is_uppercase() {
            after_space = false;
            lower(char)
        } else if char.is_lowercase() {
            after_space = false;
            upper(char)
        } else {
            after_space = char.is_whitespace();
            char
        }
    };
    text.chars().map(&mut turn).collect()
}

/// A byte taken for a character, as the library that Sprig uses does.
fn latin1(byte: u8) -> char {
    char::from(byte)
}

fn without_spaces(value: &Value) -> Value {
    let kept: String = bytes(value).iter().map(|byte| latin1(*byte)).filter(|char| !char.is_whitespace()).collect();
    if kept.chars().count() == bytes(value).len() { value.clone() } else { kept.into() }
}

fn initials(text: &[u8]) -> String {
    let mut after_gap = true;
    let mut out = String::new();
    for char in text.iter().map(|byte| latin1(*byte)) {
        if char.is_whitespace() {
            after_gap = true;
        } else if after_gap {
            out.push(char);
            after_gap = false;
        }
    }
    out
}

fn is_connector(char: char) -> bool {
    char == '-' || char == '_' || char.is_whitespace()
}

/// `some_words` to `SomeWords`; connectors in front are kept, and of several in a row all but one.
fn pascal_case(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    let mut current = loop {
        match chars.next() {
            // Of a text of connectors only, the last one comes twice.
            None => {
                let last = out.chars().next_back();
                out.extend(last);
                return out;
            }
            Some(char) if is_connector(char) => out.push(char),
            Some(char) => break char,
        }
    };
    let mut in_capitals = current.is_uppercase();
    current = upper(current);
    for mut char in chars {
        let previous = current;
        if is_connector(char) && is_connector(previous) {
            out.push(previous);
            current = char;
            continue;
        }
        if is_connector(previous) {
            in_capitals = char.is_uppercase();
            char = upper(char);
        } else {
            if in_capitals {
                if char.is_uppercase() {
                    char = lower(char);
                } else {
                    in_capitals = false;
                }
            }
            out.push(previous);
        }
        current = char;
    }
    out.push(current);
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Number,
    Capitals,
    Letters,
    Connector,
    Punctuation,
    Other,
}

/// `HTTPServer2xx` to `http_server_2xx`, by the rules of the library that Sprig uses.
fn separated(text: &str, connector: char) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut rest = text;
    let (mut kind, mut word) = next_word(&mut rest);
    while !rest.is_empty() {
        if kind != Word::Connector {
            put(&mut out, kind, word, connector);
        }
        let (previous, last) = (kind, word);
        (kind, word) = next_word(&mut rest);
        match previous {
            Word::Number => {
                while matches!(kind, Word::Letters | Word::Number) {
                    put(&mut out, kind, word, connector);
                    (kind, word) = next_word(&mut rest);
                }
                if !matches!(kind, Word::None | Word::Punctuation | Word::Connector) {
                    out.push(connector);
                }
            }
            Word::Connector => put(&mut out, previous, last, connector),
            Word::Punctuation => {}
            _ if kind != Word::Number => {
                if !matches!(kind, Word::Connector | Word::Punctuation) {
                    out.push(connector);
                }
            }
            _ if rest.is_empty() => {}
            _ => {
                let number = word;
                (kind, word) = next_word(&mut rest);
                if kind == Word::Letters {
                    out.push(connector);
                    put(&mut out, Word::Number, number, connector);
                    while matches!(kind, Word::Letters | Word::Number) {
                        put(&mut out, kind, word, connector);
                        (kind, word) = next_word(&mut rest);
                    }
                    if !matches!(kind, Word::None | Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                } else {
                    put(&mut out, Word::Number, number, connector);
                    if !matches!(kind, Word::Connector | Word::Punctuation) {
                        out.push(connector);
                    }
                }
            }
        }
    }
    put(&mut out, kind, word, connector);
    out
}

fn put(out: &mut String, kind: Word, word: &str, connector: char) {
    if !matches!(kind, Word::Capitals | Word::Connector) {
        out.push_str(word);
        return;
    }
    out.extend(word.chars().map(|char| if is_connector(char) { connector } else { lower(char) }));
}

/// Takes the next word off `rest`.
fn next_word<'a>(rest: &mut &'a str) -> (Word, &'a str) {
    let text = *rest;
    let Some(first) = text.chars().next() else { return (Word::None, "") };
    let run = |from: usize, belongs: &dyn Fn(char) -> bool| {
        text[from..].find(|char| !belongs(char)).map_or(text.len(), |at| from + at)
    };
    let after_first = first.len_utf8();
    let is_small = |char: char| is_alphabet(char) && !char.is_uppercase();
    let (kind, end) = if is_connector(first) {
        (Word::Connector, run(after_first, &is_connector))
    } else if is_punctuation(first) {
        (Word::Punctuation, run(after_first, &is_punctuation))
    } else if first.is_uppercase() {
        (Word::Capitals, capitals_end(text, after_first))
    } else if is_alphabet(first) {
        (Word::Letters, run(after_first, &is_small))
    } else if first.is_numeric() {
        (Word::Number, run(after_first, &char::is_numeric))
    } else {
        let is_other =
            |char: char| !is_connector(char) && !is_alphabet(char) && !char.is_numeric() && !is_punctuation(char);
        (Word::Other, run(after_first, &is_other))
    };
    *rest = &text[end..];
    (kind, &text[..end])
}

/// A run of capitals ends before the capital that begins the next word (`HTTP` in `HTTPStatus`); one capital takes the
/// small letters behind it along.
fn capitals_end(text: &str, after_first: usize) -> usize {
    let Some(second) = text[after_first..].chars().next() else { return after_first };
    if !second.is_uppercase() {
        let small = |char: char| is_alphabet(char) && !char.is_uppercase();
        return text[after_first..].find(|char| !small(char)).map_or(text.len(), |at| after_first + at);
    }
    let Some(end) = text.find(|char: char| !char.is_uppercase()) else { return text.len() };
    let next_is_letter = text[end..].chars().next().is_some_and(is_alphabet);
    let last = text[..end].chars().next_back().map_or(0, char::len_utf8);
    if next_is_letter { end - last } else { end }
}

/// A letter of a script that has words, unlike Chinese characters.
fn is_alphabet(char: char) -> bool {
    char.is_alphabetic()
        && !matches!(char, '\u{4E00}'..='\u{9FCC}' | '\u{3400}'..='\u{4D85}' | '\u{20000}'..='\u{2B81D}')
}

fn is_punctuation(char: char) -> bool {
    match char {
        '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~' => false,
        char if char.is_ascii() => char.is_ascii_punctuation(),
        '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' => true,
        '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{2043}' | '\u{2045}'..='\u{2051}' | '\u{2053}'..='\u{205E}' => true,
        '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{3011}' => true,
        _ => false,
    }
}
