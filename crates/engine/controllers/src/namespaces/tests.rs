//! The words a namespace that cannot go yet finds for it.

use expect_test::{Expect, expect};
use k8s_openapi::jiff::Timestamp;

use super::conditions::{Findings, update};

fn check(findings: &Findings, expected: Expect) {
    let conditions = update(Vec::new(), findings, Timestamp::UNIX_EPOCH);
    let show = |text: Option<String>| text.unwrap_or_default();
    let lines =
        conditions.into_iter().map(|c| format!("{}={} {}: {}\n", c.type_, c.status, show(c.reason), show(c.message)));
    expected.assert_eq(&lines.collect::<String>());
}

#[test]
fn an_empty_namespace_is_ready_to_go() {
    check(
        &Findings::default(),
        expect![[r#"
        NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization
        NamespaceContentRemaining=False ContentRemoved: All content successfully removed
        NamespaceFinalizersRemaining=False ContentHasNoFinalizers: All content-preserving finalizers finished
    "#]],
    );
}

#[test]
fn what_is_left_is_counted() {
    let findings = Findings {
        failures: vec!["failed to delete pods.: the server is busy".to_owned()],
        remaining: [("pods.".to_owned(), 3), ("widgets.example.com".to_owned(), 1)].into(),
        finalizers: [("example.com/keep".to_owned(), 1)].into(),
        ..Findings::default()
    };
    check(
        &findings,
        expect![[r#"
        NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: failed to delete pods.: the server is busy
        NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: pods. has 3 resource instances, widgets.example.com has 1 resource instances
        NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances
    "#]],
    );
}

#[test]
fn a_time_moves_only_with_its_status() {
    let later = Timestamp::from_second(60).expect("a minute after the epoch");
    let first = update(Vec::new(), &Findings::default(), Timestamp::UNIX_EPOCH);
    let findings = Findings { remaining: [("pods.".to_owned(), 3)].into(), ..Findings::default() };
    let second = update(first, &findings, later);
    let moved: Vec<&str> = second
        .iter()
        .filter(|condition| condition.last_transition_time.as_ref().is_some_and(|time| time.0 == later))
        .map(|condition| condition.type_.as_str())
        .collect();
    assert_eq!(moved, ["NamespaceContentRemaining"]);
}
