use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::kinds::{self, Kind};

fn check(kind: (&str, &str, &str), mut object: Value, expected: Expect) {
    let kind = kinds::find_kind(kind.0, kind.1, kind.2).unwrap();
    super::apply(kind, &mut object);
    let mut again = object.clone();
    super::apply(kind, &mut again);
    assert_eq!(again, object, "defaulting twice changes nothing more");
    expected.assert_eq(&serde_json::to_string_pretty(&object).unwrap());
}

#[test]
fn a_pod() {
    let pod = json!({"metadata": {"name": "a", "labels": {}}, "spec": {
        "volumes": [{"name": "scratch"}, {"name": "conf", "configMap": {"name": "c"}}],
        "containers": [{"name": "c", "image": "nginx", "ports": [{"containerPort": 80}], "env": [],
            "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}, "requests": {"cpu": "100m"}}}]}});
    check(
        ("", "v1", "Pod"),
        pod,
        expect![[r#"
        {
          "metadata": {
            "name": "a"
          },
          "spec": {
            "containers": [
              {
                "image": "nginx",
                "imagePullPolicy": "Always",
                "name": "c",
                "ports": [
                  {
                    "containerPort": 80,
                    "protocol": "TCP"
                  }
                ],
                "readinessProbe": {
                  "failureThreshold": 3,
                  "httpGet": {
                    "path": "/",
                    "port": 80,
                    "scheme": "HTTP"
                  },
                  "periodSeconds": 10,
                  "successThreshold": 1,
                  "timeoutSeconds": 1
                },
                "resources": {
                  "limits": {
                    "cpu": "500m",
                    "memory": "1Gi"
                  },
                  "requests": {
                    "cpu": "100m",
                    "memory": "1Gi"
                  }
                },
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File"
              }
            ],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
            "volumes": [
              {
                "emptyDir": {},
                "name": "scratch"
              },
              {
                "configMap": {
                  "defaultMode": 420,
                  "name": "c"
                },
                "name": "conf"
              }
            ]
          }
        }"#]],
    );
}

#[test]
fn image_tags_decide_the_pull_policy() {
    let kind = kinds::find_kind("", "v1", "Pod").unwrap();
    let policy = |image: &str| {
        let mut pod = json!({"spec": {"containers": [{"image": image}]}});
        super::apply(kind, &mut pod);
        format!("{image}: {}\n", pod["spec"]["containers"][0]["imagePullPolicy"])
    };
    let images = ["a", "a:latest", "a:1", "r:5000/a", "r:5000/a:1", "a@sha256:00", "a:latest@sha256:00"];
    expect![[r#"
        a: "Always"
        a:latest: "Always"
        a:1: "IfNotPresent"
        r:5000/a: "Always"
        r:5000/a:1: "IfNotPresent"
        a@sha256:00: "IfNotPresent"
        a:latest@sha256:00: "Always"
    "#]]
    .assert_eq(&images.map(policy).concat());
}

#[test]
fn workloads() {
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
    check(
        ("apps", "v1", "Deployment"),
        json!({"spec": {"template": template}}),
        expect![[r#"
            {
              "spec": {
                "progressDeadlineSeconds": 600,
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "strategy": {
                  "rollingUpdate": {
                    "maxSurge": "25%",
                    "maxUnavailable": "25%"
                  },
                  "type": "RollingUpdate"
                },
                "template": {
                  "metadata": {
                    "labels": {
                      "a": "b"
                    }
                  },
                  "spec": {
                    "containers": [],
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                }
              },
              "status": {}
            }"#]],
    );
    check(
        ("apps", "v1", "Deployment"),
        json!({"spec": {"strategy": {"type": "Recreate"}}}),
        expect![[r#"
            {
              "spec": {
                "progressDeadlineSeconds": 600,
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "strategy": {
                  "type": "Recreate"
                },
                "template": {
                  "metadata": {},
                  "spec": {
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                }
              },
              "status": {}
            }"#]],
    );
    check(
        ("apps", "v1", "StatefulSet"),
        json!({"spec": {}}),
        expect![[r#"
            {
              "spec": {
                "persistentVolumeClaimRetentionPolicy": {
                  "whenDeleted": "Retain",
                  "whenScaled": "Retain"
                },
                "podManagementPolicy": "OrderedReady",
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "template": {
                  "metadata": {},
                  "spec": {
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                },
                "updateStrategy": {
                  "rollingUpdate": {
                    "partition": 0
                  },
                  "type": "RollingUpdate"
                }
              },
              "status": {
                "availableReplicas": 0,
                "replicas": 0
              }
            }"#]],
    );
    check(
        ("apps", "v1", "DaemonSet"),
        json!({"spec": {}}),
        expect![[r#"
            {
              "spec": {
                "revisionHistoryLimit": 10,
                "template": {
                  "metadata": {},
                  "spec": {
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                },
                "updateStrategy": {
                  "rollingUpdate": {
                    "maxSurge": 0,
                    "maxUnavailable": 1
                  },
                  "type": "RollingUpdate"
                }
              },
              "status": {
                "currentNumberScheduled": 0,
                "desiredNumberScheduled": 0,
                "numberMisscheduled": 0,
                "numberReady": 0
              }
            }"#]],
    );
    check(
        ("batch", "v1", "Job"),
        json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}),
        expect![[r#"
            {
              "metadata": {
                "labels": {
                  "a": "b"
                }
              },
              "spec": {
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "completions": 1,
                "manualSelector": false,
                "parallelism": 1,
                "podReplacementPolicy": "TerminatingOrFailed",
                "suspend": false,
                "template": {
                  "metadata": {
                    "labels": {
                      "a": "b"
                    }
                  },
                  "spec": {
                    "dnsPolicy": "ClusterFirst",
                    "restartPolicy": "Always",
                    "schedulerName": "default-scheduler",
                    "securityContext": {},
                    "terminationGracePeriodSeconds": 30
                  }
                }
              },
              "status": {}
            }"#]],
    );
}

#[test]
fn services() {
    check(
        ("", "v1", "Service"),
        json!({"spec": {"ports": [{"port": 80}], "selector": {"a": "b"}}}),
        expect![[r#"
            {
              "spec": {
                "internalTrafficPolicy": "Cluster",
                "ports": [
                  {
                    "port": 80,
                    "protocol": "TCP",
                    "targetPort": 80
                  }
                ],
                "selector": {
                  "a": "b"
                },
                "sessionAffinity": "None",
                "type": "ClusterIP"
              },
              "status": {
                "loadBalancer": {}
              }
            }"#]],
    );
    check(
        ("", "v1", "Service"),
        json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80, "targetPort": "http"}]}}),
        expect![[r#"
            {
              "spec": {
                "allocateLoadBalancerNodePorts": true,
                "externalTrafficPolicy": "Cluster",
                "internalTrafficPolicy": "Cluster",
                "ports": [
                  {
                    "port": 80,
                    "protocol": "TCP",
                    "targetPort": "http"
                  }
                ],
                "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {
                  "clientIP": {
                    "timeoutSeconds": 10800
                  }
                },
                "type": "LoadBalancer"
              },
              "status": {
                "loadBalancer": {}
              }
            }"#]],
    );
}

#[test]
fn namespaces_are_labelled_with_their_name() {
    check(
        ("", "v1", "Namespace"),
        json!({"metadata": {"name": "x"}}),
        expect![[r#"
        {
          "metadata": {
            "labels": {
              "kubernetes.io/metadata.name": "x"
            },
            "name": "x"
          },
          "status": {
            "phase": "Active"
          }
        }"#]],
    );
}

#[test]
fn every_constant_names_a_field() {
    for line in include_str!("../../facts/defaults.txt").lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let found = ["io.k8s.api.", "io.k8s.apiextensions-apiserver.pkg.apis.", "io.k8s.kube-aggregator.pkg.apis."]
            .iter()
            .find_map(|prefix| crate::Schema::builtin(&format!("{prefix}{}", words[0])));
        let schema = found.unwrap_or_else(|| panic!("no such definition: {line}"));
        assert!(schema.root().field(words[1]).is_some(), "no such field: {line}");
    }
}

#[test]
fn custom_resources_bring_their_own() {
    let crd = json!({"spec": {"group": "x.io", "names": {"kind": "Foo", "plural": "foos"}, "versions": [{"name": "v1",
    "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "default": {}, "properties": {
            "colour": {"type": "string", "default": "red"},
            "size": {"type": "integer", "nullable": true, "default": 3},
            "list": {"type": "array", "items": {"type": "object", "properties": {"on": {"type": "boolean", "default": true}}}}
        }}}}}}]}});
    let kind: std::sync::Arc<Kind> = Kind::from_crd(&crd).unwrap().remove(0).kind;
    let filled = |mut object: Value| {
        super::apply(&kind, &mut object);
        object.to_string() + "\n"
    };
    let objects = [json!({}), json!({"spec": {"colour": null, "size": null, "list": [{}, {"on": false}]}})];
    expect![[r#"
        {"spec":{"colour":"red","size":3}}
        {"spec":{"colour":"red","list":[{"on":true},{"on":false}],"size":null}}
    "#]]
    .assert_eq(&objects.map(filled).concat());
}
