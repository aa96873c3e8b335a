//! JSON Web Tokens of others: taken apart, and checked against the keys their issuer publishes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};
use serde_json::{Map, Value};

/// The algorithms that can be checked. ES512 cannot.
pub const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512"];

/// A token, not checked yet.
#[derive(Debug)]
pub struct Token<'a> {
    /// What it says it is signed with.
    pub algorithm: String,
    /// Which key it says it is signed with; may be empty.
    pub key_id: String,
    /// What it claims.
    pub claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart; `None` where it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let document = |part: &str| -> Option<Map<String, Value>> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let header = document(header)?;
        let text = |field: &str| header.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Self {
            algorithm: text("alg"),
            key_id: text("kid"),
            claims: document(payload)?,
            signed,
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// A claim that is a text.
    pub fn text(&self, claim: &str) -> &str {
        self.claims.get(claim).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether `key` signed it.
    pub fn is_signed_by(&self, key: &Key) -> bool {
        let (message, signature) = (self.signed.as_bytes(), self.signature.as_slice());
        match &key.material {
            Material::Rsa { n, e } => rsa(&self.algorithm)
                .is_some_and(|kind| RsaPublicKeyComponents { n, e }.verify(kind, message, signature).is_ok()),
            Material::Curve { algorithm, point } => {
                let kind: &dyn VerificationAlgorithm = match *algorithm {
                    "ES256" => &ECDSA_P256_SHA256_FIXED,
                    _ => &ECDSA_P384_SHA384_FIXED,
                };
                self.algorithm == *algorithm && UnparsedPublicKey::new(kind, point).verify(message, signature).is_ok()
            }
        }
    }
}

fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

/// A key that tokens are checked with.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name; may be empty.
    pub id: String,
    material: Material,
}

#[derive(Debug, Clone)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Curve { algorithm: &'static str, point: Vec<u8> },
}

/// The keys of a JSON Web Key Set that tokens can be signed with; those of kinds that are not known are left out.
pub fn keys(set: &Value) -> Vec<Key> {
    set["keys"].as_array().into_iter().flatten().filter_map(key).collect()
}

fn key(jwk: &Value) -> Option<Key> {
    if jwk["use"].as_str().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let bytes = |field: &str| URL_SAFE_NO_PAD.decode(jwk[field].as_str()?.trim_end_matches('=')).ok();
    let material = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
        ("EC", Some("P-256")) => Material::Curve { algorithm: "ES256", point: point(bytes("x")?, bytes("y")?) },
        ("EC", Some("P-384")) => Material::Curve { algorithm: "ES384", point: point(bytes("x")?, bytes("y")?) },
        _ => return None,
    };
    Some(Key { id: jwk["kid"].as_str().unwrap_or_default().to_owned(), material })
}

/// A point of a curve, uncompressed.
fn point(x: Vec<u8>, y: Vec<u8>) -> Vec<u8> {
    [vec![4], x, y].concat()
}
