//! The Pod Security Standards, as a namespace's labels ask for them: pods that fall short are refused or warned of,
//! workloads warned of, and labels checked.

mod checks;
mod config;
mod policy;

use std::collections::{BTreeMap, BTreeSet};

use coracle_store::Record;
use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::{object, status::Failure};
use checks::{Finding, Pod, findings};
pub use config::PodSecurityConfiguration;
use policy::{Level, Policy, Standard};

/// As many pods of a namespace are looked at when its level changes.
const PODS_TO_CHECK: usize = 3000;

/// Who is not held to the standards, in words for auditors.
const EXEMPT: &str = "pod-security.kubernetes.io/exempt";

/// See the module.
#[derive(Debug)]
pub struct PodSecurity(pub PodSecurityConfiguration);

impl Admission for PodSecurity {
    fn validate(&self, request: &Attributes<'_>, object: &Value) -> Result<(), Failure> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let kind = &request.resource.kind;
        match (&*kind.group, &*kind.plural, request.subresource) {
            ("", "namespaces", "") => self.namespace(request, object),
            ("", "pods", "" | "ephemeralcontainers" | "resize") => self.pod(request, object),
            ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets", "")
            | ("", "replicationcontrollers", "")
            | ("batch", "jobs", "") => self.workload(request, &object["spec"]["template"]),
            ("", "podtemplates", "") => self.workload(request, &object["template"]),
            ("batch", "cronjobs", "") => self.workload(request, &object["spec"]["jobTemplate"]["spec"]["template"]),
            _ => Ok(()),
        }
    }
}

impl PodSecurity {
    /// What a request's namespace asks, where it asks anything of this request.
    fn policy_of(&self, request: &Attributes<'_>) -> Option<Policy> {
        let exemptions = &self.0.exemptions;
        let is_exempt = exempt(request, "namespace", &exemptions.namespaces, request.namespace)
            || exempt(request, "user", &exemptions.usernames, &request.user.name);
        let record = request.server.store.get(&format!("/core/namespaces/{}", request.namespace))?;
        let (policy, _) = self.0.defaults.of(|key| record.label(key));
        (!is_exempt && !policy.asks_nothing()).then_some(policy)
    }

    fn is_exempt(&self, request: &Attributes<'_>, spec: &Value) -> bool {
        let class = spec["runtimeClassName"].as_str().unwrap_or_default();
        exempt(request, "runtimeClass", &self.0.exemptions.runtime_classes, class)
    }

    fn pod(&self, request: &Attributes<'_>, pod: &Value) -> Result<(), Failure> {
        let Some(policy) = self.policy_of(request) else { return Ok(()) };
        if request.old.is_some_and(|old| !matters(pod, old)) || self.is_exempt(request, &pod["spec"]) {
            return Ok(());
        }
        let seen = Pod { metadata: &pod["metadata"], spec: &pod["spec"] };
        let enforced = policy.enforce.to_string();
        request.request.annotate("pod-security.kubernetes.io/enforce-policy", enforced);
        audit(request, policy.audit, seen);
        let found = findings(seen, policy.enforce.level, policy.enforce.version);
        if !found.is_empty() {
            return Err(request.forbidden(&format!("violates PodSecurity \"{}\": {}", policy.enforce, listed(&found))));
        }
        warn(request, policy.warn, seen);
        Ok(())
    }

    fn workload(&self, request: &Attributes<'_>, template: &Value) -> Result<(), Failure> {
        if let Some(policy) = self.policy_of(request).filter(|_| !self.is_exempt(request, &template["spec"])) {
            let seen = Pod { metadata: &template["metadata"], spec: &template["spec"] };
            audit(request, policy.audit, seen);
            warn(request, policy.warn, seen);
        }
        Ok(())
    }

    fn namespace(&self, request: &Attributes<'_>, namespace: &Value) -> Result<(), Failure> {
        let (policy, causes) = self.0.defaults.of_object(namespace);
        let before = request.old.map(|old| self.0.defaults.of_object(old));
        if !causes.is_empty() && before.as_ref().is_none_or(|(_, known)| *known != causes) {
            return Err(Failure::invalid("", "Namespace", request.name, causes));
        }
        let is_tightened = match before {
            Some((before, _)) => {
                let relaxed =
                    policy.enforce.version == before.enforce.version && policy.enforce.level <= before.enforce.level;
                policy.enforce.level != Level::Privileged && policy.enforce != before.enforce && !relaxed
            }
            None => true,
        };
        let name = object::name(namespace);
        if !is_tightened {
            return Ok(());
        }
        if self.0.exemptions.namespaces.iter().any(|exempt| exempt == name) {
            if !policy.asks_nothing() && policy != self.0.defaults {
                let ignored = policy.shown(namespace);
                request.request.warn(format!(
                    "namespace {name:?} is exempt from Pod Security, and the policy ({ignored}) will be ignored"
                ));
            }
            return Ok(());
        }
        if request.old.is_some() { self.warn_of_pods(request, name, policy.enforce) } else { Ok(()) }
    }

    /// Says which of a namespace's pods could not be made again.
    fn warn_of_pods(&self, request: &Attributes<'_>, namespace: &str, standard: Standard) -> Result<(), Failure> {
        let snapshot = request.server.store.snapshot();
        let prefix = format!("/core/pods/{namespace}/");
        let total = snapshot.list(&prefix).count();
        let mut bad: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for record in snapshot.list(&prefix).take(PODS_TO_CHECK) {
            let pod = object::decode(record)?;
            if self.0.exemptions.runtime_classes.iter().any(|class| pod["spec"]["runtimeClassName"] == class.as_str()) {
                continue;
            }
            let seen = Pod { metadata: &pod["metadata"], spec: &pod["spec"] };
            let found = findings(seen, standard.level, standard.version);
            if !found.is_empty() {
                let reasons: Vec<&str> = found.iter().map(|found| found.reason.as_str()).collect();
                bad.entry(reasons.join(", ")).or_default().insert(name_of(record));
            }
        }
        tell_of_pods(request, namespace, standard, total, &bad);
        Ok(())
    }
}

/// Whether a name is on a list of those who are exempt; auditors are told.
fn exempt(request: &Attributes<'_>, what: &str, list: &[String], name: &str) -> bool {
    let is_listed = !name.is_empty() && list.iter().any(|listed| listed == name);
    if is_listed {
        request.request.annotate(EXEMPT, what.to_owned());
    }
    is_listed
}

fn warn(request: &Attributes<'_>, standard: Standard, pod: Pod<'_>) {
    let found = findings(pod, standard.level, standard.version);
    if !found.is_empty() {
        request.request.warn(format!("would violate PodSecurity \"{standard}\": {}", listed(&found)));
    }
}

/// Tells auditors what the level to be audited would refuse.
fn audit(request: &Attributes<'_>, standard: Standard, pod: Pod<'_>) {
    let found = findings(pod, standard.level, standard.version);
    if !found.is_empty() {
        let text = format!("would violate PodSecurity \"{standard}\": {}", listed(&found));
        request.request.annotate("pod-security.kubernetes.io/audit-violations", text);
    }
}

fn listed(found: &[Finding]) -> String {
    found.iter().map(|found| format!("{} ({})", found.reason, found.detail)).collect::<Vec<_>>().join(", ")
}

/// Of a pod's changes only new images and new containers matter.
fn matters(new: &Value, old: &Value) -> bool {
    fn images<'a>(pod: &'a Value, list: &str) -> BTreeMap<&'a str, &'a Value> {
        let containers = pod["spec"][list].as_array().into_iter().flatten();
        containers.map(|container| (container["name"].as_str().unwrap_or_default(), &container["image"])).collect()
    }
    ["initContainers", "containers", "ephemeralContainers"].iter().any(|list| images(new, list) != images(old, list))
}

fn tell_of_pods(
    request: &Attributes<'_>,
    namespace: &str,
    standard: Standard,
    total: usize,
    bad: &BTreeMap<String, BTreeSet<&str>>,
) {
    if total > PODS_TO_CHECK {
        request.request.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_TO_CHECK} of {total} existing pods"
        ));
    }
    if bad.is_empty() {
        return;
    }
    request.request.warn(format!(
        "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{standard}\""
    ));
    let mut lines: Vec<String> = bad.iter().map(|(reasons, pods)| format!("{}: {reasons}", some_of(pods))).collect();
    lines.sort();
    lines.into_iter().for_each(|line| request.request.warn(line));
}

fn name_of(record: &Record) -> &str {
    object::key_name(record.key())
}

fn some_of(pods: &BTreeSet<&str>) -> String {
    let first = pods.first().copied().unwrap_or_default();
    match pods.len() {
        1 => first.to_owned(),
        2 => format!("{first} (and 1 other pod)"),
        count => format!("{first} (and {} other pods)", count - 1),
    }
}
