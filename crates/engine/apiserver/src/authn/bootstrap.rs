//! Bootstrap tokens: `ID.SECRET`, where the secret `bootstrap-token-ID` of `kube-system` says so. With one a new machine
//! asks for a certificate of its own.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_clock::Clock;
use coracle_store::{Change, Expect, Record, Snapshot, Store};
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::Value;

use super::{Found, TokenAuthenticator, User, Verdict};
use crate::object;

const GROUP: &str = "system:bootstrappers";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const ID_LETTERS: usize = 6;
const SECRET_LETTERS: usize = 16;

/// See the module.
pub struct BootstrapTokens {
    store: Store,
    clock: Arc<dyn Clock>,
}

impl BootstrapTokens {
    /// Looks tokens up in `store`.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    fn find(&self, token: &str) -> Option<User> {
        let (id, secret) = split(token)?;
        let record = self.store.get(&format!("/core/secrets/kube-system/bootstrap-token-{id}"))?;
        user(&object::decode(&record).ok()?, id, secret, self.clock.now())
    }
}

impl TokenAuthenticator for BootstrapTokens {
    fn authenticate<'a>(&'a self, token: &'a str, _: &'a [String]) -> BoxFuture<'a, Verdict> {
        let found = self.find(token).map(|user| Found { user: Arc::new(user), audiences: None });
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// The deletions of tokens that are over at `now`.
pub fn expired(snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
    let is_token = |record: &&Arc<Record>| record.field("type") == Some(TYPE);
    let is_over = |record: &&Arc<Record>| {
        object::decode(record).is_ok_and(|secret| text(&secret, "expiration").is_some_and(|ends| is_over(&ends, now)))
    };
    let over = snapshot.list("/core/secrets/kube-system/").filter(is_token).filter(is_over);
    over.map(|record| Change::delete(record.key(), Expect::Revision(record.revision()), None)).collect()
}

fn text(secret: &Value, key: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(secret["data"][key].as_str()?).ok()?).ok()
}

/// An end that cannot be read has come already.
fn is_over(ends: &str, now: Timestamp) -> bool {
    !ends.is_empty() && ends.parse::<Timestamp>().map_or(true, |ends| ends <= now)
}

/// A token's two halves; `None` where it does not look like one.
fn split(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (id.len() == ID_LETTERS && secret.len() == SECRET_LETTERS && plain(id) && plain(secret)).then_some((id, secret))
}

fn user(object: &Value, id: &str, secret: &str, now: Timestamp) -> Option<User> {
    let data =
        |key: &str| -> Option<String> { String::from_utf8(STANDARD.decode(object["data"][key].as_str()?).ok()?).ok() };
    // Digests, so that a comparison takes the same time however much of the secret is right.
    let is_right = super::digest_of(&data("token-secret")?) == super::digest_of(secret);
    let is_over = data("expiration").is_some_and(|ends| is_over(&ends, now));
    if object["type"] != TYPE
        || object::is_deleting(object)
        || data("token-id")? != id
        || !is_right
        || is_over
        || data("usage-bootstrap-authentication").as_deref() != Some("true")
    {
        return None;
    }
    let more = data("auth-extra-groups").unwrap_or_default();
    let more: Vec<&str> = more.split(',').map(str::trim).filter(|group| !group.is_empty()).collect();
    if !more.iter().all(|group| is_bootstrap_group(group)) {
        return None;
    }
    Some(User::new(format!("system:bootstrap:{id}"), [GROUP].into_iter().chain(more)))
}

fn is_bootstrap_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let inner = |byte: u8| word(byte) || byte == b':' || byte == b'-';
    rest.len() <= 256 && rest.bytes().all(inner) && rest.bytes().last().is_some_and(word)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    fn check(token: &str, changes: &[(&str, &str)], expected: Expect) {
        let mut data = json!({
            "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
            "expiration": "2026-01-02T00:00:00Z", "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        });
        changes.iter().for_each(|(key, value)| data[*key] = json!(value));
        data.as_object_mut().unwrap().values_mut().for_each(|v| *v = json!(STANDARD.encode(v.as_str().unwrap())));
        let secret = json!({"type": TYPE, "data": data});
        let found = split(token)
            .and_then(|(id, word)| user(&secret, id, word, "2026-01-01T00:00:00Z".parse().unwrap()))
            .map(|user| format!("{} {}", user.name, user.groups.join(",")));
        expected.assert_eq(&found.unwrap_or_else(|| "nobody".into()));
    }

    #[test]
    fn a_token_is_good_for_what_its_secret_says() {
        let token = "abcdef.0123456789abcdef";
        check(
            token,
            &[],
            expect![
                "system:bootstrap:abcdef system:bootstrappers,system:bootstrappers:kubeadm:default-node-token,system:authenticated"
            ],
        );
        check("abcdef.0123456789abcdee", &[], expect!["nobody"]);
        check("Abcdef.0123456789abcdef", &[], expect!["nobody"]);
        check(token, &[("expiration", "2025-12-31T00:00:00Z")], expect!["nobody"]);
        check(token, &[("expiration", "tomorrow")], expect!["nobody"]);
        check(token, &[("usage-bootstrap-authentication", "false")], expect!["nobody"]);
        check(token, &[("auth-extra-groups", "system:masters")], expect!["nobody"]);
        check(
            token,
            &[("auth-extra-groups", "")],
            expect!["system:bootstrap:abcdef system:bootstrappers,system:authenticated"],
        );
    }
}
