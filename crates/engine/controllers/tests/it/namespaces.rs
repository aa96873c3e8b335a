//! What a namespace comes with, and how it goes.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, ServiceAccount},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    cluster::{Cluster, eventually},
    deployments::{settled, web},
};

#[tokio::test]
async fn a_namespace_comes_with_an_account_and_the_certificate() {
    let cluster = Cluster::start().await;
    let (accounts, maps) = (cluster.api::<ServiceAccount>(), cluster.api::<ConfigMap>());
    eventually("the account", || async { accounts.get_opt("default").await.unwrap().is_some() }).await;
    let certificate = || async {
        let map = maps.get_opt("kube-root-ca.crt").await.unwrap();
        map.and_then(|map| map.data).and_then(|data| data.get("ca.crt").cloned())
    };
    let is_right = || async { certificate().await.as_deref() == Some("the certificate") };
    eventually("the certificate", is_right).await;
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    eventually("the account again", || async { accounts.get_opt("default").await.unwrap().is_some() }).await;
    cluster.patch::<ConfigMap>("kube-root-ca.crt", json!({"data": {"ca.crt": "another"}})).await;
    eventually("the certificate again", is_right).await;
}

#[tokio::test]
async fn a_namespace_goes_when_everything_in_it_is_gone() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(web(3)).await;
    settled(&cluster, 3, "a").await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    cluster.create::<ConfigMap>(held).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    eventually("the reason it does not go", || async {
        let namespace = namespaces.get("shop").await.unwrap();
        let status = namespace.status.unwrap_or_default();
        let said = status.conditions.into_iter().flatten().any(|condition| {
            condition.type_ == "NamespaceFinalizersRemaining"
                && condition.message.as_deref()
                    == Some("Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances")
        });
        said && status.phase.as_deref() == Some("Terminating")
    })
    .await;
    let late: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "late"}})).unwrap();
    let refused = cluster.api::<ConfigMap>().create(&PostParams::default(), &late).await;
    assert!(refused.is_err(), "nothing new comes into a namespace that goes");
    cluster.patch::<ConfigMap>("held", json!({"metadata": {"finalizers": null}})).await;
    eventually("the namespace's end", || async { namespaces.get_opt("shop").await.unwrap().is_none() }).await;
    let names: Vec<String> =
        namespaces.list(&Default::default()).await.unwrap().iter().map(ResourceExt::name_any).collect();
    assert!(names.contains(&"default".to_owned()), "others stay");
}
