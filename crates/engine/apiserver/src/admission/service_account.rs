//! Pods run as a service account: the default one where they name none, with its token mounted where they do not
//! decline it.

use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";

/// See the module.
#[derive(Debug)]
pub struct ServiceAccount;

impl Admission for ServiceAccount {
    fn mutate(&self, request: &Attributes<'_>, object: &mut Value) -> Result<(), Failure> {
        let mirror = object["metadata"]["annotations"].get(MIRROR).is_some();
        if !request.is(Operation::Create, "", "pods") || mirror {
            return Ok(());
        }
        let name = match object["spec"]["serviceAccountName"].as_str().unwrap_or_default() {
            "" => "default".to_owned(),
            name => name.to_owned(),
        };
        let namespace = request.namespace;
        let record = request.server.store.get(&format!("/core/serviceaccounts/{namespace}/{name}"));
        let record = record.ok_or_else(|| {
            request.forbidden(&format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            ))
        })?;
        let account = object::decode(&record)?;
        let spec = &mut object["spec"];
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
        if wants_token(spec, &account) {
            mount_token(spec);
        }
        let own = spec["imagePullSecrets"].as_array().is_some_and(|list| !list.is_empty());
        if let (false, Some(secrets)) = (own, account["imagePullSecrets"].as_array().filter(|list| !list.is_empty())) {
            spec["imagePullSecrets"] = json!(secrets);
        }
        Ok(())
    }
}

fn wants_token(spec: &Value, account: &Value) -> bool {
    let said = spec["automountServiceAccountToken"].as_bool();
    said.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true)
}

fn mount_token(spec: &mut Value) {
    let has_mount = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        mounts.into_iter().any(|mount| mount["mountPath"] == MOUNT_PATH)
    };
    let all = ["containers", "initContainers"].iter().flat_map(|list| spec[*list].as_array().into_iter().flatten());
    if all.into_iter().all(has_mount) {
        return;
    }
    let existing = spec["volumes"].as_array().into_iter().flatten();
    let existing =
        existing.filter_map(|volume| volume["name"].as_str()).find(|name| name.starts_with("kube-api-access-"));
    let volume = existing.map_or_else(|| format!("kube-api-access-{}", crate::names::suffix()), str::to_owned);
    let known = spec["volumes"].as_array().into_iter().flatten().any(|v| v["name"] == json!(volume));
    if !known {
        push(spec, "volumes", token_volume(&volume));
    }
    for list in ["containers", "initContainers"] {
        for container in spec[list].as_array_mut().into_iter().flatten().filter(|container| !has_mount(container)) {
            push(container, "volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
        }
    }
}

fn push(into: &mut Value, list: &str, item: Value) {
    match into.get_mut(list).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => into[list] = json!([item]),
    }
}

/// Token, authority and namespace, as every client library expects them.
fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_container_without_a_mount_gets_one() {
        let mut spec = json!({"containers": [{"name": "a"}, {"name": "b", "volumeMounts": [{"mountPath": MOUNT_PATH, "name": "x"}]}], "initContainers": [{"name": "i"}]});
        mount_token(&mut spec);
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], spec["volumes"][0]["name"]);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        assert_eq!(spec["initContainers"][0]["volumeMounts"].as_array().unwrap().len(), 1);
        assert!(!wants_token(&json!({}), &json!({"automountServiceAccountToken": false})));
        assert!(wants_token(
            &json!({"automountServiceAccountToken": true}),
            &json!({"automountServiceAccountToken": false})
        ));
    }
}
