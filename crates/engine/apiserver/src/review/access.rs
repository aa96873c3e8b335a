//! SubjectAccessReview and its relatives: what the authorizer says, without doing it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    authn::User,
    authz::{Attributes, Decision, Selectors},
    request::selector::{FieldSelector, LabelSelector, check_key, check_value},
    status::{Cause, Failure},
    verbs::Call,
};

/// About anybody.
pub fn subject(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    let spec = &review["spec"];
    let user = named_user(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        return Err(invalid(vec![Cause::required("spec.user", "at least one of user or group must be specified")]));
    }
    review["status"] = decide(call, spec, &user)?;
    Ok(())
}

/// About anybody, in one namespace.
pub fn local_subject(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    let namespace = &call.request.info.namespace;
    if review["spec"]["resourceAttributes"]["namespace"] != namespace.as_str() {
        let cause = Cause::invalid(
            "spec.resourceAttributes.namespace",
            &review["spec"]["resourceAttributes"]["namespace"],
            "must match metadata.namespace",
        );
        return Err(invalid(vec![cause]));
    }
    subject(call, review)
}

/// About the one who asks.
pub fn self_subject(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    review["status"] = decide(call, &review["spec"], &call.request.user)?;
    Ok(())
}

/// All that the one who asks may do in a namespace.
pub fn self_rules(call: &Call<'_>, review: &mut Value) -> Result<(), Failure> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Failure::bad_request("no namespace on request"));
    }
    let rules = call.server.authorizer.rules(&call.request.user, namespace);
    let resource: Vec<Value> = rules
        .resource
        .iter()
        .map(|rule| {
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": rule.api_groups, "resources": rule.resources});
            if !rule.resource_names.is_empty() {
                shown["resourceNames"] = json!(rule.resource_names);
            }
            shown
        })
        .collect();
    let non_resource: Vec<Value> =
        rules.non_resource.iter().map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths})).collect();
    let mut status =
        json!({"resourceRules": resource, "nonResourceRules": non_resource, "incomplete": rules.incomplete});
    if !rules.error.is_empty() {
        status["evaluationError"] = json!(rules.error);
    }
    review["status"] = status;
    Ok(())
}

fn named_user(spec: &Value) -> User {
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra: BTreeMap<String, Vec<String>> =
        spec["extra"].as_object().into_iter().flatten().map(|(key, value)| (key.clone(), strings(value))).collect();
    let text = |field: &str| spec[field].as_str().unwrap_or_default().to_owned();
    User { name: text("user"), uid: text("uid"), groups: strings(&spec["groups"]), extra }
}

fn decide(call: &Call<'_>, spec: &Value, user: &User) -> Result<Value, Failure> {
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() == path.is_object() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        return Err(invalid(vec![Cause::invalid("spec.resourceAttributes", "{}", detail)]));
    }
    for field in ["fieldSelector", "labelSelector"] {
        check_selector(field, &resource[field])?;
    }
    let mut problems = Vec::new();
    let fields = selector(&resource["fieldSelector"], FieldSelector::parse, FieldSelector::of_requirements);
    let fields = read(fields, "fieldSelector", FieldSelector::is_empty, &mut problems);
    let labels = selector(&resource["labelSelector"], LabelSelector::parse, LabelSelector::of_requirements);
    let labels = read(labels, "labelSelector", LabelSelector::is_empty, &mut problems);
    let text = |value: &'_ Value, field: &str| -> String { value[field].as_str().unwrap_or_default().to_owned() };
    let of = if resource.is_object() { resource } else { path };
    let [verb, group, version, plural, subresource, namespace, name, path_text] =
        ["verb", "group", "version", "resource", "subresource", "namespace", "name", "path"]
            .map(|field| text(of, field));
    let attributes = Attributes {
        user,
        verb: &verb,
        api_group: &group,
        api_version: if version.is_empty() { "*" } else { &version },
        resource: &plural,
        subresource: &subresource,
        namespace: &namespace,
        name: &name,
        path: &path_text,
        resource_request: resource.is_object(),
        selectors: Selectors { fields: fields.as_ref(), labels: labels.as_ref() },
    };
    let (allowed, denied, reason) = match call.server.authorizer.authorize(&attributes) {
        Decision::Allow { reason } => (true, false, reason),
        Decision::Deny { reason } => (false, true, reason),
        Decision::NoOpinion { reason } => (false, false, reason),
    };
    let mut status = json!({"allowed": allowed});
    if denied {
        status["denied"] = json!(true);
    }
    if !reason.is_empty() {
        status["reason"] = json!(reason);
    }
    if !problems.is_empty() {
        status["evaluationError"] = json!(problems.join("; "));
    }
    Ok(status)
}

/// A selector of a review, and whether something of it cannot be read: that narrows nothing.
fn selector<S>(
    of: &Value,
    parse: impl FnOnce(&str) -> Result<S, Failure>,
    of_requirements: impl FnOnce(&[Value]) -> (S, bool),
) -> Option<(Option<S>, bool)> {
    let requirements = of["requirements"].as_array().filter(|requirements| !requirements.is_empty());
    if let Some(requirements) = requirements {
        let (selector, is_partial) = of_requirements(requirements);
        return Some((Some(selector), is_partial));
    }
    let parsed = parse(of["rawSelector"].as_str()?).ok();
    let is_unreadable = parsed.is_none();
    Some((parsed, is_unreadable))
}

fn read<S>(
    found: Option<(Option<S>, bool)>,
    field: &str,
    is_empty: impl Fn(&S) -> bool,
    problems: &mut Vec<String>,
) -> Option<S> {
    let (selector, has_problem) = found?;
    let selector = selector.filter(|selector| !is_empty(selector));
    if has_problem {
        let how = if selector.is_some() { "partially ignored" } else { "ignored" };
        problems.push(format!("spec.resourceAttributes.{field} {how} due to parse error"));
    }
    selector
}

/// What is wrong with a selector's form. Operators that nobody knows yet are no mistake.
fn check_selector(field: &str, selector: &Value) -> Result<(), Failure> {
    if !selector.is_object() {
        return Ok(());
    }
    let path = format!("spec.resourceAttributes.{field}");
    let raw = selector["rawSelector"].as_str().is_some_and(|text| !text.is_empty());
    let requirements = selector["requirements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut causes = Vec::new();
    match (raw, requirements.is_empty()) {
        (true, false) => causes.push(Cause::invalid(
            &format!("{path}.rawSelector"),
            &selector["rawSelector"],
            "may not specified at the same time as requirements",
        )),
        (false, true) => causes.push(Cause::required(
            &format!("{path}.requirements"),
            &format!("when {path} is specified, requirements or rawSelector is required"),
        )),
        _ => {}
    }
    for (at, requirement) in requirements.iter().enumerate() {
        let path = format!("{path}.requirements[{at}]");
        let values = requirement["values"].as_array().is_some_and(|values| !values.is_empty());
        if requirement["key"].as_str().is_none_or(str::is_empty) {
            causes.push(Cause::required(&format!("{path}.key"), "must be specified"));
        }
        match requirement["operator"].as_str() {
            Some("In" | "NotIn") if !values => causes.push(Cause::required(
                &format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            Some("Exists" | "DoesNotExist") if values => causes.push(Cause::forbidden(
                &format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            _ => {}
        }
        if field == "labelSelector" {
            label_problems(&path, requirement, &mut causes);
        }
    }
    if causes.is_empty() { Ok(()) } else { Err(invalid(causes)) }
}

fn label_problems(path: &str, requirement: &Value, causes: &mut Vec<Cause>) {
    let key = requirement["key"].as_str().unwrap_or_default();
    if let Err(why) = check_key(key) {
        causes.push(Cause::invalid(&format!("{path}.key"), format!("{key:?}"), why));
    }
    let values = requirement["values"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for (at, value) in values.enumerate() {
        if let Err(why) = check_value(value) {
            causes.push(Cause::invalid(&format!("{path}.values[{at}]"), format!("{value:?}"), why));
        }
    }
}

/// Upstream leaves the kind out.
fn invalid(causes: Vec<Cause>) -> Failure {
    Failure::invalid("authorization.k8s.io", "", "", causes)
}
