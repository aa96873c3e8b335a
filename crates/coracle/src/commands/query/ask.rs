//! Asking an HTTP interface, of a server or of a store that was opened for it.

use anyhow::Context;
use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use tower::ServiceExt;

/// Name and value pairs as a form.
pub fn form(pairs: &[(&str, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    pairs.join("&")
}

fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}

fn request(uri: String, form: String) -> anyhow::Result<Request<Body>> {
    let request = Request::post(uri).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    Ok(request.body(Body::from(form))?)
}

/// Posts a form to an interface that is in this process.
pub async fn ask_router(router: Router, path: &str, form: String) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let response = router.oneshot(request(path.to_owned(), form)?).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes().to_vec()))
}

/// Posts a form to a server.
pub async fn ask_server(url: &str, path: &str, form: String) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let connector = hyper_util::client::legacy::connect::HttpConnector::new();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector);
    let uri = format!("{}{path}", url.trim_end_matches('/'));
    let response = client.request(request(uri.clone(), form)?).await.with_context(|| format!("asking {uri}"))?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes().to_vec()))
}
