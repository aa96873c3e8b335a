//! The signers of kubernetes.io, and what each demands of a request.

use coracle_certs::SigningRequest;

/// Certificates that nodes speak to the API with.
pub const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";

type Check = fn(&SigningRequest, &[String]) -> Result<(), String>;

/// What a signer demands; `None` for signers of others.
pub fn check_of(signer: &str) -> Option<Check> {
    match signer {
        "kubernetes.io/kube-apiserver-client" => Some(api_client),
        NODE_CLIENT => Some(node_client),
        "kubernetes.io/kubelet-serving" => Some(node_serving),
        "kubernetes.io/legacy-unknown" => Some(|_, _| Ok(())),
        _ => None,
    }
}

fn api_client(_: &SigningRequest, usages: &[String]) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !optional.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

/// What the certificate that a node speaks to the API with must be.
pub fn node_client(asked: &SigningRequest, usages: &[String]) -> Result<(), String> {
    belongs_to_nodes(asked)?;
    for (names, what) in [
        (asked.dns_names.len(), "DNS"),
        (asked.emails.len(), "Email"),
        (asked.addresses.len(), "IP"),
        (asked.uris.len(), "URI"),
    ] {
        if names > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    is_named_as_node(asked)?;
    has_usages(usages, "client auth")
}

fn node_serving(asked: &SigningRequest, usages: &[String]) -> Result<(), String> {
    belongs_to_nodes(asked)?;
    if asked.dns_names.is_empty() && asked.addresses.is_empty() {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    if !asked.emails.is_empty() {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if !asked.uris.is_empty() {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    has_usages(usages, "server auth")?;
    is_named_as_node(asked)
}

fn belongs_to_nodes(asked: &SigningRequest) -> Result<(), String> {
    match asked.organizations.as_slice() {
        [one] if one == NODES => Ok(()),
        _ => Err("subject organization is not system:nodes".to_owned()),
    }
}

fn is_named_as_node(asked: &SigningRequest) -> Result<(), String> {
    match asked.common_name.starts_with(NODE) {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

/// Exactly `auth` and digital signatures, with or without key encipherment, which only RSA keys can do.
fn has_usages(usages: &[String], auth: &str) -> Result<(), String> {
    let mut rest: Vec<&str> = usages.iter().map(String::as_str).filter(|usage| *usage != "key encipherment").collect();
    rest.sort_unstable();
    rest.dedup();
    let mut wanted = [auth, "digital signature"];
    wanted.sort_unstable();
    match rest == wanted {
        true => Ok(()),
        false => {
            let mut all = [auth, "digital signature", "key encipherment"];
            all.sort_unstable();
            Err(format!("usages did not match [{}]", all.join(" ")))
        }
    }
}
