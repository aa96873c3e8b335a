//! A job's own rules of what a pod's failure means. The first rule that fits counts.

use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern},
    core::v1::Pod,
};

use crate::owner::{name, namespace};

/// What a failure means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A failure as any other.
    Counts,
    /// It was not the pod's fault.
    Ignored,
    /// Trying again is no use, and why.
    Fatal(String),
}

pub(super) fn meaning(job: &Job, pod: &Pod) -> Meaning {
    let policy = job.spec.as_ref().and_then(|spec| spec.pod_failure_policy.as_ref());
    for (index, rule) in policy.iter().flat_map(|policy| &policy.rules).enumerate() {
        let by_code = rule.on_exit_codes.as_ref().and_then(|requirement| exit_code(requirement, pod));
        let by_condition = || rule.on_pod_conditions.iter().flatten().find(|pattern| has_condition(pattern, pod));
        let place = format!("{}/{}", namespace(pod), name(pod));
        let action = &rule.action;
        let message = if let Some((container, code)) = by_code {
            format!(
                "Container {container} for pod {place} failed with exit code {code} matching {action} rule at index {index}"
            )
        } else if let Some(pattern) = by_condition() {
            format!("Pod {place} has condition {} matching {action} rule at index {index}", pattern.type_)
        } else {
            continue;
        };
        return match action.as_str() {
            "FailJob" => Meaning::Fatal(message),
            "Ignore" => Meaning::Ignored,
            _ => Meaning::Counts,
        };
    }
    Meaning::Counts
}

/// The first container that ended with a code the rule is about.
fn exit_code(requirement: &PodFailurePolicyOnExitCodesRequirement, pod: &Pod) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?;
    let statuses = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let ended = statuses.filter_map(|container| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        Some((container.name.clone(), code))
    });
    let of_container = |name: &String| requirement.container_name.as_ref().is_none_or(|wanted| wanted == name);
    let fits = |code: i32| match requirement.operator.as_str() {
        "In" => requirement.values.contains(&code),
        "NotIn" => !requirement.values.contains(&code),
        _ => false,
    };
    // A container that succeeded did not fail the pod.
    ended.into_iter().find(|(name, code)| *code != 0 && of_container(name) && fits(*code))
}

fn has_condition(pattern: &PodFailurePolicyOnPodConditionsPattern, pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let wanted = pattern.status.as_deref().unwrap_or("True");
    conditions.into_iter().flatten().any(|condition| condition.type_ == pattern.type_ && condition.status == wanted)
}
