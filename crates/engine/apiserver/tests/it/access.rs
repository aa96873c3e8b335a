//! Who may come in, and as whom.

use std::sync::Arc;

use coracle_apiserver::{
    Authorizer, Options, Server, User,
    authz::{Attributes, Decision, MastersOr, Rules},
};
use coracle_store::Store;
use expect_test::{Expect, expect};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{TOKEN, options, server};

/// Lets kim read config maps in one namespace, and lee impersonate kim.
struct Few;

impl Authorizer for Few {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let kim = attributes.user.name == "kim"
            && attributes.resource == "configmaps"
            && attributes.namespace == "default"
            && matches!(attributes.verb, "get" | "list");
        let lee = attributes.user.name == "lee" && attributes.verb == "impersonate" && attributes.name == "kim";
        if kim || lee {
            Decision::Allow { reason: String::new() }
        } else {
            Decision::NoOpinion { reason: String::new() }
        }
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        Rules::default()
    }
}

async fn guarded() -> Server {
    let options = Options { authorizer: Arc::new(MastersOr(Few)), ..options() };
    Server::start(Store::in_memory(), options).await.unwrap()
}

async fn ask(
    server: &Server,
    user: Option<&str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.to_owned().into())).unwrap();
    let service = match user {
        Some(user) => server.client_service(User::new(user, [] as [&str; 0])),
        None => server.anonymous_service(),
    };
    let answer: Response<_> = service.oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))))
}

async fn check(server: &Server, user: Option<&str>, path: &str, headers: &[(&str, &str)], expected: Expect) {
    let (status, value) = ask(server, user, "GET", path, headers, "").await;
    let text = value
        .get("message")
        .and_then(Value::as_str)
        .or(value.as_str())
        .unwrap_or(value["kind"].as_str().unwrap_or_default());
    expected.assert_eq(&format!("{status} {text}"));
}

#[tokio::test]
async fn doors_are_closed_but_for_health() {
    let server = guarded().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    check(&server, None, "/healthz", &[], expect![["200 ok"]]).await;
    check(&server, None, maps, &[], expect![["401 Unauthorized"]]).await;
    check(&server, None, maps, &[("authorization", "Bearer wrong")], expect![["401 Unauthorized"]]).await;
    check(&server, None, maps, &[("authorization", &format!("Bearer {TOKEN}"))], expect![["200 ConfigMapList"]]).await;
    check(&server, Some("kim"), maps, &[], expect![["200 ConfigMapList"]]).await;
    check(&server, Some("kim"), "/api/v1/secrets", &[], expect![[r#"403 secrets is forbidden: User "kim" cannot list resource "secrets" in API group "" at the cluster scope"#]]).await;
    check(&server, Some("kim"), "/apis/apps/v1/namespaces/default/deployments/d/scale", &[], expect![[r#"403 deployments.apps "d" is forbidden: User "kim" cannot get resource "deployments/scale" in API group "apps" in the namespace "default""#]]).await;
    check(&server, Some("kim"), "/metrics", &[], expect![[r#"403 forbidden: User "kim" cannot get path "/metrics""#]])
        .await;
}

#[tokio::test]
async fn impersonation_needs_the_right_to_it() {
    let server = guarded().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    check(&server, Some("lee"), maps, &[], expect![[r#"403 configmaps is forbidden: User "lee" cannot list resource "configmaps" in API group "" in the namespace "default""#]]).await;
    check(&server, Some("lee"), maps, &[("impersonate-user", "kim")], expect![["200 ConfigMapList"]]).await;
    check(&server, Some("lee"), maps, &[("impersonate-user", "root")], expect![[r#"403 users "root" is forbidden: User "lee" cannot impersonate resource "users" in API group "" at the cluster scope"#]]).await;
}

#[tokio::test]
async fn a_service_accounts_token_is_its_identity() {
    let server = server().await;
    let client = Client::new(server.client_service(User::engine()), "default");
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::default_namespaced(client.clone());
    accounts
        .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": "robot"}})).unwrap())
        .await
        .unwrap();
    let wanted =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 700}});
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let (status, made) = ask(&server, Some("x"), "POST", path, &[], &wanted.to_string()).await;
    assert_eq!((status, &made["spec"]["expirationSeconds"]), (201, &json!(700)));
    let authorization = format!("Bearer {}", made["status"]["token"].as_str().unwrap());
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (status, answer) =
        ask(&server, None, "POST", path, &[("authorization", &authorization)], &review.to_string()).await;
    let info = &answer["status"]["userInfo"];
    assert_eq!((status, &info["username"]), (201, &json!("system:serviceaccount:default:robot")));
    assert_eq!(
        info["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    accounts.delete("robot", &Default::default()).await.unwrap();
    let (status, _) = ask(&server, None, "POST", path, &[("authorization", &authorization)], &review.to_string()).await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let server = server().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let large = format!("{{\"data\": \"{}\"}}", "x".repeat(3 << 20));
    let (status, value) = ask(&server, Some("x"), "POST", path, &[], &large).await;
    assert_eq!((status, value["reason"].as_str()), (413, Some("RequestEntityTooLarge")));
    let deep = format!("{{\"metadata\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    let (status, _) = ask(&server, Some("x"), "POST", path, &[], &deep).await;
    assert_eq!(status, 400);
    let yaml = [("content-type", "application/yaml")];
    let (status, _) = ask(&server, Some("x"), "POST", path, &yaml, &deep).await;
    assert_eq!(status, 400);
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    let (status, _) = ask(&server, Some("x"), "POST", path, &yaml, bomb).await;
    assert_eq!(status, 400);
    let (status, _) = ask(&server, Some("x"), "POST", path, &[("content-type", "text/plain")], "{}").await;
    assert_eq!(status, 415);
    let (status, _) = ask(&server, Some("x"), "GET", "/api/v1/nonsense", &[], "").await;
    assert_eq!(status, 404);
}
