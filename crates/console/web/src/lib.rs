//! The web page: apps, their environments, commits, health and pods, live.
//!
//! One page, rendered on the server. A browser keeps one event stream open and swaps the page's body whenever something
//! it shows has changed; without JavaScript the page is the same, only not live.

mod live;
mod model;
mod page;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{
        Html, IntoResponse, Sse,
        sse::{Event, KeepAlive},
    },
    routing::get,
};
use futures::{Stream, StreamExt};
use tokio_stream::wrappers::WatchStream;

pub use live::Live;

/// Changes that come closer together than this are shown as one.
const SETTLE: Duration = Duration::from_millis(100);

/// What the page says about the engine itself.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The engine's version.
    pub version: String,
    /// Where `git push` goes, with `APP.git` after it.
    pub git: String,
    /// The file that leads kubectl here.
    pub kubeconfig: String,
}

#[derive(Clone)]
struct Console {
    live: Live,
    facts: Arc<Facts>,
}

/// The console's routes, at the root of whatever they are put into.
pub fn router(live: Live, facts: Facts) -> Router {
    Router::new()
        .route("/", get(whole_page))
        .route("/live", get(stream))
        .route("/console.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], include_str!("console.css")) }))
        .route(
            "/console.js",
            get(|| async { ([(header::CONTENT_TYPE, "text/javascript")], include_str!("console.js")) }),
        )
        .with_state(Console { live, facts: Arc::new(facts) })
}

async fn whole_page(State(console): State<Console>) -> impl IntoResponse {
    let body = page::body(&console.live.apps(), &console.facts);
    let policy = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'self'; style-src 'self' 'unsafe-inline'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (policy, Html(page::whole(&body).into_string()))
}

/// Sends the page's body whenever it differs from what was sent last.
async fn stream(State(console): State<Console>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let changes = WatchStream::new(console.live.changes());
    let bodies = changes.then(move |_| {
        let console = console.clone();
        async move {
            tokio::time::sleep(SETTLE).await;
            page::body(&console.live.apps(), &console.facts).into_string()
        }
    });
    let mut last = String::new();
    let changed = bodies.filter_map(move |body| {
        let is_new = body != last;
        if is_new {
            last.clone_from(&body);
        }
        futures::future::ready(is_new.then(|| Ok(Event::default().data(body.replace(['\n', '\r'], " ")))))
    });
    Sse::new(changed).keep_alive(KeepAlive::new().interval(Duration::from_secs(20)))
}
