//! Which requests a webhook wants to see.

use serde_json::Value;

use crate::admission::Operation;

/// What a rule looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What is being done.
    pub operation: Operation,
    /// API group.
    pub group: &'a str,
    /// API version.
    pub version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Whether the object is in a namespace.
    pub namespaced: bool,
}

/// One entry of `rules`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Cluster,
    Namespaced,
}

impl Rule {
    /// Reads a rule as the configuration has it.
    pub fn parse(rule: &Value) -> Self {
        let list = |field: &str| -> Vec<String> {
            rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            operations: list("operations"),
            groups: list("apiGroups"),
            versions: list("apiVersions"),
            resources: list("resources"),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
        }
    }

    /// Whether a request is meant.
    pub fn matches(&self, asked: &Asked<'_>) -> bool {
        let one_of = |list: &[String], item: &str| list.iter().any(|known| known == "*" || known == item);
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Namespaced => asked.namespaced,
            Scope::Cluster => !asked.namespaced,
        };
        in_scope
            && one_of(&self.operations, operation(asked.operation))
            && one_of(&self.groups, asked.group)
            && one_of(&self.versions, asked.version)
            && self.resources.iter().any(|resource| {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                (resource == "*" || resource == asked.resource)
                    && (subresource == "*" || subresource == asked.subresource)
            })
    }
}

/// An operation as rules and reviews name it.
pub fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rule: Value, resource: &str, subresource: &str, namespaced: bool) -> bool {
        let asked =
            Asked { operation: Operation::Create, group: "apps", version: "v1", resource, subresource, namespaced };
        Rule::parse(&rule).matches(&asked)
    }

    fn rule(resources: &[&str], scope: &str) -> Value {
        json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["*"], "resources": resources, "scope": scope})
    }

    #[test]
    fn resources_and_their_parts() {
        assert!(check(rule(&["deployments"], "*"), "deployments", "", true));
        assert!(!check(rule(&["deployments"], "*"), "deployments", "scale", true));
        assert!(check(rule(&["deployments/*"], "*"), "deployments", "scale", true));
        assert!(check(rule(&["*/scale"], "*"), "deployments", "scale", true));
        assert!(!check(rule(&["*"], "*"), "deployments", "scale", true));
        assert!(check(rule(&["*/*"], "*"), "replicasets", "status", true));
    }

    #[test]
    fn scopes_and_operations() {
        assert!(!check(rule(&["*"], "Cluster"), "deployments", "", true));
        assert!(check(rule(&["*"], "Namespaced"), "deployments", "", true));
        let mut other = rule(&["*"], "*");
        other["operations"] = json!(["DELETE"]);
        assert!(!check(other, "deployments", "", true));
    }
}
