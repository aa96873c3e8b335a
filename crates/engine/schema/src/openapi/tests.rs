use std::collections::BTreeSet;

use expect_test::expect;

use super::*;

/// Every reference in a document, which must lead somewhere.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(target) if name == "$ref" => {
                        found.insert(target.clone());
                    }
                    other => references(other, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut found = BTreeSet::new();
    references(document, &mut found);
    for target in found {
        assert!(document.pointer(&target[1..]).is_some(), "{target} leads nowhere");
    }
}

fn all() -> Vec<&'static Kind> {
    kinds::builtin().iter().collect()
}

#[test]
fn the_document_of_a_group() {
    let document = v3(&all(), "apps/v1");
    check_references(&document);
    let schemas = &document["components"]["schemas"];
    let shown = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let mut ports = schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"].clone();
    ports["description"] = "...".into();
    expect![[r##"
        {
          "description": "...",
          "items": {
            "$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"
          },
          "type": "array",
          "x-kubernetes-list-map-keys": [
            "containerPort",
            "protocol"
          ],
          "x-kubernetes-list-type": "map",
          "x-kubernetes-patch-merge-key": "containerPort",
          "x-kubernetes-patch-strategy": "merge"
        }"##]]
    .assert_eq(&shown(&ports));
    expect![[r##"
        {
          "allOf": [
            {
              "$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"
            }
          ],
          "description": "The deployment strategy to use to replace existing pods with new ones.",
          "x-kubernetes-patch-strategy": "retainKeys"
        }"##]]
    .assert_eq(&shown(&schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]));
    expect![[r#"
        [
          {
            "type": "integer"
          },
          {
            "type": "string"
          }
        ]"#]]
    .assert_eq(&shown(&schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["oneOf"]));
    expect![[r#"
        [
          {
            "group": "apps",
            "kind": "Deployment",
            "version": "v1"
          }
        ]"#]]
    .assert_eq(&shown(&schemas["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"]));
    let paths: Vec<&String> =
        document["paths"].as_object().unwrap().keys().filter(|path| path.contains("deployments")).collect();
    expect![[r#"
        [
            "/apis/apps/v1/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status",
        ]"#]]
    .assert_eq(&format!("{paths:#?}"));
    let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert!(patch["parameters"].as_array().unwrap().iter().any(|parameter| parameter["name"] == "fieldValidation"));
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
}

#[test]
fn every_group_and_the_whole() {
    let groups: BTreeSet<String> = all().iter().map(|kind| kind.api_version()).collect();
    for group in groups {
        let document = v3(&all(), &group);
        check_references(&document);
        assert!(!document["paths"].as_object().unwrap().is_empty(), "{group}");
    }
    let document = v2(&all());
    check_references(&document);
    assert!(document["definitions"]["io.k8s.api.core.v1.PodList"].is_object());
}

#[test]
fn custom_resources_keep_their_descriptions() {
    let crd = json!({"spec": {"group": "stable.example.com", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
            "type": "object", "description": "A foo.", "properties": {"spec": {"type": "object", "properties": {
                "size": {"type": "integer", "description": "How big.", "nullable": true}}}}}}}]}});
    let kind = Kind::from_crd(&crd).unwrap().remove(0).kind;
    let document = v3(&[&kind], "stable.example.com/v1");
    check_references(&document);
    let foo = &document["components"]["schemas"]["com.example.stable.v1.Foo"];
    expect![[r#"
        {
          "properties": {
            "size": {
              "description": "How big.",
              "nullable": true,
              "type": "integer"
            }
          },
          "type": "object"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&foo["properties"]["spec"]).unwrap());
    assert_eq!(foo["x-kubernetes-group-version-kind"][0]["kind"], "Foo");
    assert!(foo["properties"]["metadata"]["allOf"].is_array());
    assert!(document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/foos/{name}/status"].is_object());
    let document = v2(&[&kind]);
    check_references(&document);
    let size = &document["definitions"]["com.example.stable.v1.Foo"]["properties"]["spec"]["properties"]["size"];
    assert!(size.get("nullable").is_none());
}
