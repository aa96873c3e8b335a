//! What a proxy changes in a request's and a response's head. Pure.

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONNECTION, EXPECT, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};

/// About the client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) ip: IpAddr,
    /// The port that it came in by.
    pub(crate) port: u16,
    pub(crate) is_tls: bool,
}

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The host that a request is for, without its port and in lower case.
pub(crate) fn host<B>(request: &Request<B>) -> Option<String> {
    let authority = authority(request.uri(), request.headers())?;
    let name = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let name = name.trim_end_matches('.');
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str().rsplit('@').next().unwrap_or_default()),
        None => headers.get(HOST)?.to_str().ok(),
    }
}

/// The head that a pod is sent: HTTP/1.1, with what the client's connection was. `None`: not a head for a pod.
///
/// What the client itself claims of earlier proxies is replaced: nobody in front of this gateway is trusted.
pub(crate) fn to_pod(parts: &Parts, client: Client, keep_upgrade: bool) -> Option<Request<()>> {
    let authority = HeaderValue::from_str(authority(&parts.uri, &parts.headers)?).ok()?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut headers = parts.headers.clone();
    let upgrade = headers.get(UPGRADE).cloned().filter(|_| keep_upgrade);
    remove_hop_by_hop(&mut headers);
    headers.remove(EXPECT);
    if let Some(upgrade) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, upgrade);
    }
    let ip = HeaderValue::from_str(&client.ip.to_string()).ok()?;
    headers.insert(FORWARDED_FOR, ip.clone());
    headers.insert(REAL_IP, ip);
    headers.insert(FORWARDED_HOST, authority.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(if client.is_tls { "https" } else { "http" }));
    headers.insert(FORWARDED_PORT, HeaderValue::from(client.port));
    headers.insert(HOST, authority);
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = path.parse().ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// Takes out what concerns one connection only (RFC 9110, section 7.6.1).
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<_> =
        named.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    let trailers = headers.get(TE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Whether the client wants to go on with another protocol, such as WebSocket.
pub(crate) fn wants_upgrade(parts: &Parts) -> bool {
    let connection = parts.headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = connection.flat_map(|value| value.split(','));
    parts.version == Version::HTTP_11
        && parts.headers.contains_key(UPGRADE)
        && options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"))
}

/// Whether doing it twice is as good as once (RFC 9110, section 9.2.2).
pub(crate) fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn request(text: &str) -> Request<()> {
        let mut lines = text.lines();
        let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(uri);
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        request.body(()).unwrap()
    }

    fn check(text: &str, is_tls: bool, expected: &Expect) {
        let client = Client { ip: [192, 0, 2, 9].into(), port: 8080, is_tls };
        let (parts, ()) = request(text).into_parts();
        let keep_upgrade = wants_upgrade(&parts);
        let sent = to_pod(&parts, client, keep_upgrade).unwrap();
        let mut headers: Vec<_> =
            sent.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
        headers.sort();
        expected.assert_eq(&format!("{} {}\n{}", sent.method(), sent.uri(), headers.concat()));
    }

    #[test]
    fn a_pod_learns_of_the_client() {
        check(
            "GET /a?b=c\nhost: App.localhost:8080\nx-forwarded-for: 1.1.1.1\naccept: */*",
            false,
            &expect![[r#"
            GET /a?b=c
            accept: */*
            host: App.localhost:8080
            x-forwarded-for: 192.0.2.9
            x-forwarded-host: App.localhost:8080
            x-forwarded-port: 8080
            x-forwarded-proto: http
            x-real-ip: 192.0.2.9
        "#]],
        );
        check(
            "GET https://app.localhost:8443/\nx-forwarded-proto: http",
            true,
            &expect![[r#"
            GET /
            host: app.localhost:8443
            x-forwarded-for: 192.0.2.9
            x-forwarded-host: app.localhost:8443
            x-forwarded-port: 8080
            x-forwarded-proto: https
            x-real-ip: 192.0.2.9
        "#]],
        );
    }

    #[test]
    fn what_concerns_the_connection_is_not_passed_on() {
        check(
            "POST /\nhost: a\nconnection: close, x-mine\nx-mine: 1\nkeep-alive: 5\nte: trailers\nexpect: 100-continue",
            false,
            &expect![[r#"
                POST /
                host: a
                te: trailers
                x-forwarded-for: 192.0.2.9
                x-forwarded-host: a
                x-forwarded-port: 8080
                x-forwarded-proto: http
                x-real-ip: 192.0.2.9
            "#]],
        );
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        check(
            "GET /ws\nhost: a\nconnection: keep-alive, Upgrade\nupgrade: websocket\nsec-websocket-key: x",
            false,
            &expect![[r#"
                GET /ws
                connection: upgrade
                host: a
                sec-websocket-key: x
                upgrade: websocket
                x-forwarded-for: 192.0.2.9
                x-forwarded-host: a
                x-forwarded-port: 8080
                x-forwarded-proto: http
                x-real-ip: 192.0.2.9
            "#]],
        );
        check(
            "GET /ws\nhost: a\nconnection: keep-alive\nupgrade: websocket",
            false,
            &expect![[r#"
            GET /ws
            host: a
            x-forwarded-for: 192.0.2.9
            x-forwarded-host: a
            x-forwarded-port: 8080
            x-forwarded-proto: http
            x-real-ip: 192.0.2.9
        "#]],
        );
    }

    #[test]
    fn hosts_are_compared_without_port_case_and_dot() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(host(&request(text)).as_deref(), expected);
        check("GET /\nhost: App.Localhost.:8080", Some("app.localhost"));
        check("GET http://user@other:80/\nhost: app", Some("other"));
        check("GET /\nhost: [::1]:80", Some("::1"));
        check("GET /", None);
        check("GET /\nhost: :80", None);
    }
}
