//! Service account tokens: JSON Web Tokens signed with the engine's own key (ES256), bound to their account and,
//! where asked, to a pod, a secret or a node; they end when either does.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use coracle_clock::Clock;
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use futures::future::BoxFuture;

use super::{Found, TokenAuthenticator, User, Verdict};

/// Why there is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The bytes are no PKCS#8 key on P-256.
    #[error("service account key is not a PKCS#8 key on P-256")]
    Malformed,
    /// The machine gives no random bytes.
    #[error("no randomness for a service account key")]
    NoRandomness,
}

/// A new signing key, as PKCS#8.
pub fn generate_key() -> Result<Vec<u8>, KeyError> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    document.map(|document| document.as_ref().to_vec()).map_err(|_| KeyError::NoRandomness)
}

/// An object a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Name.
    pub name: String,
    /// Uid: a new object of the same name is another one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The part of the claims that is Kubernetes' own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesClaims {
    /// Namespace of account and pod.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Bound,
    /// The pod, for tokens bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    /// The secret, for tokens bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    /// The pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// For whom it is meant.
    pub aud: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub exp: i64,
    /// When it was made.
    pub iat: i64,
    /// Who made it.
    pub iss: String,
    /// Its own id.
    pub jti: String,
    /// What it is bound to.
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: KubernetesClaims,
    /// From when on it is good.
    pub nbf: i64,
    /// Whom it stands for.
    pub sub: String,
}

/// Signs and checks tokens.
pub struct Signer {
    key: EcdsaKeyPair,
    issuer: String,
    key_id: String,
    random: SystemRandom,
}

impl Signer {
    /// A signer with a PKCS#8 key.
    pub fn new(pkcs8: &[u8], issuer: impl Into<String>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &random)
            .map_err(|_| KeyError::Malformed)?;
        let key_id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, key.public_key().as_ref()));
        Ok(Self { key, issuer: issuer.into(), key_id, random })
    }

    /// The issuer its tokens name, which is also the audience of tokens for the API server.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Signs claims, whatever they are.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, KeyError> {
        let header = json!({"alg": "ES256", "kid": self.key_id});
        let payload = serde_json::to_vec(claims).map_err(|_| KeyError::Malformed)?;
        let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.sign(&self.random, text.as_bytes()).map_err(|_| KeyError::NoRandomness)?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token this signer signed for its issuer, whatever their time and audience.
    pub fn verify(&self, token: &str) -> Option<Claims> {
        let claims: Claims = self.verify_any(token)?;
        (claims.iss == self.issuer).then_some(claims)
    }

    /// Whatever is claimed in a token that this signer signed.
    pub fn verify_any<T: for<'de> Deserialize<'de>>(&self, token: &str) -> Option<T> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, payload) = text.split_once('.')?;
        let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()?;
        if header["alg"] != "ES256" {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref());
        public.verify(text.as_bytes(), &signature).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
    }

    /// The public key, as OpenID Connect's key set, for others to check tokens with.
    pub fn key_set(&self) -> Value {
        let point = &self.key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.key_id, "alg": "ES256", "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

/// What the check of a token needs to know about the objects it is bound to.
pub trait BoundObjects: Send + Sync {
    /// The uid of an object of the core group, unless it is gone or long in deletion.
    fn uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String>;
}

/// Checks service account tokens.
pub struct ServiceAccountTokens {
    signer: Arc<Signer>,
    objects: Arc<dyn BoundObjects>,
    clock: Arc<dyn Clock>,
}

impl ServiceAccountTokens {
    /// Checks `signer`'s tokens against living objects.
    pub fn new(signer: Arc<Signer>, objects: Arc<dyn BoundObjects>, clock: Arc<dyn Clock>) -> Self {
        Self { signer, objects, clock }
    }

    /// The claims of a token that is good now for one of `audiences`, with the audiences both have.
    pub fn check(&self, token: &str, audiences: &[String]) -> Result<(Claims, Vec<String>), &'static str> {
        let claims = self.signer.verify(token).ok_or("invalid bearer token")?;
        self.judge(claims, audiences)
    }

    fn judge(&self, claims: Claims, audiences: &[String]) -> Result<(Claims, Vec<String>), &'static str> {
        let now = self.clock.now().as_second();
        if now >= claims.exp {
            return Err("service account token has expired");
        }
        if now < claims.nbf {
            return Err("service account token is not valid yet");
        }
        let common: Vec<String> = claims.aud.iter().filter(|audience| audiences.contains(audience)).cloned().collect();
        if common.is_empty() {
            return Err("token audiences do not include any of the wanted ones");
        }
        let KubernetesClaims { namespace, serviceaccount, pod, secret, node } = &claims.kubernetes;
        let lives = |resource: &str, bound: &Bound| {
            let namespace = if resource == "nodes" { "" } else { namespace.as_str() };
            self.objects.uid(resource, namespace, &bound.name).is_some_and(|uid| uid == bound.uid)
        };
        if !lives("serviceaccounts", serviceaccount) {
            return Err("service account UID does not match, or it was deleted");
        }
        if pod.as_ref().is_some_and(|pod| !lives("pods", pod)) {
            return Err("pod has been deleted");
        }
        if secret.as_ref().is_some_and(|secret| !lives("secrets", secret)) {
            return Err("secret has been deleted");
        }
        // A pod's token only notes where the pod is; a token for a node alone ends with it.
        if pod.is_none() && node.as_ref().is_some_and(|node| !lives("nodes", node)) {
            return Err("node has been deleted");
        }
        Ok((claims, common))
    }

    /// The audience of tokens meant for the API server.
    pub fn own_audience(&self) -> Vec<String> {
        vec![self.signer.issuer().to_owned()]
    }
}

impl TokenAuthenticator for ServiceAccountTokens {
    fn authenticate<'a>(&'a self, token: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Verdict> {
        let verdict = match self.signer.verify(token).map(|claims| self.judge(claims, audiences)) {
            None => Ok(None),
            Some(Ok((claims, common))) => Ok(Some(Found { user: Arc::new(user(&claims)), audiences: Some(common) })),
            Some(Err(problem)) => Err(problem.to_owned()),
        };
        Box::pin(std::future::ready(verdict))
    }
}

/// A service account as a user.
pub fn account(namespace: &str, name: &str, uid: &str) -> User {
    let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    let user = User::new(format!("system:serviceaccount:{namespace}:{name}"), groups);
    User { uid: uid.to_owned(), ..user }
}

/// Whom a token's claims stand for.
pub fn user(claims: &Claims) -> User {
    let KubernetesClaims { namespace, serviceaccount, pod, node, .. } = &claims.kubernetes;
    let mut user = account(namespace, &serviceaccount.name, &serviceaccount.uid);
    let mut add = |key: &str, value: String| {
        user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    add("credential-id", format!("JTI={}", claims.jti));
    for (kind, bound) in [("pod", pod), ("node", node)] {
        if let Some(bound) = bound {
            add(&format!("{kind}-name"), bound.name.clone());
            add(&format!("{kind}-uid"), bound.uid.clone());
        }
    }
    user
}

#[cfg(test)]
mod tests {
    use coracle_clock::ManualClock;
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    struct Objects;

    impl BoundObjects for Objects {
        fn uid(&self, resource: &str, _: &str, name: &str) -> Option<String> {
            (resource == "serviceaccounts" && name == "default").then(|| "u1".to_owned())
        }
    }

    fn claims(account_uid: &str) -> Claims {
        let account = Bound { name: "default".into(), uid: account_uid.into() };
        Claims {
            aud: vec!["https://engine".into()],
            exp: 1000,
            iat: 0,
            iss: "https://engine".into(),
            jti: "1".into(),
            kubernetes: KubernetesClaims {
                namespace: "a".into(),
                serviceaccount: account,
                pod: None,
                secret: None,
                node: None,
            },
            nbf: 0,
            sub: "system:serviceaccount:a:default".into(),
        }
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_expires_or_its_account_goes() {
        let signer = Arc::new(Signer::new(&generate_key().unwrap(), "https://engine").unwrap());
        let clock = ManualClock::new(Timestamp::from_second(10).unwrap());
        let tokens = ServiceAccountTokens::new(signer.clone(), Arc::new(Objects), Arc::new(clock.clone()));
        let token = signer.sign(&claims("u1")).unwrap();
        let own = tokens.own_audience();
        let found = tokens.authenticate(&token, &own).await.unwrap().unwrap();
        assert_eq!(found.user.name, "system:serviceaccount:a:default");
        assert!(tokens.authenticate(&signer.sign(&claims("u2")).unwrap(), &own).await.is_err());
        let mut forged = token.clone();
        forged.replace_range(forged.len() - 4.., "AAAA");
        assert_eq!(tokens.authenticate(&forged, &own).await, Ok(None));
        assert_eq!(
            tokens.check(&token, &["other".to_owned()]).unwrap_err(),
            "token audiences do not include any of the wanted ones"
        );
        clock.advance(SignedDuration::from_secs(2000));
        assert_eq!(tokens.check(&token, &tokens.own_audience()).unwrap_err(), "service account token has expired");
    }
}
