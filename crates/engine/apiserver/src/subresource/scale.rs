//! Scale: how many replicas, the same for every kind that has them.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    object,
    request::query::WriteOptions,
    response::Answer,
    status::{Cause, Failure},
    verbs::{
        Call, incoming,
        modify::{Proposal, modify},
        patch::{self, Patch},
    },
};

/// Where a kind keeps what its scale shows.
pub struct Scale {
    spec: String,
    status: String,
    /// Where the selector is as a text; otherwise it is where built-in kinds have theirs.
    selector: Option<String>,
    is_builtin: bool,
}

impl Scale {
    /// `None` for kinds without a scale.
    pub fn of(call: &Call<'_>) -> Option<Self> {
        let Some(custom) = &call.resource.kind.custom else {
            let (spec, status) = ("spec.replicas".into(), "status.replicas".into());
            return Some(Self { spec, status, selector: None, is_builtin: true });
        };
        let scale = custom.scale.as_ref()?;
        let path = |text: &str| text.trim_start_matches('.').to_owned();
        Some(Self {
            spec: path(&scale.spec_replicas),
            status: path(&scale.status_replicas),
            selector: scale.label_selector.as_deref().map(path),
            is_builtin: false,
        })
    }

    /// The scale of an object.
    pub fn show(&self, value: &Value) -> Value {
        let metadata = &value["metadata"];
        let mut shown = json!({"name": metadata["name"]});
        for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = metadata.get(field) {
                shown[field] = value.clone();
            }
        }
        let number = |path: &str| object::lookup(value, path).and_then(Value::as_i64).unwrap_or(0);
        let mut status = json!({"replicas": number(&self.status)});
        let selector = match &self.selector {
            Some(path) => object::lookup(value, path).and_then(Value::as_str).map(str::to_owned),
            None if self.is_builtin => Some(selector_text(&value["spec"]["selector"])),
            None => None,
        };
        if let Some(selector) = selector.filter(|text| !text.is_empty()) {
            status["selector"] = json!(selector);
        }
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": shown,
            "spec": {"replicas": number(&self.spec)}, "status": status,
        })
    }

    /// Gives the object as many replicas as a scale says.
    pub fn set(&self, value: &mut Value, scale: &Value) -> Result<(), Failure> {
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let cause = Cause::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
            return Err(Failure::invalid("autoscaling", "Scale", object::name(value), vec![cause]));
        }
        set_path(value, &self.spec, json!(replicas));
        Ok(())
    }
}

/// Shows or changes the scale of the object the path names.
pub async fn answer(call: &Call<'_>) -> Result<Answer, Failure> {
    let of_kind = Scale::of(call).ok_or_else(Failure::no_such_resource)?;
    if call.request.info.verb == "get" {
        let value = call.served_value(&*call.record()?).await?;
        return show(call, &of_kind.show(&value));
    }
    let options = WriteOptions::parse(&call.request.query)?;
    let change = Change::parse(call)?;
    let written = modify(call, &options, |live| {
        let wanted = change.apply(call, of_kind.show(live))?;
        let mut value = live.clone();
        of_kind.set(&mut value, &wanted)?;
        let version = wanted["metadata"].get("resourceVersion").cloned();
        object::set_meta(&mut value, "resourceVersion", version);
        Ok(Proposal { value, managed: false })
    })
    .await?;
    let value: Value = serde_json::from_slice(&written.bytes(call).await?).map_err(Failure::internal)?;
    show(call, &of_kind.show(&value))
}

fn show(call: &Call<'_>, scale: &Value) -> Result<Answer, Failure> {
    call.show(StatusCode::OK, object::encode_plain(scale).into())
}

enum Change {
    Whole(Value),
    Patch(Patch),
}

impl Change {
    fn parse(call: &Call<'_>) -> Result<Self, Failure> {
        let request = call.request;
        if request.info.verb == "patch" && !patch::is_apply(request) {
            return Patch::parse(call).map(Self::Patch);
        }
        if patch::is_apply(request) {
            let decoded = coracle_schema::decode::yaml(&request.body, None);
            return decoded
                .map(|decoded| Self::Whole(decoded.value))
                .map_err(|error| Failure::bad_request(error.to_string()));
        }
        if request.body.is_empty() {
            return Err(Failure::bad_request("the body of the request was empty"));
        }
        incoming::document(request, "io.k8s.api.autoscaling.v1.Scale").map(Self::Whole)
    }

    fn apply(&self, call: &Call<'_>, scale: Value) -> Result<Value, Failure> {
        match self {
            Self::Whole(value) => Ok(value.clone()),
            Self::Patch(patch) => patch.apply_as_merge(call, &scale),
        }
    }
}

/// A LabelSelector, or a plain map of labels, as a selector's text.
pub fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { &selector["matchLabels"] } else { selector };
    let mut terms: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        terms.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

fn set_path(value: &mut Value, path: &str, to: Value) {
    let mut at = value;
    for step in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[step];
    }
    *at = to;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_written_as_text() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "NotIn", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}]});
        assert_eq!(selector_text(&selector), "a=b,c notin (d,e),!f");
        assert_eq!(selector_text(&json!({"x": "y"})), "x=y");
    }
}
