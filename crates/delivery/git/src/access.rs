//! Who may push and fetch: Basic authentication whose password is a token.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest as _, Sha256};

/// Knows who holds which token.
pub trait Access: Send + Sync + 'static {
    /// The name of whoever presents `token`, with the user name they gave; None where the token is nobody's.
    fn identify(&self, user: &str, token: &str) -> Option<String>;
}

/// A fixed set of tokens. They are kept as hashes, and compared in a time that does not depend on where they differ.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    known: Vec<(Option<String>, [u8; 32])>,
}

impl Tokens {
    /// One token for everybody: whoever presents it is called by the user name they give.
    pub fn shared(token: &str) -> Self {
        Self { known: vec![(None, hash(token))] }
    }

    /// Adds a token that is `name`'s alone, whatever user name comes with it.
    pub fn with(mut self, name: impl Into<String>, token: &str) -> Self {
        self.known.push((Some(name.into()), hash(token)));
        self
    }
}

impl Access for Tokens {
    fn identify(&self, user: &str, token: &str) -> Option<String> {
        let presented = hash(token);
        let mut found = None;
        for (name, known) in &self.known {
            let difference = known.iter().zip(&presented).fold(0, |difference, (a, b)| difference | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(name.clone().unwrap_or_else(|| if user.is_empty() { "git".into() } else { user.into() }));
            }
        }
        found
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The user name and password a request carries.
pub fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
