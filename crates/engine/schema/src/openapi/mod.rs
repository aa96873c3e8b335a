//! OpenAPI documents, version 2 and 3, made from the types when somebody asks: nothing of them is kept here.

mod merge;
mod paths;
mod schemas;
mod wire;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::kinds::{self, Kind};
pub use merge::merge_v2;
use schemas::Writer;
pub use wire::v2_protobuf;

/// The two versions differ in where schemas live and in what a reference may stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V2,
    V3,
}

impl Version {
    fn reference(self, definition: &str) -> String {
        match self {
            Version::V2 => format!("#/definitions/{definition}"),
            Version::V3 => format!("#/components/schemas/{definition}"),
        }
    }
}

/// The OpenAPI name of a kind: built-in kinds have one, custom ones get theirs from their group turned round.
fn definition(kind: &Kind) -> String {
    if kind.is_builtin() {
        return kinds::definition_name(&kind.group, &kind.version, &kind.kind);
    }
    let group: Vec<&str> = kind.group.rsplit('.').collect();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

fn list_definition(kind: &Kind) -> String {
    let definition = definition(kind);
    let package = definition.strip_suffix(&*kind.kind).unwrap_or(&definition);
    format!("{package}{}", kind.list_kind)
}

fn group_version_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "kind": kind, "version": version})
}

/// The whole server in one Swagger 2.0 document.
pub fn v2(kinds: &[&Kind]) -> Value {
    let mut paths = Map::new();
    for kind in kinds {
        paths.append(&mut paths::of_kind(kind, Version::V2));
    }
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": definitions(kinds, Version::V2),
        "securityDefinitions": {"BearerToken": bearer_token()},
        "security": [{"BearerToken": []}],
    })
}

/// The document of one group and version: `apps/v1`, or `v1` for the core group.
pub fn v3(kinds: &[&Kind], group_version: &str) -> Value {
    let kinds: Vec<&Kind> = kinds.iter().copied().filter(|kind| kind.api_version() == group_version).collect();
    let mut paths = Map::new();
    for kind in &kinds {
        paths.append(&mut paths::of_kind(kind, Version::V3));
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "components": {
            "schemas": definitions(&kinds, Version::V3),
            "securitySchemes": {"BearerToken": bearer_token()},
        },
    })
}

fn bearer_token() -> Value {
    json!({"type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication"})
}

fn definitions(kinds: &[&Kind], version: Version) -> BTreeMap<String, Value> {
    let mut writer = Writer::new(version);
    for kind in kinds {
        writer.kind(kind);
    }
    for shared in ["Status", "DeleteOptions", "ListMeta", "Patch", "ObjectMeta"] {
        writer.definition(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{shared}"));
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
