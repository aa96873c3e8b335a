//! Conversion of custom resources between their versions by a webhook: a server of somebody else's, which is asked with
//! ConversionReviews of both versions.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{names, object, reach::Reach, remote::Remote, status::Failure};

const GROUP: &str = "apiextensions.k8s.io";
const TIMEOUT: Duration = Duration::from_secs(30);
/// The versions of ConversionReview that are spoken here.
const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// The webhook of one definition.
pub struct ConversionHook {
    remote: Result<Remote, String>,
    review_version: &'static str,
}

impl std::fmt::Debug for ConversionHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConversionHook({})", self.review_version)
    }
}

impl ConversionHook {
    /// The webhook that `spec.conversion` of a definition describes; `None` where it describes none.
    pub fn parse(reach: &Reach, conversion: &Value) -> Option<Self> {
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let webhook = &conversion["webhook"];
        let versions =
            || webhook["conversionReviewVersions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let known = versions().find_map(|asked| REVIEW_VERSIONS.into_iter().find(|ours| *ours == asked));
        Some(Self {
            remote: Remote::from_client_config(reach, &webhook["clientConfig"]).map_err(|error| error.to_string()),
            review_version: known.unwrap_or("v1"),
        })
    }

    /// Objects in the version `to`. Those that are in it already are left alone; the others are asked about together.
    pub async fn convert(&self, mut objects: Vec<Value>, to: &str) -> Result<Vec<Value>, Failure> {
        let others: Vec<usize> = (0..objects.len()).filter(|at| objects[*at]["apiVersion"] != to).collect();
        let Some(first) = others.first() else { return Ok(objects) };
        let of = gvk(&objects[*first]);
        let failed = |why: String| Failure::plain(500, "", format!("conversion webhook for {of} failed: {why}"));
        let asked: Vec<&Value> = others.iter().map(|at| &objects[*at]).collect();
        let answer = self.ask(&asked, to).await.map_err(failed)?;
        if answer.len() != asked.len() {
            let (given, wanted) = (answer.len(), asked.len());
            let text = format!("conversion webhook for {of} returned {given} objects, expected {wanted}");
            return Err(Failure::plain(500, "", text));
        }
        for (at, mut converted) in others.into_iter().zip(answer) {
            restore(&objects[at], &mut converted, to).map_err(|why| {
                let text =
                    format!("conversion webhook for {of} returned invalid converted object at index {at}: {why}");
                Failure::plain(500, "", text)
            })?;
            objects[at] = converted;
        }
        Ok(objects)
    }

    async fn ask(&self, objects: &[&Value], to: &str) -> Result<Vec<Value>, String> {
        let remote = self.remote.as_ref().map_err(Clone::clone)?;
        let (uid, api_version) = (names::uid(), format!("{GROUP}/{}", self.review_version));
        let review = json!({
            "kind": "ConversionReview", "apiVersion": api_version,
            "request": {"uid": uid, "desiredAPIVersion": to, "objects": objects},
        });
        let answer = remote.post(review.to_string().into_bytes(), TIMEOUT).await.map_err(|error| error.to_string())?;
        let response = &answer["response"];
        if !response.is_object() {
            return Err("no response provided".into());
        }
        if response["uid"] != uid.as_str() {
            let given = response["uid"].as_str().unwrap_or_default();
            return Err(format!("expected response.uid={uid:?}, got {given:?}"));
        }
        if response["result"]["status"] != "Success" {
            return Err(match response["result"]["message"].as_str() {
                Some(message) if !message.is_empty() => message.to_owned(),
                _ => format!("response.result.status was '{}', not 'Success'", text(&response["result"]["status"])),
            });
        }
        Ok(response["convertedObjects"].as_array().cloned().unwrap_or_default())
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn gvk(object: &Value) -> String {
    format!("{}, Kind={}", text(&object["apiVersion"]), text(&object["kind"]))
}

/// Checks a converted object, and gives it back the metadata that is not the webhook's to change: of metadata it may convert
/// labels and annotations only.
fn restore(original: &Value, converted: &mut Value, to: &str) -> Result<(), String> {
    if converted["apiVersion"] != to || converted["kind"] != original["kind"] {
        return Err(format!("expected {to}, Kind={}, got {}", text(&original["kind"]), gvk(converted)));
    }
    for field in ["name", "namespace", "uid"] {
        let (before, after) = (object::meta_text(original, field), object::meta_text(converted, field));
        if before != after {
            return Err(format!("must have the same {field}: {before} != {after}"));
        }
    }
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match converted["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_and_annotations_are_the_webhooks_to_change() {
        let original = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "uid": "u", "generation": 3, "labels": {"a": "b"}}});
        let mut converted = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "n", "uid": "u", "generation": 9, "annotations": {"x": "y"}}, "spec": {}});
        restore(&original, &mut converted, "g/v2").unwrap();
        let expected = json!({"name": "n", "uid": "u", "generation": 3, "annotations": {"x": "y"}});
        assert_eq!(converted["metadata"], expected);
        let mut renamed = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "m", "uid": "u"}});
        assert_eq!(restore(&original, &mut renamed, "g/v2").unwrap_err(), "must have the same name: n != m");
    }
}
