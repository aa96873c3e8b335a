//! Certificate requests: approved where the rules for nodes allow it, signed once they are approved, and forgotten when
//! nobody needs them any more.

mod approve;
mod clean;
mod signers;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_certs::{Authority, SigningRequest};
use coracle_client::{Cache, Key};
use jiff::SignedDuration;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch},
};
use serde_json::json;

use crate::{
    control::{Action, Context, Controller, Error},
    owner::{patch_params, post_params},
};

/// How long a certificate lives that asks for nothing else, and the longest there is.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

struct Certificates {
    context: Context,
    requests: Cache<CertificateSigningRequest>,
}

/// Runs the controller.
pub async fn run(context: Context) {
    let requests: Cache<CertificateSigningRequest> = context.caches.of();
    let controller = Controller::new("certificate-controller").watch_own(&requests);
    requests.filled().await;
    let this = Arc::new(Certificates { context, requests });
    controller
        .run(|key| {
            let this = Arc::clone(&this);
            async move { this.reconcile(key).await }
        })
        .await;
}

/// A true condition of a request.
fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    let conditions = request.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    certificate(request).is_some()
}

fn certificate(request: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = &request.status.as_ref()?.certificate.as_ref()?.0;
    (!certificate.is_empty()).then_some(certificate)
}

impl Certificates {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(request) = self.requests.get(&key) else { return Ok(Action::Done) };
        if let Some(end) = clean::end_of_use(&request) {
            let now = self.context.now();
            if end <= now {
                self.api().delete(&key.name, &DeleteParams::default()).await?;
                return Ok(Action::Done);
            }
        }
        let (approved, denied) = (condition(&request, "Approved"), condition(&request, "Denied"));
        if approved.is_none() && denied.is_none() && !is_issued(&request) {
            self.approve(&request).await?;
        } else if approved.is_some() && condition(&request, "Failed").is_none() && !is_issued(&request) {
            self.sign(&request).await?;
        }
        let wait = clean::end_of_use(&request).and_then(|end| {
            self.context.now().duration_until(end).try_into().ok().filter(|wait: &std::time::Duration| !wait.is_zero())
        });
        Ok(Action::after(wait))
    }

    fn api(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.context.client.clone())
    }

    async fn approve(&self, request: &CertificateSigningRequest) -> Result<(), Error> {
        let Ok(asked) = SigningRequest::from_pem(&request.spec.request.0) else { return Ok(()) };
        for recognized in approve::recognize(request, &asked) {
            if self.is_allowed(request, recognized.permission).await? {
                return self.add_condition(request, "approval", "Approved", "AutoApproved", recognized.message).await;
            }
        }
        Ok(())
    }

    /// Whether the one who asks may `create` a part of certificate requests that exists as a permission only.
    async fn is_allowed(&self, request: &CertificateSigningRequest, permission: &str) -> Result<bool, Error> {
        let spec = &request.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some("certificates.k8s.io".into()),
                    resource: Some("certificatesigningrequests".into()),
                    subresource: Some(permission.into()),
                    verb: Some("create".into()),
                    version: Some("*".into()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let reviews: Api<SubjectAccessReview> = Api::all(self.context.client.clone());
        let answer = reviews.create(&post_params(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(&self, request: &CertificateSigningRequest) -> Result<(), Error> {
        let (Some(authority), Some(check)) = (&self.context.authority, signers::check_of(&request.spec.signer_name))
        else {
            return Ok(());
        };
        let usages = request.spec.usages.clone().unwrap_or_default();
        let made = SigningRequest::from_pem(&request.spec.request.0)
            .map_err(|error| error.to_string())
            .and_then(|asked| check(&asked, &usages).map(|()| asked))
            .and_then(|asked| self.issue(authority, request, &asked, &usages));
        match made {
            Ok(certificate) => {
                let status = json!({"certificate": STANDARD.encode(certificate)});
                self.write(request, "status", status).await
            }
            Err(problem) => self.add_condition(request, "status", "Failed", "SignerValidationFailure", &problem).await,
        }
    }

    fn issue(
        &self,
        authority: &Authority,
        request: &CertificateSigningRequest,
        asked: &SigningRequest,
        usages: &[String],
    ) -> Result<String, String> {
        let wanted = request.spec.expiration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
        let life = wanted.map_or(LONGEST, |wanted| wanted.clamp(SHORTEST, LONGEST));
        let made = authority.sign(asked, usages, life, &*self.context.clock);
        made.map_err(|error| format!("{error}"))
    }

    async fn add_condition(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
        kind: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        let so_far = request.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut conditions = vec![json!({"type": kind, "status": "True", "reason": reason, "message": message})];
        conditions.extend(so_far.iter().map(|condition| json!(condition)));
        self.write(request, subresource, json!({"conditions": conditions})).await
    }

    async fn write(
        &self,
        request: &CertificateSigningRequest,
        subresource: &str,
        status: serde_json::Value,
    ) -> Result<(), Error> {
        let name = request.name_any();
        let patch = json!({"metadata": {"resourceVersion": request.metadata.resource_version}, "status": status});
        let written = self.api().patch_subresource(subresource, &name, &patch_params(), &Patch::Merge(patch)).await?;
        self.requests.observe(written);
        Ok(())
    }
}
