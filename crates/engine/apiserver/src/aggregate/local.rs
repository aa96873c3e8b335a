//! APIServices of the versions that this server answers for itself: kept in step with what is served.

use std::collections::BTreeMap;

use coracle_store::{Change, Expect};
use serde_json::{Value, json};

use super::PREFIX;
use crate::{names, object, server::Server};

/// What marks them as the server's own to keep.
const LABEL: &str = "kube-aggregator.kubernetes.io/automanaged";
const CUSTOM: (u64, u64) = (1000, 100);
/// The priorities upstream gives its groups, which decide whose kinds clients find first.
const GROUPS: [(&str, u64); 20] = [
    ("", 18_000),
    ("extensions", 17_900),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
];
const OTHER_GROUPS: u64 = 15_000;

/// Writes those that are missing, and removes those of versions that are gone.
pub async fn keep(server: &Server) {
    let mut wanted: BTreeMap<String, Value> = BTreeMap::new();
    for resource in &server.registry.served().all {
        let (group, version) = (&*resource.kind.group, &*resource.kind.version);
        // Its own group answers for itself.
        if group != "apiregistration.k8s.io" {
            let is_own = server.registry.is_built_in_group(group);
            wanted.entry(format!("{version}.{group}")).or_insert_with(|| service(group, version, is_own));
        }
    }
    let snapshot = server.store.snapshot();
    let mut changes = Vec::new();
    for record in snapshot.list(PREFIX) {
        let is_wanted = wanted.remove(object::key_name(record.key())).is_some();
        if !is_wanted && record.label(LABEL).is_some() {
            changes.push(Change::delete(record.key(), Expect::Revision(record.revision()), None));
        }
    }
    changes.extend(wanted.into_iter().map(|(name, mut object)| {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(names::uid());
        object["metadata"]["creationTimestamp"] = json!(object::time(server.clock.now()));
        Change::create(format!("{PREFIX}{name}"), object::meta(&object, &[]), object::encode(&object))
    }));
    if !changes.is_empty()
        && let Err(error) = server.store.commit(changes).await
    {
        tracing::debug!(%error, "the server's own APIServices will be looked at again");
    }
}

fn service(group: &str, version: &str, is_own: bool) -> Value {
    let known = GROUPS.iter().find(|(known, _)| *known == group).map_or(OTHER_GROUPS, |(_, priority)| *priority);
    let (group_priority, version_priority) = match (is_own, version.contains("alpha"), version.contains("beta")) {
        (false, ..) => CUSTOM,
        (true, true, _) => (known, 1),
        (true, _, true) => (known, 9),
        (true, ..) => (known, 15),
    };
    let mut spec =
        json!({"version": version, "groupPriorityMinimum": group_priority, "versionPriority": version_priority});
    if !group.is_empty() {
        spec["group"] = json!(group);
    }
    json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"labels": {LABEL: if is_own { "onstart" } else { "true" }}}, "spec": spec,
    })
}
