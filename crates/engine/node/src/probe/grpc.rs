//! gRPC probes: `grpc.health.v1.Health/Check`, whose two messages are small enough to be written by hand.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{Outcome, dial};

const MAX_ANSWER_BYTES: usize = 64 << 10;
const SERVING: u64 = 1;

/// Asks the health service of `host:port` about `service` within `timeout`.
pub async fn probe(host: &str, port: u16, service: &str, timeout: Duration) -> Outcome {
    let address = format!("{host}:{port}");
    let connection = match dial(host, port, timeout).await {
        Ok(connection) => connection,
        Err(error) => {
            return Outcome::Failure(format!(
                "timeout: failed to connect service \"{address}\" within {timeout:?}: {error}"
            ));
        }
    };
    match tokio::time::timeout(timeout, check(connection, &address, service)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::Failure(format!("error: health rpc probe failed: {error}")),
        Err(_) => Outcome::Failure(format!("timeout: health rpc did not complete within {timeout:?}")),
    }
}

async fn check(connection: tokio::net::TcpStream, address: &str, service: &str) -> Result<Outcome, hyper::Error> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(connection)).await?;
    let exchange = async {
        let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "kube-probe/1.35")
            .body(Full::new(request_message(service)))
            .expect("the parts of the request are valid");
        let response = sender.send_request(request).await?;
        let headers = response.headers().clone();
        let Ok(body) = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await else {
            return Ok(Outcome::Failure("error: health rpc probe failed: the answer breaks off".into()));
        };
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(verdict(&headers, &trailers, &body.to_bytes()))
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        outcome = &mut exchange => outcome,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error),
        },
    }
}

/// `HealthCheckRequest { string service = 1; }` with the prefix every gRPC message has.
fn request_message(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len());
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).expect("service names are short"));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(u8::try_from(value & 0x7f).expect("seven bits fit") | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).expect("seven bits fit"));
}

fn verdict(headers: &HeaderMap, trailers: &HeaderMap, body: &[u8]) -> Outcome {
    let text = |name: &str| trailers.get(name).or_else(|| headers.get(name)).and_then(|value| value.to_str().ok());
    let detail = text("grpc-message").unwrap_or_default();
    match text("grpc-status") {
        Some("0") => {}
        Some("12") => {
            return Outcome::Failure(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {detail}"
            ));
        }
        Some(code) => {
            return Outcome::Failure(format!(
                "error: health rpc probe failed: rpc error: code = {code} desc = {detail}"
            ));
        }
        None => return Outcome::Failure("error: health rpc probe failed: the answer has no status".into()),
    }
    match status(body.get(5..).unwrap_or_default()) {
        SERVING => Outcome::Success,
        other => {
            let name = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
            let name = usize::try_from(other).ok().and_then(|index| name.get(index)).unwrap_or(&"UNKNOWN");
            Outcome::Failure(format!("service unhealthy (responded with \"{name}\")"))
        }
    }
}

/// `HealthCheckResponse { ServingStatus status = 1; }`; absent means 0.
fn status(message: &[u8]) -> u64 {
    match message {
        [0x08, rest @ ..] => {
            let mut value = 0u64;
            for (index, byte) in rest.iter().take(9).enumerate() {
                value |= u64::from(byte & 0x7f) << (7 * index);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use http::HeaderMap;

    use super::{request_message, verdict};

    fn check(trailers: &[(&'static str, &str)], body: &[u8], expected: Expect) {
        let trailers: HeaderMap = trailers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect();
        expected.assert_eq(&format!("{:?}", verdict(&HeaderMap::new(), &trailers, body)));
    }

    #[test]
    fn answers() {
        check(&[("grpc-status", "0")], b"\0\0\0\0\x02\x08\x01", expect!["Success"]);
        check(
            &[("grpc-status", "0")],
            b"\0\0\0\0\x02\x08\x02",
            expect![[r#"Failure("service unhealthy (responded with \"NOT_SERVING\")")"#]],
        );
        check(
            &[("grpc-status", "0")],
            b"\0\0\0\0\0",
            expect![[r#"Failure("service unhealthy (responded with \"UNKNOWN\")")"#]],
        );
        check(
            &[("grpc-status", "5"), ("grpc-message", "unknown service")],
            b"",
            expect![[r#"Failure("error: health rpc probe failed: rpc error: code = 5 desc = unknown service")"#]],
        );
        check(
            &[("grpc-status", "12")],
            b"",
            expect![[
                r#"Failure("error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ")"#
            ]],
        );
        check(&[], b"", expect![[r#"Failure("error: health rpc probe failed: the answer has no status")"#]]);
    }

    #[test]
    fn the_request_names_the_service() {
        assert_eq!(request_message("").as_ref(), b"\0\0\0\0\0");
        assert_eq!(request_message("shop").as_ref(), b"\0\0\0\0\x06\x0a\x04shop");
    }
}
