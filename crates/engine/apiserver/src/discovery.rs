//! What is served, told to clients: every group at once (aggregated), or document by document.

use std::sync::Arc;

use bytes::Bytes;
use coracle_schema::Kind;
use http::{HeaderValue, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use crate::{
    aggregate::{self, Foreign, Known},
    registry::{Resource, Served},
    request::{Request, accept},
    response::{self, Answer},
    server::Server,
    status::Failure,
};

/// The aggregated documents of one generation of what is served.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Option<Arc<Documents>>>);

#[derive(Debug)]
struct Documents {
    /// Of what is served here, and by others.
    generation: (u64, u64),
    core: Document,
    groups: Document,
}

#[derive(Debug)]
struct Document {
    /// The list's items, as JSON text: the two versions differ in their head only.
    items: String,
    etag: String,
}

impl Cache {
    fn documents(&self, served: &Served, others: &Known) -> Arc<Documents> {
        let generation = (served.generation, others.generation);
        let mut cached = self.0.lock();
        if let Some(documents) = cached.as_ref().filter(|documents| documents.generation == generation) {
            return documents.clone();
        }
        let items = |core: bool| -> Value {
            groups(served, others).iter().filter(|group| group.name.is_empty() == core).map(aggregated).collect()
        };
        let document = |items: Value| {
            let items = items.to_string();
            Document { etag: etag(items.as_bytes()), items }
        };
        let fresh = Arc::new(Documents { generation, core: document(items(true)), groups: document(items(false)) });
        *cached = Some(fresh.clone());
        fresh
    }
}

/// A strong entity tag for a document.
pub fn etag(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("\"{hex}\"")
}

/// A group with its versions, the preferred one first.
struct Group<'a> {
    name: &'a str,
    versions: Vec<(&'a str, Entries<'a>)>,
}

/// Who serves a version.
enum Entries<'a> {
    Own(Vec<&'a Resource>),
    Foreign(&'a Foreign, Arc<Vec<Value>>),
}

fn groups<'a>(served: &'a Served, others: &'a Known) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for resource in &served.all {
        let Kind { group, version, .. } = &*resource.kind;
        let at = groups.iter().position(|known| known.name == group).unwrap_or_else(|| {
            groups.push(Group { name: group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        match versions.iter_mut().find(|(known, _)| known == version) {
            Some((_, Entries::Own(resources))) => resources.push(resource),
            Some((_, Entries::Foreign(..))) => {}
            None => versions.push((version, Entries::Own(vec![resource]))),
        }
    }
    for foreign in &others.all {
        let Some(resources) = foreign.resources() else { continue };
        let at = groups.iter().position(|known| known.name == foreign.group).unwrap_or_else(|| {
            groups.push(Group { name: &foreign.group, versions: Vec::new() });
            groups.len() - 1
        });
        let versions = &mut groups[at].versions;
        versions.retain(|(version, _)| *version != foreign.version);
        versions.push((foreign.version.as_str(), Entries::Foreign(foreign, resources)));
    }
    for group in &mut groups {
        group.versions.sort_by_key(|(version, _)| std::cmp::Reverse(priority(version)));
    }
    groups
}

/// Kubernetes' order of versions: general availability over beta over alpha, then the higher number.
pub fn priority(version: &str) -> (u8, u64, u64) {
    let parse = || {
        let rest = version.strip_prefix('v')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major: u64 = rest[..end].parse().ok()?;
        let (stage, minor) = match &rest[end..] {
            "" => (3, ""),
            stage if stage.starts_with("beta") => (2, &stage[4..]),
            stage if stage.starts_with("alpha") => (1, &stage[5..]),
            _ => return None,
        };
        let minor = if stage == 3 { 0 } else { minor.parse().ok()? };
        Some((stage, major, minor))
    };
    parse().unwrap_or((0, 0, 0))
}

fn aggregated(group: &Group<'_>) -> Value {
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|(version, resources)| {
            let resources: Vec<Value> = match resources {
                Entries::Own(resources) => resources.iter().map(|resource| aggregated_resource(resource)).collect(),
                Entries::Foreign(foreign, resources) => aggregate::discovery::aggregated(foreign, resources),
            };
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.name.is_empty() {
        metadata["name"] = json!(group.name);
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = &*resource.kind;
    let response_kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": response_kind(&kind.group, &kind.version, &kind.kind),
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    add_names(&mut entry, kind);
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|subresource| {
            let (group, version, body) = subresource.body.unwrap_or((&kind.group, &kind.version, &kind.kind));
            json!({"subresource": subresource.name, "responseKind": response_kind(group, version, body), "verbs": subresource.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

fn add_names(entry: &mut Value, kind: &Kind) {
    if !kind.short_names.is_empty() {
        entry["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        entry["categories"] = json!(kind.categories);
    }
}

/// Answers `/api...` and `/apis...` where they name no resource.
pub fn answer(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let (served, others) = (server.registry.served(), server.aggregate.known());
    let path = request.info.path.trim_matches('/');
    let parts: Vec<&str> = path.split('/').collect();
    if let (["api"] | ["apis"], Some(version)) = (&parts[..], wants_aggregated(request)) {
        let documents = server.discovery.documents(&served, &others);
        let document = if parts[0] == "api" { &documents.core } else { &documents.groups };
        return Ok(aggregated_answer(request, document, version));
    }
    let document = match parts[..] {
        ["api"] => json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [],
        }),
        ["apis"] => {
            let groups: Vec<Value> =
                groups(&served, &others).iter().filter(|group| !group.name.is_empty()).map(plain_group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", name] => {
            let groups = groups(&served, &others);
            let Some(group) = groups.iter().find(|group| group.name == name) else {
                return Ok(crate::serve::not_found());
            };
            let mut document = plain_group(group);
            document["kind"] = json!("APIGroup");
            document["apiVersion"] = json!("v1");
            document
        }
        ["api", version] => return Ok(plain_resources(&served, request, "", version)),
        ["apis", group, version] => return Ok(plain_resources(&served, request, group, version)),
        _ => return Ok(crate::serve::not_found()),
    };
    Ok(response::value(StatusCode::OK, request.accept, &document))
}

/// The version of the aggregated document that the client likes best, where it likes it better than the plain one.
fn wants_aggregated(request: &Request) -> Option<&'static str> {
    for range in accept::ranges(&request.headers) {
        if range.parameter("as") == "APIGroupDiscoveryList" && range.parameter("g") == "apidiscovery.k8s.io" {
            match range.parameter("v") {
                "v2" => return Some("v2"),
                "v2beta1" => return Some("v2beta1"),
                _ => {}
            }
        } else if range.media_type == "application/json" && range.parameter("as").is_empty() {
            return None;
        }
    }
    None
}

fn aggregated_answer(request: &Request, document: &Document, version: &'static str) -> Answer {
    let known = request.headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let mut answer = if known == Some(document.etag.as_str()) {
        response::answer(StatusCode::NOT_MODIFIED, content_type, Bytes::new())
    } else {
        let list = format!(
            "{{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/{version}\",\"metadata\":{{}},\"items\":{}}}",
            document.items
        );
        response::answer(StatusCode::OK, content_type, list)
    };
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        answer.headers_mut().insert(header::ETAG, etag);
    }
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    answer
}

fn plain_group(group: &Group<'_>) -> Value {
    let version = |version: &str| json!({"groupVersion": format!("{}/{version}", group.name), "version": version});
    let versions: Vec<Value> = group.versions.iter().map(|(name, _)| version(name)).collect();
    json!({"name": group.name, "preferredVersion": versions[0], "versions": versions})
}

fn plain_resources(served: &Served, request: &Request, group: &str, version: &str) -> Answer {
    if !served.has_version(group, version) {
        return crate::serve::not_found();
    }
    let here = served.all.iter().filter(|resource| resource.kind.group == group && resource.kind.version == version);
    let mut resources = Vec::new();
    for resource in here {
        let kind = &*resource.kind;
        let mut entry = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind, "verbs": kind.verbs,
        });
        add_names(&mut entry, kind);
        resources.push(entry);
        resources.extend(kind.subresources.iter().map(|subresource| {
            let mut entry = Map::new();
            entry.insert("name".into(), json!(format!("{}/{}", kind.plural, subresource.name)));
            entry.insert("singularName".into(), json!(""));
            entry.insert("namespaced".into(), json!(kind.namespaced));
            if let Some((group, version, _)) =
                subresource.body.filter(|(g, v, _)| *g != kind.group || *v != kind.version)
            {
                entry.insert("group".into(), json!(group));
                entry.insert("version".into(), json!(version));
            }
            entry.insert("kind".into(), json!(subresource.body.map_or(kind.kind.as_ref(), |(_, _, body)| body)));
            entry.insert("verbs".into(), json!(subresource.verbs));
            Value::Object(entry)
        }));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let document =
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources});
    response::value(StatusCode::OK, request.accept, &document)
}

/// The root document: which paths there are.
pub fn paths(server: &Server, request: &Request) -> Result<Answer, Failure> {
    let (served, others) = (server.registry.served(), server.aggregate.known());
    let mut paths = vec!["/api".to_owned(), "/api/v1".into(), "/apis".into()];
    for group in groups(&served, &others).iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|(version, _)| format!("/apis/{}/{version}", group.name)));
    }
    paths.extend(
        ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    Ok(response::value(StatusCode::OK, request.accept, &json!({"paths": paths})))
}

#[cfg(test)]
mod tests {
    use super::priority;

    #[test]
    fn versions_are_ordered_as_kubernetes_orders_them() {
        let mut versions = ["v1beta1", "foo", "v2", "v1", "v10beta3", "v1alpha2", "v11alpha1", "v2beta1"];
        versions.sort_by_key(|version| std::cmp::Reverse(priority(version)));
        assert_eq!(versions, ["v2", "v1", "v10beta3", "v2beta1", "v1beta1", "v11alpha1", "v1alpha2", "foo"]);
    }
}
