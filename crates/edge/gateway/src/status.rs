//! What the gateway writes to the API: its class, and where each of its ingresses is reached.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

/// The controller name of ingress classes that are this gateway's.
pub(crate) const CONTROLLER: &str = "coracle.internal/gateway";
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the class and the statuses as they should be until dropped.
pub(crate) async fn run(
    client: Client,
    class: String,
    addresses: Vec<IpAddr>,
    mut ours: watch::Receiver<Vec<Arc<Ingress>>>,
) {
    while let Err(error) = ensure_class(&client, &class).await {
        tracing::warn!(%error, class, "ingress class not made; trying again");
        sleep(RETRY_PAUSE).await;
    }
    let wanted = status(&addresses);
    loop {
        let ingresses = ours.borrow_and_update().clone();
        let mut failed = false;
        for ingress in ingresses.iter().filter(|ingress| !says(ingress, &wanted)) {
            if let Err(error) = write(&client, ingress, &wanted).await {
                failed = true;
                tracing::debug!(%error, ingress = ingress.name_any(), "ingress status not written");
            }
        }
        tokio::select! {
            changed = ours.changed() => if changed.is_err() { return },
            () = sleep(RETRY_PAUSE), if failed => {}
        }
    }
}

async fn ensure_class(client: &Client, name: &str) -> Result<(), kube::Error> {
    let api = Api::<IngressClass>::all(client.clone());
    if api.get_opt(name).await?.is_some() {
        return Ok(());
    }
    let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
    let class = json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": CONTROLLER}});
    let class = serde_json::from_value(class).map_err(kube::Error::SerdeError)?;
    match api.create(&PostParams::default(), &class).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

fn status(addresses: &[IpAddr]) -> Value {
    let ingress: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({"loadBalancer": {"ingress": ingress}})
}

fn says(ingress: &Ingress, wanted: &Value) -> bool {
    serde_json::to_value(&ingress.status).is_ok_and(|status| status == *wanted)
}

async fn write(client: &Client, ingress: &Ingress, wanted: &Value) -> Result<(), kube::Error> {
    let api = Api::<Ingress>::namespaced(client.clone(), &ingress.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({"status": wanted}));
    match api.patch_status(&ingress.name_any(), &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
