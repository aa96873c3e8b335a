//! Label selectors as objects carry them.

use serde_json::Value;

use super::field::Findings;
use super::{list, metadata, names, text};

pub(super) fn check(selector: &Value, path: &str, findings: &mut Findings) {
    metadata::labels(&selector["matchLabels"], &format!("{path}.matchLabels"), findings);
    for (index, expression) in list(&selector["matchExpressions"]).iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let has_values = !list(&expression["values"]).is_empty();
        match text(&expression["operator"]) {
            "In" | "NotIn" if !has_values => {
                findings.required(&format!("{path}.values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if has_values => {
                let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                findings.forbidden(&format!("{path}.values"), words);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => findings.invalid(&format!("{path}.operator"), other, "not a valid selector operator"),
        }
        let key = text(&expression["key"]);
        findings.invalid_each(&format!("{path}.key"), key, names::qualified_name(key));
        for (index, value) in list(&expression["values"]).iter().map(text).enumerate() {
            findings.invalid_each(&format!("{path}.values[{index}]"), value, names::label_value(value));
        }
    }
}

pub(super) fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].as_object().is_none_or(|labels| labels.is_empty())
        && list(&selector["matchExpressions"]).is_empty()
}

/// Whether every expression is one that can be evaluated.
pub(super) fn is_readable(selector: &Value) -> bool {
    list(&selector["matchExpressions"]).iter().all(|expression| {
        let has_values = !list(&expression["values"]).is_empty();
        let fits = match text(&expression["operator"]) {
            "In" | "NotIn" => has_values,
            "Exists" | "DoesNotExist" => !has_values,
            _ => false,
        };
        fits && names::qualified_name(text(&expression["key"])).is_empty()
    })
}

/// Whether a label selector (`matchLabels`, `matchExpressions`) selects these labels. An empty one selects everything.
pub fn matches(selector: &Value, labels: &Value) -> bool {
    let mut exact = selector["matchLabels"].as_object().into_iter().flatten();
    exact.all(|(key, value)| labels.get(key) == Some(value))
        && list(&selector["matchExpressions"]).iter().all(|expression| {
            let value = labels.get(text(&expression["key"]));
            let listed = || value.is_some_and(|value| list(&expression["values"]).contains(value));
            match text(&expression["operator"]) {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}
