//! The stand-in for the workload controllers and the node: Deployments get a ReplicaSet for each template, and pods
//! that are ready at once, or, where an image's environment says CRASH, end at start.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

const REVISION: &str = "deployment.kubernetes.io/revision";

pub async fn run(client: kube::Client) {
    let deployments = watcher(Api::<Deployment>::all(client.clone()), watcher::Config::default());
    let ingresses = watcher(Api::<Ingress>::all(client.clone()), watcher::Config::default());
    let (mut deployments, mut ingresses) = (deployments.boxed(), ingresses.boxed());
    loop {
        tokio::select! {
            Some(event) = deployments.next() => {
                if let Ok(watcher::Event::Apply(deployment) | watcher::Event::InitApply(deployment)) = event {
                    roll_out(&client, &deployment).await;
                }
            }
            Some(event) = ingresses.next() => {
                if let Ok(watcher::Event::Apply(ingress)) = event {
                    publish(&client, &ingress).await;
                }
            }
        }
    }
}

async fn publish(client: &kube::Client, ingress: &Ingress) {
    let (namespace, name) = (ingress.metadata.namespace.clone().unwrap(), ingress.metadata.name.clone().unwrap());
    let api: Api<Ingress> = Api::namespaced(client.clone(), &namespace);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}});
    let _ = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
}

async fn roll_out(client: &kube::Client, deployment: &Deployment) {
    let object = serde_json::to_value(deployment).unwrap();
    if object.pointer("/metadata/deletionTimestamp").is_some() {
        return;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    let template = &object["spec"]["template"];
    let crashes = template.to_string().contains("CRASH");
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let hash = format!("{:x}", template.to_string().bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31) ^ u32::from(byte)));
    let set = format!("{name}-{hash}");
    let known = sets.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default();
    let newest = known.iter().filter_map(|set| revision(&set.metadata)).max().unwrap_or(0);
    let present = known.iter().find(|known| known.metadata.name.as_deref() == Some(&set));
    if present.and_then(|set| revision(&set.metadata)) != Some(newest) || newest == 0 {
        let object = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": set, "namespace": namespace, "annotations": {REVISION: (newest + 1).to_string()},
                "ownerReferences": [owner("apps/v1", "Deployment", &name, &text("/metadata/uid"))]},
            "spec": {"selector": object["spec"]["selector"], "template": template},
        });
        apply(&sets, &set, &object).await;
    }
    let Ok(current) = sets.get(&set).await else { return };
    let uid = current.metadata.uid.clone().unwrap_or_default();
    let count = if crashes { 1 } else { replicas };
    for pod in pods.list(&ListParams::default()).await.map(|list| list.items).unwrap_or_default() {
        let pod_name = pod.metadata.name.unwrap_or_default();
        let mine = pod_name.starts_with(&format!("{set}-"));
        let surplus = mine && !(0..count).any(|index| pod_name == format!("{set}-{index}"));
        let old = pod_name.starts_with(&format!("{name}-")) && !mine && !crashes;
        if old || surplus {
            let _ = pods.delete(&pod_name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await;
        }
    }
    for index in 0..count {
        let pod = format!("{set}-{index}");
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": pod, "namespace": namespace,
                "ownerReferences": [owner("apps/v1", "ReplicaSet", &set, &uid)]},
            "spec": template["spec"],
        });
        apply(&pods, &pod, &object).await;
        let container = text("/spec/template/spec/containers/0/name");
        let _ = pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(pod_status(&container, crashes))).await;
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let (updated, total) = if crashes { (1, replicas + 1) } else { (replicas, replicas) };
    let status = json!({"status": {
        "observedGeneration": object["metadata"]["generation"],
        "replicas": total, "updatedReplicas": updated, "readyReplicas": replicas, "availableReplicas": replicas,
    }});
    let _ = deployments.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
}

fn pod_status(container: &str, crashes: bool) -> Value {
    let ready = if crashes { "False" } else { "True" };
    let mut status = json!({"name": container, "image": "x", "imageID": "x", "ready": !crashes, "restartCount": 0, "state": {"running": {}}});
    if crashes {
        status["restartCount"] = 1.into();
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        status["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    }
    json!({"status": {"phase": "Running", "containerStatuses": [status], "conditions": [{"type": "Ready", "status": ready}]}})
}

fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true})
}

fn revision(metadata: &kube::api::ObjectMeta) -> Option<i64> {
    metadata.annotations.as_ref()?.get(REVISION)?.parse().ok()
}

async fn apply<K>(api: &Api<K>, name: &str, object: &Value)
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let parameters = PatchParams::apply("workloads").force();
    if let Err(error) = api.patch(name, &parameters, &Patch::Apply(object)).await {
        // The namespace may be going away under the stand-in's feet, as under a real controller's.
        tracing::debug!(name, %error, "not applied");
    }
}
