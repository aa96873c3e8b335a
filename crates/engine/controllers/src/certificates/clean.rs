//! When nobody needs a request any more, as upstream has it: an hour after its end, a day where nothing came of it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::{certificate, condition, is_issued};

const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const UNDECIDED: SignedDuration = SignedDuration::from_hours(24);

/// The moment from which on a request may go.
pub fn end_of_use(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let updated = |kind: &str| Some(condition(request, kind)?.last_update_time.as_ref()?.0);
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let issued = is_issued(request);
    let approved = updated("Approved").map(|at| at + if issued { DECIDED } else { UNDECIDED });
    let refused = ["Denied", "Failed"].into_iter().filter_map(updated).map(|at| at + DECIDED).min();
    let is_pending = request.status.as_ref().is_none_or(|status| status.conditions.iter().flatten().next().is_none());
    let pending = created.filter(|_| is_pending).map(|at| at + UNDECIDED);
    let expired = certificate(request).and_then(ends);
    [approved, refused, pending, expired].into_iter().flatten().min()
}

/// When a certificate ends.
fn ends(pem: &[u8]) -> Option<Timestamp> {
    coracle_certs::end_of_life(pem)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(status: serde_json::Value, expected: &str) {
        let request = json!({
            "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"request": "", "signerName": "a/b"}, "status": status,
        });
        let end = end_of_use(&serde_json::from_value(request).unwrap());
        assert_eq!(end.map(|end| end.to_string()).unwrap_or_default(), expected);
    }

    #[test]
    fn requests_are_kept_for_a_while() {
        let at = |kind: &str| json!({"type": kind, "status": "True", "lastUpdateTime": "2026-01-01T10:00:00Z"});
        check(json!({}), "2026-01-02T00:00:00Z");
        check(json!({"conditions": [at("Denied")]}), "2026-01-01T11:00:00Z");
        check(json!({"conditions": [at("Approved")]}), "2026-01-02T10:00:00Z");
        check(json!({"conditions": [at("Approved")], "certificate": "eA=="}), "2026-01-01T11:00:00Z");
        check(json!({"conditions": [at("Approved"), at("Failed")]}), "2026-01-01T11:00:00Z");
    }
}
