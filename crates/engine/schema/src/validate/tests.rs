use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::{defaults, kinds};

fn message(kind: &Kind, object: &Value, errors: &[FieldError]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    invalid_status(kind, name, errors)["message"].as_str().unwrap().to_owned()
}

fn kind(group: &str, version: &str, name: &str) -> &'static Kind {
    kinds::find_kind(group, version, name).unwrap()
}

/// A new object, with its defaults filled in.
fn check(kind: &Kind, mut object: Value, expected: Expect) {
    defaults::apply(kind, &mut object);
    expected.assert_eq(&message(kind, &object, &create(kind, &object)).replace(", ", ",\n  "));
}

fn check_change(kind: &Kind, mut old: Value, change: Value, expected: Expect) {
    defaults::apply(kind, &mut old);
    let mut new = crate::patch::merge(&old, &change);
    defaults::apply(kind, &mut new);
    expected.assert_eq(&message(kind, &new, &update(kind, &new, &old)));
}

fn deployment() -> Value {
    json!({"metadata": {"name": "x", "namespace": "n"}, "spec": {"selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            if value.is_null() {
                members.remove(name);
            } else {
                members.insert(name.to_owned(), value);
            }
        }
        _ => panic!("{parent} is no object"),
    }
    object
}

#[test]
fn deployments() {
    let kind = kind("apps", "v1", "Deployment");
    check(kind, deployment(), expect![""]);
    check(
        kind,
        with(deployment(), "/spec/template/metadata/labels", json!({"app": "y"})),
        expect![[
            r#"Deployment.apps "x" is invalid: spec.template.metadata.labels: Invalid value: {"app":"y"}: `selector` does not match template `labels`"#
        ]],
    );
    check(
        kind,
        with(deployment(), "/spec/selector", Value::Null),
        expect![[r#"
            Deployment.apps "x" is invalid: [spec.selector: Required value,
              spec.template.metadata.labels: Invalid value: {"app":"x"}: `selector` does not match template `labels`]"#]],
    );
    check(
        kind,
        with(deployment(), "/spec/selector", json!({})),
        expect![[
            r#"Deployment.apps "x" is invalid: spec.selector: Invalid value: {}: empty selector is invalid for deployment"#
        ]],
    );
    check(
        kind,
        with(deployment(), "/spec/template", Value::Null),
        expect![[r#"
            Deployment.apps "x" is invalid: [spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`,
              spec.template.spec.containers: Required value]"#]],
    );
    check(
        kind,
        with(deployment(), "/spec/replicas", json!(-1)),
        expect![[
            r#"Deployment.apps "x" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        ]],
    );
    check(
        kind,
        with(deployment(), "/metadata/name", json!("My_App")),
        expect![[r#"
        Deployment.apps "My_App" is invalid: metadata.name: Invalid value: "My_App": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters,
          '-' or '.',
          and must start and end with an alphanumeric character (e.g. 'example.com',
          regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]],
    );
    check(
        kind,
        with(deployment(), "/metadata/labels", json!({"a b": "-"})),
        expect![[r#"
            Deployment.apps "x" is invalid: [metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters,
              '-',
              '_' or '.',
              and must start and end with an alphanumeric character (e.g. 'MyName',
               or 'my.name',
               or '123-abc',
              regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'),
              metadata.labels: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters,
              '-',
              '_' or '.',
              and must start and end with an alphanumeric character (e.g. 'MyValue',
               or 'my_value',
               or '12345',
              regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')]"#]],
    );
    let strategy = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
    check(
        kind,
        with(deployment(), "/spec/strategy", strategy),
        expect![[
            r#"Deployment.apps "x" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#
        ]],
    );
    check(
        kind,
        with(deployment(), "/spec/template/spec/restartPolicy", json!("Never")),
        expect![[
            r#"Deployment.apps "x" is invalid: spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ]],
    );
    let other = json!({"spec": {"selector": {"matchLabels": {"app": "z"}}, "template": {"metadata": {"labels": {"app": "z"}}}}});
    check_change(
        kind,
        deployment(),
        other,
        expect![[
            r#"Deployment.apps "x" is invalid: spec.selector: Invalid value: {"matchLabels":{"app":"z"}}: field is immutable"#
        ]],
    );
}

fn pod(container: Value) -> Value {
    json!({"metadata": {"name": "x", "namespace": "n"}, "spec": {"volumes": [{"name": "v", "emptyDir": {}}], "containers": [container]}})
}

#[test]
fn containers() {
    let kind = kind("", "v1", "Pod");
    check(
        kind,
        pod(json!({"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
        expect![""],
    );
    check(
        kind,
        pod(json!({})),
        expect![[r#"
        Pod "x" is invalid: [spec.containers[0].name: Required value,
          spec.containers[0].image: Required value]"#]],
    );
    check(
        kind,
        pod(json!({"name": "C", "image": " i"})),
        expect![[r#"
            Pod "x" is invalid: [spec.containers[0].name: Invalid value: "C": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-',
              and must start and end with an alphanumeric character (e.g. 'my-name',
               or '123-abc',
              regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'),
              spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace]"#]],
    );
    check(
        kind,
        pod(json!({"name": "c", "image": "i", "volumeMounts": [{"name": "w", "mountPath": "/v"}]})),
        expect![[r#"Pod "x" is invalid: spec.containers[0].volumeMounts[0].name: Not found: "w""#]],
    );
    check(
        kind,
        pod(
            json!({"name": "c", "image": "i", "ports": [{"containerPort": 0}, {"containerPort": 70000, "protocol": "ICMP"}]}),
        ),
        expect![[r#"
            Pod "x" is invalid: [spec.containers[0].ports[0].containerPort: Required value,
              spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535,
              inclusive,
              spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP",
              "TCP",
              "UDP"]"#]],
    );
    check(
        kind,
        pod(
            json!({"name": "c", "image": "i", "resources": {"limits": {"cpu": "1", "gpu": "1"}, "requests": {"cpu": "2", "memory": "-1"}}}),
        ),
        expect![[r#"
            Pod "x" is invalid: [spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified,
              spec.containers[0].resources.limits[gpu]: Invalid value: "gpu": must be a standard resource for containers,
              spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource type or fully qualified,
              spec.containers[0].resources.requests[gpu]: Invalid value: "gpu": must be a standard resource for containers,
              spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0,
              spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1]"#]],
    );
    check(
        kind,
        pod(json!({"name": "c", "image": "i", "imagePullPolicy": "Sometimes", "livenessProbe": {"periodSeconds": -1}})),
        expect![[r#"
            Pod "x" is invalid: [spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always",
              "IfNotPresent",
              "Never",
              spec.containers[0].livenessProbe: Required value: must specify a handler type,
              spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0]"#]],
    );
    check(
        kind,
        pod(
            json!({"name": "c", "image": "i", "env": [{"value": "x"}, {"name": "a=b"}, {"name": "c", "valueFrom": {}}]}),
        ),
        expect![[r#"
            Pod "x" is invalid: [spec.containers[0].env[0].name: Required value,
              spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '=',
              spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`,
              `resourceFieldRef`,
              `configMapKeyRef`,
              `secretKeyRef` or `fileKeyRef`]"#]],
    );
}

#[test]
fn a_running_pod_hardly_changes() {
    let kind = kind("", "v1", "Pod");
    let old = || pod(json!({"name": "c", "image": "i"}));
    check_change(kind, old(), json!({"spec": {"containers": [{"name": "c", "image": "j"}]}}), expect![""]);
    check_change(kind, old(), json!({"spec": {"tolerations": [{"operator": "Exists"}]}}), expect![""]);
    check_change(
        kind,
        old(),
        json!({"spec": {"nodeName": "elsewhere"}}),
        expect![[r#"
        Pod "x" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        {"nodeName":"elsewhere"}"#]],
    );
    check_change(kind, old(), json!({"metadata": {"labels": {"a": "b"}}}), expect![""]);
}

#[test]
fn services() {
    let kind = kind("", "v1", "Service");
    let service = |spec: Value| json!({"metadata": {"name": "x", "namespace": "n"}, "spec": spec});
    check(kind, service(json!({"ports": [{"port": 80}]})), expect![""]);
    check(kind, service(json!({})), expect![[r#"Service "x" is invalid: spec.ports: Required value"#]]);
    check(
        kind,
        service(json!({"ports": [{"port": 80}, {"port": 80}]})),
        expect![[r#"
        Service "x" is invalid: [spec.ports[0].name: Required value,
          spec.ports[1].name: Required value,
          spec.ports[1]: Duplicate value: {"name":"","port":80,"protocol":"TCP","targetPort":0}]"#]],
    );
    check(
        kind,
        service(json!({"type": "Magic", "ports": [{"port": 0, "targetPort": "x--"}]})),
        expect![[r#"
        Service "x" is invalid: [spec.ports[0].port: Invalid value: 0: must be between 1 and 65535,
          inclusive,
          spec.ports[0].targetPort: Invalid value: "x--": must not contain consecutive hyphens,
          spec.ports[0].targetPort: Invalid value: "x--": must not begin or end with a hyphen,
          spec.type: Unsupported value: "Magic": supported values: "ClusterIP",
          "ExternalName",
          "LoadBalancer",
          "NodePort"]"#]],
    );
    check(
        kind,
        service(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
        expect![[
            r#"Service "x" is invalid: spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"#
        ]],
    );
    let old = service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}));
    check_change(
        kind,
        old,
        json!({"spec": {"clusterIP": "10.0.0.2"}}),
        expect![[
            r#"Service "x" is invalid: spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set"#
        ]],
    );
}

#[test]
fn the_rest() {
    let at = |name: &str| json!({"name": name, "namespace": "n"});
    check(
        kind("", "v1", "ConfigMap"),
        json!({"metadata": at("x"), "data": {"a/b": ""}}),
        expect![[r#"
            ConfigMap "x" is invalid: data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters,
              '-',
              '_' or '.' (e.g. 'key.name',
               or 'KEY_NAME',
               or 'key-name',
              regex used for validation is '[-._a-zA-Z0-9]+')"#]],
    );
    check(
        kind("", "v1", "Secret"),
        json!({"metadata": at("x"), "type": "kubernetes.io/tls"}),
        expect![[r#"
        Secret "x" is invalid: [data[tls.crt]: Required value,
          data[tls.key]: Required value]"#]],
    );
    check(
        kind("", "v1", "Namespace"),
        json!({"metadata": {"name": "a.b"}}),
        expect![[r#"Namespace "a.b" is invalid: metadata.name: Invalid value: "a.b": must not contain dots"#]],
    );
    check(
        kind("", "v1", "Namespace"),
        json!({"metadata": {}}),
        expect![[r#"Namespace "" is invalid: metadata.name: Required value: name or generateName is required"#]],
    );
    check(
        kind("batch", "v1", "Job"),
        json!({"metadata": at("x"), "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}}),
        expect![[r#"
            Job.batch "x" is invalid: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure",
              "Never""#]],
    );
    check(
        kind("networking.k8s.io", "v1", "Ingress"),
        json!({"metadata": at("x"), "spec": {"rules": [{"host": "1.2.3.4", "http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s"}}}]}}]}}),
        expect![[r#"
            Ingress.networking.k8s.io "x" is invalid: [spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name,
              not an IP address,
              spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path,
              spec.rules[0].http.paths[0].backend: Required value: port name or number is required]"#]],
    );
    check(
        kind("rbac.authorization.k8s.io", "v1", "RoleBinding"),
        json!({"metadata": at("x:y"), "roleRef": {"kind": "Role"}, "subjects": [{"kind": "ServiceAccount", "name": "a"}]}),
        expect![[r#"RoleBinding.rbac.authorization.k8s.io "x:y" is invalid: roleRef.name: Required value"#]],
    );
    check(
        kind("batch", "v1", "CronJob"),
        json!({"metadata": at("x"), "spec": {"schedule": "* * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        expect![[r#"
        CronJob.batch "x" is invalid: spec.schedule: Invalid value: "* * *": expected exactly 5 fields,
          found 3: [* * *]"#]],
    );
}

#[test]
fn what_may_not_change() {
    let meta = || json!({"name": "x", "namespace": "n", "uid": "u"});
    check_change(
        kind("", "v1", "ConfigMap"),
        json!({"metadata": meta()}),
        json!({"metadata": {"uid": "v"}}),
        expect![[r#"ConfigMap "x" is invalid: metadata.uid: Invalid value: "v": field is immutable"#]],
    );
    check_change(
        kind("", "v1", "ConfigMap"),
        json!({"metadata": meta(), "immutable": true, "data": {"a": "b"}}),
        json!({"data": {"a": "c"}}),
        expect![[r#"ConfigMap "x" is invalid: data: Forbidden: field is immutable when `immutable` is set"#]],
    );
    check_change(
        kind("", "v1", "ConfigMap"),
        json!({"metadata": {"name": "x", "namespace": "n", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}}),
        json!({"metadata": {"finalizers": ["a/b", "c/d"]}}),
        expect![[
            r#"ConfigMap "x" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}"#
        ]],
    );
    check_change(
        kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
        json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": "a"}}),
        json!({"roleRef": {"name": "b"}}),
        expect![[
            r#"ClusterRoleBinding.rbac.authorization.k8s.io "x" is invalid: roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"b"}: cannot change roleRef"#
        ]],
    );
}

#[test]
fn definitions_of_custom_resources() {
    let crd = |schema: Value| {
        json!({"metadata": {"name": "foos.x.io"}, "spec": {"group": "x.io", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
    };
    let kind = kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    check(kind, crd(json!({"type": "object"})), expect![""]);
    check(
        kind,
        crd(json!({"type": "string"})),
        expect![[
            r#"CustomResourceDefinition.apiextensions.k8s.io "foos.x.io" is invalid: spec.versions[0].schema.openAPIV3Schema.type: Invalid value: "string": must be object at the root"#
        ]],
    );
    check(
        kind,
        crd(json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": {}}}}})),
        expect![[
            r#"CustomResourceDefinition.apiextensions.k8s.io "foos.x.io" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[spec].properties[x].type: Required value: must not be empty for specified object fields"#
        ]],
    );
    check(
        kind,
        crd(json!({"type": "object", "properties": {"list": {"type": "array"}}})),
        expect![[
            r#"CustomResourceDefinition.apiextensions.k8s.io "foos.x.io" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[list].items: Required value: must be specified"#
        ]],
    );
    check(
        kind,
        crd(json!({"type": "object", "properties": {"word": {"type": "string", "pattern": "("}}})),
        expect![[r#"
        CustomResourceDefinition.apiextensions.k8s.io "foos.x.io" is invalid: spec.versions[0].schema.openAPIV3Schema.properties[word].pattern: Invalid value: "(": must be a valid regular expression,
          but isn't: regex parse error:
            (
            ^
        error: unclosed group"#]],
    );
}

#[test]
fn custom_resources() {
    let crd = json!({"spec": {"group": "x.io", "scope": "Namespaced", "names": {"kind": "Foo", "plural": "foos"}, "versions": [{"name": "v1",
    "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
            "size": {"type": "integer", "minimum": 1, "maximum": 10},
            "colour": {"type": "string", "enum": ["red", "blue"]},
            "hosts": {"type": "array", "maxItems": 2, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "when": {"type": "string", "format": "date-time"}
        }}}}}}]}});
    let kind = Kind::from_crd(&crd).unwrap().remove(0).kind;
    let foo = |spec: Value| json!({"metadata": {"name": "x", "namespace": "n"}, "spec": spec});
    check(&kind, foo(json!({"name": "abc", "size": 5, "port": 80, "one": {"a": "x"}})), expect![""]);
    check(
        &kind,
        json!({"metadata": {"name": "x", "namespace": "n"}}),
        expect![[r#"Foo.x.io "x" is invalid: spec: Required value"#]],
    );
    check(
        &kind,
        foo(json!({"size": "5", "colour": "green"})),
        expect![[r#"
        Foo.x.io "x" is invalid: [spec.name: Required value,
          spec.colour: Unsupported value: "green": supported values: "red",
          "blue",
          spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"]"#]],
    );
    check(
        &kind,
        foo(json!({"name": "ABCD", "size": 11, "hosts": ["a", "a", "b"]})),
        expect![[r#"
        Foo.x.io "x" is invalid: [spec.hosts[1]: Duplicate value: "a",
          spec.hosts: Too many: 3: must have at most 2 items,
          spec.name: Invalid value: "ABCD": spec.name in body should match '^[a-z]+$',
          spec.name: Too long: may not be more than 3 bytes,
          spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10]"#]],
    );
    check(
        &kind,
        foo(json!({"name": "a", "one": {"a": "", "b": ""}, "when": "now"})),
        expect![[r#"
        Foo.x.io "x" is invalid: [spec.one: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives,
          spec.when: Invalid value: "string": spec.when in body must be of type date-time: "string"]"#]],
    );
    // The old mistake is let be, the new one is not.
    let old = foo(json!({"name": "ABC", "size": 99}));
    check_change(&kind, old.clone(), json!({"spec": {"size": 5}}), expect![""]);
    check_change(
        &kind,
        old,
        json!({"spec": {"size": 100}}),
        expect![[
            r#"Foo.x.io "x" is invalid: spec.size: Invalid value: 100: spec.size in body should be less than or equal to 10"#
        ]],
    );
}
