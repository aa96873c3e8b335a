//! A definition goes after its objects: they are deleted first, finalizers and all.

use std::sync::Arc;

use coracle_store::{Change, Expect};
use http::HeaderMap;
use serde_json::Value;

use super::PREFIX;
use crate::{
    authn::User,
    object, registry,
    request::{Request, accept::Accept, info::RequestInfo, query::Query},
    server::Server,
    verbs::{Call, collection},
};

/// What holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Takes the next step towards the end of a definition; whether it is there.
pub async fn finish(server: &Server, definition: &Value) -> bool {
    if !object::finalizers(definition).any(|name| name == FINALIZER) {
        return true;
    }
    let spec = &definition["spec"];
    let (group, plural) =
        (spec["group"].as_str().unwrap_or_default(), spec["names"]["plural"].as_str().unwrap_or_default());
    let prefix = registry::prefix(group, plural);
    if server.store.snapshot().list(&prefix).next().is_some() {
        delete_objects(server, group, plural).await;
    }
    if server.store.snapshot().list(&prefix).next().is_some() {
        return false;
    }
    remove_finalizer(server, object::name(definition)).await
}

async fn delete_objects(server: &Server, group: &str, plural: &str) {
    let served = server.registry.served();
    let Some(resource) = served.find_any_version(group, plural) else { return };
    let info = RequestInfo {
        is_resource: true,
        verb: "deletecollection".into(),
        group: group.to_owned(),
        version: resource.kind.version.to_string(),
        resource: plural.to_owned(),
        ..RequestInfo::default()
    };
    let user = Arc::new(User::engine());
    let request = Request::new(info, Query::default(), HeaderMap::new(), user, Accept::default(), bytes::Bytes::new());
    let call = Call { server, request: &request, resource };
    if let Err(error) = collection::delete_collection(&call).await {
        tracing::warn!(%error, group, plural, "cannot delete the objects of a definition yet");
    }
}

async fn remove_finalizer(server: &Server, name: &str) -> bool {
    let key = format!("{PREFIX}{name}");
    let Some(record) = server.store.get(&key) else { return true };
    let Ok(mut definition) = object::decode(&record) else { return true };
    let rest: Vec<Value> = object::finalizers(&definition).filter(|name| *name != FINALIZER).map(Value::from).collect();
    let expect = Expect::Revision(record.revision());
    let gone = rest.is_empty();
    object::set_meta(&mut definition, "finalizers", (!gone).then_some(Value::Array(rest)));
    let value = object::encode(&definition);
    let change = match gone {
        true => Change::delete(key, expect, Some(value)),
        false => Change::put(key, expect, object::meta(&definition, &[]), value),
    };
    server.store.commit(vec![change]).await.is_ok()
}
