//! Whether those who answer for other versions can be reached, and what they serve: looked at again and again, and told in
//! the conditions of their APIServices.

use std::{sync::Arc, time::Duration};

use coracle_store::{Change, Expect, Record};
use serde_json::{Value, json};

use super::{Foreign, PREFIX, State, local};
use crate::{crd::set_condition, object, server::Server};

const LOOK_EVERY: Duration = Duration::from_secs(5);
const LOOK_AT_REGISTRY_EVERY: Duration = Duration::from_secs(1);

/// Follows APIServices until the server stops.
pub fn start(server: &Server) {
    let server = server.clone();
    coracle_tasks::spawn("api-services", async move {
        let mut seen = 0;
        let mut generation = 0;
        loop {
            let served = server.registry.served().generation;
            if generation != served {
                local::keep(&server).await;
                generation = served;
            }
            server.aggregate.refresh(&server.store.snapshot(), &server.reach, &server.front_proxy);
            look(&server).await;
            let Ok(mut watcher) = server.store.watch(PREFIX, seen) else {
                seen = server.store.revision();
                continue;
            };
            let any = !server.aggregate.known().all.is_empty();
            tokio::select! {
                () = server.shutdown.cancelled() => return,
                events = watcher.next() => {
                    // Whoever removes one of the server's own finds it again.
                    generation = 0;
                    seen = match events {
                        Ok(events) => events.last().map_or(seen, |event| event.revision()),
                        Err(_) => server.store.revision(),
                    };
                }
                () = tokio::time::sleep(LOOK_EVERY), if any => {}
                () = newer(&server, generation) => {}
            }
        }
    });
}

/// Waits until something else is served than was of a generation.
async fn newer(server: &Server, generation: u64) {
    while server.registry.served().generation == generation {
        tokio::time::sleep(LOOK_AT_REGISTRY_EVERY).await;
    }
}

async fn look(server: &Server) {
    let known = server.aggregate.known();
    for foreign in &known.all {
        let found = check(server, foreign).await;
        let before = foreign.state.load_full();
        let state = match &found {
            Ok(resources) => State { available: true, resources: Arc::new(resources.clone()) },
            Err(_) => State { available: false, resources: before.resources.clone() },
        };
        if state.available != before.available || state.resources != before.resources {
            foreign.state.store(Arc::new(state));
            // Before it is told: who reads that a version is available finds it in the discovery documents.
            server.aggregate.changed();
        }
        tell(server, foreign, found.err()).await;
    }
    for record in server.store.snapshot().list(PREFIX) {
        if !known.all.iter().any(|foreign| foreign.record.uid() == record.uid()) {
            write_condition(server, record, "True", "Local", "Local APIServices are always available").await;
        }
    }
}

/// Why a version is not available: a reason and a message.
type Why = (&'static str, String);

async fn check(server: &Server, foreign: &Foreign) -> Result<Vec<Value>, Why> {
    let (namespace, name, port) = &foreign.service;
    if server.store.get(&format!("/core/services/{namespace}/{name}")).is_none() {
        return Err(("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")));
    }
    if let Err(failure) = server.reach.endpoint(namespace, name, &port.to_string()) {
        return Err(("MissingEndpoints", failure.message));
    }
    let path = format!("/apis/{}/{}", foreign.group, foreign.version);
    let failed = |why: String| {
        let url = format!("https://{name}.{namespace}.svc:{port}{path}");
        ("FailedDiscoveryCheck", format!("failing or missing response from {url}: {why}"))
    };
    let (status, _, body) = foreign.get(&path, None).await.map_err(failed)?;
    if !status.is_success() {
        return Err(failed(format!("bad status from the server: {status}")));
    }
    let list: Value = serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))?;
    Ok(list["resources"].as_array().cloned().unwrap_or_default())
}

async fn tell(server: &Server, foreign: &Foreign, why: Option<Why>) {
    let Some(record) = server.store.get(foreign.record.key()) else { return };
    match why {
        None => write_condition(server, &record, "True", "Passed", "all checks passed").await,
        Some((reason, message)) => write_condition(server, &record, "False", reason, &message).await,
    }
}

async fn write_condition(server: &Server, record: &Arc<Record>, status: &str, reason: &str, message: &str) {
    let Ok(mut service) = object::decode(record) else { return };
    let before = service["status"].clone();
    let condition = json!({"type": "Available", "status": status, "reason": reason, "message": message});
    if !service["status"].is_object() {
        service["status"] = json!({});
    }
    set_condition(&mut service["status"], condition, &object::time(server.clock.now()));
    if service["status"] != before {
        let meta = object::meta(&service, &[]);
        let expect = Expect::Revision(record.revision());
        // A conflict is a change, which brings us here again.
        let _written =
            server.store.commit(vec![Change::put(record.key(), expect, meta, object::encode(&service))]).await;
    }
}
