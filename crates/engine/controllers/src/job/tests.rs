//! A job, its pods in a word each, and what is done next.

use expect_test::{Expect, expect};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn job(spec: Value, status: Value) -> Job {
    let mut full = json!({"template": {"spec": {"containers": [{"name": "c"}], "restartPolicy": "Never"}}});
    for (key, value) in spec.as_object().into_iter().flatten() {
        full[key] = value.clone();
    }
    serde_json::from_value(
        json!({"metadata": {"name": "sums", "namespace": "shop", "uid": "j"}, "spec": full, "status": status}),
    )
    .expect("a job")
}

/// `a:running` or `a:running:3`: name, state, index. `done-` and `failed-` are pods that were let go of already.
fn pod(text: &str) -> Arc<Pod> {
    let parts: Vec<&str> = text.split(':').collect();
    let state = parts[1].trim_end_matches('-');
    let phase = match state {
        "done" => "Succeeded",
        "failed" => "Failed",
        _ => "Running",
    };
    let finalizers = if parts[1].ends_with('-') { json!([]) } else { json!([TRACKING]) };
    let mut pod =
        json!({"metadata": {"name": parts[0], "uid": parts[0], "finalizers": finalizers}, "status": {"phase": phase}});
    if state == "going" {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    if let Some(index) = parts.get(2) {
        pod["metadata"]["annotations"] = json!({INDEX: index});
    }
    Arc::new(serde_json::from_value(pod).expect("a pod"))
}

fn check(job: &Job, pods: &str, expected: Expect) {
    check_with(job, pods, Failures::default(), expected);
}

fn check_with(job: &Job, pods: &str, mut failures: Failures, expected: Expect) {
    let pods: Vec<Arc<Pod>> = pods.split_whitespace().map(pod).collect();
    let plan = plan(job, &pods, &mut failures, Timestamp::UNIX_EPOCH);
    let names = |pods: &[Arc<Pod>]| pods.iter().map(|pod| name(&**pod)).collect::<Vec<_>>().join(" ");
    let created: Vec<String> =
        plan.create.iter().map(|index| index.map_or("pod".to_owned(), |index| index.to_string())).collect();
    let s = plan.status;
    let uncounted = s.uncounted_terminated_pods.unwrap_or_default();
    let conditions: Vec<String> = s
        .conditions
        .into_iter()
        .flatten()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason.unwrap_or_default()))
        .collect();
    let count = |count: Option<i32>| count.unwrap_or(0);
    let mut text =
        format!("create [{}] delete [{}] release [{}]\n", created.join(" "), names(&plan.delete), names(&plan.release));
    text += &format!(
        "{} active, {} succeeded, {} failed; uncounted {:?} {:?}; {}\n",
        count(s.active),
        count(s.succeeded),
        count(s.failed),
        uncounted.succeeded.unwrap_or_default(),
        uncounted.failed.unwrap_or_default(),
        conditions.join(", ")
    );
    if let Some(wait) = plan.look_again {
        text += &format!("look again in {wait:?}\n");
    }
    expected.assert_eq(&text);
}

#[test]
fn a_job_runs_its_pods_and_counts_them_before_they_go() {
    let three = json!({"completions": 3, "parallelism": 2});
    check(
        &job(three.clone(), json!({})),
        "",
        expect![[r#"
        create [pod pod] delete [] release []
        0 active, 0 succeeded, 0 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(three.clone(), json!({})),
        "a:running b:done",
        expect![[r#"
        create [pod] delete [] release []
        1 active, 0 succeeded, 0 failed; uncounted ["b"] []; 
    "#]],
    );
    let noted = json!({"uncountedTerminatedPods": {"succeeded": ["b"]}});
    check(
        &job(three.clone(), noted.clone()),
        "a:running c:running b:done",
        expect![[r#"
        create [] delete [] release [b]
        2 active, 0 succeeded, 0 failed; uncounted ["b"] []; 
    "#]],
    );
    check(
        &job(three.clone(), noted),
        "a:running c:running b:done-",
        expect![[r#"
        create [] delete [] release []
        2 active, 1 succeeded, 0 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(three.clone(), json!({"succeeded": 2})),
        "c:done",
        expect![[r#"
        create [] delete [] release []
        0 active, 2 succeeded, 0 failed; uncounted ["c"] []; SuccessCriteriaMet=True CompletionsReached
    "#]],
    );
    let last = json!({"succeeded": 2, "uncountedTerminatedPods": {"succeeded": ["c"]}});
    check(
        &job(three, last),
        "c:done-",
        expect![[r#"
        create [] delete [] release []
        0 active, 3 succeeded, 0 failed; uncounted [] []; SuccessCriteriaMet=True CompletionsReached, Complete=True CompletionsReached
    "#]],
    );
}

#[test]
fn without_a_number_one_success_is_enough_once_all_have_ended() {
    let queue = json!({"parallelism": 2});
    check(
        &job(queue.clone(), json!({})),
        "a:done- b:running",
        expect![[r#"
        create [pod] delete [] release []
        1 active, 0 succeeded, 0 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(queue.clone(), json!({"succeeded": 1})),
        "a:done- b:running",
        expect![[r#"
        create [] delete [] release []
        1 active, 1 succeeded, 0 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(queue, json!({"succeeded": 2})),
        "a:done- b:done-",
        expect![[r#"
        create [] delete [] release []
        0 active, 2 succeeded, 0 failed; uncounted [] []; SuccessCriteriaMet=True CompletionsReached, Complete=True CompletionsReached
    "#]],
    );
}

#[test]
fn failures_slow_it_down_and_too_many_end_it() {
    let once = json!({"completions": 1, "backoffLimit": 1});
    check(
        &job(once.clone(), json!({})),
        "a:failed",
        expect![[r#"
        create [] delete [] release []
        0 active, 0 succeeded, 0 failed; uncounted [] ["a"]; 
        look again in 10s
    "#]],
    );
    let long_ago = Failures { in_a_row: 1, last: Timestamp::from_second(-11).ok() };
    check_with(
        &job(once.clone(), json!({"failed": 1})),
        "a:failed-",
        long_ago,
        expect![[r#"
        create [pod] delete [] release []
        0 active, 0 succeeded, 1 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(once.clone(), json!({"failed": 2})),
        "a:failed- b:failed- c:running",
        expect![[r#"
        create [] delete [c] release []
        1 active, 0 succeeded, 2 failed; uncounted [] []; FailureTarget=True BackoffLimitExceeded
    "#]],
    );
    check(
        &job(once, json!({"failed": 2})),
        "a:failed- b:failed-",
        expect![[r#"
        create [] delete [] release []
        0 active, 0 succeeded, 2 failed; uncounted [] []; FailureTarget=True BackoffLimitExceeded, Failed=True BackoffLimitExceeded
    "#]],
    );
}

#[test]
fn a_deadline_ends_it() {
    let spec = json!({"completions": 1, "activeDeadlineSeconds": 30});
    check(
        &job(spec.clone(), json!({"startTime": "1969-12-31T23:59:40Z"})),
        "a:running",
        expect![[r#"
        create [] delete [] release []
        1 active, 0 succeeded, 0 failed; uncounted [] []; 
        look again in 10s
    "#]],
    );
    check(
        &job(spec, json!({"startTime": "1969-12-31T23:59:30Z"})),
        "a:running",
        expect![[r#"
        create [] delete [a] release []
        1 active, 0 succeeded, 0 failed; uncounted [] []; FailureTarget=True DeadlineExceeded
    "#]],
    );
}

#[test]
fn each_index_succeeds_once() {
    let indexed = json!({"completions": 4, "parallelism": 3, "completionMode": "Indexed"});
    check(
        &job(indexed.clone(), json!({})),
        "",
        expect![[r#"
        create [0 1 2] delete [] release []
        0 active, 0 succeeded, 0 failed; uncounted [] []; 
    "#]],
    );
    check(
        &job(indexed.clone(), json!({"completedIndexes": "0,1"})),
        "a:running:3 b:done:2 c:done:2",
        expect![[r#"
        create [] delete [] release [c]
        1 active, 3 succeeded, 0 failed; uncounted ["b"] []; 
    "#]],
    );
    check(
        &job(indexed, json!({"completedIndexes": "0-3"})),
        "",
        expect![[r#"
        create [] delete [] release []
        0 active, 4 succeeded, 0 failed; uncounted [] []; SuccessCriteriaMet=True CompletionsReached, Complete=True CompletionsReached
    "#]],
    );
}

#[test]
fn a_suspended_job_has_no_pods() {
    check(
        &job(json!({"suspend": true}), json!({"startTime": "1969-12-31T23:59:40Z"})),
        "a:running",
        expect![[r#"
            create [] delete [a] release [a]
            1 active, 0 succeeded, 0 failed; uncounted [] []; Suspended=True JobSuspended
        "#]],
    );
    let resumed = json!({"conditions": [{"type": "Suspended", "status": "True"}]});
    check(
        &job(json!({"suspend": false}), resumed),
        "",
        expect![[r#"
        create [pod] delete [] release []
        0 active, 0 succeeded, 0 failed; uncounted [] []; Suspended=False JobResumed
    "#]],
    );
}
