//! `--set-literal`: one path, and the rest of the text as it is.

use std::rc::Rc;

use coracle_gotemplate::{Dict, Value};

use super::{Parse, SetError, Stop, conversion, error, list_under, put, put_at, quoted, table_at};

/// Sets the value behind the first `=` under the path before it.
pub fn literal(text: &str, values: &Rc<Dict>) -> Result<(), SetError> {
    let mut parser = Parser { rest: text };
    loop {
        match parser.key(values, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Error(message)) => return Err(SetError(message)),
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn until(&mut self, stops: &[char]) -> Option<(String, char)> {
        let (at, stop) = self.rest.char_indices().find(|(_, character)| stops.contains(character))?;
        let text = self.rest[..at].to_owned();
        self.rest = &self.rest[at + stop.len_utf8()..];
        Some((text, stop))
    }

    fn value(&mut self) -> Value {
        Value::from(std::mem::take(&mut self.rest))
    }

    fn key(&mut self, values: &Rc<Dict>, level: u32) -> Parse<()> {
        let Some((key, stop)) = self.until(&['=', '[', '.']) else {
            let key = std::mem::take(&mut self.rest);
            if key.is_empty() {
                return Err(Stop::End);
            }
            return error(format!("key {} has no value", quoted(key)));
        };
        match stop {
            '=' => {
                let value = self.value();
                put(values, &key, value);
                Ok(())
            }
            '.' => {
                if level + 1 > super::NESTING_LIMIT {
                    let message = "value name nested level is greater than maximum supported nested level of";
                    return error(format!("{message} {}", super::NESTING_LIMIT));
                }
                let inner = match values.get(&key) {
                    None => Rc::default(),
                    Some(Value::Dict(inner)) => inner,
                    Some(other) => return conversion(&other, "map[string]interface {}"),
                };
                let result = self.key(&inner, level + 1);
                if result.is_ok() && inner.is_empty() {
                    return error(format!("key map {} has no value", quoted(&key)));
                }
                if !inner.is_empty() {
                    put(values, &key, Value::Dict(inner));
                }
                result
            }
            _ => {
                let index = self.index()?;
                let mut list = list_under(values, &key)?;
                let result = self.item(&mut list, index, level);
                put(values, &key, Value::list(list));
                result
            }
        }
    }

    fn index(&mut self) -> Parse<i64> {
        let Some((text, _)) = self.until(&[']']) else { return error("error parsing index: EOF") };
        text.parse()
            .or_else(|_| error(format!("error parsing index: strconv.Atoi: parsing {}: invalid syntax", quoted(&text))))
    }

    fn item(&mut self, list: &mut Vec<Value>, index: i64, level: u32) -> Parse<()> {
        if index < 0 {
            return error(format!("negative {index} index not allowed"));
        }
        let Some((text, stop)) = self.until(&['[', '.', '=']) else { return Err(Stop::End) };
        if !text.is_empty() {
            return error(format!("unexpected data at end of array index: {}", quoted(&text)));
        }
        match stop {
            '=' => {
                let value = self.value();
                put_at(list, index, value)
            }
            '.' => {
                let inner = table_at(list, index);
                self.key(&inner, level)?;
                put_at(list, index, Value::Dict(inner))
            }
            _ => {
                let next = self.index()?;
                let existing = usize::try_from(index).ok().and_then(|index| list.get(index));
                let mut inner = match existing {
                    None | Some(Value::Nil) => Vec::new(),
                    Some(Value::List(inner)) => inner.to_vec(),
                    Some(other) => return conversion(other, "[]interface {}"),
                };
                self.item(&mut inner, next, level)?;
                put_at(list, index, Value::list(inner))
            }
        }
    }
}
