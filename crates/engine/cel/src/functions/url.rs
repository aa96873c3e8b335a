//! URLs, read as Go reads them.

use std::rc::Rc;

use super::Implementation;
use crate::value::{Entries, EvalError, Map, Opaque, Value};

/// A URL in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    /// Reads an absolute URL or an absolute path; an error in Go's words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("parse {text:?}: {why}");
        if text.is_empty() {
            return Err(wrong("empty url"));
        }
        if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(wrong("net/url: invalid control character in URL"));
        }
        let (rest, _fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(rest).map_err(wrong)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') {
            if scheme.is_empty() {
                return Err(wrong("invalid URI for request"));
            }
            return Ok(Self { scheme, host: String::new(), path: String::new(), query: query.to_owned() });
        }
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) if !scheme.is_empty() => {
                let end = rest.find('/').unwrap_or(rest.len());
                (&rest[..end], &rest[end..])
            }
            _ => ("", rest),
        };
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        check_host(host).map_err(|why| wrong(&why))?;
        check_escapes(path).map_err(|why| wrong(&why))?;
        Ok(Self { scheme, host: host.to_owned(), path: path.to_owned(), query: query.to_owned() })
    }

    fn hostname(&self) -> &str {
        self.split_host().0
    }

    fn port(&self) -> &str {
        self.split_host().1
    }

    fn split_host(&self) -> (&str, &str) {
        if let Some(rest) = self.host.strip_prefix('[')
            && let Some((inside, port)) = rest.split_once(']')
        {
            return (inside, port.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }

    /// The path with everything escaped that has to be.
    fn escaped_path(&self) -> String {
        self.path
            .chars()
            .map(|c| if c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c) { c.to_string() } else { escape(c) })
            .collect()
    }
}

fn escape(c: char) -> String {
    c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..at].to_ascii_lowercase(), &text[at + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    if host.starts_with('[') && !host.contains(']') {
        return Err("missing ']' in host".to_owned());
    }
    let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
    if let Some((_, port)) = after.rsplit_once(':')
        && !port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(format!("invalid port {:?} after host", format!(":{port}")));
    }
    match host.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        Some(c) => Err(format!("invalid character {:?} in host name", c.to_string())),
        None => Ok(()),
    }
}

fn check_escapes(path: &str) -> Result<(), String> {
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let digits: String = rest[at..].chars().take(3).collect();
        if digits.len() < 3 || !digits[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("invalid URL escape {digits:?}"));
        }
        rest = &rest[at + 3..];
    }
    Ok(())
}

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "url" => |args| match &args[0] {
            Value::String(text) => match Url::parse(text) {
                Ok(url) => Ok(Value::opaque(Opaque::Url(url))),
                Err(why) => Err(EvalError::new(format!("URL parse error during conversion from string: {why}"))),
            },
            _ => Err(EvalError::no_such_overload()),
        },
        "isURL" => |args| match &args[0] {
            Value::String(text) => Ok(Value::Bool(Url::parse(text).is_ok())),
            _ => Err(EvalError::no_such_overload()),
        },
        "getScheme" => |args| part(args, |url| url.scheme.clone()),
        "getHost" => |args| part(args, |url| url.host.clone()),
        "getHostname" => |args| part(args, |url| url.hostname().to_owned()),
        "getPort" => |args| part(args, |url| url.port().to_owned()),
        "getEscapedPath" => |args| part(args, Url::escaped_path),
        "getQuery" => query,
        _ => return None,
    })
}

fn of<'b>(args: &'b [Value<'_>]) -> Result<&'b Url, EvalError> {
    match args {
        [Value::Opaque(opaque)] => match &**opaque {
            Opaque::Url(url) => Ok(url),
            _ => Err(EvalError::no_such_overload()),
        },
        _ => Err(EvalError::no_such_overload()),
    }
}

fn part<'a>(args: &[Value<'a>], of_url: fn(&Url) -> String) -> Result<Value<'a>, EvalError> {
    Ok(Value::text(of_url(of(args)?)))
}

fn query<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut found: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in of(args)?.query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (unescape(key), unescape(value)) else { continue };
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(Value::text(value)),
            None => found.push((key, vec![Value::text(value)])),
        }
    }
    let mut entries = Entries::default();
    for (key, values) in found {
        entries.insert(Value::text(key), Value::list(values))?;
    }
    Ok(Value::Map(Map::Owned(Rc::new(entries))))
}

fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            }
            other => out.push(other),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
