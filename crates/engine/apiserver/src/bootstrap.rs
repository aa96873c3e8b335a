//! The objects every cluster has: namespaces, priority classes, and the server's own service.

use coracle_store::{Change, CommitError};
use serde_json::{Value, json};

use crate::{
    names, object,
    registry::Resource,
    server::{Server, commit_failure},
    status::Failure,
};

/// Writes what is missing.
pub async fn ensure(server: &Server) -> Result<(), Failure> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let spec = json!({"finalizers": ["kubernetes"]});
        let labels = json!({"kubernetes.io/metadata.name": name});
        create(
            server,
            "",
            "v1",
            "namespaces",
            json!({
                "metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Active"},
            }),
        )
        .await?;
    }
    for (name, value, description) in [
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
    ] {
        create(
            server,
            "scheduling.k8s.io",
            "v1",
            "priorityclasses",
            json!({
                "metadata": {"name": name, "generation": 1}, "value": value, "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            }),
        )
        .await?;
    }
    own_service(server).await
}

/// `kubernetes` in `default`: how pods find the server.
async fn own_service(server: &Server) -> Result<(), Failure> {
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
    create(server, "", "v1", "services", service).await?;
    let Some(advertise) = server.advertise else { return Ok(()) };
    let ports = json!([{"name": "https", "port": advertise.port(), "protocol": "TCP"}]);
    replace(server, "", "v1", "endpoints", json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": advertise.ip().to_string()}], "ports": ports}],
    }))
    .await?;
    replace(server, "discovery.k8s.io", "v1", "endpointslices", json!({
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [advertise.ip().to_string()], "conditions": {"ready": true}}],
        "ports": ports,
    }))
    .await
}

async fn create(server: &Server, group: &str, version: &str, plural: &str, object: Value) -> Result<(), Failure> {
    write(server, group, version, plural, object, false).await
}

async fn replace(server: &Server, group: &str, version: &str, plural: &str, object: Value) -> Result<(), Failure> {
    write(server, group, version, plural, object, true).await
}

async fn write(
    server: &Server,
    group: &str,
    version: &str,
    plural: &str,
    mut object: Value,
    replace: bool,
) -> Result<(), Failure> {
    let resource = server.registry.find(group, version, plural).ok_or_else(Failure::no_such_resource)?;
    let key = resource.key(object::namespace(&object), object::name(&object));
    let present = server.store.get(&key);
    if present.is_some() && !replace {
        return Ok(());
    }
    complete(server, &resource, &mut object);
    let stored = object::encode(&object);
    let meta = object::meta(&object, &resource.selectable);
    let change = match present {
        None => Change::create(key, meta, stored),
        Some(record) => {
            let old = object::decode(&record)?;
            for field in ["uid", "creationTimestamp"] {
                object["metadata"][field] = old["metadata"][field].clone();
            }
            let same = ["subsets", "endpoints", "ports"].iter().all(|field| old.get(*field) == object.get(*field));
            if same {
                return Ok(());
            }
            let meta = object::meta(&object, &resource.selectable);
            Change::put(key, coracle_store::Expect::Any, meta, object::encode(&object))
        }
    };
    match server.store.commit(vec![change]).await {
        Ok(_) | Err(CommitError::Conflict(_)) => Ok(()),
        Err(error) => Err(commit_failure(&error)),
    }
}

fn complete(server: &Server, resource: &Resource, object: &mut Value) {
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind.kind);
    object["metadata"]["uid"] = json!(names::uid());
    object["metadata"]["creationTimestamp"] = json!(object::time(server.clock.now()));
}
