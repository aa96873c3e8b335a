//! APIs of others, served as our own: an APIService names the service of the cluster that answers for a group and version.
//!
//! Requests for such a version are authenticated and authorized here and then passed on, with who asks in headers that the
//! other server believes because of the client certificate they come with. What it serves is shown in discovery.

mod availability;
pub mod discovery;
mod front_proxy;
mod local;
pub mod openapi;
mod relay;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use coracle_store::{Record, Snapshot};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    object,
    reach::Reach,
    remote::{Place, Remote, Trust},
};
pub use availability::start;
pub use front_proxy::{FrontProxy, reader_role};
pub use relay::relay;

/// Where APIServices lie.
const PREFIX: &str = "/apiregistration.k8s.io/apiservices/";
/// How long another server may take over one of its documents, and how large that may be.
const PATIENCE: Duration = Duration::from_secs(5);
const DOCUMENT_BYTES: usize = 4 * 1024 * 1024;

/// A group and version that somebody else answers for.
pub struct Foreign {
    /// The APIService, without its status.
    record: Arc<Record>,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    service: (String, String, u16),
    remote: Result<Remote, String>,
    state: ArcSwap<State>,
    openapi: Mutex<Option<openapi::Document>>,
}

/// What is known of the other server.
#[derive(Default)]
struct State {
    available: bool,
    /// Its resources, as its own APIResourceList has them.
    resources: Arc<Vec<Value>>,
}

/// All versions that others answer for.
#[derive(Default)]
pub struct Aggregate(ArcSwap<Known>);

/// One generation of them.
#[derive(Default)]
pub struct Known {
    /// In the order of their names.
    pub all: Vec<Arc<Foreign>>,
    /// Goes up whenever what is served may have changed.
    pub generation: u64,
}

impl Aggregate {
    /// What is known now.
    pub fn known(&self) -> Arc<Known> {
        self.0.load_full()
    }

    /// Who answers for a group and version, where it is somebody else.
    pub fn find(&self, group: &str, version: &str) -> Option<Arc<Foreign>> {
        let known = self.0.load();
        known.all.iter().find(|foreign| foreign.group == group && foreign.version == version).cloned()
    }

    /// Takes in what has changed.
    fn refresh(&self, snapshot: &Snapshot, reach: &Reach, proxy: &FrontProxy) {
        let before = self.known();
        let mut all = Vec::new();
        for record in snapshot.list(PREFIX) {
            let Ok(service) = object::decode(record) else { continue };
            let known = before.all.iter().find(|foreign| foreign.record.uid() == record.uid());
            let same = known
                .filter(|foreign| object::decode(&foreign.record).is_ok_and(|known| known["spec"] == service["spec"]));
            let read = || {
                let foreign = Foreign::parse(record, &service, reach, proxy)?;
                // Until it is looked at again, what was true of it still is.
                if let Some(known) = known {
                    foreign.state.store(known.state.load_full());
                }
                Some(Arc::new(foreign))
            };
            all.extend(same.cloned().or_else(read));
        }
        let unchanged =
            all.len() == before.all.len() && all.iter().zip(&before.all).all(|(new, old)| Arc::ptr_eq(new, old));
        if !unchanged {
            self.0.store(Arc::new(Known { all, generation: before.generation + 1 }));
        }
    }

    /// Counts up: what one of them serves has changed.
    fn changed(&self) {
        let before = self.known();
        self.0.store(Arc::new(Known { all: before.all.clone(), generation: before.generation + 1 }));
    }
}

impl Foreign {
    /// Reads an APIService; `None` for those that are about this very server.
    fn parse(record: &Arc<Record>, value: &Value, reach: &Reach, proxy: &FrontProxy) -> Option<Self> {
        let spec = &value["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let service = spec["service"].as_object()?;
        let (namespace, name) = (text(service.get("namespace")?), text(service.get("name")?));
        let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let trust = match spec["caBundle"].as_str().filter(|bundle| !bundle.is_empty()) {
            _ if spec["insecureSkipTLSVerify"] == true => Ok(Trust::Anyone),
            Some(bundle) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, bundle.trim())
                .map(Trust::Authorities)
                .map_err(|_| "the caBundle is not base64".to_owned()),
            None => Ok(Trust::Public),
        };
        let place = Place::Service { namespace: namespace.clone(), name: name.clone(), port };
        let remote = trust.and_then(|trust| {
            Remote::new(reach, place, "/", trust, Some(proxy.identity())).map_err(|error| error.to_string())
        });
        Some(Self {
            record: record.clone(),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            service: (namespace, name, port),
            remote,
            state: ArcSwap::default(),
            openapi: Mutex::default(),
        })
    }

    /// One of its own documents, asked for as the server itself.
    async fn get(&self, path: &str, unless: Option<&HeaderValue>) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let remote = self.remote.as_ref().map_err(String::clone)?;
        let mut request = Request::get(path)
            .header(header::ACCEPT, "application/json")
            .header("x-remote-user", "system:kube-aggregator")
            .header("x-remote-group", "system:masters");
        if let Some(etag) = unless {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request.body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
        let exchange = async {
            let (parts, body) = remote.send(request).await.map_err(|error| error.to_string())?.into_parts();
            let body = Limited::new(body, DOCUMENT_BYTES).collect().await.map_err(|error| error.to_string())?;
            Ok((parts.status, parts.headers, body.to_bytes()))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(outcome) => outcome,
            Err(_) => Err("context deadline exceeded".into()),
        }
    }

    /// Its resources, where it can be reached.
    pub fn resources(&self) -> Option<Arc<Vec<Value>>> {
        let state = self.state.load();
        state.available.then(|| state.resources.clone())
    }
}
