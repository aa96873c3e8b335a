//! The Pod Security Standards by configuration: defaults for namespaces that say nothing, and exemptions.

use coracle_apiserver::{Guards, Options, PodSecurityConfiguration, Server, User};
use coracle_store::Store;
use expect_test::{Expect, expect};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::options;

const CONFIGURATION: &str = "
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted}
    exemptions: {usernames: [ci], namespaces: [trusted], runtimeClasses: [vm]}
";

async fn configured() -> Server {
    let pod_security = PodSecurityConfiguration::from_yaml(CONFIGURATION, |_| Err("no files".into())).unwrap();
    let guards = Guards { pod_security, ..Guards::default() };
    Server::start(Store::in_memory(), Options { guards, ..options() }).await.unwrap()
}

/// Status, message and warnings of a creation.
async fn create(server: &Server, user: &str, path: &str, object: Value) -> String {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Full::<bytes::Bytes>::from(object.to_string())).unwrap();
    let service = server.client_service(User::new(user, ["system:masters"]));
    let answer = service.oneshot(request).await.unwrap();
    let warnings: Vec<String> =
        answer.headers().get_all("warning").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    format!("{status} {}\n{}", body["message"].as_str().unwrap_or_default(), warnings.join("\n"))
}

async fn check(server: &Server, user: &str, namespace: &str, pod: Value, expected: Expect) {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    expected.assert_eq(&create(server, user, &path, pod).await);
}

fn pod(name: &str, more: Value) -> Value {
    let mut pod =
        json!({"metadata": {"name": name}, "spec": {"hostNetwork": true, "containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in more.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

#[tokio::test]
async fn defaults_hold_where_a_namespace_says_nothing_and_not_for_the_exempt() {
    let server = configured().await;
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm"});
    let made = create(&server, "ann", "/apis/node.k8s.io/v1/runtimeclasses", class).await;
    assert!(made.starts_with("201"), "{made}");
    for name in ["plain", "lax", "trusted"] {
        let labels = match name {
            "lax" => {
                json!({"pod-security.kubernetes.io/enforce": "privileged", "pod-security.kubernetes.io/warn": "privileged"})
            }
            "trusted" => json!({"pod-security.kubernetes.io/enforce": "restricted"}),
            _ => json!({}),
        };
        let made =
            create(&server, "ann", "/api/v1/namespaces", json!({"metadata": {"name": name, "labels": labels}})).await;
        let warned = "201 \n299 - \"namespace \\\"trusted\\\" is exempt from Pod Security, and the policy (enforce=restricted:v1.30) will be ignored\"";
        assert_eq!(made, if name == "trusted" { warned } else { "201 \n" });
        let account = json!({"metadata": {"name": "default"}});
        create(&server, "ann", &format!("/api/v1/namespaces/{name}/serviceaccounts"), account).await;
    }
    check(
        &server,
        "ann",
        "plain",
        pod("a", json!({})),
        expect![[r#"
        403 pods "a" is forbidden: violates PodSecurity "baseline:v1.30": host namespaces (hostNetwork=true)
    "#]],
    )
    .await;
    check(&server, "ann", "plain", pod("b", json!({"hostNetwork": false})), expect![[r#"
        201 
        299 - "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")""#]]).await;
    check(&server, "ann", "lax", pod("a", json!({})), expect!["201 \n"]).await;
    check(&server, "ci", "plain", pod("c", json!({})), expect!["201 \n"]).await;
    check(&server, "ann", "trusted", pod("a", json!({})), expect!["201 \n"]).await;
    check(&server, "ann", "plain", pod("d", json!({"runtimeClassName": "vm"})), expect!["201 \n"]).await;
}
