//! Tokens of every kind, shown over TLS.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE_NO_PAD};
use coracle_apiserver::{
    Guards, Options, Server,
    authn::config::{Anonymous, Authentication, Issuer, WebhookSettings},
    generate_key,
};
use coracle_store::Store;
use expect_test::{Expect, expect};
use parking_lot::Mutex;
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use serde_json::{Value, json};

use crate::support::{HookServer, Listening, TOKEN, eventually, hook_server, listen, options, server};

async fn create(listening: &Listening, path: &str, object: Value) -> Value {
    let (status, answer) = listening.ask(Some(TOKEN), "POST", path, &object.to_string()).await;
    assert_eq!(status, 201, "{answer}");
    answer
}

async fn delete(listening: &Listening, path: &str) {
    let (status, answer) = listening.ask(Some(TOKEN), "DELETE", path, "").await;
    assert!(status < 300, "{answer}");
}

async fn is_known(listening: &Listening, token: &str, expected: Expect) {
    expected.assert_eq(&listening.whois(token).await);
}

const CORE: &str = "/api/v1/namespaces/default";

#[tokio::test]
async fn a_bootstrap_token_is_good_while_its_secret_is_there() {
    let listening = listen(server().await).await;
    let secret = json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:workers",
        },
    });
    let token = "abcdef.0123456789abcdef";
    is_known(&listening, token, expect!["401"]).await;
    create(&listening, "/api/v1/namespaces/kube-system/secrets", secret).await;
    is_known(
        &listening,
        token,
        expect!["system:bootstrap:abcdef system:bootstrappers,system:bootstrappers:workers,system:authenticated"],
    )
    .await;
    is_known(&listening, "abcdef.0123456789abcdee", expect!["401"]).await;
    delete(&listening, "/api/v1/namespaces/kube-system/secrets/bootstrap-token-abcdef").await;
    is_known(&listening, token, expect!["401"]).await;
}

#[tokio::test]
async fn a_token_in_a_secret_ends_with_secret_and_account() {
    let listening = listen(server().await).await;
    create(&listening, &format!("{CORE}/serviceaccounts"), json!({"metadata": {"name": "robot"}})).await;
    let make = async |name: &str, account: &str| {
        let notes = json!({"kubernetes.io/service-account.name": account});
        let metadata = json!({"name": name, "annotations": notes});
        let secret = json!({"metadata": metadata, "type": "kubernetes.io/service-account-token"});
        create(&listening, &format!("{CORE}/secrets"), secret).await;
    };
    let read = async |name: &str| listening.ask(Some(TOKEN), "GET", &format!("{CORE}/secrets/{name}"), "").await;
    let filled = async |name: &str| {
        let at = || async { read(name).await.1["data"]["token"].is_string() };
        eventually("the token", at).await;
        let secret = read(name).await.1;
        assert_eq!(secret["data"]["namespace"], STANDARD.encode("default"));
        assert!(secret["metadata"]["annotations"]["kubernetes.io/service-account.uid"].is_string());
        String::from_utf8(STANDARD.decode(secret["data"]["token"].as_str().unwrap()).unwrap()).unwrap()
    };
    make("one", "robot").await;
    make("two", "robot").await;
    make("orphan", "nobody").await;
    let (one, two) = (filled("one").await, filled("two").await);
    is_known(&listening, &one, expect!["system:serviceaccount:default:robot system:serviceaccounts,system:serviceaccounts:default,system:authenticated"]).await;
    delete(&listening, &format!("{CORE}/secrets/one")).await;
    is_known(&listening, &one, expect!["401"]).await;
    eventually("the orphan's end", || async { read("orphan").await.0 == 404 }).await;
    delete(&listening, &format!("{CORE}/serviceaccounts/robot")).await;
    is_known(&listening, &two, expect!["401"]).await;
    eventually("the secret's end", || async { read("two").await.0 == 404 }).await;
}

#[tokio::test]
async fn a_bound_token_ends_with_what_it_is_bound_to() {
    let listening = listen(server().await).await;
    create(&listening, &format!("{CORE}/serviceaccounts"), json!({"metadata": {"name": "robot"}})).await;
    let token = async |bound: Value, audiences: Value| {
        let spec = json!({"boundObjectRef": bound, "audiences": audiences});
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let made = create(&listening, &format!("{CORE}/serviceaccounts/robot/token"), request).await;
        made["status"]["token"].as_str().unwrap().to_owned()
    };
    let pod = json!({"metadata": {"name": "p"}, "spec": {"serviceAccountName": "robot", "containers": [{"name": "c", "image": "x"}]}});
    create(&listening, &format!("{CORE}/pods"), pod).await;
    create(&listening, &format!("{CORE}/secrets"), json!({"metadata": {"name": "s"}})).await;
    create(&listening, "/api/v1/nodes", json!({"metadata": {"name": "n"}})).await;
    for (kind, name, path) in [
        ("Pod", "p", format!("{CORE}/pods/p?gracePeriodSeconds=0")),
        ("Secret", "s", format!("{CORE}/secrets/s")),
        ("Node", "n", "/api/v1/nodes/n".to_owned()),
    ] {
        let bound = token(json!({"apiVersion": "v1", "kind": kind, "name": name}), Value::Null).await;
        assert!(listening.whois(&bound).await.starts_with("system:serviceaccount:"), "{kind}");
        delete(&listening, &path).await;
        assert_eq!(listening.whois(&bound).await, "401", "{kind}");
    }
    let vault = token(Value::Null, json!(["vault"])).await;
    is_known(&listening, &vault, expect!["401"]).await;
    let review = async |audiences: Value| {
        let spec = json!({"token": vault, "audiences": audiences});
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec});
        create(&listening, "/apis/authentication.k8s.io/v1/tokenreviews", review).await["status"].clone()
    };
    assert_eq!(review(json!(["vault", "other"])).await["audiences"], json!(["vault"]));
    assert_eq!(review(Value::Null).await["authenticated"], Value::Null);
}

/// An issuer that signs with a key of its own, which it can change.
struct TestIssuer {
    hook: HookServer,
    key: Arc<Mutex<EcdsaKeyPair>>,
    asked: Arc<AtomicUsize>,
}

fn new_key() -> EcdsaKeyPair {
    let pkcs8 = generate_key().unwrap();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new()).unwrap()
}

fn key_id(key: &EcdsaKeyPair) -> String {
    URL_SAFE_NO_PAD.encode(&key.public_key().as_ref()[1..9])
}

impl TestIssuer {
    async fn start() -> Self {
        let key = Arc::new(Mutex::new(new_key()));
        let asked = Arc::new(AtomicUsize::new(0));
        let url = Arc::new(Mutex::new(String::new()));
        let (own, counter, own_url) = (key.clone(), asked.clone(), url.clone());
        let hook = hook_server(move |path, _| {
            if path == "/.well-known/openid-configuration" {
                let url = own_url.lock().clone();
                return json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
            }
            counter.fetch_add(1, Ordering::SeqCst);
            let key = own.lock();
            let point = &key.public_key().as_ref()[1..];
            json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": key_id(&key),
                "x": URL_SAFE_NO_PAD.encode(&point[..32]), "y": URL_SAFE_NO_PAD.encode(&point[32..])}]})
        })
        .await;
        *url.lock() = hook.url.clone();
        Self { hook, key, asked }
    }

    fn sign(&self, changes: Value) -> String {
        let key = self.key.lock();
        let mut claims = json!({"iss": self.hook.url, "aud": "coracle", "exp": 4_000_000_000u64, "sub": "7",
            "name": "ann", "roles": ["devs"], "hd": "example.com"});
        for (claim, value) in changes.as_object().unwrap() {
            claims[claim] = value.clone();
        }
        let header = json!({"alg": "ES256", "kid": key_id(&key)});
        let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let signature = key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn described(&self) -> Issuer {
        let authority = String::from_utf8(STANDARD.decode(&self.hook.ca_bundle).unwrap()).unwrap();
        let file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
            "issuer": {"url": self.hook.url, "audiences": ["coracle"], "certificateAuthority": authority},
            "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
            "claimMappings": {
                "username": {"claim": "name", "prefix": "oidc:"}, "groups": {"expression": "claims.roles.map(r, 'role:' + r)"},
            },
            "userValidationRules": [{"expression": "!user.username.contains('system:')"}],
        }]});
        Authentication::from_yaml(&file.to_string()).unwrap().issuers.remove(0)
    }
}

async fn guarded(authentication: Authentication) -> Listening {
    let options = Options { guards: Guards { authentication, ..Guards::default() }, ..options() };
    listen(Server::start(Store::in_memory(), options).await.unwrap()).await
}

#[tokio::test]
async fn an_issuers_tokens_are_checked_with_the_keys_it_publishes() {
    let issuer = TestIssuer::start().await;
    let authentication = Authentication { issuers: vec![issuer.described()], ..Authentication::default() };
    let listening = guarded(authentication).await;
    let good = issuer.sign(json!({}));
    is_known(&listening, &good, expect!["oidc:ann role:devs,system:authenticated"]).await;
    is_known(
        &listening,
        &issuer.sign(json!({"aud": ["x", "coracle"]})),
        expect!["oidc:ann role:devs,system:authenticated"],
    )
    .await;
    for wrong in [
        json!({"aud": "other"}),
        json!({"exp": 1}),
        json!({"nbf": 3_900_000_000u64}),
        json!({"hd": "elsewhere"}),
        json!({"iss": "https://elsewhere"}),
        json!({"name": "system:admin"}),
        json!({"name": Value::Null}),
    ] {
        assert_eq!(listening.whois(&issuer.sign(wrong.clone())).await, "401", "{wrong}");
    }
    let mut forged = good.clone();
    forged.replace_range(good.len() - 8.., "AAAAAAAA");
    is_known(&listening, &forged, expect!["401"]).await;
    assert!(issuer.asked.load(Ordering::SeqCst) <= 2, "keys are fetched once, and at most once again for the forgery");
    // The issuer takes a new key: the old one's tokens end once the new one is known.
    *issuer.key.lock() = new_key();
    let fresh = issuer.sign(json!({}));
    eventually("the new key", || async { listening.whois(&fresh).await != "401" }).await;
    is_known(&listening, &good, expect!["401"]).await;
}

#[test]
fn an_issuer_that_is_described_badly_is_refused_in_words() {
    let check = |issuer: Value, expected: Expect| {
        let file =
            json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [issuer]});
        let authentication = Authentication::from_yaml(&file.to_string()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = Options { guards: Guards { authentication, ..Guards::default() }, ..options() };
        let problem = runtime.block_on(Server::start(Store::in_memory(), options)).err().unwrap();
        expected.assert_eq(&problem.to_string());
    };
    let name = json!({"username": {"claim": "sub", "prefix": ""}});
    check(
        json!({"issuer": {"url": "http://a", "audiences": ["b"]}, "claimMappings": name}),
        expect![[r#"authentication: issuer "http://a": URL scheme must be https"#]],
    );
    check(
        json!({"issuer": {"url": "https://a"}, "claimMappings": name}),
        expect![[r#"authentication: issuer "https://a": at least one audience (client id) is required"#]],
    );
    check(
        json!({"issuer": {"url": "https://a", "audiences": ["b"]}, "claimMappings": {"username": {"expression": "claims.sub + 1"}}}),
        expect![[
            r#"authentication: issuer "https://a": expression "claims.sub + 1" must evaluate to string but got int"#
        ]],
    );
    check(
        json!({"issuer": {"url": "https://a", "audiences": ["b"]}}),
        expect![[r#"authentication: issuer "https://a": claimMappings.username: claim or expression is required"#]],
    );
}

#[tokio::test]
async fn a_webhook_is_asked_about_tokens_and_its_answers_are_kept() {
    let asked = Arc::new(AtomicU64::new(0));
    let counter = asked.clone();
    let hook = hook_server(move |path, review| {
        assert_eq!((path, &review["kind"]), ("/review", &json!("TokenReview")));
        counter.fetch_add(1, Ordering::SeqCst);
        let status = match review["spec"]["token"].as_str().unwrap() {
            "known" => json!({"authenticated": true, "user": {"username": "kim", "uid": "4", "groups": ["devs"], "extra": {"a": ["b"]}}}),
            "broken" => json!({"authenticated": false, "error": "the directory is down"}),
            _ => json!({"authenticated": false}),
        };
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status})
    })
    .await;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": "u"}}],
        "clusters": [{"name": "a", "cluster": {"server": format!("{}/review", hook.url), "certificate-authority-data": hook.ca_bundle}}],
        "users": [{"name": "u", "user": {"token": "let me in"}}],
    });
    let webhook = Some(WebhookSettings { kubeconfig: kubeconfig.to_string(), cache_seconds: 120 });
    let listening =
        guarded(Authentication { webhook, anonymous: Anonymous::Nothing, ..Authentication::default() }).await;
    for _ in 0..3 {
        is_known(&listening, "known", expect!["kim devs,system:authenticated"]).await;
        is_known(&listening, "unknown", expect!["401"]).await;
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let review = async |token: &str| {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        create(&listening, "/apis/authentication.k8s.io/v1/tokenreviews", review).await["status"].to_string()
    };
    expect![[r#"{"audiences":["https://kubernetes.default.svc.cluster.local"],"authenticated":true,"user":{"extra":{"a":["b"]},"groups":["devs","system:authenticated"],"uid":"4","username":"kim"}}"#]]
        .assert_eq(&review("known").await);
    expect![[r#"{"error":"the directory is down","user":{}}"#]].assert_eq(&review("broken").await);
    assert_eq!(listening.ask(None, "GET", "/healthz", "").await.0, 401, "nobody comes in without a word");
}

#[tokio::test]
async fn impersonation_carries_uid_and_extra() {
    let listening = listen(server().await).await;
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("impersonate-user", "kim"),
        ("impersonate-uid", "42"),
        ("impersonate-group", "devs"),
        ("impersonate-extra-example.com%2ftenant", "t1"),
        ("impersonate-extra-example.com%2ftenant", "t2"),
    ];
    let review = r#"{"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}"#;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let (_, answer) = listening.ask_with(&headers, "POST", path, review).await;
    expect![[r#"{"extra":{"example.com/tenant":["t1","t2"]},"groups":["devs","system:authenticated"],"uid":"42","username":"kim"}"#]]
        .assert_eq(&answer["status"]["userInfo"].to_string());
}
