//! The objects every cluster has: namespaces, priority classes, roles, and the server's own service.

use coracle_store::{Change, CommitError};
use serde_json::{Value, json};

use crate::{
    aggregate,
    authz::default_roles,
    names, object, priority,
    registry::Resource,
    server::{Server, commit_failure},
    status::Failure,
};

/// Writes what is missing, in one commit.
pub async fn ensure(server: &Server) -> Result<(), Failure> {
    let mut missing = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        missing.extend(create(server, "", "namespaces", namespace(name))?);
    }
    for (name, value, description) in PRIORITY_CLASSES {
        let class = json!({
            "metadata": {"name": name, "generation": 1}, "value": value, "description": description,
            "preemptionPolicy": "PreemptLowerPriority",
        });
        missing.extend(create(server, "scheduling.k8s.io", "priorityclasses", class)?);
    }
    for object in default_roles::objects() {
        let plural = if object["kind"] == "ClusterRole" { "clusterroles" } else { "clusterrolebindings" };
        missing.extend(create(server, "rbac.authorization.k8s.io", plural, object)?);
    }
    for (plural, object) in priority::defaults::objects() {
        missing.extend(create(server, priority::defaults::GROUP, plural, object)?);
    }
    missing.extend(create(server, "rbac.authorization.k8s.io", "roles", aggregate::reader_role())?);
    missing.extend(replace(server, "", "configmaps", server.front_proxy.config_map(&server.authority_pem))?);
    missing.extend(create(server, "networking.k8s.io", "servicecidrs", service_range(server))?);
    missing.extend(own_service(server)?);
    if missing.is_empty() {
        return Ok(());
    }
    match server.store.commit(missing).await {
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
        Err(error) => Err(commit_failure(&error)),
    }
}

const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

fn namespace(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

/// The range that services have their addresses from.
fn service_range(server: &Server) -> Value {
    let range = server.services.range();
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": object::time(server.clock.now()),
    });
    json!({
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": [format!("{}/{}", range.network, range.prefix)]},
        "status": {"conditions": [ready]},
    })
}

/// `kubernetes` in `default`: how pods find the server.
fn own_service(server: &Server) -> Result<Vec<Change>, Failure> {
    let address = server.own_address.to_string();
    let target_port = server.advertise.map_or(443, |advertise| advertise.port());
    let service = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": target_port}],
        },
        "status": {"loadBalancer": {}},
    });
    server.services.adopt(&service);
    let mut changes = Vec::from_iter(create(server, "", "services", service)?);
    let Some(advertise) = server.advertise else { return Ok(changes) };
    let ports = json!([{"name": "https", "port": advertise.port(), "protocol": "TCP"}]);
    let endpoints = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": advertise.ip().to_string()}], "ports": ports}],
    });
    changes.extend(replace(server, "", "endpoints", endpoints)?);
    let slice = json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [advertise.ip().to_string()], "conditions": {"ready": true}}],
        "ports": ports,
    });
    changes.extend(replace(server, "discovery.k8s.io", "endpointslices", slice)?);
    Ok(changes)
}

/// The change that writes an object of version `v1`, unless it is there.
fn create(server: &Server, group: &str, plural: &str, mut object: Value) -> Result<Option<Change>, Failure> {
    let resource = server.registry.find(group, "v1", plural).ok_or_else(Failure::no_such_resource)?;
    let key = resource.key(object::namespace(&object), object::name(&object));
    if server.store.get(&key).is_some() {
        return Ok(None);
    }
    complete(server, &resource, &mut object);
    let meta = object::meta(&object, &resource.selectable);
    Ok(Some(Change::create(key, meta, object::encode(&object))))
}

/// The change that writes an object, unless it is there and says the same.
fn replace(server: &Server, group: &str, plural: &str, mut object: Value) -> Result<Option<Change>, Failure> {
    let resource = server.registry.find(group, "v1", plural).ok_or_else(Failure::no_such_resource)?;
    let key = resource.key(object::namespace(&object), object::name(&object));
    let Some(record) = server.store.get(&key) else { return create(server, group, plural, object) };
    let old = object::decode(&record)?;
    if ["subsets", "endpoints", "ports", "data"].iter().all(|field| old.get(*field) == object.get(*field)) {
        return Ok(None);
    }
    complete(server, &resource, &mut object);
    for field in ["uid", "creationTimestamp"] {
        object["metadata"][field] = old["metadata"][field].clone();
    }
    let meta = object::meta(&object, &resource.selectable);
    Ok(Some(Change::put(key, coracle_store::Expect::Any, meta, object::encode(&object))))
}

fn complete(server: &Server, resource: &Resource, object: &mut Value) {
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind.kind);
    object["metadata"]["uid"] = json!(names::uid());
    object["metadata"]["creationTimestamp"] = json!(object::time(server.clock.now()));
}
