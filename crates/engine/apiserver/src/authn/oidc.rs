//! OpenID Connect: tokens that an issuer outside signs, and what their claims mean here.

mod claims;
mod keys;

use std::sync::Arc;

use coracle_clock::Clock;
use futures::future::BoxFuture;
use serde_json::Value;

use super::{
    Found, TokenAuthenticator, Verdict,
    config::Issuer,
    jwt::{self, Token},
};
use crate::reach::Reach;
use claims::Meaning;
use keys::IssuerKeys;

/// A token may be shown so many seconds before it starts to be good: clocks differ.
const EARLY_SECONDS: i64 = 5 * 60;

/// One issuer.
pub struct Oidc {
    url: String,
    audiences: Vec<String>,
    algorithms: Vec<String>,
    meaning: Meaning,
    keys: IssuerKeys,
    clock: Arc<dyn Clock>,
}

impl Oidc {
    /// An issuer by its description; what is wrong with that, in words. Its keys are fetched when first needed.
    pub fn new(issuer: Issuer, reach: &Reach, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let place = &issuer.issuer;
        let about = |problem: String| format!("issuer {:?}: {problem}", place.url);
        if !place.url.starts_with("https://") {
            return Err(about("URL scheme must be https".into()));
        }
        if place.audiences.is_empty() {
            return Err(about("at least one audience (client id) is required".into()));
        }
        if place.audiences.len() > 1 && place.audience_match_policy != "MatchAny" {
            return Err(about("audienceMatchPolicy must be MatchAny for multiple audiences".into()));
        }
        let known = |algorithm: &&String| !jwt::ALGORITHMS.contains(&algorithm.as_str());
        if let Some(unknown) = issuer.algorithms.iter().find(known) {
            return Err(about(format!("signing algorithm {unknown} is not one of {}", jwt::ALGORITHMS.join(", "))));
        }
        let algorithms = match issuer.algorithms.as_slice() {
            [] => jwt::ALGORITHMS.map(str::to_owned).to_vec(),
            some => some.to_vec(),
        };
        let keys = IssuerKeys::new(place, reach).map_err(about)?;
        let meaning = Meaning::new(&issuer).map_err(about)?;
        Ok(Self { url: place.url.clone(), audiences: place.audiences.clone(), algorithms, meaning, keys, clock })
    }

    async fn check(&self, text: &str) -> Verdict {
        let Some(token) = Token::parse(text).filter(|token| token.text("iss") == self.url) else { return Ok(None) };
        let refused = |why: &str| format!("oidc: verify token: {why}");
        if !self.algorithms.contains(&token.algorithm) {
            let why = format!("id token signed with unsupported algorithm, got {:?}", token.algorithm);
            return Err(refused(&why));
        }
        let audience = &token.claims.get("aud").cloned().unwrap_or_default();
        let is_meant = |one: &Value| one.as_str().is_some_and(|one| self.audiences.iter().any(|known| known == one));
        if !is_meant(audience) && !audience.as_array().is_some_and(|all| all.iter().any(is_meant)) {
            return Err(refused(&format!("expected audience in {:?} got {audience}", self.audiences)));
        }
        let moment = |claim: &str| token.claims.get(claim).and_then(Value::as_f64).map(|seconds| seconds as i64);
        let now = self.clock.now().as_second();
        if moment("exp").is_none_or(|ends| now > ends) {
            return Err(refused("token is expired"));
        }
        if moment("nbf").is_some_and(|starts| now + EARLY_SECONDS < starts) {
            return Err(refused("token is not valid yet"));
        }
        if !self.keys.signed(&token).await? {
            return Err(refused("failed to verify signature: failed to verify id token signature"));
        }
        let user = self.meaning.user(Value::Object(token.claims)).map_err(|why| format!("oidc: {why}"))?;
        Ok(Some(Found { user: Arc::new(user), audiences: None }))
    }
}

impl TokenAuthenticator for Oidc {
    fn authenticate<'a>(&'a self, token: &'a str, _: &'a [String]) -> BoxFuture<'a, Verdict> {
        Box::pin(self.check(token))
    }
}
