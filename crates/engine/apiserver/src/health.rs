//! Whether the server lives, and what it is.

use http::StatusCode;
use serde_json::json;

use crate::{
    request::Request,
    response::{self, Answer},
    server::Server,
};

/// The release of Kubernetes whose API this is.
pub const VERSION: &str = "v1.35.4";

/// `/healthz`, `/livez`, `/readyz`, with `?verbose`, `?exclude=` and single checks below them.
pub fn answer(server: &Server, request: &Request) -> Answer {
    let mut path = request.info.path.trim_matches('/').split('/');
    let endpoint = path.next().unwrap_or_default();
    let single = path.next();
    let mut checks = checks(server);
    if endpoint == "readyz" {
        checks.push(("shutdown", !server.shutdown.is_cancelled()));
    }
    if let Some(name) = single {
        return match checks.iter().find(|(known, _)| *known == name) {
            Some((_, true)) => response::text(StatusCode::OK, "ok"),
            Some((_, false)) => {
                response::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {name} failed\n"))
            }
            None => crate::serve::not_found(),
        };
    }
    let excluded: Vec<&str> = request.query.all("exclude").collect();
    checks.retain(|(name, _)| !excluded.contains(name));
    let healthy = checks.iter().all(|(_, good)| *good);
    let verbose = request.query.flag("verbose");
    if healthy && !verbose {
        return response::text(StatusCode::OK, "ok");
    }
    let mut text = String::new();
    for (name, good) in &checks {
        text += &if *good { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") };
    }
    text += &format!("{endpoint} check {}\n", if healthy { "passed" } else { "failed" });
    response::text(if healthy { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

fn checks(server: &Server) -> Vec<(&'static str, bool)> {
    // A server exists only once its store is open, its bootstrap objects are written and its registry is filled.
    let store = server.store.statistics();
    vec![
        ("ping", true),
        ("log", true),
        ("etcd", store.revision > 0),
        ("poststarthook/bootstrap-objects", server.store.get("/core/namespaces/default").is_some()),
        ("poststarthook/crd-informer-synced", server.registry.served().generation > 0),
    ]
}

/// `/version`.
pub fn version(request: &Request) -> Answer {
    let document = json!({
        "major": "1", "minor": "35", "gitVersion": format!("{VERSION}+coracle"), "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": platform(),
        "emulationMajor": "1", "emulationMinor": "35", "minCompatibilityMajor": "1", "minCompatibilityMinor": "34",
    });
    response::value(StatusCode::OK, request.accept, &document)
}

fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}
