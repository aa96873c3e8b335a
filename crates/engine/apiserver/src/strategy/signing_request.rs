//! Certificate requests: what is asked must be a request, for uses and of a signer that can be.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_certs::{SigningRequest, is_key_usage};
use serde_json::{Value, json};

use super::{Hold, Strategy};
use crate::{
    server::Inner,
    status::{Cause, Failure},
};

const SHORTEST_SECONDS: i64 = 600;

/// See the module.
#[derive(Debug)]
pub struct SigningRequestStrategy;

impl Strategy for SigningRequestStrategy {
    fn prepare_create(&self, _: &Inner, object: &mut Value) -> Result<Hold, Failure> {
        object["status"] = json!({});
        Ok(None)
    }

    fn validate_create(&self, object: &Value) -> Vec<Cause> {
        let spec = &object["spec"];
        let mut causes = Vec::new();
        let pem = spec["request"].as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        if let Err(error) = SigningRequest::from_pem(&pem) {
            causes.push(Cause::invalid("spec.request", "<request data>", &error.to_string()));
        }
        let usages: Vec<&str> = spec["usages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if usages.is_empty() {
            causes.push(Cause::required("spec.usages", ""));
        }
        for (at, usage) in usages.iter().enumerate() {
            let field = format!("spec.usages[{at}]");
            if !is_key_usage(usage) {
                let (reason, message) = ("FieldValueNotSupported".into(), format!("Unsupported value: {usage:?}"));
                causes.push(Cause { reason, message, field });
            } else if usages[..at].contains(usage) {
                let (reason, message) = ("FieldValueDuplicate".into(), format!("Duplicate value: {usage:?}"));
                causes.push(Cause { reason, message, field });
            }
        }
        let signer = spec["signerName"].as_str().unwrap_or_default();
        if signer == "kubernetes.io/legacy-unknown" {
            let detail = "the legacy signerName is not allowed via this API version";
            causes.push(Cause::invalid("spec.signerName", format!("{signer:?}"), detail));
        } else if !is_signer(signer) {
            let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            causes.push(Cause::invalid("spec.signerName", format!("{signer:?}"), detail));
        }
        if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|seconds| *seconds < SHORTEST_SECONDS) {
            let detail = "may not specify a duration less than 600 seconds (10 minutes)";
            causes.push(Cause::invalid("spec.expirationSeconds", seconds, detail));
        }
        causes
    }
}

fn is_signer(name: &str) -> bool {
    let Some((domain, path)) = name.split_once('/') else { return false };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:_".contains(&b));
    domain.contains('.') && word(domain) && word(path)
}
