//! Who asks: client certificates, and bearer tokens of many kinds; anonymous only for health.

pub mod bootstrap;
pub mod config;
pub mod impersonation;
pub mod jwt;
pub mod keys;
pub mod legacy;
pub mod oidc;
pub mod service_account;
pub mod webhook;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use http::{HeaderMap, header};
use ring::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::status::Failure;

/// The group of everybody who said who they are.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// Whose word is law.
pub const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Stable id, where there is one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What the authenticator adds.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user with groups, as a member of `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.into());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// The engine itself.
    pub fn engine() -> Self {
        Self::new("system:coracle", [MASTERS])
    }

    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".into(), groups: vec![UNAUTHENTICATED.into()], ..Self::default() }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|have| have == group)
    }

    /// The user a verified client certificate names: CN is the name, each O a group.
    pub fn from_certificate(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let subject = certificate.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?;
        let groups = subject.iter_organization().filter_map(|attribute| attribute.as_str().ok());
        (!name.is_empty()).then(|| Self::new(name, groups))
    }
}

/// Bearer tokens known beforehand. Only their digests are kept, so looking one up takes the same time whatever it is.
#[derive(Debug, Default)]
pub struct StaticTokens(ArcSwap<HashMap<[u8; 32], Arc<User>>>);

impl StaticTokens {
    /// Tokens with whom they stand for.
    pub fn new(tokens: impl IntoIterator<Item = (String, User)>) -> Self {
        let known = Self::default();
        known.replace(tokens);
        known
    }

    /// Replaces all tokens.
    pub fn replace(&self, tokens: impl IntoIterator<Item = (String, User)>) {
        let digests = tokens.into_iter().map(|(token, user)| (digest_of(&token), Arc::new(user)));
        self.0.store(Arc::new(digests.collect()));
    }

    fn find(&self, token: &str) -> Option<Arc<User>> {
        self.0.load().get(&digest_of(token)).cloned()
    }
}

fn digest_of(token: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    digest.as_ref().try_into().expect("SHA-256 is 32 bytes")
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The user.
    pub user: Arc<User>,
    /// Those of the wanted audiences that it is meant for; `None` for tokens that name none, which are this server's.
    pub audiences: Option<Vec<String>>,
}

/// Whom a token stands for; `None` when it is none of the one who was asked, an error when it is and no longer good.
pub type Verdict = Result<Option<Found>, String>;

/// Something that knows tokens.
pub trait TokenAuthenticator: Send + Sync {
    /// Whom `token` stands for, shown to one of `audiences`.
    fn authenticate<'a>(&'a self, token: &'a str, audiences: &'a [String]) -> BoxFuture<'a, Verdict>;
}

/// All ways of finding out who asks.
pub struct Authenticator {
    /// Tokens known beforehand.
    pub tokens: Arc<StaticTokens>,
    /// Others, in order.
    pub others: Vec<Arc<dyn TokenAuthenticator>>,
    /// Whom tokens for this server are meant for.
    pub own_audiences: Vec<String>,
    /// What may be asked for without saying who asks.
    pub anonymous: config::Anonymous,
}

impl Authenticator {
    /// Who asks; `None` when nobody says, an error when what they say is not so.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&Arc<User>>,
    ) -> Result<Option<Arc<User>>, Failure> {
        if let Some(user) = certificate {
            return Ok(Some(user.clone()));
        }
        let Some(token) = bearer(headers) else { return Ok(None) };
        match self.token(&token, &self.own_audiences).await {
            Ok(Some((user, _))) => Ok(Some(user)),
            Ok(None) => Err(Failure::unauthorized()),
            Err(problem) => {
                tracing::debug!(problem, "a bearer token was refused");
                Err(Failure::unauthorized())
            }
        }
    }

    /// Whom a token stands for, and those of `audiences` it is meant for.
    pub async fn token(&self, token: &str, audiences: &[String]) -> Result<Option<(Arc<User>, Vec<String>)>, String> {
        if let Some(user) = self.tokens.find(token) {
            return Ok(self.own(audiences).map(|common| (user, common)));
        }
        let mut problems = Vec::new();
        for other in &self.others {
            match other.authenticate(token, audiences).await {
                Ok(None) => {}
                Ok(Some(Found { user, audiences: Some(common) })) => return Ok(Some((user, common))),
                Ok(Some(Found { user, audiences: None })) => {
                    return Ok(self.own(audiences).map(|common| (user, common)));
                }
                Err(problem) => problems.push(problem),
            }
        }
        match &problems[..] {
            [] => Ok(None),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// Those of `audiences` that are this server; `None` where there are none.
    fn own(&self, audiences: &[String]) -> Option<Vec<String>> {
        let common: Vec<String> = audiences.iter().filter(|one| self.own_audiences.contains(one)).cloned().collect();
        (!common.is_empty()).then_some(common)
    }
}

const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// The bearer token of a request. Browsers cannot set headers on WebSockets, so it may come as a subprotocol.
fn bearer(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let said = authorization.and_then(|value| value.trim().split_once(' '));
    if let Some((_, token)) =
        said.filter(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty())
    {
        return Some(token.trim().to_owned());
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix(WEBSOCKET_BEARER))?;
    let token = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, encoded).ok()?;
    String::from_utf8(token).ok()
}

/// Whether `path` may be asked for by anybody: health and version.
pub fn open_to_all(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(first, "healthz" | "livez" | "readyz" | "version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_are_found_and_wrong_ones_refused() {
        let tokens = Arc::new(StaticTokens::new([("secret".to_owned(), User::new("kim", ["devs"]))]));
        let own_audiences = vec!["here".to_owned()];
        let anonymous = config::Anonymous::default();
        let authenticator = Authenticator { tokens, others: Vec::new(), own_audiences, anonymous };
        let ask = async |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            authenticator.authenticate(&headers, None).await
        };
        let user = ask("Bearer secret").await.unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("kim", 2));
        assert!(ask("bearer  secret").await.unwrap().is_some());
        assert_eq!(ask("Bearer other").await.unwrap_err().code, 401);
        assert!(ask("Basic secret").await.unwrap().is_none());
        assert_eq!(authenticator.token("secret", &["elsewhere".to_owned()]).await, Ok(None));
    }
}
