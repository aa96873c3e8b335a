//! A request passed on to the server that answers for its version, with who asks in its headers.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::upgrade::OnUpgrade;

use super::Foreign;
use crate::{authn::User, response::Answer, status::Failure, subresource::relay as streams};

/// Passes a request on, and its answer back, watches and upgrades included.
pub async fn relay(
    foreign: &Foreign,
    user: &User,
    parts: &Parts,
    body: Bytes,
    upgrade: Option<OnUpgrade>,
) -> Result<Answer, Failure> {
    let unavailable =
        |why: &dyn std::fmt::Display| Failure::unavailable(format!("error trying to reach service: {why}"));
    if !foreign.state.load().available {
        return Err(Failure::unavailable("service unavailable"));
    }
    let remote = foreign.remote.as_ref().map_err(|why| unavailable(why))?;
    let upgrade = upgrade.filter(|_| parts.headers.contains_key(header::UPGRADE));
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method.clone();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| Failure::bad_request("the path is malformed"))?;
    *request.headers_mut() = headers(&parts.headers, user, upgrade.is_some());
    let answer = remote.send(request).await.map_err(|error| unavailable(&error))?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(client) => Ok(streams::switch(client, answer)),
            None => Err(Failure::internal("the other side switched protocols without being asked to")),
        };
    }
    Ok(streams::back(answer))
}

/// The client's headers without its credentials, and without what only this server may say.
fn headers(given: &HeaderMap, user: &User, upgrades: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let ours = matches!(*name, header::HOST | header::CONTENT_LENGTH | header::AUTHORIZATION)
            || name.as_str().starts_with("impersonate-")
            || name.as_str().starts_with("x-remote-");
        if !ours && !streams::is_between_neighbours(name, upgrades) {
            headers.append(name.clone(), value.clone());
        }
    }
    let mut say = |name: &str, text: &str| {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(text)) {
            headers.append(name, value);
        }
    };
    say("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        say("x-remote-uid", &user.uid);
    }
    user.groups.iter().for_each(|group| say("x-remote-group", group));
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", escape(key));
        values.iter().for_each(|value| say(&name, value));
    }
    headers
}

/// A key as part of a header's name: what such names may not have is percent-encoded.
fn escape(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.to_ascii_lowercase().bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02x}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_says_who_asks() {
        let mut given = HeaderMap::new();
        for (name, value) in [("x-remote-user", "root"), ("authorization", "Bearer x"), ("accept", "a/b")] {
            given.insert(name, value.parse().unwrap());
        }
        let mut user = User::new("kim", ["devs"]);
        user.extra.insert("example.com/Scopes".into(), vec!["a".into(), "b".into()]);
        let sent = headers(&given, &user, false);
        let all = |name: &str| sent.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>();
        assert_eq!((all("x-remote-user"), all("accept")), (vec!["kim"], vec!["a/b"]));
        assert_eq!(all("x-remote-group"), ["devs", "system:authenticated"]);
        assert_eq!(all("x-remote-extra-example.com%2fscopes"), ["a", "b"]);
        assert!(!sent.contains_key("authorization"));
    }
}
