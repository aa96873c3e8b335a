//! Requests that need no person: those of nodes for the certificate they speak to the API with.

use coracle_certs::SigningRequest;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::signers;

/// A kind of request that may be approved without a person.
pub struct Recognized {
    /// What the one who asks must be allowed to create.
    pub permission: &'static str,
    /// What the condition says.
    pub message: &'static str,
}

/// What a request is, the most special first.
pub fn recognize(request: &CertificateSigningRequest, asked: &SigningRequest) -> Vec<Recognized> {
    let usages = request.spec.usages.clone().unwrap_or_default();
    if request.spec.signer_name != signers::NODE_CLIENT || signers::node_client(asked, &usages).is_err() {
        return Vec::new();
    }
    let by_itself = Recognized {
        permission: "selfnodeclient",
        message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
    };
    let for_another = Recognized {
        permission: "nodeclient",
        message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    };
    if request.spec.username.as_deref() == Some(asked.common_name.as_str()) {
        vec![by_itself, for_another]
    } else {
        vec![for_another]
    }
}
