//! Manifests written for the main environment, adapted to a preview: it lives in its own namespace and answers to its
//! own host, or the two would fight over one.

use serde_json::Value;

use crate::manifest::Kind;
use crate::names::Environment;

pub(super) fn adapt(object: &mut Value, environment: &Environment) {
    if environment.preview.is_empty() {
        return;
    }
    let kind = Kind::of(object);
    if kind.kind == "Namespace" && kind.group.is_empty() {
        if object.pointer("/metadata/name").and_then(Value::as_str) == Some(&environment.app)
            && let Some(name) = object.pointer_mut("/metadata/name")
        {
            *name = environment.name().into();
        }
        return;
    }
    if let Some(namespace) = object.pointer_mut("/metadata/namespace") {
        *namespace = environment.name().into();
    }
    if kind.group == "networking.k8s.io" && kind.kind == "Ingress" {
        for rule in array_mut(object, "/spec/rules") {
            prefix_host(rule.get_mut("host"), &environment.preview);
        }
        for tls in array_mut(object, "/spec/tls") {
            for host in tls.get_mut("hosts").and_then(Value::as_array_mut).into_iter().flatten() {
                prefix_host(Some(host), &environment.preview);
            }
        }
    }
}

fn array_mut<'a>(object: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    object.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

fn prefix_host(host: Option<&mut Value>, preview: &str) {
    if let Some(host) = host
        && let Some(name) = host.as_str().filter(|name| !name.is_empty() && !name.starts_with('*'))
    {
        *host = format!("{preview}.{name}").into();
    }
}
