//! Which protocol an upgrade request asks for, and the answer that accepts it. Pure.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::websocket::Version;

/// Carries SPDY in WebSocket messages, for port-forward.
const TUNNEL_PROTOCOL: &str = "SPDY/3.1+portforward.k8s.io";
const STREAM_PROTOCOL: &str = "x-stream-protocol-version";

/// What runs over the connection once it is upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// WebSocket channels.
    Channels(Version),
    /// SPDY in WebSocket messages.
    Tunnel,
    /// SPDY.
    Spdy,
}

/// What an endpoint can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// exec and attach.
    Remote,
    /// port-forward.
    PortForward,
}

/// Why an upgrade is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    /// A plain request.
    #[error("you must specify at least 1 of stdin, stdout, stderr over an upgraded connection")]
    NoUpgrade,
    /// No protocol in common.
    #[error("unable to upgrade: unable to negotiate protocol: client supports [{client}], server accepts [{server}]")]
    NoProtocol { client: String, server: &'static str },
    /// Not a WebSocket handshake.
    #[error("websocket handshake without a key")]
    NoKey,
}

/// The protocol `headers` ask for and the `101 Switching Protocols` that grants it.
pub fn negotiate(headers: &HeaderMap, endpoint: Endpoint) -> Result<(Protocol, Response<()>), NegotiateError> {
    let upgrade = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if upgrade.eq_ignore_ascii_case("websocket") {
        return websocket(headers, endpoint);
    }
    if upgrade.eq_ignore_ascii_case("SPDY/3.1") {
        return spdy(headers, endpoint);
    }
    Err(NegotiateError::NoUpgrade)
}

/// The comma-separated words of all headers called `name`.
fn words<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect()
}

fn websocket(headers: &HeaderMap, endpoint: Endpoint) -> Result<(Protocol, Response<()>), NegotiateError> {
    let key = headers.get(header::SEC_WEBSOCKET_KEY).ok_or(NegotiateError::NoKey)?;
    let offered = words(headers, header::SEC_WEBSOCKET_PROTOCOL.as_str());
    // In our order of preference, as the servers of Kubernetes have it.
    let (known, server): (&[(&'static str, Protocol)], _) = match endpoint {
        Endpoint::Remote => (
            &[
                ("v5.channel.k8s.io", Protocol::Channels(Version::V5)),
                ("v4.channel.k8s.io", Protocol::Channels(Version::V4)),
            ],
            "v5.channel.k8s.io v4.channel.k8s.io",
        ),
        Endpoint::PortForward => (
            &[(TUNNEL_PROTOCOL, Protocol::Tunnel), ("v4.channel.k8s.io", Protocol::Channels(Version::V4))],
            "SPDY/3.1+portforward.k8s.io v4.channel.k8s.io",
        ),
    };
    let chosen = known.iter().find(|(name, _)| offered.contains(name));
    let (name, protocol) = match (chosen, endpoint) {
        (Some((name, protocol)), _) => (Some(*name), *protocol),
        // A client that names no protocol at all gets channels, which is what such clients expect of port-forward.
        (None, Endpoint::PortForward) if offered.is_empty() => (None, Protocol::Channels(Version::V4)),
        (None, _) => return Err(NegotiateError::NoProtocol { client: offered.join(" "), server }),
    };
    let mut response = switching("websocket");
    let accept = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
    let accept = HeaderValue::from_str(&accept).expect("base64 is a header value");
    response.headers_mut().insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = name {
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((protocol, response))
}

fn spdy(headers: &HeaderMap, endpoint: Endpoint) -> Result<(Protocol, Response<()>), NegotiateError> {
    let offered = words(headers, STREAM_PROTOCOL);
    let wanted = match endpoint {
        Endpoint::Remote => "v4.channel.k8s.io",
        Endpoint::PortForward => "portforward.k8s.io",
    };
    let silent = offered.is_empty() && endpoint == Endpoint::PortForward;
    if !silent && !offered.contains(&wanted) {
        return Err(NegotiateError::NoProtocol { client: offered.join(" "), server: wanted });
    }
    let mut response = switching("SPDY/3.1");
    response.headers_mut().insert(STREAM_PROTOCOL, HeaderValue::from_static(wanted));
    Ok((Protocol::Spdy, response))
}

fn switching(protocol: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static(protocol));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{Endpoint, negotiate};

    fn check(endpoint: Endpoint, text: &str, expected: Expect) {
        let mut headers = HeaderMap::new();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").expect("a header");
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let shown = match negotiate(&headers, endpoint) {
            Ok((protocol, response)) => {
                let mut lines: Vec<_> = response
                    .headers()
                    .iter()
                    .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                    .collect();
                lines.sort();
                format!("{protocol:?}\n{}", lines.join("\n"))
            }
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn kubectl_exec_over_websocket() {
        check(
            Endpoint::Remote,
            "Upgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io",
            expect![[r#"
                Channels(V5)
                connection: Upgrade
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
                sec-websocket-protocol: v5.channel.k8s.io
                upgrade: websocket"#]],
        );
    }

    #[test]
    fn kubectl_exec_over_spdy() {
        check(
            Endpoint::Remote,
            "Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: v4.channel.k8s.io\nX-Stream-Protocol-Version: v3.channel.k8s.io",
            expect![[r#"
                Spdy
                connection: Upgrade
                upgrade: SPDY/3.1
                x-stream-protocol-version: v4.channel.k8s.io"#]],
        );
    }

    #[test]
    fn port_forward_in_all_its_forms() {
        let websocket = "Upgrade: websocket\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\nSec-WebSocket-Protocol: ";
        check(
            Endpoint::PortForward,
            &format!("{websocket}SPDY/3.1+portforward.k8s.io"),
            expect![[r#"
                Tunnel
                connection: Upgrade
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
                sec-websocket-protocol: SPDY/3.1+portforward.k8s.io
                upgrade: websocket"#]],
        );
        check(
            Endpoint::PortForward,
            &format!("{websocket}v4.channel.k8s.io"),
            expect![[r#"
                Channels(V4)
                connection: Upgrade
                sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
                sec-websocket-protocol: v4.channel.k8s.io
                upgrade: websocket"#]],
        );
        check(
            Endpoint::PortForward,
            "Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: portforward.k8s.io",
            expect![[r#"
                Spdy
                connection: Upgrade
                upgrade: SPDY/3.1
                x-stream-protocol-version: portforward.k8s.io"#]],
        );
    }

    #[test]
    fn strangers_are_told_why_not() {
        check(
            Endpoint::Remote,
            "Accept: */*",
            expect!["you must specify at least 1 of stdin, stdout, stderr over an upgraded connection"],
        );
        check(
            Endpoint::Remote,
            "Upgrade: SPDY/3.1\nX-Stream-Protocol-Version: channel.k8s.io",
            expect![
                "unable to upgrade: unable to negotiate protocol: client supports [channel.k8s.io], server accepts [v4.channel.k8s.io]"
            ],
        );
        check(Endpoint::Remote, "Upgrade: websocket", expect!["websocket handshake without a key"]);
    }
}
