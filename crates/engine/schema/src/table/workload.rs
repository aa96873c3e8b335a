//! Rows of what runs pods, and of what scales it.

use serde_json::{Value, json};

use super::text::{containers, count, labels, list, or, selector, text, words};
use super::{age, since};

pub(super) fn daemon_set(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        object["metadata"]["name"].clone(),
        count(&status["desiredNumberScheduled"]),
        count(&status["currentNumberScheduled"]),
        count(&status["numberReady"]),
        count(&status["updatedNumberScheduled"]),
        count(&status["numberAvailable"]),
        json!(labels(&spec["template"]["spec"]["nodeSelector"])),
        age,
        names,
        images,
        json!(selector(&spec["selector"])),
    ]
}

pub(super) fn controller(object: &Value) -> String {
    let owners = list(&object["metadata"]["ownerReferences"]);
    let Some(owner) = owners.iter().find(|owner| owner["controller"] == Value::Bool(true)) else {
        return "<none>".to_owned();
    };
    let kind = match text(&owner["apiVersion"]).split_once('/') {
        Some((group, _)) => format!("{}.{group}", text(&owner["kind"])),
        None => text(&owner["kind"]).to_owned(),
    };
    format!("{}/{}", kind.to_lowercase(), text(&owner["name"]))
}

pub(super) fn job(object: &Value, now: i64, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let has = |kind: &str| {
        let mut conditions = list(&status["conditions"]).iter();
        conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let state = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if !object["metadata"]["deletionTimestamp"].is_null() {
        "Terminating"
    } else {
        let others = [
            ("Suspended", "Suspended"),
            ("FailureTarget", "FailureTarget"),
            ("SuccessCriteriaMet", "SuccessCriteriaMet"),
        ];
        others.iter().find(|(kind, _)| has(kind)).map_or("Running", |(_, shown)| shown)
    };
    let done = status["succeeded"].as_i64().unwrap_or(0);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64().unwrap_or(0)) {
        (Some(wanted), _) => format!("{done}/{wanted}"),
        (None, several) if several > 1 => format!("{done}/1 of {several}"),
        (None, _) => format!("{done}/1"),
    };
    let seconds = |value: &Value| text(value).parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let took = match (seconds(&status["startTime"]), seconds(&status["completionTime"])) {
        (None, _) => String::new(),
        (Some(start), end) => age::duration(end.unwrap_or(now) - start),
    };
    let [names, images] = containers(&spec["template"]["spec"]);
    let name = object["metadata"]["name"].clone();
    vec![name, json!(state), json!(completions), json!(took), age, names, images, json!(selector(&spec["selector"]))]
}

pub(super) fn cron_job(object: &Value, now: i64, age: Value) -> Vec<Value> {
    let (spec, last) = (&object["spec"], &object["status"]["lastScheduleTime"]);
    let template = &spec["jobTemplate"]["spec"];
    let [names, images] = containers(&template["template"]["spec"]);
    let suspended = match &spec["suspend"] {
        Value::Bool(true) => "True",
        Value::Bool(false) => "False",
        _ => "<unset>",
    };
    vec![
        object["metadata"]["name"].clone(),
        words(&spec["schedule"]),
        or(&spec["timeZone"], "<none>"),
        json!(suspended),
        json!(list(&object["status"]["active"]).len()),
        json!(if last.is_null() { "<none>".to_owned() } else { since(last, now) }),
        age,
        names,
        images,
        json!(selector(&template["selector"])),
    ]
}

pub(super) fn autoscaler(object: &Value, age: Value) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    let metrics = match spec["targetCPUUtilizationPercentage"].as_i64() {
        Some(wanted) => {
            let current = status["currentCPUUtilizationPercentage"].as_i64();
            format!("cpu: {}/{wanted}%", current.map_or("<unknown>".to_owned(), |current| format!("{current}%")))
        }
        None => metrics(list(&spec["metrics"]), list(&status["currentMetrics"])),
    };
    vec![
        object["metadata"]["name"].clone(),
        json!(format!("{}/{}", text(&target["kind"]), text(&target["name"]))),
        json!(metrics),
        json!(spec["minReplicas"].as_i64().map_or("<unset>".to_owned(), |least| least.to_string())),
        count(&spec["maxReplicas"]),
        count(&status["currentReplicas"]),
        age,
    ]
}

fn metrics(wanted: &[Value], found: &[Value]) -> String {
    const METRICS_SHOWN: usize = 2;
    if wanted.is_empty() {
        return "<none>".to_owned();
    }
    let shown: Vec<String> =
        wanted.iter().enumerate().map(|(index, metric)| one_metric(metric, found.get(index))).collect();
    if shown.len() > METRICS_SHOWN {
        return format!("{} + {} more...", shown[..METRICS_SHOWN].join(", "), shown.len() - METRICS_SHOWN);
    }
    shown.join(", ")
}

fn one_metric(metric: &Value, found: Option<&Value>) -> String {
    let field = match text(&metric["type"]) {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = &metric[field]["target"];
    let current = |key: &str| found.map(|found| &found[field]["current"][key]).filter(|value| !value.is_null());
    let quantity = |key: &str| current(key).map_or("<unknown>".to_owned(), |value| text(value).to_owned());
    let prefix = if field.ends_with("esource") { format!("{}: ", text(&metric[field]["name"])) } else { String::new() };
    if target["averageValue"].is_string() {
        let suffix = if matches!(field, "external" | "object") { " (avg)" } else { "" };
        return format!("{prefix}{}/{}{suffix}", quantity("averageValue"), text(&target["averageValue"]));
    }
    if prefix.is_empty() {
        return format!("{}/{}", quantity("value"), text(&target["value"]));
    }
    let used = current("averageUtilization").map_or("<unknown>".to_owned(), |percent| format!("{percent}%"));
    let wanted = &target["averageUtilization"];
    let wanted = if wanted.is_null() { "<auto>".to_owned() } else { format!("{wanted}%") };
    format!("{prefix}{used}/{wanted}")
}
