//! The language of `--set`: `a.b=1,list[0].c={x,y}`, where `\` takes the meaning from what follows.

mod literal;

use std::rc::Rc;

use coracle_gotemplate::{Dict, Value};

pub use literal::literal;

use crate::json;

/// As Helm has them.
const INDEX_LIMIT: i64 = 65_536;
const NESTING_LIMIT: u32 = 30;

/// A text that does not set anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetError(String);

/// How a parse stopped.
enum Stop {
    /// The text is at its end. Depending on where, that is an error.
    End,
    Error(String),
}

type Parse<T> = Result<T, Stop>;

fn error<T>(message: impl Into<String>) -> Parse<T> {
    Err(Stop::Error(message.into()))
}

/// What values are read as.
enum Reader<'r> {
    Typed,
    Strings,
    Json,
    Files(&'r mut dyn FnMut(&str) -> Result<String, String>),
}

/// `--set`: words such as `true`, `null` and whole numbers have their types.
pub fn typed(text: &str, values: &Rc<Dict>) -> Result<(), SetError> {
    run(text, values, Reader::Typed)
}

/// `--set-string`: all values are strings.
pub fn strings(text: &str, values: &Rc<Dict>) -> Result<(), SetError> {
    run(text, values, Reader::Strings)
}

/// `--set-json`: values are JSON.
pub fn json(text: &str, values: &Rc<Dict>) -> Result<(), SetError> {
    run(text, values, Reader::Json)
}

/// `--set-file`: values are the contents of the files named.
pub fn files(
    text: &str,
    values: &Rc<Dict>,
    open: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(), SetError> {
    run(text, values, Reader::Files(open))
}

fn run(text: &str, values: &Rc<Dict>, reader: Reader<'_>) -> Result<(), SetError> {
    let mut parser = Parser { rest: text, reader };
    loop {
        match parser.key(values, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Error(message)) => return Err(SetError(message)),
        }
    }
}

struct Parser<'t, 'r> {
    rest: &'t str,
    reader: Reader<'r>,
}

/// Puts a value under a key; the empty key sets nothing.
fn put(values: &Dict, key: &str, value: Value) {
    if !key.is_empty() {
        values.set(key, value);
    }
}

/// Go's panic when a value is not what its place needs.
fn conversion<T>(found: &Value, wanted: &str) -> Parse<T> {
    let found = if found.is_nil() { "nil" } else { found.type_name() };
    error(format!("unable to parse key: interface conversion: interface {{}} is {found}, not {wanted}"))
}

/// The list under a key, to be changed and put back.
fn list_under(values: &Dict, key: &str) -> Parse<Vec<Value>> {
    match values.get(key) {
        None => Ok(Vec::new()),
        Some(Value::List(list)) => Ok(list.to_vec()),
        Some(other) => conversion(&other, "[]interface {}"),
    }
}

fn put_at(list: &mut Vec<Value>, index: i64, value: Value) -> Parse<()> {
    if index < 0 {
        return error(format!("negative {index} index not allowed"));
    }
    if index > INDEX_LIMIT {
        return error(format!("index of {index} is greater than maximum supported index of {INDEX_LIMIT}"));
    }
    let position = usize::try_from(index).expect("checked to be small and not negative");
    if list.len() <= position {
        list.resize(position + 1, Value::Nil);
    }
    list[position] = value;
    Ok(())
}

/// The table in a list's place, made where there is none.
fn table_at(list: &mut [Value], index: i64) -> Rc<Dict> {
    let Some(slot) = usize::try_from(index).ok().and_then(|index| list.get_mut(index)) else { return Rc::default() };
    if let Value::Dict(dict) = slot {
        return dict.clone();
    }
    let fresh: Rc<Dict> = Rc::default();
    *slot = Value::Dict(fresh.clone());
    fresh
}

impl Parser<'_, '_> {
    fn take(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    /// Text up to one of the stops, and which; `Err` has the text before the end.
    fn until(&mut self, stops: &[char]) -> Result<(String, char), String> {
        let mut text = String::new();
        loop {
            match self.take() {
                None => return Err(text),
                Some('\\') => match self.take() {
                    None => return Err(text),
                    Some(character) => text.push(character),
                },
                Some(character) if stops.contains(&character) => return Ok((text, character)),
                Some(character) => text.push(character),
            }
        }
    }

    fn key(&mut self, values: &Rc<Dict>, level: u32) -> Parse<()> {
        let (key, stop) = match self.until(&['=', '[', ',', '.']) {
            Ok(found) => found,
            Err(key) if key.is_empty() => return Err(Stop::End),
            Err(key) => return error(format!("key {} has no value", quoted(&key))),
        };
        match stop {
            '[' => {
                let index = self.index()?;
                let mut list = list_under(values, &key)?;
                let result = self.item(&mut list, index, level);
                put(values, &key, Value::list(list));
                result
            }
            '=' => self.value(values, &key),
            ',' => {
                put(values, &key, Value::from(""));
                error(format!("key {} has no value (cannot end with ,)", quoted(&key)))
            }
            _ => self.nested(values, &key, level + 1),
        }
    }

    fn nested(&mut self, values: &Rc<Dict>, key: &str, level: u32) -> Parse<()> {
        if level > NESTING_LIMIT {
            let message = "value name nested level is greater than maximum supported nested level of";
            return error(format!("{message} {NESTING_LIMIT}"));
        }
        let inner = match values.get(key) {
            None => Rc::default(),
            Some(Value::Dict(inner)) => inner,
            Some(other) => return conversion(&other, "map[string]interface {}"),
        };
        let result = self.key(&inner, level);
        if result.is_ok() && inner.is_empty() {
            return error(format!("key map {} has no value", quoted(key)));
        }
        if !inner.is_empty() {
            put(values, key, Value::Dict(inner));
        }
        result
    }

    fn value(&mut self, values: &Dict, key: &str) -> Parse<()> {
        if matches!(self.reader, Reader::Json) {
            let value = self.json()?;
            put(values, key, value);
            return Ok(());
        }
        match self.list()? {
            ListRead::List(list, result) => {
                put(values, key, Value::list(list));
                result
            }
            ListRead::End => {
                put(values, key, Value::from(""));
                Err(Stop::End)
            }
            ListRead::NoList => {
                let text = self.until(&[',']).map_or_else(|text| text, |(text, _)| text);
                match self.read(&text) {
                    Ok(value) => {
                        put(values, key, value);
                        Ok(())
                    }
                    Err(stop) => {
                        put(values, key, Value::Nil);
                        Err(stop)
                    }
                }
            }
        }
    }

    fn read(&mut self, text: &str) -> Parse<Value> {
        match &mut self.reader {
            Reader::Typed => Ok(typed_value(text)),
            Reader::Strings | Reader::Json => Ok(Value::from(text)),
            Reader::Files(open) => open(text).map(Value::from).map_err(Stop::Error),
        }
    }

    /// A JSON value and the comma after it; nothing is null.
    fn json(&mut self) -> Parse<Value> {
        if self.skip_empty() {
            return Ok(Value::Nil);
        }
        let (value, length) = json::parse_prefix(self.rest).map_err(Stop::Error)?;
        self.rest = &self.rest[length..];
        self.skip_empty();
        Ok(value)
    }

    /// Skips blanks; whether a comma or the end follows, which is taken too.
    fn skip_empty(&mut self) -> bool {
        loop {
            match self.rest.chars().next() {
                None => return true,
                Some(',') => {
                    self.take();
                    return true;
                }
                Some(character) if character.is_whitespace() => {
                    self.take();
                }
                Some(_) => return false,
            }
        }
    }

    fn index(&mut self) -> Parse<i64> {
        let Ok((text, _)) = self.until(&[']']) else { return error("error parsing index: EOF") };
        text.parse()
            .or_else(|_| error(format!("error parsing index: strconv.Atoi: parsing {}: invalid syntax", quoted(&text))))
    }

    fn item(&mut self, list: &mut Vec<Value>, index: i64, level: u32) -> Parse<()> {
        if index < 0 {
            return error(format!("negative {index} index not allowed"));
        }
        let (text, stop) = match self.until(&['[', '.', '=']) {
            Ok(found) => found,
            Err(text) if text.is_empty() => return Err(Stop::End),
            Err(text) => (text, '='),
        };
        if !text.is_empty() {
            return error(format!("unexpected data at end of array index: {}", quoted(&text)));
        }
        match stop {
            '=' if matches!(self.reader, Reader::Json) => {
                let value = self.json()?;
                put_at(list, index, value)
            }
            '=' => match self.list()? {
                ListRead::List(value, result) => {
                    result?;
                    put_at(list, index, Value::list(value))
                }
                ListRead::End => put_at(list, index, Value::from("")),
                ListRead::NoList => {
                    let text = self.until(&[',']).map_or_else(|text| text, |(text, _)| text);
                    let value = self.read(&text)?;
                    put_at(list, index, value)
                }
            },
            '[' => {
                let next = self.index()?;
                let position = usize::try_from(index).ok();
                let mut inner = match position.and_then(|position| list.get(position)) {
                    None | Some(Value::Nil) => Vec::new(),
                    Some(Value::List(inner)) => inner.to_vec(),
                    Some(other) => return conversion(other, "[]interface {}"),
                };
                self.item(&mut inner, next, level)?;
                put_at(list, index, Value::list(inner))
            }
            _ => {
                let inner = table_at(list, index);
                self.key(&inner, level)?;
                put_at(list, index, Value::Dict(inner))
            }
        }
    }

    /// A list in braces, if one stands here.
    fn list(&mut self) -> Parse<ListRead> {
        match self.rest.chars().next() {
            None => return Ok(ListRead::End),
            Some('{') => self.take(),
            Some(_) => return Ok(ListRead::NoList),
        };
        let mut list = Vec::new();
        loop {
            let Ok((text, stop)) = self.until(&[',', '}']) else { return error("list must terminate with '}'") };
            let value = self.read(&text);
            if stop == '}' {
                if self.rest.starts_with(',') {
                    self.take();
                }
                let (value, result) = match value {
                    Ok(value) => (value, Ok(())),
                    Err(stop) => (Value::Nil, Err(stop)),
                };
                list.push(value);
                return Ok(ListRead::List(list, result));
            }
            list.push(value?);
        }
    }
}

enum ListRead {
    List(Vec<Value>, Parse<()>),
    NoList,
    End,
}

fn quoted(text: &str) -> String {
    coracle_gotemplate::quote(text.as_bytes())
}

fn typed_value(text: &str) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return Value::Bool(true);
    }
    if text.eq_ignore_ascii_case("false") {
        return Value::Bool(false);
    }
    if text.eq_ignore_ascii_case("null") {
        return Value::Nil;
    }
    if text == "0" {
        return Value::Int64(0);
    }
    match text.parse() {
        Ok(number) if !text.starts_with('0') => Value::Int64(number),
        _ => Value::from(text),
    }
}
