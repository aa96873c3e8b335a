//! What a person, or a program, reads when there is no answer from a pod.

use http::{HeaderMap, Response, StatusCode, header};

use crate::body::{ResponseBody, full};

/// An answer of the gateway's own: one sentence that says what, where and what to do; a small page for browsers.
pub(crate) fn answer(status: StatusCode, request_headers: &HeaderMap, message: &str) -> Response<ResponseBody> {
    let wants_html = request_headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|it| it.contains("text/html"));
    let (kind, text) = if wants_html {
        ("text/html; charset=utf-8", html(status, message))
    } else {
        ("text/plain; charset=utf-8", plain(status, message))
    };
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
    }
    response
}

fn plain(status: StatusCode, message: &str) -> String {
    format!("{status}: {message}\n")
}

fn html(status: StatusCode, message: &str) -> String {
    let message = message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{status}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:20vh auto;padding:0 1rem;color:#223}}\
         h1{{font-size:1.4rem}}@media(prefers-color-scheme:dark){{body{{background:#16181d;color:#dde}}}}</style>\
         <h1>{status}</h1><p>{message}</p>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_no_markup() {
        let page = html(StatusCode::NOT_FOUND, "nothing at <script>\"x\"&</script>");
        assert!(page.contains("nothing at &lt;script&gt;&quot;x&quot;&amp;&lt;/script&gt;"), "{page}");
    }
}
