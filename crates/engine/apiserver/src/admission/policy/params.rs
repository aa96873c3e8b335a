//! The objects that parametrize a policy: named by a binding, or selected.

use coracle_store::Record;
use serde_json::Value;
use std::sync::Arc;

use crate::{
    admission::Attributes, registry::Resource, request::selector::LabelSelector, subresource::selector_text,
    verbs::served_value,
};

/// The kind of a policy's parameters.
#[derive(Clone, Debug)]
pub struct ParamKind {
    /// `v1`, `example.com/v1`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
}

impl ParamKind {
    /// Reads `paramKind`.
    pub fn parse(value: &Value) -> Option<Self> {
        let text = |field: &str| value[field].as_str().map(str::to_owned);
        Some(Self { api_version: text("apiVersion")?, kind: text("kind")? })
    }

    /// The resource, where one of that kind is served.
    pub fn resource(&self, request: &Attributes<'_>) -> Option<Arc<Resource>> {
        let (group, version) = self.api_version.split_once('/').unwrap_or(("", &self.api_version));
        request.server.registry.served().find_kind(group, version, &self.kind).cloned()
    }
}

/// The parameters to evaluate a policy with, one after the other; null stands for none. The error is one of configuration.
pub async fn collect(
    request: &Attributes<'_>,
    kind: Option<&ParamKind>,
    reference: &Value,
) -> Result<Vec<Value>, String> {
    let Some(kind) = kind.filter(|_| reference.is_object()) else { return Ok(vec![Value::Null]) };
    let resource = kind.resource(request).ok_or_else(|| {
        format!("paramKind kind `&ParamKind{{APIVersion:{},Kind:{},}}` not known", kind.api_version, kind.kind)
    })?;
    let namespace = namespace(request, &resource, reference)?;
    let records = match reference["name"].as_str().filter(|name| !name.is_empty()) {
        Some(name) => request.server.store.get(&resource.key(&namespace, name)).into_iter().collect(),
        None => selected(request, &resource, &namespace, &reference["selector"])?,
    };
    let mut params = Vec::new();
    for record in records {
        params.push(served_value(&resource, &record).await.map_err(|failure| failure.message)?);
    }
    if params.is_empty() && reference["parameterNotFoundAction"] == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(params)
}

fn namespace(request: &Attributes<'_>, resource: &Resource, reference: &Value) -> Result<String, String> {
    let named = reference["namespace"].as_str().unwrap_or_default();
    match (resource.kind.namespaced, named) {
        (false, "") => Ok(String::new()),
        (false, _) => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        (true, "") if request.namespace.is_empty() => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned())
        }
        (true, "") => Ok(request.namespace.to_owned()),
        (true, named) => Ok(named.to_owned()),
    }
}

fn selected(
    request: &Attributes<'_>,
    resource: &Resource,
    namespace: &str,
    selector: &Value,
) -> Result<Vec<Arc<Record>>, String> {
    if !selector.is_object() {
        return Err("one of name or selector must be provided".to_owned());
    }
    let selector = LabelSelector::parse(&selector_text(selector)).map_err(|failure| failure.message)?;
    let snapshot = request.server.store.snapshot();
    let scope = resource.scope(namespace);
    let all = snapshot.list(&scope);
    Ok(all.filter(|record| selector.matches(|key| record.label(key))).cloned().collect())
}
