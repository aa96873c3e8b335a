//! Service account tokens that stand in secrets: whoever makes a secret of type `kubernetes.io/service-account-token` for
//! an account finds a token in it a moment later, good until secret or account is deleted.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_store::{Change, EventKind, Expect, Store, Watcher};
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Found, TokenAuthenticator, Verdict,
    service_account::{Signer, account},
};
use crate::{object, server::Server};

const ISSUER: &str = "kubernetes/serviceaccount";
const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";
const SECRETS: &str = "/core/secrets/";
const ACCOUNTS: &str = "/core/serviceaccounts/";

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

/// Knows these tokens.
pub struct LegacyTokens {
    signer: Arc<Signer>,
    store: Store,
}

impl LegacyTokens {
    /// Checks `signer`'s tokens against the secrets in `store`.
    pub fn new(signer: Arc<Signer>, store: Store) -> Self {
        Self { signer, store }
    }

    fn check(&self, token: &str) -> Verdict {
        let Some(claims) = self.signer.verify_any::<Claims>(token).filter(|claims| claims.iss == ISSUER) else {
            return Ok(None);
        };
        let Claims { namespace, secret, name, uid, .. } = &claims;
        let invalidated = || "Token has been invalidated".to_owned();
        let record = self.store.get(&format!("{SECRETS}{namespace}/{secret}")).ok_or_else(invalidated)?;
        let stored = object::decode(&record).map_err(|failure| failure.message)?;
        if object::is_deleting(&stored) || stored["data"]["token"] != STANDARD.encode(token) {
            return Err(invalidated());
        }
        let record = self.store.get(&format!("{ACCOUNTS}{namespace}/{name}"));
        if record.is_none_or(|record| record.uid() != uid) {
            return Err(format!("ServiceAccount UID ({uid}) does not match, or it was deleted"));
        }
        Ok(Some(Found { user: Arc::new(account(namespace, name, uid)), audiences: None }))
    }
}

impl TokenAuthenticator for LegacyTokens {
    fn authenticate<'a>(&'a self, token: &'a str, _: &'a [String]) -> BoxFuture<'a, Verdict> {
        Box::pin(std::future::ready(self.check(token)))
    }
}

/// Fills secrets and takes them away with their accounts, until the server stops.
pub fn start(server: &Server) {
    let server = server.clone();
    coracle_tasks::spawn("token-secrets", async move {
        while !server.shutdown.is_cancelled() {
            let Some(watchers) = follow(&server) else {
                tokio::task::yield_now().await;
                continue;
            };
            settle_all(&server, "").await;
            keep_up(&server, watchers).await;
        }
    });
}

/// Watches from this moment on; `None` where so much happens that it is forgotten already.
fn follow(server: &Server) -> Option<[Watcher; 2]> {
    let now = server.store.revision();
    Some([server.store.watch(SECRETS, now).ok()?, server.store.watch(ACCOUNTS, now).ok()?])
}

/// Deals with what changes, until the server stops or more has changed than the store remembers.
async fn keep_up(server: &Server, [mut secrets, mut accounts]: [Watcher; 2]) {
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            events = secrets.next() => {
                let Ok(events) = events else { return };
                for event in events.iter().filter(|event| event.kind != EventKind::Deleted) {
                    settle(server, event.record.key()).await;
                }
            }
            events = accounts.next() => {
                let Ok(events) = events else { return };
                for event in events.iter().filter(|event| event.kind == EventKind::Deleted) {
                    settle_all(server, object::key_namespace(event.record.key())).await;
                }
            }
        }
    }
}

async fn settle_all(server: &Server, namespace: &str) {
    let prefix = if namespace.is_empty() { SECRETS.to_owned() } else { format!("{SECRETS}{namespace}/") };
    let keys: Vec<String> = server.store.snapshot().list(&prefix).map(|record| record.key().to_owned()).collect();
    for key in keys {
        settle(server, &key).await;
    }
}

/// Brings one secret into order; what cannot be written now comes up again with the write that was in the way.
async fn settle(server: &Server, key: &str) {
    let Some(record) = server.store.get(key).filter(|record| record.field("type") == Some(TYPE)) else { return };
    let Ok(mut secret) = object::decode(&record) else { return };
    let Some(resource) = server.registry.find("", "v1", "secrets") else { return };
    if object::is_deleting(&secret) {
        return;
    }
    let expect = Expect::Revision(record.revision());
    let change = match complete(server, &mut secret) {
        Completion::Orphan => Change::delete(key, expect, None),
        Completion::Whole => return,
        Completion::Filled => {
            Change::put(key, expect, object::meta(&secret, &resource.selectable), object::encode(&secret))
        }
    };
    if let Err(error) = server.store.commit(vec![change]).await {
        tracing::debug!(key, %error, "a service account's secret will be looked at again");
    }
}

enum Completion {
    /// There is no such account.
    Orphan,
    /// Nothing is missing.
    Whole,
    /// What was missing is there now.
    Filled,
}

fn complete(server: &Server, secret: &mut Value) -> Completion {
    let note = |name: &str| secret["metadata"]["annotations"][name].as_str().unwrap_or_default().to_owned();
    let (name, said_uid) = (note(NAME), note(UID));
    let (namespace, own_name) = (object::namespace(secret).to_owned(), object::name(secret).to_owned());
    let Some(owner) = server.store.get(&format!("{ACCOUNTS}{namespace}/{name}")) else { return Completion::Orphan };
    let uid = owner.uid().to_owned();
    if !said_uid.is_empty() && said_uid != uid {
        return Completion::Orphan;
    }
    let claims = Claims {
        iss: ISSUER.to_owned(),
        sub: format!("system:serviceaccount:{namespace}:{name}"),
        namespace: namespace.clone(),
        secret: own_name,
        name,
        uid: uid.clone(),
    };
    if !secret["data"].is_object() {
        secret["data"] = json!({});
    }
    let data = &secret["data"];
    let certificate = STANDARD.encode(&server.authority_pem);
    let namespace = STANDARD.encode(namespace);
    let is_whole = data["token"].as_str().is_some_and(|token| !token.is_empty())
        && data["ca.crt"] == certificate
        && data["namespace"] == namespace
        && said_uid == uid;
    if is_whole {
        return Completion::Whole;
    }
    if data["token"].as_str().is_none_or(str::is_empty) {
        let Ok(token) = server.signer.sign(&claims) else { return Completion::Whole };
        secret["data"]["token"] = json!(STANDARD.encode(token));
    }
    secret["data"]["ca.crt"] = json!(certificate);
    secret["data"]["namespace"] = json!(namespace);
    secret["metadata"]["annotations"][UID] = json!(uid);
    Completion::Filled
}
