//! What is kept, and how: the audit log, encryption at rest, backups; and who has to wait.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use coracle_apiserver::{
    Guards, Options, Server, User,
    audit::{AuditSettings, Policy},
    authz::{MastersOr, StoredRbac},
    encryption::Encryption,
};
use coracle_clock::SystemClock;
use coracle_store::{Contents, Restore, Store};
use expect_test::{Expect, expect};
use http::Request;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{Listening, TOKEN, eventually, listen, options};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ["/healthz*"]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}], verbs: [create], omitManagedFields: true}
- {level: Request, resources: [{group: "", resources: [configmaps]}], verbs: [patch]}
- {level: None, userGroups: ["system:masters"], verbs: [get]}
- {level: Metadata}
"#;

async fn audited(home: &Path, change: impl FnOnce(&mut Options)) -> Listening {
    let audit = AuditSettings {
        policy: Policy::from_yaml(POLICY).unwrap(),
        path: home.join("audit.log"),
        max_size_mib: 100,
        max_backups: 1,
        max_age_days: 1,
    };
    let mut options = Options { guards: Guards { audit: Some(audit), ..Guards::default() }, ..options() };
    change(&mut options);
    listen(Server::start(Store::in_memory(), options).await.unwrap()).await
}

/// The events so far, once there are `count`, with what differs between runs taken out.
async fn events(home: &Path, count: usize) -> Vec<Value> {
    let read = || {
        let text = std::fs::read_to_string(home.join("audit.log")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    eventually("the events", || async { read().len() >= count }).await;
    read()
}

fn plain(mut event: Value) -> String {
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        let moment = event[time].take();
        assert_eq!(moment.as_str().map(str::len), Some("2026-01-01T00:00:00.000000Z".len()), "{moment}");
    }
    let map = event.as_object_mut().unwrap();
    map.retain(|_, value| !value.is_null());
    map.remove("auditID");
    if let Some(metadata) = event.get_mut("responseObject").and_then(|object| object["metadata"].as_object_mut()) {
        metadata.retain(|key, _| !matches!(key.as_str(), "uid" | "creationTimestamp" | "resourceVersion"));
    }
    event.to_string()
}

#[tokio::test]
async fn requests_are_written_down_as_the_policy_asks() {
    let home = tempfile::tempdir().unwrap();
    let listening = audited(home.path(), |options| {
        let store = Store::in_memory();
        options.authorizer = Arc::new(MastersOr(StoredRbac::new(store)));
    })
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let authorization = format!("Bearer {TOKEN}");
    let own = [("authorization", authorization.as_str()), ("user-agent", "test/1"), ("audit-id", "an-id")];
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}}).to_string();
    let (_, headers, _) = listening.exchange(&own, "POST", maps, &map).await;
    assert_eq!(headers["audit-id"], "an-id");
    let patch = [own[0], ("content-type", "application/merge-patch+json")];
    listening.ask_with(&patch, "PATCH", &format!("{maps}/a"), "").await;
    listening.ask_with(&own, "GET", &format!("{maps}/a"), "").await;
    listening.ask_with(&own, "GET", "/healthz", "").await;
    let kim = [own[0], ("impersonate-user", "kim")];
    listening.ask_with(&kim, "DELETE", &format!("{maps}/a"), "").await;
    listening.ask(Some("wrong"), "GET", "/api/v1/nodes", "").await;
    let said: Vec<String> = events(home.path(), 4).await.into_iter().map(plain).collect();
    expect![[r#"
        {"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":""},"apiVersion":"audit.k8s.io/v1","kind":"Event","level":"RequestResponse","objectRef":{"apiVersion":"v1","name":"a","namespace":"default","resource":"configmaps"},"requestObject":{"data":{"k":"v"},"metadata":{"name":"a"}},"requestURI":"/api/v1/namespaces/default/configmaps","responseObject":{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"default"}},"responseStatus":{"code":201,"metadata":{}},"sourceIPs":["127.0.0.1"],"stage":"ResponseComplete","user":{"groups":["system:masters","system:authenticated"],"username":"token-admin"},"userAgent":"test/1","verb":"create"}"#]]
    .assert_eq(&said[0]);
    let word = |at: usize, word: &str| assert!(said[at].contains(word), "{word} is not in {}", said[at]);
    word(1, r#""verb":"patch""#);
    word(1, r#""level":"Request""#);
    word(2, r#""impersonatedUser":{"groups":["system:authenticated"],"username":"kim"}"#);
    word(2, r#""authorization.k8s.io/decision":"forbid""#);
    word(
        2,
        r#""responseStatus":{"code":403,"message":"configmaps \"a\" is forbidden: User \"kim\" cannot delete resource"#,
    );
    word(
        3,
        r#""responseStatus":{"code":401,"message":"Unauthorized","metadata":{},"reason":"Unauthorized","status":"Failure"}"#,
    );
    word(3, r#""user":{"groups":[],"username":""}"#);
    assert_eq!(said.len(), 4, "{said:#?}");
}

#[tokio::test]
async fn watches_have_a_beginning_and_an_end_and_policies_leave_notes() {
    let home = tempfile::tempdir().unwrap();
    let listening = audited(home.path(), |_| {}).await;
    let engine = || listening.server.client_service(User::new("kim", ["devs"]));
    let send = async |method: &str, path: &str, body: Value| {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        engine().oneshot(request.body(Full::<bytes::Bytes>::from(body)).unwrap()).await.unwrap()
    };
    let watch = send("GET", "/api/v1/namespaces/default/events?watch=true&timeoutSeconds=1", Value::Null).await;
    watch.into_body().collect().await.unwrap();
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}]},
        "validations": [{"expression": "object.metadata.name != 'bad'", "message": "a bad name"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'is ' + object.metadata.name"}],
    }});
    send("POST", &format!("{group}/validatingadmissionpolicies"), policy).await;
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    send("POST", &format!("{group}/validatingadmissionpolicybindings"), binding).await;
    let made = send("POST", "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": "bad"}})).await;
    assert_eq!(made.status(), 201);
    let labels = json!({"pod-security.kubernetes.io/audit": "restricted"});
    send("PATCH", "/api/v1/namespaces/default", Value::Null).await;
    let namespace = json!({"metadata": {"name": "safe", "labels": labels}});
    send("POST", "/api/v1/namespaces", namespace).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    send("POST", "/apis/apps/v1/namespaces/safe/deployments", deployment).await;
    let events = events(home.path(), 8).await;
    let stages: Vec<&str> = events[..2].iter().map(|event| event["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["ResponseStarted", "ResponseComplete"]);
    let find = |resource: &str| events.iter().find(|event| event["objectRef"]["resource"] == resource).unwrap();
    expect![[r#"{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"","p/name":"is bad","validation.policy.admission.k8s.io/validation_failure":"[{\"binding\":\"b\",\"expressionIndex\":0,\"message\":\"a bad name\",\"policy\":\"p\",\"validationActions\":[\"Audit\"]}]"}"#]]
        .assert_eq(&find("secrets")["annotations"].to_string());
    let violations = &find("deployments")["annotations"]["pod-security.kubernetes.io/audit-violations"];
    assert!(
        violations.as_str().is_some_and(|text| text.starts_with("would violate PodSecurity \"restricted:latest\": ")),
        "{violations}"
    );
}

/// Whether a word stands in any file below a directory.
fn holds(directory: &Path, word: &str) -> bool {
    let files = std::fs::read_dir(directory).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.into_iter().any(|content| content.windows(word.len()).any(|window| window == word.as_bytes()))
}

#[tokio::test]
async fn secrets_are_encrypted_on_the_disk_and_in_backups() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("store");
    let encryption =
        Arc::new(Encryption::load_or_create(&home.path().join("keys.yaml"), Arc::new(SystemClock)).unwrap());
    let open = || {
        let options = coracle_store::Options { sealer: Some(encryption.clone()), ..Default::default() };
        Store::open(&directory, options).unwrap()
    };
    let store = open();
    let authorizer = Arc::new(MastersOr(StoredRbac::new(store.clone())));
    let guards = Guards { encryption: Some(encryption.clone()), ..Guards::default() };
    let listening =
        listen(Server::start(store.clone(), Options { guards, authorizer, ..options() }).await.unwrap()).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({"metadata": {"name": "s", "labels": {"label": "hush-label"}}, "stringData": {"k": "hush"}});
    assert_eq!(listening.ask(Some(TOKEN), "POST", secrets, &secret.to_string()).await.0, 201);
    let map = json!({"metadata": {"name": "m"}, "data": {"k": "out-loud"}});
    listening.ask(Some(TOKEN), "POST", "/api/v1/namespaces/default/configmaps", &map.to_string()).await;
    let is_kept = || {
        assert!(holds(&directory, "out-loud"));
        for word in ["aHVzaA==", "hush"] {
            assert!(!holds(&directory, word), "{word} stands on the disk");
        }
    };
    is_kept();
    let read = async |listening: &Listening| {
        let (_, secret) = listening.ask(Some(TOKEN), "GET", &format!("{secrets}/s"), "").await;
        assert_eq!(secret["data"]["k"], "aHVzaA==");
        secret["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    };
    let version = read(&listening).await;
    let first = std::fs::read_to_string(home.path().join("keys.yaml")).unwrap();
    for path in ["/coracle/v1/backup", "/coracle/v1/encryption/rotate"] {
        let method = if path.ends_with("rotate") { "POST" } else { "GET" };
        let authorization = format!("Bearer {TOKEN}");
        let kim = [("authorization", authorization.as_str()), ("impersonate-user", "kim")];
        assert_eq!(listening.ask_with(&kim, method, path, "").await.0, 403, "{path}");
    }
    let (status, rotated) = listening.ask(Some(TOKEN), "POST", "/coracle/v1/encryption/rotate", "").await;
    assert_eq!(status, 200, "{rotated}");
    let name = rotated["key"].as_str().unwrap();
    assert!(holds(&directory, &format!("k8s:enc:secretbox:v1:{name}:")) && !first.contains(&format!("\"{name}\"")));
    is_kept();
    assert_eq!(read(&listening).await, version, "nobody sees a rotation");

    let service = listening.server.client_service(User::engine());
    let request = Request::get("/coracle/v1/backup").body(Full::<bytes::Bytes>::default()).unwrap();
    let bytes = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert!(!bytes.windows(4).any(|window| window == b"hush") && bytes.windows(8).any(|window| window == b"out-loud"));
    let target = home.path().join("restored");
    let contents = Contents::read(&*bytes).unwrap();
    assert!(contents.restore(&target, &Restore::default()).is_err(), "there is no key");
    let sealed = coracle_store::Options { sealer: Some(encryption.clone()), ..Default::default() };
    contents.restore(&target, &Restore { options: sealed.clone(), ..Restore::default() }).unwrap();
    let restored = Store::open(&target, sealed).unwrap();
    let again = listen(Server::start(restored, options()).await.unwrap()).await;
    read(&again).await;
    listening.server.stop();
    store.close().await;
    let again = listen(Server::start(open(), options()).await.unwrap()).await;
    assert_eq!(read(&again).await, version);
}

async fn answer(server: &Server, user: User, method: &str, path: &str, body: &str) -> (u16, http::HeaderMap) {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let answer =
        server.client_service(user).oneshot(request.body(Full::<bytes::Bytes>::from(body.to_owned())).unwrap());
    let answer = answer.await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let _whole = answer.into_body().collect().await;
    (status, headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_held_back_and_leases_are_renewed_meanwhile() {
    let server = Server::start(Store::in_memory(), options()).await.unwrap();
    // A level of two seats and short queues, so that a flood need not be large.
    let admin = || User::new("admin", ["system:masters"]);
    let level = json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 0, "lendablePercent": 0,
        "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 1, "queueLengthLimit": 2}}}}});
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let (status, _) =
        answer(&server, admin(), "POST", &format!("{group}/prioritylevelconfigurations"), &level.to_string()).await;
    assert_eq!(status, 201);
    let everything =
        json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]);
    let schema = json!({"metadata": {"name": "floods"}, "spec": {
        "priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 50, "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [{"kind": "Group", "group": {"name": "floods"}}], "resourceRules": everything}]}});
    let (status, _) = answer(&server, admin(), "POST", &format!("{group}/flowschemas"), &schema.to_string()).await;
    assert_eq!(status, 201);
    let lease = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}).to_string();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let leader = || User::new("system:kube-scheduler", [] as [&str; 0]);
    assert_eq!(answer(&server, leader(), "POST", leases, &lease).await.0, 201);

    let (over, refused, served) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let flood: Vec<_> = (0..40)
        .map(|_| {
            let (server, over, refused, served) = (server.clone(), over.clone(), refused.clone(), served.clone());
            coracle_tasks::spawn("flood", async move {
                while !over.load(Ordering::SeqCst) {
                    let (status, headers) =
                        answer(&server, User::new("flood", ["floods"]), "GET", "/api/v1/secrets", "").await;
                    match status {
                        429 => {
                            assert_eq!(headers["retry-after"], "1");
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                        _ => drop(served.fetch_add(1, Ordering::SeqCst)),
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let calm = |count: &Arc<AtomicUsize>| count.load(Ordering::SeqCst) > 10;
    let mut renewed = 0;
    eventually("the flood", || async { calm(&refused) && calm(&served) }).await;
    while renewed < 50 {
        let (status, headers) = answer(&server, leader(), "PUT", &format!("{leases}/l"), &lease).await;
        assert_eq!(status, 200);
        assert!(
            headers.contains_key("x-kubernetes-pf-flowschema-uid")
                && headers.contains_key("x-kubernetes-pf-prioritylevel-uid")
        );
        renewed += 1;
    }
    let (status, _) = answer(&server, admin(), "GET", "/api/v1/secrets", "").await;
    assert_eq!(status, 200, "masters never wait");
    over.store(true, Ordering::SeqCst);
    for task in flood {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn every_request_is_told_where_it_was_put() {
    let server = Server::start(Store::in_memory(), options()).await.unwrap();
    let mut told = BTreeSet::new();
    let mut check = async |user: User, path: &str, expected: Expect| {
        let (_, headers) = answer(&server, user, "GET", path, "").await;
        let uid = headers["x-kubernetes-pf-flowschema-uid"].to_str().unwrap().to_owned();
        let admin = || server.client_service(User::engine());
        let request =
            Request::get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas").body(Full::<bytes::Bytes>::default());
        let list = admin().oneshot(request.unwrap()).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let list: Value = serde_json::from_slice(&list).unwrap();
        let schema = list["items"].as_array().unwrap().iter().find(|schema| schema["metadata"]["uid"] == uid.as_str());
        expected.assert_eq(schema.unwrap()["metadata"]["name"].as_str().unwrap());
        told.insert(uid);
    };
    check(User::engine(), "/api/v1/pods", expect!["exempt"]).await;
    check(User::new("kim", ["devs"]), "/healthz", expect!["probes"]).await;
    check(User::new("kim", ["devs"]), "/api/v1/pods", expect!["global-default"]).await;
    check(User::new("system:node:n", ["system:nodes"]), "/api/v1/nodes/n", expect!["system-node-high"]).await;
    check(User::new("system:node:n", ["system:nodes"]), "/api/v1/pods", expect!["system-nodes"]).await;
    check(
        User::new("system:kube-scheduler", ["x"]),
        "/apis/coordination.k8s.io/v1/namespaces/a/leases/l",
        expect!["system-leader-election"],
    )
    .await;
    check(
        User::new("system:serviceaccount:kube-system:a", ["system:serviceaccounts"]),
        "/api/v1/pods",
        expect!["kube-system-service-accounts"],
    )
    .await;
    check(
        User::new("system:serviceaccount:shop:a", ["system:serviceaccounts"]),
        "/api/v1/pods",
        expect!["service-accounts"],
    )
    .await;
    assert_eq!(told.len(), 8);
}
