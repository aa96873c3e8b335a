//! Semantic versions.

use std::cmp::Ordering;

use super::Implementation;
use crate::value::{EvalError, Opaque, Value};

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<Part>,
}

/// Part of what stands behind the dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".to_owned());
        }
        let (text, _build) = match text.split_once('+') {
            Some((text, build)) => {
                for part in build.split('.') {
                    check(part, "Build meta data")?;
                }
                (text, build)
            }
            None => (text, ""),
        };
        let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
        let parts: Vec<&str> = core.split('.').collect();
        let [major, minor, patch] = parts[..] else {
            return Err("No Major.Minor.Patch elements found".to_owned());
        };
        let number = |text: &str, what: &str| -> Result<u64, String> {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("Invalid character(s) found in {what} number {text:?}"));
            }
            if text.len() > 1 && text.starts_with('0') {
                return Err(format!("{} number must not contain leading zeroes {text:?}", capital(what)));
            }
            text.parse().map_err(|_| format!("Invalid {what} number {text:?}"))
        };
        let numbers = [number(major, "major")?, number(minor, "minor")?, number(patch, "patch")?];
        let before = pre.into_iter().flat_map(|pre| pre.split('.')).map(part).collect::<Result<_, _>>()?;
        Ok(Self { numbers, before })
    }

    /// Reads what people write too: a `v` in front, leading noughts, missing parts.
    fn parse_leniently(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_noughts).collect();
        if parts.len() < 3 {
            let last = parts.last().map(String::as_str).unwrap_or_default();
            if last.contains(['+', '-']) {
                return Err("Short version cannot contain PreRelease/Build meta data".to_owned());
            }
            parts.resize(3, "0".to_owned());
        }
        Self::parse(&parts.join("."))
    }

    /// Which comes first; build data do not count.
    pub fn precedence(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.before.is_empty(), other.before.is_empty()) {
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            _ => self.before.cmp(&other.before),
        })
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

fn without_noughts(part: &str) -> String {
    let trimmed = part.trim_start_matches('0');
    if part.len() > 1 && trimmed.len() < part.len() {
        return if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
            trimmed.to_owned()
        } else {
            format!("0{trimmed}")
        };
    }
    part.to_owned()
}

fn check(part: &str, what: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err(format!("{what} is empty"));
    }
    if part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(());
    }
    Err(format!("Invalid character(s) found in {} {part:?}", what.to_lowercase()))
}

fn part(text: &str) -> Result<Part, String> {
    if text.is_empty() {
        return Err("Prerelease is empty".to_owned());
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.len() > 1 && text.starts_with('0') {
            return Err(format!("Numeric PreRelease version must not contain leading zeroes {text:?}"));
        }
        return text.parse().map(Part::Number).map_err(|error| error.to_string());
    }
    check(text, "prerelease")?;
    Ok(Part::Text(text.to_owned()))
}

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "semver" => |args| {
            let parsed = read(args)?.map_err(EvalError::new)?;
            Ok(Value::opaque(Opaque::Semver(parsed)))
        },
        "isSemver" => |args| Ok(Value::Bool(read(args)?.is_ok())),
        "major" => |args| number(args, 0),
        "minor" => |args| number(args, 1),
        "patch" => |args| number(args, 2),
        _ => return None,
    })
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, String>, EvalError> {
    match args {
        [Value::String(text)] | [Value::String(text), Value::Bool(false)] => Ok(Semver::parse(text)),
        [Value::String(text), Value::Bool(true)] => Ok(Semver::parse_leniently(text)),
        _ => Err(EvalError::no_such_overload()),
    }
}

/// Two versions, where the arguments are such.
pub fn both(args: &[Value<'_>]) -> Option<(Semver, Semver)> {
    let version = |value: &Value<'_>| match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Semver(version) => Some(version.clone()),
            _ => None,
        },
        _ => None,
    };
    Some((version(args.first()?)?, version(args.get(1)?)?))
}

fn number<'a>(args: &[Value<'a>], index: usize) -> Result<Value<'a>, EvalError> {
    if let [Value::Opaque(opaque)] = args
        && let Opaque::Semver(version) = &**opaque
    {
        return Ok(Value::Int(version.numbers[index] as i64));
    }
    Err(EvalError::no_such_overload())
}
