//! Which requests are of interest, and how much of them: upstream's policy files.

use serde::Deserialize;

use crate::{authn::User, request::info::RequestInfo};

/// How much of a request is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Level {
    /// Nothing.
    None,
    /// Who did what, and what came of it.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

/// A moment in a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// It is known who asks.
    RequestReceived,
    /// The answer begins, where it will take a while.
    ResponseStarted,
    /// The answer is given.
    ResponseComplete,
    /// Something broke; this server has no such moment.
    Panic,
}

/// A policy: the first rule that is about a request counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde_json::Value,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

/// What a policy says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub level: Level,
    /// When not.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out.
    pub omit_managed_fields: bool,
}

impl Policy {
    /// Reads a policy file.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let policy: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if policy.kind != "Policy" || policy.api_version != "audit.k8s.io/v1" {
            return Err(format!("{} {} is no Policy of audit.k8s.io/v1", policy.api_version, policy.kind));
        }
        if policy.rules.is_empty() {
            return Err("an audit policy needs at least one rule".to_owned());
        }
        Ok(policy)
    }

    /// What it says of a request; `None` where nobody wants to know.
    pub fn judge(&self, info: &RequestInfo, user: &User) -> Option<Verdict> {
        let rule = self.rules.iter().find(|rule| rule.is_about(info, user))?;
        let omit_stages = self.omit_stages.iter().chain(&rule.omit_stages).copied().collect();
        let omit_managed_fields = rule.omit_managed_fields.unwrap_or(self.omit_managed_fields);
        (rule.level != Level::None).then_some(Verdict { level: rule.level, omit_stages, omit_managed_fields })
    }
}

impl Rule {
    fn is_about(&self, info: &RequestInfo, user: &User) -> bool {
        let names = |list: &[String], wanted: &str| list.is_empty() || list.iter().any(|one| one == wanted);
        if !names(&self.users, &user.name) || !names(&self.verbs, &info.verb) {
            return false;
        }
        if !self.user_groups.is_empty() && !self.user_groups.iter().any(|group| user.in_group(group)) {
            return false;
        }
        if !self.resources.is_empty() || !self.namespaces.is_empty() {
            let in_resources = || self.resources.is_empty() || self.resources.iter().any(|one| one.is_about(info));
            return info.is_resource && names(&self.namespaces, &info.namespace) && in_resources();
        }
        self.non_resource_urls.is_empty()
            || !info.is_resource && self.non_resource_urls.iter().any(|url| url_matches(url, &info.path))
    }
}

impl GroupResources {
    fn is_about(&self, info: &RequestInfo) -> bool {
        if self.group != info.group || !self.resource_names.is_empty() && !self.resource_names.contains(&info.name) {
            return false;
        }
        let whole = match info.subresource.as_str() {
            "" => info.resource.clone(),
            subresource => format!("{}/{subresource}", info.resource),
        };
        let matches = |named: &String| match named.split_once('/') {
            _ if named == "*" || *named == whole => true,
            Some(("*", subresource)) => !info.subresource.is_empty() && subresource == info.subresource,
            Some((resource, "*")) => resource == info.resource,
            _ => false,
        };
        self.resources.is_empty() || self.resources.iter().any(matches)
    }
}

fn url_matches(url: &str, path: &str) -> bool {
    url == "*" || url == path || url.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", "/version"]}
- {level: Request, resources: [{group: "", resources: [configmaps], resourceNames: [controller]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{resources: [secrets, "pods/log", "*/status"]}], omitManagedFields: true}
- {level: RequestResponse, resources: [{group: apps}], omitStages: [ResponseStarted]}
- {level: Metadata, resources: [{group: batch, resources: ["jobs/*"]}]}
"#;

    fn check(user: &str, method: Method, path: &str, expected: &str) {
        let policy = Policy::from_yaml(POLICY).unwrap();
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::parse(&method, path, query == "watch");
        let verdict = policy.judge(&info, &User::new(user, [] as [&str; 0]));
        let shown = verdict.map(|v| format!("{:?} {} {}", v.level, v.omit_stages.len(), v.omit_managed_fields));
        assert_eq!(shown.unwrap_or_else(|| "nothing".into()), expected, "{user} {path}");
    }

    #[test]
    fn the_first_rule_counts() {
        check("system:kube-proxy", Method::GET, "/api/v1/services?watch", "nothing");
        check("kim", Method::GET, "/api/v1/services?watch", "nothing");
        check("kim", Method::GET, "/apis/apps", "nothing");
        check("kim", Method::GET, "/api/v1/namespaces/kube-system/configmaps/controller", "Request 1 false");
        check("kim", Method::GET, "/api/v1/namespaces/default/configmaps/controller", "nothing");
        check("kim", Method::GET, "/api/v1/namespaces/default/secrets", "Metadata 1 true");
        check("kim", Method::GET, "/api/v1/namespaces/default/pods/p/log", "Metadata 1 true");
        check("kim", Method::GET, "/api/v1/namespaces/default/pods/p", "nothing");
        check("kim", Method::PUT, "/api/v1/namespaces/default/pods/p/status", "Metadata 1 true");
        check("kim", Method::PUT, "/apis/apps/v1/namespaces/default/deployments/d/scale", "RequestResponse 2 false");
        check("kim", Method::PUT, "/apis/batch/v1/namespaces/default/jobs/j/status", "Metadata 1 false");
    }

    #[test]
    fn mistakes_are_told() {
        for (text, word) in [
            ("apiVersion: v1\nkind: Policy\nrules: [{level: None}]\n", "no Policy"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n", "at least one rule"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]\n", "All"),
            ("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, usrs: []}]\n", "usrs"),
        ] {
            let problem = Policy::from_yaml(text).unwrap_err();
            assert!(problem.contains(word), "{problem}");
        }
    }
}
