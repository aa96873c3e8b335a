//! URLs taken apart and put together, by the rules of Go's `net/url`.

use coracle_gotemplate::{Dict, Function, Kind, Type, Value};

use crate::args::{Result, fail, text};

pub(crate) const TABLE: &[Function] = &[
    Function::new("urlParse", &[Type::String], |_, a| {
        parse(&text(&a[0])).or_else(|error| {
            let quoted = coracle_gotemplate::quote(text(&a[0]).as_bytes());
            fail(format!("unable to parse url: parse {quoted}: {error}"))
        })
    }),
    Function::new("urlJoin", &[Type::Dict], |_, a| join(a[0].as_dict().unwrap_or(&Dict::default()))),
];

type Parsed<T> = std::result::Result<T, String>;

fn parse(url: &str) -> Parsed<Value> {
    let (url, fragment) = url.split_once('#').unwrap_or((url, ""));
    if url.bytes().any(|byte| byte < b' ' || byte == 0x7F) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    let fragment = unescape(fragment, Place::Fragment)?;
    let mut parts = Parts { fragment, ..Parts::default() };
    if url == "*" {
        parts.path = "*".to_owned();
        return Ok(parts.into_value());
    }
    let (scheme, rest) = split_scheme(url)?;
    parts.scheme = scheme.to_lowercase();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    query.clone_into(&mut parts.query);
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            rest.clone_into(&mut parts.opaque);
            return Ok(parts.into_value());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let has_authority = rest.starts_with("//") && (!scheme.is_empty() || !rest.starts_with("///"));
    let path = if has_authority {
        let body = &rest[2..];
        let (authority, path) = body.split_at(body.find('/').unwrap_or(body.len()));
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        parts.host = host_of(&parts.scheme, host)?;
        parts.userinfo = userinfo.map(user_of).transpose()?.unwrap_or_default();
        path
    } else {
        rest
    };
    parts.path = unescape(path, Place::Path)?;
    Ok(parts.into_value())
}

#[derive(Default)]
struct Parts {
    scheme: String,
    userinfo: String,
    host: String,
    path: String,
    query: String,
    opaque: String,
    fragment: String,
}

impl Parts {
    fn into_value(self) -> Value {
        let hostname = hostname(&self.host).to_owned();
        Value::dict([
            ("scheme", self.scheme),
            ("userinfo", self.userinfo),
            ("hostname", hostname),
            ("host", self.host),
            ("path", self.path),
            ("query", self.query),
            ("opaque", self.opaque),
            ("fragment", self.fragment),
        ].map(|(name, part)| (name, Value::from(part))))
    }
}

fn split_scheme(url: &str) -> Parsed<(&str, &str)> {
    for (at, byte) in url.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&url[..at], &url[at + 1..])),
            _ => return Ok(("", url)),
        }
    }
    Ok(("", url))
}

fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn hostname(host: &str) -> &str {
    let bare = match host.rfind(':') {
        Some(colon) if is_port(&host[colon..]) => &host[..colon],
        _ => host,
    };
    bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare)
}

fn host_of(scheme: &str, host: &str) -> Parsed<String> {
    let invalid_port = |port: &str| format!("invalid port {} after host", coracle_gotemplate::quote(port.as_bytes()));
    match host.rfind('[') {
        Some(at) if at > 0 => return Err("invalid IP-literal".to_owned()),
        Some(_) => {
            let end = host.rfind(']').ok_or("missing ']' in host")?;
            if !is_port(&host[end + 1..]) {
                return Err(invalid_port(&host[end + 1..]));
            }
            return unescape(host, Place::Host);
        }
        None => {}
    }
    if let Some(first) = host.find(':') {
        let last = host.rfind(':').unwrap_or(first);
        let is_web = matches!(scheme, "http" | "https");
        let port = if is_web { &host[first..] } else { &host[last..] };
        if !is_port(port) {
            return Err(invalid_port(port));
        }
    }
    unescape(host, Place::Host)
}

/// User and password, escaped anew as Go writes them.
fn user_of(userinfo: &str) -> Parsed<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
    if !userinfo.bytes().all(allowed) {
        return Err("net/url: invalid userinfo".to_owned());
    }
    let again = |part: &str| Ok::<_, String>(escape(&unescape(part, Place::User)?, Place::User));
    Ok(match userinfo.split_once(':') {
        Some((user, password)) => format!("{}:{}", again(user)?, again(password)?),
        None => again(userinfo)?,
    })
}

/// Where in a URL a text stands; each place has characters of its own that need no escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    User,
    Host,
    Fragment,
}

fn is_plain(byte: u8, place: Place) -> bool {
    if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
        return true;
    }
    match place {
        Place::Path => b"$&+,/:;=@".contains(&byte),
        Place::User => b"$&+,;=".contains(&byte),
        Place::Host => b"!$&'()*+,;=:[]<>\"".contains(&byte),
        Place::Fragment => b"$&+,/:;=?@!()*".contains(&byte),
    }
}

fn escape(text: &str, place: Place) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if is_plain(byte, place) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

fn unescape(text: &str, place: Place) -> Parsed<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte != b'%' {
            if place == Place::Host && byte < 0x80 && !is_plain(byte, place) {
                return Err(format!("invalid character {} in host name", coracle_gotemplate::quote(&[byte])));
            }
            out.push(byte);
            at += 1;
            continue;
        }
        let shown = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 3)]).into_owned();
        let invalid = || format!("invalid URL escape {}", coracle_gotemplate::quote(shown.as_bytes()));
        let code = bytes.get(at + 1..at + 3).filter(|pair| pair.iter().all(u8::is_ascii_hexdigit));
        let code = code.and_then(|pair| std::str::from_utf8(pair).ok()).ok_or_else(invalid)?;
        let value = u8::from_str_radix(code, 16).map_err(|_| invalid())?;
        if place == Place::Host && value < 0x80 && code != "25" {
            return Err(invalid());
        }
        out.push(value);
        at += 3;
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn join(parts: &Dict) -> Result {
    let part = |name: &str| -> Result<String> {
        match parts.get(name) {
            None => Ok(String::new()),
            Some(Value::Nil) => Err(crate::args::nil_dereference()),
            Some(value) if value.kind() == Kind::String => Ok(text(&value).into_owned()),
            Some(value) => fail(format!(
                "unable to parse {name} key, must be of type string, but {} found",
                value.kind().name()
            )),
        }
    };
    let (scheme, host, path) = (part("scheme")?, part("host")?, part("path")?);
    let (query, opaque, fragment, userinfo) = (part("query")?, part("opaque")?, part("fragment")?, part("userinfo")?);
    let user = if userinfo.is_empty() {
        None
    } else {
        Some(user_of(&userinfo).or_else(|error| fail(format!("unable to parse userinfo in dict: {error}")))?)
    };
    let mut url = String::new();
    if !scheme.is_empty() {
        url = format!("{scheme}:");
    }
    if opaque.is_empty() {
        push_hierarchy(&mut url, user.as_deref(), &host, &path);
    } else {
        url.push_str(&opaque);
    }
    if !query.is_empty() {
        url.push('?');
        url.push_str(&query);
    }
    if !fragment.is_empty() {
        url.push('#');
        url.push_str(&escape(&fragment, Place::Fragment));
    }
    Ok(url.into())
}

fn push_hierarchy(url: &mut String, user: Option<&str>, host: &str, path: &str) {
    let has_authority = !host.is_empty() || user.is_some();
    if has_authority || (!url.is_empty() && !path.is_empty()) {
        url.push_str("//");
    }
    if let Some(user) = user {
        url.push_str(user);
        url.push('@');
    }
    url.push_str(&escape(host, Place::Host));
    let path = if path == "*" { "*".to_owned() } else { escape(path, Place::Path) };
    if !path.is_empty() && !path.starts_with('/') && !host.is_empty() {
        url.push('/');
    }
    if url.is_empty() && path.split('/').next().is_some_and(|segment| segment.contains(':')) {
        url.push_str("./");
    }
    url.push_str(&path);
}
