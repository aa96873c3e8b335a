//! How pods end when they are deleted.

use expect_test::expect;
use serde_json::json;

use super::{app, check};

#[test]
fn deletion_runs_the_hook_then_terminates_then_kills() {
    check(
        json!({ "containers": [app(json!({ "lifecycle": { "preStop": { "sleep": { "seconds": 5 } } } }))] }),
        "prepared
         started a
         deleted 30
         after 5s
         pre-stop-done a
         after 25s
         exited a 137
         released
         data-removed
         final-status",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:ready
            deleted 30
              -> stop a: PodEnds in 30s
              -> preStop a
              = Running a:running, wakes in 30s
            after 5s
              = Running a:running, wakes in 25s
            pre-stop-done a
              -> terminate a
              = Running a:running, wakes in 25s
            after 25s
              -> kill a
              = Running a:running
            exited a 137
              -> RemoveSandbox
              -> RemoveVolumes
              = Failed a:Error(137)
            released
              -> RemoveData
              = Failed a:Error(137)
            data-removed
              = Failed a:Error(137)
            final-status
              -> Finish
              = Failed a:Error(137)
        "#]],
    );
}

#[test]
fn a_pod_that_serves_is_left_alone_until_nobody_asks_it_any_more() {
    check(
        json!({ "containers": [app(json!({ "readinessProbe": {} })), { "name": "b", "image": "x" }] }),
        "prepared
         started a
         started b
         deleted 30
         after 1s
         exited a 0
         exited b 0",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating b:ContainerCreating
            prepared
              -> start a #0
              -> start b #0
              = Pending a:ContainerCreating b:ContainerCreating
            started a
              = Pending a:running b:ContainerCreating
            started b
              = Running a:running b:ready
            deleted 30
              -> stop b: PodEnds in 30s
              -> stop a: PodEnds in 30s
              -> terminate a
              = Running a:running b:running, wakes in 0s
            after 1s
              -> terminate b
              = Running a:running b:running, wakes in 29s
            exited a 0
              = Running a:Completed(0) b:running, wakes in 29s
            exited b 0
              -> RemoveSandbox
              -> RemoveVolumes
              = Succeeded a:Completed(0) b:Completed(0)
        "#]],
    );
}

#[test]
fn a_second_deletion_shortens_the_grace_period() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "prepared
         started a
         deleted 30
         deleted 0
         after 1s
         vanished
         exited a 137
         released
         data-removed",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:ready
            deleted 30
              -> stop a: PodEnds in 30s
              = Running a:running, wakes in 0s
            deleted 0
              = Running a:running, wakes in 0s
            after 1s
              -> terminate a
              -> kill a
              = Running a:running
            vanished
              = Running a:running
            exited a 137
              -> RemoveSandbox
              -> RemoveVolumes
              = Failed a:Error(137)
            released
              -> RemoveData
              = Failed a:Error(137)
            data-removed
              = Failed a:Error(137)
        "#]],
    );
}

#[test]
fn a_hook_that_hangs_leaves_two_seconds() {
    check(
        json!({ "containers": [app(json!({ "lifecycle": { "preStop": { "exec": { "command": ["hang"] } } } }))] }),
        "prepared
         started a
         deleted 4
         after 4s
         after 2s
         exited a 137",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            started a
              = Running a:ready
            deleted 4
              -> stop a: PodEnds in 4s
              -> preStop a
              = Running a:running, wakes in 4s
            after 4s
              -> terminate a
              = Running a:running, wakes in 2s
            after 2s
              -> kill a
              = Running a:running
            exited a 137
              -> RemoveSandbox
              -> RemoveVolumes
              = Failed a:Error(137)
        "#]],
    );
}

#[test]
fn deletion_while_pulling_gives_the_start_up() {
    check(
        json!({ "containers": [app(json!({}))] }),
        "prepared
         deleted 30
         start-aborted a
         released",
        expect![[r#"
              -> PrepareVolumes
              -> CreateSandbox
              = Pending a:ContainerCreating
            prepared
              -> start a #0
              = Pending a:ContainerCreating
            deleted 30
              -> AbortStart { container: "a" }
              = Pending a:ContainerCreating
            start-aborted a
              -> RemoveSandbox
              -> RemoveVolumes
              = Pending a:ContainerCreating
            released
              -> RemoveData
              = Pending a:ContainerCreating
        "#]],
    );
}
