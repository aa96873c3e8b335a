//! What a container may use, and what is counted.

use coracle_runtime::Resources;

use crate::rig::Rig;

#[tokio::test]
async fn too_much_memory() {
    let rig = Rig::new().await;
    let mut spec = rig.spec("a", &["eat", "200"]);
    spec.resources.memory_limit_bytes = Some(20 << 20);
    let (exit, text) = rig.run(spec).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true), "{text}");
    rig.finish().await;
}

#[tokio::test]
async fn limits_hold() {
    let rig = Rig::new().await;
    rig.runtime.set_cgroup("pods/p", &Resources { cpu_shares: Some(512), ..Resources::default() }).unwrap();
    let mut spec = rig.spec("a", &["sleep"]);
    spec.resources = Resources {
        cpu_shares: Some(256),
        cpu_quota_us: Some(50_000),
        memory_limit_bytes: Some(64 << 20),
        pids_limit: Some(20),
    };
    rig.runtime.start(spec).await.unwrap();
    let stats = rig.runtime.stats("a").await.unwrap();
    assert_eq!(stats.pids, 1);
    assert!(stats.memory_usage_bytes > 0 && stats.memory_usage_bytes < 64 << 20, "{stats:?}");
    // Seen from inside, through the container's own view of its group.
    let seen = rig
        .runtime
        .exec_capture(
            "a",
            &[
                "/bin/tool".into(),
                "show".into(),
                "/sys/fs/cgroup/memory/memory.limit_in_bytes".into(),
                "/sys/fs/cgroup/memory.max".into(),
                "/proc/self/cgroup".into(),
            ],
            crate::rig::PATIENCE,
            4096,
        )
        .await
        .unwrap();
    let seen = String::from_utf8(seen.output).unwrap();
    assert!(seen.contains("67108864"), "{seen}");
    assert!(!seen.contains("coracle-test"), "the node's paths show: {seen}");
    rig.runtime.remove("a").await.unwrap();
    rig.runtime.remove_cgroup("pods/p").unwrap();
    rig.finish().await;
}
