//! CustomResourceDefinitions: what they define is served as soon as their names are accepted, and gone with them.
//!
//! One task follows the definitions in the store; each time one changes it looks at all of them, writes the conditions
//! that are not as they should be, and replaces what is served. So the state is always the one that follows from the
//! definitions, after a restart too.

pub mod cleanup;
mod names;

use std::{sync::Arc, time::Duration};

use coracle_schema::{Kind, Type};
use coracle_store::{Change, CommitError, Expect, Record};
use serde_json::Value;

use crate::{object, registry::Resource, server::Server};

/// Where the definitions lie.
pub const PREFIX: &str = "/apiextensions.k8s.io/customresourcedefinitions/";
const RETRY: Duration = Duration::from_millis(200);

/// Serves what is defined so far, then follows changes.
pub async fn start(server: &Server) {
    let mut seen = server.store.revision();
    sync(server).await;
    let server = server.clone();
    coracle_tasks::spawn("custom-resource-definitions", async move {
        loop {
            let Ok(mut watcher) = server.store.watch(PREFIX, seen) else {
                seen = server.store.revision();
                sync(&server).await;
                continue;
            };
            loop {
                let unfinished = sync(&server).await;
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
async fn sync(server: &Server) -> bool {
    let snapshot = server.store.snapshot();
    let mut definitions: Vec<(Arc<Record>, Value)> =
        snapshot.list(PREFIX).filter_map(|record| Some((record.clone(), object::decode(record).ok()?))).collect();
    // Names go to those who have them already, then to who came first.
    definitions.sort_by_key(|(_, definition)| {
        (!is_true(definition, "Established"), object::meta_text(definition, "creationTimestamp").to_owned())
    });
    let mut taken = names::Taken::default();
    let mut served = Vec::new();
    let mut changed = Vec::new();
    let mut leaving = Vec::new();
    for (record, definition) in definitions {
        let conflict = taken.claim(&definition, |group| server.registry.is_built_in_group(group));
        let status = names::status(&definition, conflict.as_ref(), &object::time(server.clock.now()));
        if conflict.is_none() || is_true(&definition, "Established") {
            served.extend(resources(&definition, record.revision()));
        }
        if object::is_deleting(&definition) {
            leaving.push(definition.clone());
        }
        if status != definition["status"] {
            changed.push((record, definition, status));
        }
    }
    // Served first, announced after: who waits for Established finds it served.
    server.registry.replace_custom(served);
    let mut unfinished = false;
    for (record, mut definition, status) in changed {
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

/// The served versions of a definition.
fn resources(definition: &Value, revision: u64) -> Vec<Arc<Resource>> {
    let Ok(versions) = Kind::from_crd(definition) else { return Vec::new() };
    let storage = versions.iter().find(|version| version.storage).map(|version| version.kind.version.to_string());
    let Some(storage) = storage else { return Vec::new() };
    let terminating = object::is_deleting(definition);
    versions
        .into_iter()
        .filter(|version| version.served)
        .map(|version| {
            let facts = version.kind.custom.clone().unwrap_or_default();
            let selectable =
                facts.selectable_fields.iter().map(|path| path.trim_start_matches('.').to_owned()).collect();
            let mut resource = Resource::custom(version.kind, &storage, selectable, facts.deprecation_warning);
            resource.terminating = terminating;
            resource.complete_since = if has_defaults(resource.kind.schema.root()) { revision } else { 0 };
            Arc::new(resource)
        })
        .collect()
}

fn has_defaults(of: Type<'_>) -> bool {
    of.fields()
        .filter(|field| field.name() != "metadata")
        .any(|field| field.default_text().is_some() || has_defaults(field.value()))
        || of.element().is_some_and(has_defaults)
}
