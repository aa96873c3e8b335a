//! Custom resources, from definition to end.

use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{client, server};

const PATIENCE: Duration = Duration::from_secs(5);

fn definition() -> CustomResourceDefinition {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "minimum": 0}, "colour": {"type": "string", "default": "blue"},
                }},
                "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
            }}},
        })
    };
    let value = json!({"metadata": {"name": "boats.sea.example.org"}, "spec": {
        "group": "sea.example.org", "scope": "Namespaced",
        "names": {"plural": "boats", "kind": "Boat", "shortNames": ["bo"]},
        "versions": [version("v1", true), version("v1beta1", false)],
    }});
    serde_json::from_value(value).unwrap()
}

fn boats(client: &Client, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("sea.example.org", version, "Boat");
    Api::default_namespaced_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "boats"))
}

fn boat(name: &str, spec: Value) -> DynamicObject {
    let value = json!({"apiVersion": "sea.example.org/v1", "kind": "Boat", "metadata": {"name": name}, "spec": spec});
    serde_json::from_value(value).unwrap()
}

fn established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Established" && one.status == "True"))
}

async fn define(client: &Client) -> Duration {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let begun = Instant::now();
    definitions.create(&PostParams::default(), &definition()).await.unwrap();
    while !established(&definitions.get("boats.sea.example.org").await.unwrap()) {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    begun.elapsed()
}

#[tokio::test]
async fn a_definition_is_served_at_once() {
    let client = client(&server().await);
    let took = define(&client).await;
    assert!(took < Duration::from_millis(200), "{took:?}");
    let made = boats(&client, "v1")
        .create(&PostParams::default(), &boat("a", json!({"size": 3, "unknown": 1})))
        .await
        .unwrap();
    assert_eq!(
        made.data["spec"],
        json!({"size": 3, "colour": "blue"}),
        "unknown fields are pruned, defaults filled in"
    );
    let groups = client.list_api_groups().await.unwrap();
    assert!(groups.groups.iter().any(|group| group.name == "sea.example.org"));
    let other = boats(&client, "v1beta1").get("a").await.unwrap();
    assert_eq!(other.types.unwrap().api_version, "sea.example.org/v1beta1");
    let wrong = boats(&client, "v1").create(&PostParams::default(), &boat("b", json!({"size": -1}))).await.unwrap_err();
    let kube::Error::Api(status) = wrong else { panic!("{wrong}") };
    assert_eq!(
        status.message,
        "Boat.sea.example.org \"b\" is invalid: spec.size: Invalid value: -1: spec.size in body should be greater than or equal to 0"
    );
}

#[tokio::test]
async fn status_and_scale_of_a_custom_resource() {
    let client = client(&server().await);
    define(&client).await;
    let boats = boats(&client, "v1");
    boats.create(&PostParams::default(), &boat("a", json!({"size": 3}))).await.unwrap();
    let patch = |value: Value| Patch::Merge(value);
    let status = boats
        .patch_status("a", &PatchParams::default(), &patch(json!({"status": {"size": 2}, "spec": {"size": 9}})))
        .await;
    assert_eq!(status.unwrap().data, json!({"spec": {"size": 3, "colour": "blue"}, "status": {"size": 2}}));
    let scale =
        boats.patch_scale("a", &PatchParams::default(), &patch(json!({"spec": {"replicas": 5}}))).await.unwrap();
    assert_eq!((scale.spec.unwrap().replicas, scale.status.unwrap().replicas), (Some(5), 2));
    assert_eq!(boats.get("a").await.unwrap().metadata.generation, Some(2));
}

#[tokio::test]
async fn a_definition_takes_its_objects_with_it() {
    let client = client(&server().await);
    define(&client).await;
    let boats = boats(&client, "v1");
    let mut held = boat("a", json!({"size": 3}));
    held.metadata.finalizers = Some(vec!["example.org/held".into()]);
    boats.create(&PostParams::default(), &held).await.unwrap();
    boats.create(&PostParams::default(), &boat("b", json!({"size": 1}))).await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.delete("boats.sea.example.org", &DeleteParams::default()).await.unwrap();
    let begun = Instant::now();
    while boats.list(&ListParams::default()).await.unwrap().items.len() > 1 {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    assert!(boats.get("a").await.unwrap().metadata.deletion_timestamp.is_some());
    boats.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}}))).await.unwrap();
    while definitions.get_opt("boats.sea.example.org").await.unwrap().is_some() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let groups = client.list_api_groups().await.unwrap();
    assert!(!groups.groups.iter().any(|group| group.name == "sea.example.org"));
}

#[tokio::test]
async fn new_defaults_hold_for_old_objects() {
    let client = client(&server().await);
    define(&client).await;
    let boats = boats(&client, "v1");
    boats.create(&PostParams::default(), &boat("a", json!({"size": 3}))).await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/mast";
    let patch = json!([{"op": "add", "path": path, "value": {"type": "string", "default": "tall"}}]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    definitions.patch("boats.sea.example.org", &PatchParams::default(), &patch).await.unwrap();
    let begun = Instant::now();
    while boats.get("a").await.unwrap().data["spec"]["mast"] != "tall" {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let listed = boats.list(&ListParams::default()).await.unwrap();
    assert_eq!(listed.items[0].data["spec"], json!({"size": 3, "colour": "blue", "mast": "tall"}));
}

#[tokio::test]
async fn names_are_accepted_once() {
    let client = client(&server().await);
    define(&client).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut other = definition();
    other.metadata.name = Some("ships.sea.example.org".into());
    other.spec.names.plural = "ships".into();
    definitions.create(&PostParams::default(), &other).await.unwrap();
    let begun = Instant::now();
    let refused = loop {
        let status =
            definitions.get("ships.sea.example.org").await.unwrap().status.and_then(|status| status.conditions);
        let condition = status.into_iter().flatten().find(|condition| condition.type_ == "NamesAccepted");
        if let Some(condition) = condition {
            break condition;
        }
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    };
    assert_eq!((refused.status.as_str(), refused.reason.as_deref()), ("False", Some("SingularConflict")));
}
