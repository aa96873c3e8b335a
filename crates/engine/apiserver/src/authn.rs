//! Who asks: client certificates, bearer tokens, service account tokens; anonymous only for health.

pub mod impersonation;
pub mod keys;
pub mod service_account;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
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

/// Something that knows tokens: service accounts, and what is added to them later.
pub trait TokenAuthenticator: Send + Sync {
    /// Whom `token` stands for; `None` when it is none of this authenticator's, or no longer good.
    fn authenticate(&self, token: &str) -> Option<Arc<User>>;
}

/// All ways of finding out who asks.
pub struct Authenticator {
    /// Tokens known beforehand.
    pub tokens: Arc<StaticTokens>,
    /// Others, in order.
    pub others: Vec<Arc<dyn TokenAuthenticator>>,
}

impl Authenticator {
    /// Who asks; `None` when nobody says, an error when what they say is not so.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        certificate: Option<&Arc<User>>,
    ) -> Result<Option<Arc<User>>, Failure> {
        if let Some(user) = certificate {
            return Ok(Some(user.clone()));
        }
        let Some(token) = bearer(headers) else { return Ok(None) };
        let found =
            self.tokens.find(&token).or_else(|| self.others.iter().find_map(|other| other.authenticate(&token)));
        found.map(Some).ok_or_else(Failure::unauthorized)
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

    #[test]
    fn tokens_are_found_and_wrong_ones_refused() {
        let tokens = Arc::new(StaticTokens::new([("secret".to_owned(), User::new("kim", ["devs"]))]));
        let authenticator = Authenticator { tokens, others: Vec::new() };
        let ask = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            authenticator.authenticate(&headers, None)
        };
        let user = ask("Bearer secret").unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.groups.len()), ("kim", 2));
        assert!(ask("bearer  secret").unwrap().is_some());
        assert_eq!(ask("Bearer other").unwrap_err().code, 401);
        assert!(ask("Basic secret").unwrap().is_none());
    }
}
