//! Paths and their operations. Clients look here for a resource's kind, and for which query parameters its verbs take.

use serde_json::{Map, Value, json};

use super::{Version, definition, group_version_kind, list_definition};
use crate::kinds::{self, Kind, Subresource};

/// All paths of a kind.
pub(super) fn of_kind(kind: &Kind, version: Version) -> Map<String, Value> {
    let prefix = if kind.group.is_empty() { "/api" } else { "/apis" };
    let base = format!("{prefix}/{}", kind.api_version());
    let namespaced = format!("{base}/namespaces/{{namespace}}/{}", kind.plural);
    let everywhere = format!("{base}/{}", kind.plural);
    let home = if kind.namespaced { &namespaced } else { &everywhere };
    let writer = Writer { kind, version };
    let mut paths = Map::new();
    let has = |verb: &str| kind.verbs.contains(&verb);
    if kind.namespaced && has("list") {
        paths.insert(everywhere.clone(), json!({"get": writer.operation("list", None)}));
    }
    let mut collection = Map::new();
    for (verb, method) in [("list", "get"), ("create", "post"), ("deletecollection", "delete")] {
        if has(verb) {
            collection.insert(method.to_owned(), writer.operation(verb, None));
        }
    }
    paths.insert(home.clone(), with_parameters(collection, version, kind.namespaced, false));
    let mut item = Map::new();
    for (verb, method) in [("get", "get"), ("update", "put"), ("patch", "patch"), ("delete", "delete")] {
        if has(verb) {
            item.insert(method.to_owned(), writer.operation(verb, None));
        }
    }
    if !item.is_empty() {
        paths.insert(format!("{home}/{{name}}"), with_parameters(item, version, kind.namespaced, true));
    }
    for subresource in &kind.subresources {
        let mut methods = Map::new();
        for (verb, method) in
            [("get", "get"), ("create", "post"), ("update", "put"), ("patch", "patch"), ("delete", "delete")]
        {
            if subresource.verbs.contains(&verb) {
                methods.insert(method.to_owned(), writer.operation(verb, Some(subresource)));
            }
        }
        let path = format!("{home}/{{name}}/{}", subresource.name);
        paths.insert(path, with_parameters(methods, version, kind.namespaced, true));
    }
    paths
}

fn with_parameters(mut methods: Map<String, Value>, version: Version, namespaced: bool, named: bool) -> Value {
    let mut parameters = Vec::new();
    for (name, _) in [("name", named), ("namespace", namespaced)].iter().filter(|(_, wanted)| *wanted) {
        let mut parameter = json!({"name": name, "in": "path", "required": true});
        match version {
            Version::V2 => parameter["type"] = json!("string"),
            Version::V3 => parameter["schema"] = json!({"type": "string"}),
        }
        parameters.push(parameter);
    }
    if !parameters.is_empty() {
        methods.insert("parameters".to_owned(), Value::Array(parameters));
    }
    Value::Object(methods)
}

struct Writer<'a> {
    kind: &'a Kind,
    version: Version,
}

impl Writer<'_> {
    fn operation(&self, verb: &str, subresource: Option<&Subresource>) -> Value {
        let kind = self.kind;
        let body = subresource.and_then(|subresource| subresource.body);
        let (group, version, name) = body.unwrap_or((&kind.group, &kind.version, &kind.kind));
        let action = match verb {
            "create" => "post",
            "update" => "put",
            other => other,
        };
        let result = match (body, verb) {
            (_, "list") => list_definition(kind),
            (_, "delete" | "deletecollection") => "io.k8s.apimachinery.pkg.apis.meta.v1.Status".to_owned(),
            (Some((group, version, name)), _) => kinds::definition_name(group, version, name),
            (None, _) => definition(kind),
        };
        let input = match verb {
            "create" | "update" => Some(result.clone()),
            "patch" => Some("io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned()),
            "delete" | "deletecollection" => Some("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned()),
            _ => None,
        };
        let suffix = subresource.map_or("", |subresource| subresource.name);
        let mut operation = json!({
            "operationId": format!("{verb}{}{}{}{suffix}", title(&kind.group), title(&kind.version), kind.kind),
            "parameters": self.parameters(verb),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(group, version, name),
        });
        // Streams and proxies answer with whatever is behind them.
        let is_connection = body.is_some_and(|(_, _, name)| name.ends_with("Options"));
        let result = (!is_connection && suffix != "log").then_some(result);
        self.bodies(&mut operation, verb, input.filter(|_| !is_connection), result);
        operation
    }

    fn bodies(&self, operation: &mut Value, verb: &str, input: Option<String>, result: Option<String>) {
        let reference = |name: &str| json!({"$ref": self.version.reference(name)});
        let accepted: &[&str] = match verb {
            "patch" => &[
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ],
            _ => &["*/*"],
        };
        let mut answer = json!({"description": "OK"});
        match self.version {
            Version::V2 => {
                operation["consumes"] = json!(accepted);
                operation["produces"] = json!(["application/json", "application/yaml"]);
                if let (Some(input), Some(parameters)) = (input, operation["parameters"].as_array_mut()) {
                    let required = !verb.starts_with("delete");
                    parameters
                        .push(json!({"name": "body", "in": "body", "required": required, "schema": reference(&input)}));
                }
                if let Some(result) = result {
                    answer["schema"] = reference(&result);
                }
            }
            Version::V3 => {
                if let Some(input) = input {
                    for media_type in accepted {
                        operation["requestBody"]["content"][*media_type] = json!({"schema": reference(&input)});
                    }
                }
                if let Some(result) = result {
                    answer["content"] = json!({"application/json": {"schema": reference(&result)}});
                }
            }
        }
        operation["responses"] = json!({"200": answer, "401": {"description": "Unauthorized"}});
    }

    fn parameters(&self, verb: &str) -> Value {
        let names: &[&str] = match verb {
            "list" | "deletecollection" => &[
                "allowWatchBookmarks",
                "continue",
                "fieldSelector",
                "labelSelector",
                "limit",
                "resourceVersion",
                "resourceVersionMatch",
                "sendInitialEvents",
                "timeoutSeconds",
                "watch",
            ],
            "create" | "update" => &["dryRun", "fieldManager", "fieldValidation", "pretty"],
            "patch" => &["dryRun", "fieldManager", "fieldValidation", "force", "pretty"],
            "delete" => &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"],
            _ => &["pretty"],
        };
        let parameter = |name: &&str| {
            let kind = match *name {
                "allowWatchBookmarks" | "sendInitialEvents" | "watch" | "force" | "orphanDependents" => "boolean",
                "limit" | "timeoutSeconds" | "gracePeriodSeconds" => "integer",
                _ => "string",
            };
            match self.version {
                Version::V2 => json!({"name": name, "in": "query", "type": kind, "uniqueItems": true}),
                Version::V3 => json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}}),
            }
        };
        Value::Array(names.iter().map(parameter).collect())
    }
}

/// `networking.k8s.io` as part of an operation's name: `NetworkingK8sIo`.
fn title(text: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    };
    text.split(['.', '-']).map(part).collect()
}
