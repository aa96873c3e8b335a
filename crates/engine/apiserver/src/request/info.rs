//! What a path and a method mean: the attributes that authorization, admission and the verbs work from.

use http::Method;

use super::selector::FieldSelector;

/// A request's path, taken apart as upstream's RequestInfo does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether it is about a resource, not about a path such as `/healthz` or `/apis/apps`.
    pub is_resource: bool,
    /// The path as it came.
    pub path: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; the lower-case method for
    /// paths that are no resources.
    pub verb: String,
    /// API group; empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace, empty for cluster-wide requests. A namespace object is in itself.
    pub namespace: String,
    /// Plural.
    pub resource: String,
    /// Object name; empty for collections.
    pub name: String,
    /// `status`, `scale`, `log`, ...
    pub subresource: String,
    /// What follows the subresource, for proxies, with its leading slash.
    pub rest: String,
    /// Whether the path itself asks for a watch, as clients of old did.
    pub watch_in_path: bool,
}

impl RequestInfo {
    /// A list or watch whose field selector names one object is about that object, to those who decide on access too.
    pub fn narrow(&mut self, field_selector: &str) {
        if !self.is_resource || !self.name.is_empty() || !matches!(self.verb.as_str(), "list" | "watch") {
            return;
        }
        let Ok(selector) = FieldSelector::parse(field_selector) else { return };
        let name = selector.required("metadata.name").unwrap_or_default();
        if !matches!(name, "." | "..") && !name.contains(['/', '%']) {
            self.name = name.to_owned();
        }
    }

    /// Takes `path` apart. `watch` is whether the query asks for a watch.
    pub fn parse(method: &Method, path: &str, watch: bool) -> Self {
        let mut info = Self { path: path.to_owned(), verb: method.as_str().to_ascii_lowercase(), ..Self::default() };
        let decoded: Vec<String> = path.trim_start_matches('/').split('/').map(percent_decode).collect();
        let mut parts: Vec<&str> = decoded.iter().map(String::as_str).collect();
        match parts.first() {
            Some(&"api") if parts.len() >= 3 => {
                info.version = parts[1].to_owned();
                parts.drain(..2);
            }
            Some(&"apis") if parts.len() >= 4 => {
                info.group = parts[1].to_owned();
                info.version = parts[2].to_owned();
                parts.drain(..3);
            }
            _ => return info,
        }
        if parts == [""] {
            return info;
        }
        info.is_resource = true;
        if parts[0] == "watch" && parts.len() > 1 {
            info.watch_in_path = true;
            parts.remove(0);
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].to_owned();
            // `/namespaces/x`, `/namespaces/x/status` and `/finalize` are the namespace itself.
            let is_the_namespace = matches!(parts.get(2), None | Some(&"status" | &"finalize" | &""));
            if !is_the_namespace {
                parts.drain(..2);
            }
        }
        info.resource = parts[0].to_owned();
        info.name = parts.get(1).copied().unwrap_or_default().to_owned();
        info.subresource = parts.get(2).copied().unwrap_or_default().to_owned();
        if parts.len() > 3 {
            // Proxies need what follows exactly as it came, escapes included.
            info.rest = raw_tail(path, parts.len() - 3);
        }
        info.verb = verb(method, &info.name, watch || info.watch_in_path).to_owned();
        info
    }

    /// Whether selectors say which objects the request is about.
    pub fn heeds_selectors(&self) -> bool {
        self.is_resource && !self.watch_in_path && matches!(self.verb.as_str(), "list" | "watch" | "deletecollection")
    }

    /// `apps/v1`, or `v1` for core.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

fn verb(method: &Method, name: &str, watch: bool) -> &'static str {
    match method.as_str() {
        "GET" | "HEAD" if watch => "watch",
        "GET" | "HEAD" if name.is_empty() => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" if name.is_empty() => "deletecollection",
        "DELETE" => "delete",
        _ => "",
    }
}

fn raw_tail(path: &str, segments: usize) -> String {
    let start = path.rmatch_indices('/').nth(segments - 1).map_or(0, |(at, _)| at);
    path[start..].to_owned()
}

/// Undoes `%XX`; what is no valid escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3)).flatten();
        match escape.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(method: Method, path: &str, expected: Expect) {
        let info = RequestInfo::parse(&method, path, false);
        let RequestInfo { is_resource, verb, group, version, namespace, resource, name, subresource, rest, .. } = info;
        expected.assert_eq(&format!(
            "{is_resource} {verb} group={group} version={version} ns={namespace} {resource}/{name}/{subresource} {rest}"
        ));
    }

    #[test]
    fn a_field_selector_may_name_the_object_that_is_asked_for() {
        let narrowed = |path: &str, selector: &str| {
            let mut info = RequestInfo::parse(&Method::GET, path, false);
            info.narrow(selector);
            format!("{} {}", info.verb, info.name)
        };
        assert_eq!(narrowed("/api/v1/secrets", "type=Opaque,metadata.name=a"), "list a");
        assert_eq!(narrowed("/api/v1/namespaces/n/secrets", "metadata.name!=a"), "list ");
        assert_eq!(narrowed("/api/v1/namespaces/n/secrets", "metadata.name=../b"), "list ");
        assert_eq!(narrowed("/api/v1/namespaces/n/secrets/b", "metadata.name=a"), "get b");
    }

    proptest::proptest! {
        #[test]
        fn no_path_brings_it_down(path in "(/(api|apis|v1|watch|namespaces|a%2|%C3|é|))*/?") {
            let _info = RequestInfo::parse(&Method::GET, &path, false);
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        check(Method::GET, "/api/v1/namespaces", expect!["true list group= version=v1 ns= namespaces// "]);
        check(Method::GET, "/api/v1/namespaces/a", expect!["true get group= version=v1 ns=a namespaces/a/ "]);
        check(
            Method::PUT,
            "/api/v1/namespaces/a/finalize",
            expect!["true update group= version=v1 ns=a namespaces/a/finalize "],
        );
        check(
            Method::GET,
            "/apis/apps/v1/namespaces/a/deployments/x/scale",
            expect!["true get group=apps version=v1 ns=a deployments/x/scale "],
        );
        check(
            Method::DELETE,
            "/api/v1/namespaces/a/pods",
            expect!["true deletecollection group= version=v1 ns=a pods// "],
        );
        check(Method::GET, "/api/v1/watch/namespaces/a/pods", expect!["true watch group= version=v1 ns=a pods// "]);
        check(
            Method::GET,
            "/api/v1/namespaces/a/services/web:80/proxy/p%20q/r",
            expect!["true get group= version=v1 ns=a services/web:80/proxy /p%20q/r"],
        );
        check(Method::GET, "/apis/apps/v1", expect!["false get group= version= ns= // "]);
        check(Method::GET, "/healthz/ping", expect!["false get group= version= ns= // "]);
        check(
            Method::GET,
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            expect!["true get group=rbac.authorization.k8s.io version=v1 ns= clusterroles/system:node/ "],
        );
    }
}
