//! The stand-in for the node and the gateway: pods are ready at once, or, where their environment says CRASH, end at
//! start again and again; Ingresses are served.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

pub async fn run(client: kube::Client) {
    let pods = watcher(Api::<Pod>::all(client.clone()), watcher::Config::default());
    let ingresses = watcher(Api::<Ingress>::all(client.clone()), watcher::Config::default());
    let (mut pods, mut ingresses) = (pods.boxed(), ingresses.boxed());
    loop {
        tokio::select! {
            Some(event) = pods.next() => {
                if let Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) = event {
                    live(&client, &pod).await;
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

async fn live(client: &kube::Client, pod: &Pod) {
    let (namespace, name) = (pod.metadata.namespace.clone().unwrap(), pod.metadata.name.clone().unwrap());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    if pod.metadata.deletion_timestamp.is_some() {
        let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        tell("delete pod", pods.delete(&name, &at_once).await.map(drop));
        return;
    }
    if pod.status.as_ref().is_some_and(|status| status.container_statuses.is_some()) {
        return;
    }
    let spec = serde_json::to_value(&pod.spec).unwrap();
    let container = spec["containers"][0]["name"].as_str().unwrap().to_owned();
    let status = pod_status(&container, spec.to_string().contains("CRASH"));
    tell("pod status", pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop));
}

fn pod_status(container: &str, crashes: bool) -> Value {
    let mut status = json!({"name": container, "image": "x", "imageID": "x", "ready": !crashes, "restartCount": 0});
    if crashes {
        status["restartCount"] = 1.into();
        status["state"] = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        status["lastState"] = json!({"terminated": {"exitCode": 3, "reason": "Error"}});
    } else {
        status["state"] = json!({"running": {}});
    }
    let ready = json!({"type": "Ready", "status": if crashes { "False" } else { "True" }, "lastTransitionTime": "2026-01-01T00:00:00Z"});
    json!({"status": {"phase": "Running", "containerStatuses": [status], "conditions": [ready]}})
}

async fn publish(client: &kube::Client, ingress: &Ingress) {
    let (namespace, name) = (ingress.metadata.namespace.clone().unwrap(), ingress.metadata.name.clone().unwrap());
    let api: Api<Ingress> = Api::namespaced(client.clone(), &namespace);
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}});
    tell("ingress status", api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop));
}

/// Objects may go away under the stand-in's feet, as under a real node's.
fn tell(what: &str, result: kube::Result<()>) {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => eprintln!("{what}: {error}"),
        Ok(()) => {}
    }
}
