//! Regular expressions; the recently used ones are kept, since most are constants.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use regex::Regex;

use super::Implementation;
use crate::value::{EvalError, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// So many are kept.
const KEPT: usize = 256;

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "matches" => |args| match args {
            [Value::String(text), Value::String(pattern)] => Ok(Value::Bool(compiled(pattern)?.is_match(text))),
            _ => Err(EvalError::no_such_overload()),
        },
        "find" => |args| match args {
            [Value::String(text), Value::String(pattern)] => {
                let found = compiled(pattern)?;
                Ok(Value::text(found.find(text).map_or("", |found| found.as_str())))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "findAll" => find_all,
        _ => return None,
    })
}

/// A pattern, ready to be used.
pub(crate) fn compiled(pattern: &str) -> Result<Rc<Regex>, EvalError> {
    thread_local! {
        static CACHE: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
    }
    CACHE.with_borrow_mut(|cache| {
        if let Some(known) = cache.get(pattern) {
            return Ok(known.clone());
        }
        let regex =
            Regex::new(pattern).map_err(|error| EvalError::new(format!("error parsing regexp: {}", reason(&error))))?;
        if cache.len() >= KEPT {
            cache.clear();
        }
        let regex = Rc::new(regex);
        cache.insert(pattern.to_owned(), regex.clone());
        Ok(regex)
    })
}

fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn find_all<'a>(args: &[Value<'a>]) -> Outcome<'a> {
    let (text, pattern, most) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [Value::String(text), Value::String(pattern), Value::Int(most)] => (text, pattern, *most),
        _ => return Err(EvalError::no_such_overload()),
    };
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let found = compiled(pattern)?.find_iter(text).take(most).map(|found| Value::text(found.as_str())).collect();
    Ok(Value::list(found))
}
