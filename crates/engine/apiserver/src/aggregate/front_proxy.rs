//! The certificate by which other API servers know that a request was authenticated here, and where they find its authority.

use coracle_certs::{Authority, Identity, LeafRequest, Usage};
use coracle_clock::Clock;
use serde_json::{Value, json};

const NAME: &str = "front-proxy-client";
const VALID_FOR: jiff::SignedDuration = jiff::SignedDuration::from_hours(24 * 365);

/// The authority and the certificate. Both are made anew with each start: other servers follow the config map they are
/// published in.
pub struct FrontProxy {
    authority_pem: String,
    identity: Identity,
}

impl FrontProxy {
    /// Makes both.
    pub fn new(clock: &dyn Clock) -> Result<Self, coracle_certs::Error> {
        let authority = Authority::ephemeral("front-proxy-ca", clock)?;
        let identity = authority.issue(
            &LeafRequest {
                common_name: NAME.into(),
                organizations: Vec::new(),
                alternative_names: Vec::new(),
                usage: Usage::Client,
                valid_for: VALID_FOR,
            },
            clock,
        )?;
        Ok(Self { authority_pem: authority.certificate_pem().to_owned(), identity })
    }

    /// The certificate with its key.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// `extension-apiserver-authentication` in `kube-system`: what other API servers have to know to believe this one.
    pub fn config_map(&self, client_authority_pem: &str) -> Value {
        json!({
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {
                "client-ca-file": client_authority_pem,
                "requestheader-allowed-names": json!([NAME]).to_string(),
                "requestheader-client-ca-file": self.authority_pem,
                "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
                "requestheader-group-headers": "[\"X-Remote-Group\"]",
                "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
                "requestheader-username-headers": "[\"X-Remote-User\"]",
            },
        })
    }
}

/// The role that lets other API servers read it.
pub fn reader_role() -> Value {
    json!({
        "metadata": {
            "name": "extension-apiserver-authentication-reader", "namespace": "kube-system",
            "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        },
        "rules": [{
            "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["extension-apiserver-authentication"],
            "verbs": ["get", "list", "watch"],
        }],
    })
}
