//! The kubeconfig file an engine writes for its owner.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

/// A kubeconfig with one cluster and one user, shown by a client certificate. JSON, which is YAML too.
pub fn admin(name: &str, server: &str, authority_pem: &str, certificate_pem: &str, key_pem: &str) -> Value {
    let encoded = |pem: &str| BASE64_STANDARD.encode(pem);
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": encoded(authority_pem)}}],
        "users": [{"name": name, "user": {
            "client-certificate-data": encoded(certificate_pem),
            "client-key-data": encoded(key_pem),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    })
}
