//! Rollouts as texts: a deployment, its sets, and what is done next.

use expect_test::{Expect, expect};
use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    jiff::Timestamp,
};
use serde_json::{Value, json};

use super::{
    numbers,
    plan::{Plan, Step, plan},
    revision,
};
use crate::{owner::name, template::template_hash};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A deployment of `replicas` pods of template `image`.
fn deployment(replicas: i32, image: &str, more: Value) -> Deployment {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
        },
    });
    merge(&mut object, more);
    serde_json::from_value(object).expect("a deployment")
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            from.into_iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, from) => *into = from,
    }
}

/// A set of an image: how large it should be, is, and how many of its pods are available; sized for so many desired.
fn set(image: &str, revision_number: i64, spec: i32, actual: i32, available: i32, sized_for: i32) -> ReplicaSet {
    let of = deployment(sized_for, image, json!({}));
    let mut set = revision::new_set(&of);
    set.metadata.name = Some(format!("web-{image}"));
    set.metadata.uid = Some(image.to_owned());
    set.metadata.creation_timestamp =
        serde_json::from_value(json!(format!("2026-01-0{revision_number}T00:00:00Z"))).ok();
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(revision::REVISION.to_owned(), revision_number.to_string());
    revision::annotate_size(&of, annotations);
    set.spec.get_or_insert_default().replicas = Some(spec);
    set.status = serde_json::from_value(json!({
        "replicas": actual, "readyReplicas": available, "availableReplicas": available,
    }))
    .ok();
    set
}

fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        text += &match step {
            Step::Revision(revision) => format!("note revision {revision}\n"),
            Step::Create(set) => format!("create {} with {}\n", name(&**set), numbers::size(set)),
            Step::Update(before, after) if numbers::size(before) == numbers::size(after) => {
                format!("annotate {}\n", name(&**before))
            }
            Step::Update(before, after) => {
                format!("{} from {} to {}\n", name(&**before), numbers::size(before), numbers::size(after))
            }
            Step::Delete(name) => format!("delete {name}\n"),
        };
    }
    for condition in plan.status.conditions.iter().flatten() {
        let reason = condition.reason.as_deref().unwrap_or_default();
        let message = condition.message.as_deref().unwrap_or_default();
        text += &format!("{}={} {reason}: {message}\n", condition.type_, condition.status);
    }
    if let Some(wait) = plan.look_again {
        text += &format!("look again in {wait:?}\n");
    }
    text
}

fn check(deployment: &Deployment, sets: Vec<ReplicaSet>, expected: Expect) {
    expected.assert_eq(&show(&plan(deployment, sets, |_| false, NOW)));
}

#[test]
fn the_first_set_starts_at_full_size() {
    check(
        &deployment(3, "a", json!({})),
        vec![],
        expect![[r#"
        create web-78dbf6cfb9 with 3
        note revision 1
        Progressing=True NewReplicaSetCreated: Created new replica set "web-78dbf6cfb9"
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
        look again in 601s
    "#]],
    );
}

#[test]
fn a_new_template_rolls_by_surge_and_unavailability() {
    let web = deployment(4, "b", json!({}));
    check(
        &web,
        vec![set("a", 1, 4, 4, 4, 4)],
        expect![[r#"
        create web-7c4dd8bc76 with 1
        note revision 2
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-7c4dd8bc76" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 4, 4, 4, 4), set("b", 2, 1, 1, 0, 4)],
        expect![[r#"
        web-a from 4 to 3
        note revision 2
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-b" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 4), set("b", 2, 2, 2, 1, 4)],
        expect![[r#"
        web-a from 3 to 2
        note revision 2
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-b" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 0, 0, 0, 4), set("b", 2, 4, 4, 4, 4)],
        expect![[r#"
        note revision 2
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True NewReplicaSetAvailable: ReplicaSet "web-b" has successfully progressed.
    "#]],
    );
}

#[test]
fn pods_that_never_became_available_go_first() {
    let web = deployment(4, "c", json!({}));
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 4), set("b", 2, 2, 2, 0, 4)],
        expect![[r#"
        create web-6cd6866fdc with 0
        note revision 3
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-6cd6866fdc" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 4), set("b", 2, 2, 2, 0, 4), set("c", 3, 0, 0, 0, 4)],
        expect![[r#"
        web-b from 2 to 0
        note revision 3
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-c" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 4), set("b", 2, 0, 0, 0, 4), set("c", 3, 2, 2, 0, 4)],
        expect![[r#"
        note revision 3
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-c" is progressing.
        look again in 601s
    "#]],
    );
}

#[test]
fn surge_rounds_up_unavailability_down_and_never_both_nothing() {
    let strategy = |surge: Value, unavailable: Value| json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}});
    let posts =
        |replicas, surge, unavailable| numbers::fenceposts(&deployment(replicas, "a", strategy(surge, unavailable)));
    assert_eq!(posts(3, json!("25%"), json!("25%")), (1, 0));
    assert_eq!(posts(10, json!("25%"), json!("25%")), (3, 2));
    assert_eq!(posts(3, json!(0), json!("25%")), (0, 1));
    assert_eq!(posts(3, json!(0), json!(2)), (0, 2));
    assert_eq!(posts(5, json!("100%"), json!("0%")), (5, 0));
}

#[test]
fn recreate_waits_for_all_old_pods() {
    let web = deployment(3, "b", json!({"spec": {"strategy": {"type": "Recreate"}}}));
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 3)],
        expect![[r#"
        web-a from 3 to 0
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: Deployment "web" is progressing.
        look again in 601s
    "#]],
    );
    check(
        &web,
        vec![set("a", 1, 0, 1, 0, 3)],
        expect![[r#"
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
    "#]],
    );
    let waiting = plan(&web, vec![set("a", 1, 0, 0, 0, 3)], |_| true, NOW);
    assert_eq!(waiting.steps, []);
    check(
        &web,
        vec![set("a", 1, 0, 0, 0, 3)],
        expect![[r#"
        create web-7c4dd8bc76 with 3
        note revision 2
        Progressing=True NewReplicaSetCreated: Created new replica set "web-7c4dd8bc76"
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
        look again in 601s
    "#]],
    );
}

#[test]
fn scaling_in_the_middle_of_an_update_keeps_proportions() {
    let web = deployment(20, "b", json!({}));
    check(
        &web,
        vec![set("a", 1, 8, 8, 8, 10), set("b", 2, 5, 5, 5, 10)],
        expect![[r#"
        web-a from 8 to 15
        web-b from 5 to 10
        note revision 2
        Progressing=True FoundNewReplicaSet: Found new replica set "web-b"
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
    "#]],
    );
    let web = deployment(5, "b", json!({}));
    check(
        &web,
        vec![set("a", 1, 8, 8, 8, 10), set("b", 2, 5, 5, 5, 10)],
        expect![[r#"
        web-b from 5 to 3
        web-a from 8 to 4
        note revision 2
        Progressing=True FoundNewReplicaSet: Found new replica set "web-b"
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
    "#]],
    );
}

#[test]
fn a_paused_rollout_scales_but_does_not_roll() {
    let web = deployment(6, "b", json!({"spec": {"paused": true}}));
    check(
        &web,
        vec![set("a", 1, 3, 3, 3, 3)],
        expect![[r#"
        web-a from 3 to 6
        Progressing=Unknown DeploymentPaused: Deployment is paused
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
    "#]],
    );
}

#[test]
fn going_back_to_an_old_template_makes_its_set_the_newest_revision() {
    let web = deployment(3, "a", json!({"metadata": {"annotations": {revision::REVISION: "2"}}}));
    let plan = plan(&web, vec![set("a", 1, 0, 0, 0, 3), set("b", 2, 3, 3, 3, 3)], |_| false, NOW);
    expect![[r#"
        web-a from 0 to 1
        note revision 3
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True ReplicaSetUpdated: ReplicaSet "web-a" is progressing.
        look again in 601s
    "#]]
    .assert_eq(&show(&plan));
    let Step::Update(_, after) = &plan.steps[0] else { panic!("the set is updated first") };
    let annotations = after.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
}

#[test]
fn a_rollout_that_gets_nowhere_times_out() {
    let since = |reason: &str, at: &str| {
        json!({"status": {"replicas": 3, "updatedReplicas": 1, "readyReplicas": 3, "availableReplicas": 3, "conditions": [
            {"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": at, "lastTransitionTime": at}
        ]}})
    };
    let sets = || vec![set("a", 1, 3, 3, 3, 3), set("b", 2, 1, 1, 0, 3)];
    check(
        &deployment(3, "b", since("ReplicaSetUpdated", "1969-12-31T23:55:00Z")),
        sets(),
        expect![[r#"
        note revision 2
        Progressing=True ReplicaSetUpdated: 
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        look again in 301s
    "#]],
    );
    check(
        &deployment(3, "b", since("ReplicaSetUpdated", "1969-12-31T23:49:59Z")),
        sets(),
        expect![[r#"
        note revision 2
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=False ProgressDeadlineExceeded: ReplicaSet "web-b" has timed out progressing.
    "#]],
    );
    check(
        &deployment(3, "b", since("NewReplicaSetAvailable", "1969-12-31T23:49:59Z")),
        sets(),
        expect![[r#"
            note revision 2
            Progressing=True NewReplicaSetAvailable: 
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        "#]],
    );
}

#[test]
fn old_empty_sets_beyond_the_limit_go_when_the_rollout_is_complete() {
    let complete = json!({
        "spec": {"revisionHistoryLimit": 1},
        "status": {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2, "observedGeneration": 1},
    });
    let sets = vec![set("a", 1, 0, 0, 0, 2), set("b", 2, 0, 0, 0, 2), set("c", 3, 0, 0, 0, 2), set("d", 4, 2, 2, 2, 2)];
    check(
        &deployment(2, "d", complete),
        sets,
        expect![[r#"
        note revision 4
        delete web-a
        delete web-b
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True NewReplicaSetAvailable: ReplicaSet "web-d" has successfully progressed.
    "#]],
    );
}

#[test]
fn templates_are_compared_by_meaning() {
    let web = deployment(1, "a", json!({"spec": {"template": {"spec": {"volumes": [], "nodeSelector": {}}}}}));
    assert_eq!(revision::find_new(&web, &[set("b", 1, 1, 1, 1, 1), set("a", 2, 1, 1, 1, 1)]), Some(1));
    let empty_dir = |kind: &str| {
        deployment(1, "a", json!({"spec": {"template": {"spec": {"volumes": [{"name": "v", kind: {}}]}}}}))
    };
    assert_eq!(revision::find_new(&empty_dir("emptyDir"), &[revision::new_set(&empty_dir("secret"))]), None);
    let template = |deployment: &Deployment| deployment.spec.clone().unwrap_or_default().template;
    expect!["78dbf6cfb9"].assert_eq(&template_hash(&template(&web), 0));
    assert_ne!(template_hash(&template(&web), 0), template_hash(&template(&web), 1));
}

/// A whole rollout, with pods that become available at once: at no time fewer than needed or more than allowed.
#[test]
fn every_rollout_ends_and_never_leaves_its_bounds() {
    for replicas in 0..12 {
        for (surge, unavailable) in [(0, 1), (1, 0), (1, 1), (3, 2), (12, 0), (0, 12)] {
            let strategy = json!({"spec": {"strategy": {"type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}});
            let web = deployment(replicas, "b", strategy);
            let mut sets = vec![set("a", 1, replicas, replicas, replicas, replicas)];
            let mut moves = 0;
            loop {
                let plan = plan(&web, sets.clone(), |_| false, NOW);
                let moved = play(&mut sets, plan.steps);
                let total: i32 = sets.iter().map(numbers::size).sum();
                assert!(total <= replicas + surge, "{total} pods of {replicas}+{surge}");
                let available: i32 = sets.iter().map(numbers::available).sum();
                assert!(available >= replicas - unavailable, "{available} available of {replicas}-{unavailable}");
                become_available(&mut sets);
                moves += 1;
                if !moved {
                    break;
                }
                assert!(moves < 60, "the rollout of {replicas} does not end");
            }
            assert_eq!(sets.iter().map(numbers::size).collect::<Vec<_>>(), [0, replicas]);
        }
    }
}

/// Carries out steps; pods that go are gone at once. Says whether any set changed its size.
fn play(sets: &mut Vec<ReplicaSet>, steps: Vec<Step>) -> bool {
    let mut moved = false;
    for step in steps {
        match step {
            Step::Create(set) => {
                sets.push(*set);
                moved = true;
            }
            Step::Update(before, after) => {
                moved |= numbers::size(&before) != numbers::size(&after);
                let set = sets.iter_mut().find(|set| name(*set) == name(&*before)).expect("the set is there");
                let still = numbers::available(&before).min(numbers::size(&after));
                *set = *after;
                set.status = serde_json::from_value(json!({"replicas": still, "availableReplicas": still})).ok();
            }
            Step::Revision(_) | Step::Delete(_) => {}
        }
    }
    moved
}

fn become_available(sets: &mut [ReplicaSet]) {
    for set in sets {
        let size = numbers::size(set);
        set.status =
            serde_json::from_value(json!({"replicas": size, "readyReplicas": size, "availableReplicas": size})).ok();
    }
}

#[test]
fn pods_that_a_smaller_set_still_counts_are_not_counted_on() {
    // Of the four it says are available, one is about to go: five are there, and three are needed.
    check(
        &deployment(4, "b", json!({})),
        vec![set("a", 1, 3, 4, 4, 4), set("b", 2, 2, 2, 2, 4)],
        expect![[r#"
            web-a from 3 to 1
            note revision 2
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
            Progressing=True ReplicaSetUpdated: ReplicaSet "web-b" is progressing.
            look again in 601s
        "#]],
    );
}
