//! Pods as they are run: their surroundings, their ends, their probes.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1 as core;
use kube::{Api, api::PostParams};
use serde_json::json;

use crate::rig::{Rig, condition};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_serves_comes_back_after_a_crash_and_goes() {
    let rig = Rig::new().await;
    let container = json!({
        "args": ["serve", "8080"],
        "env": [{ "name": "WORD", "value": "hello" }],
        "readinessProbe": { "httpGet": { "path": "/", "port": 8080 } },
    });
    rig.run("web", container, json!({})).await;
    let status = rig.until_ready("web").await;
    let ip = status["podIP"].as_str().expect("an address").to_owned();
    assert_eq!(rig.fetch(&ip, 8080).await.expect("served"), "hello");

    let pid = rig.pid("web").await;
    let killed = Instant::now();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
    let again = async {
        // The dead one may still answer for a moment.
        while rig.pid_now("web").await.is_none_or(|now| now == pid) || rig.fetch(&ip, 8080).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::rig::PATIENCE, again).await.expect("it serves again");
    println!("crash to serving: {:?}", killed.elapsed());
    let status =
        rig.until("web", |s| s["containerStatuses"][0]["restartCount"] == 1 && condition(s, "Ready") == "True").await;
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    assert_eq!(status["podIP"], ip.as_str());
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_environment_are_as_asked() {
    let rig = Rig::new().await;
    let config: core::ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "config" }, "data": { "color": "blue" } }))
            .expect("a ConfigMap");
    let maps: Api<core::ConfigMap> = Api::default_namespaced(rig.client.clone());
    maps.create(&PostParams::default(), &config).await.expect("created");
    let container = json!({
        "args": ["say-and-sleep", "$(POD) is $(COLOR)"],
        "env": [
            { "name": "POD", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "COLOR", "valueFrom": { "configMapKeyRef": { "name": "config", "key": "color" } } },
        ],
        "volumeMounts": [
            { "name": "config", "mountPath": "/config" },
            { "name": "memory", "mountPath": "/memory" },
            { "name": "config", "mountPath": "/one", "subPath": "color" },
        ],
    });
    let volumes = json!({ "volumes": [
        { "name": "config", "configMap": { "name": "config" } },
        { "name": "memory", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } },
    ] });
    rig.run("web", container, volumes).await;
    rig.until_ready("web").await;
    let show = async |path: &str| rig.kubectl(&["exec", "web", "--", "/bin/tool", "show", path], &[]).await.1;
    assert_eq!(show("/config/color").await, "blue");
    assert_eq!(show("/one").await, "blue");
    assert!(show("/proc/mounts").await.contains("/memory tmpfs"));
    assert!(show("/etc/resolv.conf").await.contains("search default.svc.cluster.local"));
    assert_eq!(show("/etc/hostname").await, "web\n");
    assert_eq!(rig.kubectl(&["logs", "web"], &[]).await.1, "web is blue\nweb is blue aloud\n");

    let patch = json!({ "data": { "color": "green" } });
    maps.patch("config", &Default::default(), &kube::api::Patch::Merge(patch)).await.expect("patched");
    let followed = async { while show("/config/color").await != "green" {} };
    tokio::time::timeout(crate::rig::PATIENCE, followed).await.expect("the volume follows");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_told_as_they_were() {
    let rig = Rig::new().await;
    let never = json!({ "restartPolicy": "Never" });
    rig.run("well", json!({ "args": ["say-and-exit", "words", "0"] }), never.clone()).await;
    rig.run("badly", json!({ "args": ["say-and-exit", "words", "3"] }), never.clone()).await;
    rig.run(
        "hungry",
        json!({ "args": ["eat", "200"], "resources": { "limits": { "memory": "32Mi" } } }),
        never.clone(),
    )
    .await;
    rig.run("absent", json!({ "command": ["/no/such"] }), never).await;
    let end = async |name: &str| {
        let status = rig.until(name, |s| s["phase"] == "Succeeded" || s["phase"] == "Failed").await;
        let state = status["containerStatuses"][0]["state"]["terminated"].clone();
        format!("{} {} {} {}", status["phase"], state["reason"], state["exitCode"], state["message"])
    };
    assert_eq!(end("well").await, r#""Succeeded" "Completed" 0 "last words""#);
    assert_eq!(end("badly").await, r#""Failed" "Error" 3 "last words""#);
    assert_eq!(end("hungry").await, r#""Failed" "OOMKilled" 137 null"#);
    let absent = end("absent").await;
    assert!(absent.starts_with(r#""Failed" "StartError" 128"#) && absent.contains("/no/such"), "{absent}");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_watch_over_readiness_and_life() {
    let rig = Rig::new().await;
    let container = json!({
        "args": ["serve", "8080"],
        "startupProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1 },
        "livenessProbe": { "exec": { "command": ["/bin/tool", "exit", "1"] }, "periodSeconds": 1, "failureThreshold": 2 },
    });
    rig.run("web", container, json!({})).await;
    let status = rig.until("web", |s| s["containerStatuses"][0]["restartCount"] == 1).await;
    // The first process of a container gets no signal it has no handler for, but the last.
    assert_eq!(status["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    let events = rig.events().await;
    assert!(
        events.contains(&"Killing: Container a failed liveness probe, will be restarted".to_owned()),
        "{events:#?}"
    );
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_share_volumes_and_the_account_has_a_token() {
    let rig = Rig::new().await;
    let maps: Api<core::ConfigMap> = Api::default_namespaced(rig.client.clone());
    let authority = json!({ "metadata": { "name": "kube-root-ca.crt" }, "data": { "ca.crt": "authority" } });
    let authority: core::ConfigMap = serde_json::from_value(authority).expect("a ConfigMap");
    // The pod is there before what it needs is.
    let extra = json!({
        "automountServiceAccountToken": true,
        "initContainers": [{ "name": "i", "image": "localhost/tool:1", "imagePullPolicy": "Never", "args": ["say-and-exit", "first", "0"] }],
    });
    rig.run("web", json!({ "args": ["serve", "8080"] }), extra).await;
    rig.until("web", |s| s["initContainerStatuses"][0]["state"]["waiting"]["reason"] == "PodInitializing").await;
    maps.create(&PostParams::default(), &authority).await.expect("created");
    let status = rig.until_ready("web").await;
    assert_eq!(status["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(condition(&status, "Initialized"), "True");

    let show = async |name: &str| {
        let path = format!("/var/run/secrets/kubernetes.io/serviceaccount/{name}");
        rig.kubectl(&["exec", "web", "-c", "a", "--", "/bin/tool", "show", &path], &[]).await.1
    };
    assert_eq!(show("ca.crt").await, "authority");
    assert_eq!(show("namespace").await, "default");
    assert_eq!(show("token").await.split('.').count(), 3);
    assert_eq!(rig.kubectl(&["logs", "web", "-c", "i"], &[]).await.1, "first\n");
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_start_soon_after_they_are_asked_for() {
    let rig = Rig::new().await;
    let mut times = Vec::new();
    for number in 0..10 {
        let name = format!("web-{number}");
        let asked = Instant::now();
        rig.run(&name, json!({ "args": ["serve", "8080"] }), json!({})).await;
        rig.until_ready(&name).await;
        times.push(asked.elapsed());
    }
    times.sort();
    println!("pod start: median {:?}, longest {:?}", times[times.len() / 2], times[times.len() - 1]);
    assert!(times[times.len() / 2] < Duration::from_secs(5), "{times:?}");
    rig.finish().await;
}
