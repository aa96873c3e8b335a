//! A pod's surroundings: its network and the namespaces its containers share.

use std::{collections::BTreeMap, net::IpAddr};

use coracle_runtime::{Namespace, Namespaces};
use k8s_openapi::api::core::v1 as core;

use crate::{
    container::{assemble::label, files},
    context::Context,
    doors::SandboxRequest,
};

/// Where the containers of a pod live.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub namespaces: Namespaces,
    pub ips: Vec<IpAddr>,
}

/// Makes the network and the namespaces, or finds them again.
pub async fn create(context: &Context, pod: &core::Pod) -> Result<Surroundings, String> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let spec = pod.spec.as_ref().ok_or("the pod has no spec")?;
    let host_network = spec.host_network.unwrap_or_default();
    let attach = async {
        if host_network {
            return Ok((context.network.node_ips(), context.network.node_namespace()));
        }
        context.network.attach(uid).await.map(|attachment| (attachment.ips, attachment.namespace))
    };
    let create = context.runtime.create_sandbox(request(context, pod, spec, uid));
    let (attached, created) = tokio::join!(attach, create);
    let ((ips, namespace), mut namespaces) = (attached?, created?);
    namespaces.net = Namespace::Path(namespace);
    Ok(Surroundings { namespaces, ips })
}

fn request(context: &Context, pod: &core::Pod, spec: &core::PodSpec, uid: &str) -> SandboxRequest {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let labels: BTreeMap<_, _> = [
        (label::POD_UID.to_owned(), uid.to_owned()),
        (label::POD_NAME.to_owned(), text(&pod.metadata.name)),
        (label::POD_NAMESPACE.to_owned(), text(&pod.metadata.namespace)),
    ]
    .into();
    SandboxRequest {
        uid: uid.to_owned(),
        hostname: files::hostname(pod, &context.node.name, &context.node.dns.cluster_domain),
        host_network: spec.host_network.unwrap_or_default(),
        host_ipc: spec.host_ipc.unwrap_or_default(),
        host_pid: spec.host_pid.unwrap_or_default(),
        share_pid: spec.share_process_namespace.unwrap_or_default(),
        labels,
    }
}

/// Gives both back.
pub async fn remove(context: &Context, uid: &str) -> Result<(), String> {
    context.runtime.remove_sandbox(uid).await?;
    context.network.detach(uid).await
}
