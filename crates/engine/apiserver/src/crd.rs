//! CustomResourceDefinitions: what they define is served as soon as their names are accepted, and gone with them.
//!
//! One task follows the definitions in the store; each time one changes it looks at all of them, writes the conditions
//! that are not as they should be, and replaces what is served. So the state is always the one that follows from the
//! definitions, after a restart too.

pub mod cleanup;
pub mod conversion;
mod known;
mod names;
pub mod rules;

use std::time::Duration;

use coracle_store::{Change, CommitError, Expect};
use serde_json::Value;

use crate::{object, server::Server};
pub use names::set_condition;

use known::{Definition, Known};

/// Where the definitions lie.
pub const PREFIX: &str = "/apiextensions.k8s.io/customresourcedefinitions/";
const RETRY: Duration = Duration::from_millis(200);

/// Serves what is defined so far, then follows changes.
pub async fn start(server: &Server) {
    let mut seen = server.store.revision();
    let mut known = Known::default();
    sync(server, &mut known).await;
    let server = server.clone();
    coracle_tasks::spawn("custom-resource-definitions", async move {
        loop {
            let Ok(mut watcher) = server.store.watch(PREFIX, seen) else {
                seen = server.store.revision();
                sync(&server, &mut known).await;
                continue;
            };
            loop {
                let unfinished = sync(&server, &mut known).await;
                tokio::select! {
                    () = server.shutdown.cancelled() => return,
                    events = watcher.next() => match events {
                        Ok(events) => seen = events.last().map_or(seen, |event| event.revision()),
                        Err(_) => break,
                    },
                    () = tokio::time::sleep(RETRY), if unfinished => {}
                }
            }
            seen = server.store.revision();
        }
    });
}

/// Brings everything in line with the definitions; whether some of it has to wait.
async fn sync(server: &Server, known: &mut Known) -> bool {
    known.refresh(&server.store.snapshot(), &server.reach);
    let mut definitions: Vec<&Definition> = known.all().collect();
    // Names go to those who have them already, then to who came first.
    definitions.sort_by_key(|definition| {
        let outline = &definition.outline;
        (!is_true(outline, "Established"), object::meta_text(outline, "creationTimestamp").to_owned())
    });
    let mut taken = names::Taken::default();
    let (mut served, mut changed, mut leaving) = (Vec::new(), Vec::new(), Vec::new());
    for definition in definitions {
        let outline = &definition.outline;
        let conflict = taken.claim(outline, |group| server.registry.is_built_in_group(group));
        let status = names::status(outline, conflict.as_ref(), &object::time(server.clock.now()));
        if conflict.is_none() || is_true(outline, "Established") {
            served.extend(definition.resources.iter().cloned());
        }
        if object::is_deleting(outline) {
            leaving.push(outline.clone());
        }
        if status != outline["status"] {
            changed.push((definition.record.clone(), status));
        }
    }
    // Served first, announced after: who waits for Established finds it served.
    server.registry.replace_custom(served);
    let mut unfinished = false;
    for (record, status) in changed {
        let Ok(mut definition) = object::decode(&record) else { continue };
        definition["status"] = status;
        let meta = object::meta(&definition, &[]);
        let change = Change::put(record.key(), Expect::Revision(record.revision()), meta, object::encode(&definition));
        // A conflict means a change, and that brings us here again.
        if let Err(error) = server.store.commit(vec![change]).await {
            unfinished |= !matches!(error, CommitError::Conflict(_));
        }
    }
    for definition in leaving {
        unfinished |= !cleanup::finish(server, &definition).await;
    }
    unfinished
}

fn is_true(definition: &Value, kind: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}
