//! The status of quotas: what of each is used, written a moment after it changes.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use coracle_schema::quantity::Quantity;
use coracle_store::{Change, Expect, Record, Snapshot};
use serde_json::{Map, Value, json};

use super::{
    usage::{self, Usage},
    used,
};
use crate::{
    object,
    registry::{Resource, Served},
    server::Server,
    status::Failure,
};

const PREFIX: &str = "/core/resourcequotas/";
/// Changes that come together are counted together.
const GATHER: Duration = Duration::from_millis(50);

/// Keeps the status of all quotas, until the server stops.
pub fn start(server: &Server) {
    let server = server.clone();
    coracle_tasks::spawn("quota-status", async move {
        // By uid: of the objects that were counted last.
        let mut counted: HashMap<String, u64> = HashMap::new();
        loop {
            let seen = server.store.revision();
            count(&server, &mut counted).await;
            tokio::select! {
                () = server.shutdown.cancelled() => return,
                _ = server.store.wait_for(seen + 1) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    });
}

async fn count(server: &Server, counted: &mut HashMap<String, u64>) {
    let snapshot = server.store.snapshot();
    let quotas: Vec<&Arc<Record>> = snapshot.list(PREFIX).collect();
    counted.retain(|uid, _| quotas.iter().any(|quota| quota.uid() == uid));
    let served = server.registry.served();
    let mut changes = Vec::new();
    for record in quotas {
        let Ok(mut quota) = object::decode(record) else { continue };
        let resources = counted_by(&served, &quota);
        let fingerprint = fingerprint(&snapshot, &quota, &resources);
        if counted.insert(record.uid().to_owned(), fingerprint) == Some(fingerprint) {
            continue;
        }
        let Ok(status) = status(&snapshot, &quota, &resources) else { continue };
        if quota["status"] != status {
            quota["status"] = status;
            let meta = object::meta(&quota, &[]);
            let expect = Expect::Revision(record.revision());
            changes.push(Change::put(record.key(), expect, meta, object::encode(&quota)));
        }
    }
    for change in changes {
        // A conflict is a change, and that brings us here again.
        let _written = server.store.commit(vec![change]).await;
    }
}

/// What is counted for a quota, of all that is served.
fn counted_by<'a>(served: &'a Served, quota: &Value) -> Vec<&'a Arc<Resource>> {
    let hard = || quota["spec"]["hard"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let mut found: Vec<&Arc<Resource>> = Vec::new();
    for resource in served.all.iter().filter(|resource| resource.kind.namespaced && resource.is_stored_version()) {
        let kind = &resource.kind;
        let counts = format!("count/{}", kind.group_resource());
        let own = hard().any(|name| {
            name == counts
                || match (&*kind.group, &*kind.plural) {
                    ("", "pods") => {
                        let computes = matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage");
                        let takes = name.starts_with("requests.") || name.starts_with("limits.");
                        computes || (takes && name != "requests.storage")
                    }
                    ("", "services") => name == "services" || name.starts_with("services."),
                    ("", "persistentvolumeclaims") => {
                        matches!(name, "persistentvolumeclaims" | "requests.storage")
                            || name.contains(".storageclass.storage.k8s.io/")
                    }
                    ("", plural) => name == plural,
                    _ => false,
                }
        });
        if own {
            found.push(resource);
        }
    }
    found
}

/// Of everything a quota's status follows from.
fn fingerprint(snapshot: &Snapshot, quota: &Value, resources: &[&Arc<Resource>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    quota["spec"].to_string().hash(&mut hasher);
    quota["status"].to_string().hash(&mut hasher);
    for resource in resources {
        for record in snapshot.list(&resource.scope(object::namespace(quota))) {
            // A quota's own status changes the quota.
            let counts = resource.kind.plural != "resourcequotas";
            (record.uid(), counts.then(|| record.revision())).hash(&mut hasher);
        }
    }
    hasher.finish()
}

fn status(snapshot: &Snapshot, quota: &Value, resources: &[&Arc<Resource>]) -> Result<Value, Failure> {
    let mut total = Usage::new();
    for resource in resources {
        for (name, value) in used(resource, snapshot, object::namespace(quota), quota)? {
            usage::add(&mut total, name, value);
        }
    }
    let hard = quota["spec"]["hard"].as_object().cloned().unwrap_or_default();
    let amount = |name: &str| total.get(name).copied().unwrap_or_else(Quantity::zero).to_string();
    let used: Map<String, Value> = hard.keys().map(|name| (name.clone(), json!(amount(name)))).collect();
    let mut status = json!({});
    if !hard.is_empty() {
        status = json!({"hard": hard, "used": used});
    }
    Ok(status)
}
