//! Other views of objects: tables for people, metadata alone for those who need no more.

use bytes::Bytes;
use coracle_schema::table;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{
    registry::Resource,
    request::{Request, accept::Shape},
    status::Failure,
};

/// One object in the shape the client wants.
pub fn one(resource: &Resource, request: &Request, object: &Value, now: Timestamp) -> Value {
    match request.accept.shape {
        Shape::Whole => object.clone(),
        Shape::Partial => partial(request, object),
        Shape::Table => {
            let metadata = json!({"resourceVersion": object["metadata"]["resourceVersion"]});
            rows(resource, request, std::slice::from_ref(object), metadata, now)
        }
    }
}

/// A list in the shape the client wants.
pub fn many(resource: &Resource, request: &Request, items: &[Value], metadata: Value, now: Timestamp) -> Value {
    match request.accept.shape {
        Shape::Table => rows(resource, request, items, metadata, now),
        _ => {
            let items: Vec<Value> = items.iter().map(|item| partial(request, item)).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": version(request), "metadata": metadata, "items": items})
        }
    }
}

/// An object's metadata alone, cut out of its JSON without decoding it.
pub fn partial_json(request: &Request, json: &[u8]) -> Result<Bytes, Failure> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: Option<&'a RawValue>,
    }
    let whole: Whole<'_> = serde_json::from_slice(json).map_err(Failure::internal)?;
    let metadata = whole.metadata.map_or("{}", RawValue::get);
    let version = version(request);
    let partial =
        format!("{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"{version}\",\"metadata\":{metadata}}}");
    Ok(partial.into())
}

/// A bookmark's object.
pub fn bookmark(resource: &Resource, request: &Request, metadata: Value) -> Value {
    match request.accept.shape {
        Shape::Whole => json!({"kind": resource.kind.kind, "apiVersion": resource.api_version, "metadata": metadata}),
        Shape::Partial => {
            json!({"kind": "PartialObjectMetadata", "apiVersion": version(request), "metadata": metadata})
        }
        // A table has no metadata of one object: the row's object carries the annotation.
        Shape::Table => json!({
            "kind": "Table", "apiVersion": version(request), "columnDefinitions": null,
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "rows": [{"cells": [], "object": {"kind": "PartialObjectMetadata", "apiVersion": version(request), "metadata": metadata}}],
        }),
    }
}

/// The version of meta.k8s.io that a client wants tables and partial objects in.
pub fn version(request: &Request) -> &'static str {
    if request.accept.beta { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
}

fn partial(request: &Request, object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": version(request), "metadata": object["metadata"]})
}

fn rows(resource: &Resource, request: &Request, items: &[Value], metadata: Value, now: Timestamp) -> Value {
    let include = request.query.get("includeObject").unwrap_or("Metadata");
    let rows: Vec<Value> = items
        .iter()
        .map(|item| {
            let mut row = json!({"cells": table::cells(&resource.kind, item, now.as_second())});
            match include {
                "None" => {}
                "Object" => row["object"] = item.clone(),
                _ => row["object"] = partial(request, item),
            }
            row
        })
        .collect();
    let columns: Vec<Value> = table::columns(&resource.kind)
        .iter()
        .map(|column| {
            json!({
                "name": column.name, "type": column.kind, "format": column.format,
                "description": column.description, "priority": column.priority,
            })
        })
        .collect();
    json!({"kind": "Table", "apiVersion": version(request), "metadata": metadata, "columnDefinitions": columns, "rows": rows})
}
