//! The keys an issuer publishes: fetched when they are first needed, and again when a token names one that is not known.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    authn::{
        config::IssuerPlace,
        jwt::{self, Key, Token},
    },
    reach::Reach,
    remote::{Remote, Trust},
};

const PATIENCE: Duration = Duration::from_secs(10);
/// Tokens that name unknown keys, of which anybody can make as many as they like, make us ask only so often.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// See the module.
pub struct IssuerKeys {
    issuer: String,
    discovery_url: String,
    authority: Vec<u8>,
    reach: Reach,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    asked: Option<Instant>,
    /// Why there are none.
    problem: Option<String>,
}

impl IssuerKeys {
    /// The keys of the issuer at a place.
    pub fn new(place: &IssuerPlace, reach: &Reach) -> Result<Self, String> {
        let discovery_url = match place.discovery_url.as_str() {
            "" => format!("{}/.well-known/openid-configuration", place.url.trim_end_matches('/')),
            url => url.to_owned(),
        };
        let keys = Self {
            issuer: place.url.clone(),
            discovery_url,
            authority: place.certificate_authority.clone().into_bytes(),
            reach: reach.clone(),
            known: Mutex::default(),
        };
        keys.remote(&keys.discovery_url)?;
        Ok(keys)
    }

    /// Whether one of the keys signed a token. An error when the issuer cannot be asked.
    pub async fn signed(&self, token: &Token<'_>) -> Result<bool, String> {
        // Held while asking, so that many tokens at once ask once.
        let mut known = self.known.lock().await;
        if signed_by(&known.keys, token) {
            return Ok(true);
        }
        if known.asked.is_some_and(|asked| asked.elapsed() < SHORTEST_PAUSE) {
            return known.problem.clone().map_or(Ok(false), Err);
        }
        known.asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                *known = Known { keys: Arc::new(keys), problem: None, ..*known };
                Ok(signed_by(&known.keys, token))
            }
            Err(problem) => {
                known.problem = Some(problem.clone());
                Err(problem)
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let get = async |url: &str| {
            let document = self.remote(url)?.get(PATIENCE).await;
            document.map_err(|error| format!("oidc: issuer {:?}: {error}", self.issuer))
        };
        let description = get(&self.discovery_url).await?;
        if description["issuer"] != self.issuer.as_str() {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {}",
                self.issuer, description["issuer"]
            ));
        }
        let url = description["jwks_uri"].as_str().unwrap_or_default();
        Ok(jwt::keys(&get(url).await?))
    }

    fn remote(&self, url: &str) -> Result<Remote, String> {
        let trust = match self.authority.as_slice() {
            [] => Trust::Public,
            pem => Trust::Authorities(pem.to_owned()),
        };
        Remote::at(&self.reach, url, trust, None).map_err(|error| format!("oidc: {url:?}: {error}"))
    }
}

fn signed_by(keys: &[Key], token: &Token<'_>) -> bool {
    let named = |key: &&Key| token.key_id.is_empty() || key.id.is_empty() || key.id == token.key_id;
    keys.iter().filter(named).any(|key| token.is_signed_by(key))
}
