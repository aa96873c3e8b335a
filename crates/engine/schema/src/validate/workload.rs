//! Controllers of pods: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob.

use serde_json::{Value, json};

use super::field::Findings;
use super::{is_empty, list, pod, rules, selector, text};
use crate::kinds::Kind;

pub(super) fn apps(kind: &Kind, object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    match kind.kind.as_ref() {
        "Deployment" => {
            counts(spec, &["replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"], findings);
            selected_template(spec, "deployment", findings);
            restart_always(spec, "ReplicaSet", findings);
            deployment_strategy(&spec["strategy"], findings);
            let ready = spec["minReadySeconds"].as_i64().unwrap_or(0);
            if let Some(deadline) = spec["progressDeadlineSeconds"].as_i64().filter(|deadline| *deadline <= ready) {
                findings.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
            }
        }
        "ReplicaSet" => {
            counts(spec, &["replicas", "minReadySeconds"], findings);
            selected_template(spec, "deployment", findings);
            restart_always(spec, "ReplicaSet", findings);
        }
        "DaemonSet" => {
            counts(spec, &["minReadySeconds", "revisionHistoryLimit"], findings);
            selected_template(spec, "daemonset", findings);
            restart_always(spec, "DaemonSet", findings);
            findings.one_of(
                "spec.updateStrategy.type",
                text(&spec["updateStrategy"]["type"]),
                &["RollingUpdate", "OnDelete"],
            );
            let rolling = &spec["updateStrategy"]["rollingUpdate"];
            if is_zero(&rolling["maxUnavailable"]) && (rolling["maxSurge"].is_null() || is_zero(&rolling["maxSurge"])) {
                let field = "spec.updateStrategy.rollingUpdate.maxUnavailable";
                findings.required(field, "cannot be 0 when maxSurge is 0");
            }
        }
        "StatefulSet" => {
            counts(spec, &["replicas", "minReadySeconds", "revisionHistoryLimit"], findings);
            selected_template(spec, "statefulset", findings);
            restart_always(spec, "StatefulSet", findings);
            let policy = text(&spec["podManagementPolicy"]);
            findings.one_of("spec.podManagementPolicy", policy, &["OrderedReady", "Parallel"]);
            findings.one_of(
                "spec.updateStrategy.type",
                text(&spec["updateStrategy"]["type"]),
                &["RollingUpdate", "OnDelete"],
            );
        }
        "ReplicationController" => {
            counts(spec, &["replicas", "minReadySeconds"], findings);
            if is_empty(&spec["selector"]) {
                findings.required("spec.selector", "");
            }
            if spec["template"].is_object() {
                pod::template(&spec["template"], "spec.template", findings);
                restart_always(spec, "ReplicationController", findings);
                let labels = &spec["template"]["metadata"]["labels"];
                let selector = spec["selector"].as_object().into_iter().flatten();
                if selector.into_iter().any(|(key, value)| labels[key] != *value) {
                    let words = "`selector` does not match template `labels`";
                    findings.invalid("spec.template.metadata.labels", labels.clone(), words);
                }
            } else {
                findings.required("spec.template", "");
            }
        }
        _ => {}
    }
}

fn counts(spec: &Value, fields: &[&str], findings: &mut Findings) {
    for field in fields {
        findings.not_negative(&format!("spec.{field}"), &spec[*field]);
    }
}

fn selected_template(spec: &Value, what: &str, findings: &mut Findings) {
    let (wanted, template) = (&spec["selector"], &spec["template"]);
    if wanted.is_null() {
        findings.required("spec.selector", "");
    } else {
        selector::check(wanted, "spec.selector", findings);
        if selector::is_empty(wanted) {
            findings.invalid("spec.selector", wanted.clone(), format!("empty selector is invalid for {what}"));
        }
    }
    if !selector::is_readable(wanted) {
        return findings.invalid("spec.selector", wanted.clone(), "invalid label selector");
    }
    let labels = &template["metadata"]["labels"];
    // No selector selects nothing, an empty one everything.
    if wanted.is_null() || (!selector::is_empty(wanted) && !selector::matches(wanted, labels)) {
        let words = "`selector` does not match template `labels`";
        findings.invalid("spec.template.metadata.labels", labels.clone(), words);
    }
    pod::template(template, "spec.template", findings);
}

fn restart_always(spec: &Value, what: &str, findings: &mut Findings) {
    let spec = &spec["template"]["spec"];
    let policy = text(&spec["restartPolicy"]);
    if !policy.is_empty() && policy != "Always" {
        findings.not_supported("spec.template.spec.restartPolicy", policy, ["Always"]);
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        let words = format!("activeDeadlineSeconds in {what} is not Supported");
        findings.forbidden("spec.template.spec.activeDeadlineSeconds", words);
    }
}

fn deployment_strategy(strategy: &Value, findings: &mut Findings) {
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "Recreate" if !rolling.is_null() => {
            let words = "may not be specified when strategy `type` is 'Recreate'";
            findings.forbidden("spec.strategy.rollingUpdate", words);
        }
        "Recreate" => {}
        "RollingUpdate" if rolling.is_null() => {
            findings.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let at = |field: &str| format!("spec.strategy.rollingUpdate.{field}");
            for field in ["maxUnavailable", "maxSurge"] {
                number_or_percent(&rolling[field], &at(field), findings);
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                let words = "may not be 0 when `maxSurge` is 0";
                findings.invalid(&at("maxUnavailable"), rolling["maxUnavailable"].clone(), words);
            }
            let percent = text(&rolling["maxUnavailable"]).strip_suffix('%').and_then(|n| n.parse::<u64>().ok());
            if percent.is_some_and(|percent| percent > 100) {
                findings.invalid(
                    &at("maxUnavailable"),
                    rolling["maxUnavailable"].clone(),
                    "must not be greater than 100%",
                );
            }
        }
        other => {
            let shown = json!({"Type": other, "RollingUpdate": rolling});
            findings.not_supported("spec.strategy", shown, ["Recreate", "RollingUpdate"]);
        }
    }
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || text(value).strip_suffix('%').is_some_and(|n| n.parse() == Ok(0u64))
}

pub(super) fn number_or_percent(value: &Value, path: &str, findings: &mut Findings) {
    match value {
        Value::Number(_) => findings.not_negative(path, value),
        Value::String(text) => {
            let digits = text.strip_suffix('%').unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                let words = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                findings.invalid(path, text.as_str(), words);
            }
        }
        _ => {}
    }
}

pub(super) fn batch(kind: &Kind, object: &Value, findings: &mut Findings) {
    let spec = &object["spec"];
    if kind.kind == "Job" {
        return job(spec, "spec", findings);
    }
    let name = text(&object["metadata"]["name"]);
    if name.len() > 52 {
        findings.invalid("metadata.name", name, "must be no more than 52 characters");
    }
    schedule(text(&spec["schedule"]), findings);
    findings.one_of("spec.concurrencyPolicy", text(&spec["concurrencyPolicy"]), &["Allow", "Forbid", "Replace"]);
    if spec["timeZone"] == "" {
        findings.invalid("spec.timeZone", "", "timeZone must be nil or non-empty string");
    }
    counts(spec, &["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"], findings);
    job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", findings);
}

fn job(spec: &Value, path: &str, findings: &mut Findings) {
    let at = |field: &str| format!("{path}.{field}");
    for field in ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"] {
        findings.not_negative(&at(field), &spec[field]);
    }
    if !spec["completionMode"].is_null() {
        findings.one_of(&at("completionMode"), text(&spec["completionMode"]), &["NonIndexed", "Indexed"]);
    }
    if spec["completionMode"] == "Indexed" && spec["completions"].is_null() {
        findings.required(&at("completions"), "when completion mode is Indexed");
    }
    rules::check_part("JobSpec", spec, path, findings);
    if spec["completionMode"] != "Indexed" {
        if let Some(limit) = spec["backoffLimitPerIndex"].as_i64() {
            findings.invalid(&at("backoffLimitPerIndex"), limit, "requires indexed completion mode");
        }
        if spec["successPolicy"].is_object() {
            let shown = json!({"Rules": spec["successPolicy"]["rules"]});
            findings.invalid(&at("successPolicy"), shown, "requires indexed completion mode");
        }
    }
    for (index, rule) in list(&spec["podFailurePolicy"]["rules"]).iter().enumerate() {
        if rule["onExitCodes"].is_null() && is_empty(&rule["onPodConditions"]) {
            let words = "specifying one of OnExitCodes and OnPodConditions is required";
            findings.invalid_bare(&at(&format!("podFailurePolicy.rules[{index}]")), words);
        }
    }
    pod::template(&spec["template"], &at("template"), findings);
    let policy = text(&spec["template"]["spec"]["restartPolicy"]);
    if policy == "Always" {
        let at = at("template.spec.restartPolicy");
        // A template that says nothing has been given Always.
        findings.0.retain(|found| found.field != at);
        findings.required(&at, "valid values: \"OnFailure\", \"Never\"");
    }
}

/// Five fields, or one of the named schedules.
fn schedule(schedule: &str, findings: &mut Findings) {
    if schedule.is_empty() {
        return findings.required("spec.schedule", "");
    }
    if schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ=") {
        let words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        return findings.invalid("spec.schedule", schedule, words);
    }
    if let Some(named) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];
        if !known.contains(&named) && !named.starts_with("every ") {
            findings.invalid("spec.schedule", schedule, format!("unrecognized descriptor: {schedule}"));
        }
        return;
    }
    let fields = schedule.split_whitespace().count();
    if fields != 5 {
        let shown: Vec<&str> = schedule.split_whitespace().collect();
        let words = format!("expected exactly 5 fields, found {fields}: [{}]", shown.join(" "));
        findings.invalid("spec.schedule", schedule, words);
    }
}

pub(super) fn change(kind: &Kind, new: &Value, old: &Value, findings: &mut Findings) {
    let (new_spec, old_spec) = (&new["spec"], &old["spec"]);
    match kind.kind.as_ref() {
        "Deployment" | "ReplicaSet" | "DaemonSet" => {
            findings.immutable("spec.selector", &new_spec["selector"], &old_spec["selector"]);
        }
        "StatefulSet" => stateful_set_change(new_spec, old_spec, findings),
        "Job" => {
            findings.immutable("spec.selector", &new_spec["selector"], &old_spec["selector"]);
            findings.immutable("spec.completionMode", &new_spec["completionMode"], &old_spec["completionMode"]);
            if new_spec["completionMode"] != "Indexed" {
                findings.immutable("spec.completions", &new_spec["completions"], &old_spec["completions"]);
            }
            let suspended = old_spec["suspend"] == Value::Bool(true) && old["status"]["startTime"].is_null();
            if !suspended {
                findings.immutable("spec.template", &new_spec["template"], &old_spec["template"]);
            }
        }
        "ControllerRevision" => findings.immutable("data", &new["data"], &old["data"]),
        _ => {}
    }
}

fn stateful_set_change(new: &Value, old: &Value, findings: &mut Findings) {
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |spec: &Value| {
        let members = spec.as_object().cloned().unwrap_or_default();
        members.into_iter().filter(|(name, _)| !MUTABLE.contains(&name.as_str())).collect::<Vec<_>>()
    };
    if fixed(new) != fixed(old) {
        findings.forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}
