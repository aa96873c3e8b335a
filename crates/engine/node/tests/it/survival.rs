//! The engine may die; what it runs may not.

use serde_json::json;

use crate::rig::{Rig, condition};

#[tokio::test(flavor = "multi_thread")]
async fn another_engine_takes_over_what_runs_and_clears_up_what_is_gone() {
    let mut rig = Rig::new().await;
    for name in ["stays", "goes", "crashes"] {
        rig.run(name, json!({ "args": ["serve", "8080"] }), json!({})).await;
        rig.until_ready(name).await;
    }
    let (pid, crashing) = (rig.pid("stays").await, rig.pid("crashes").await);
    let before = rig.until_ready("stays").await;
    rig.stop_engine();
    rig.pods().delete("goes", &kube::api::DeleteParams::default().grace_period(0)).await.expect("there");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(crashing).expect("a pid"),
        rustix::process::Signal::KILL,
    )
    .expect("killed");
    rig.start_engine().await;

    let crashed = rig
        .until("crashes", |s| s["containerStatuses"][0]["restartCount"] == 1 && condition(s, "Ready") == "True")
        .await;
    assert_eq!(crashed["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(rig.pid("stays").await, pid);
    let after = rig.until_ready("stays").await;
    assert_eq!(after["containerStatuses"], before["containerStatuses"]);
    assert_eq!(after["podIP"], before["podIP"]);
    rig.until_directories(2).await;
    rig.finish().await;
}
