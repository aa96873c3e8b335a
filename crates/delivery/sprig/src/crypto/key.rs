//! Private keys: made, read, and used to sign.

use coracle_gotemplate::Context;
use dsa::{Components, KeySize, SigningKey as DsaKey, VerifyingKey as DsaPublicKey};
use p256::ecdsa::signature::Signer;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey};

use super::{
    der::{self, OCTET_STRING},
    pem,
};
use crate::random::HostRandom;

const RSA: &[u32] = &[1, 2, 840, 113_549, 1, 1, 1];
const RSA_SHA256: &[u32] = &[1, 2, 840, 113_549, 1, 1, 11];
const EC: &[u32] = &[1, 2, 840, 10_045, 2, 1];
const P256: &[u32] = &[1, 2, 840, 10_045, 3, 1, 7];
const ECDSA_SHA256: &[u32] = &[1, 2, 840, 10_045, 4, 3, 2];
const ED25519: &[u32] = &[1, 3, 101, 112];
const NULL: &[u8] = &[0x05, 0x00];

/// Bits of the RSA key that `genPrivateKey` makes, and of those for certificates.
const LARGE_RSA_BITS: usize = 4096;
pub(super) const RSA_BITS: usize = 2048;
const RSA_TRIES: usize = 8;

/// A private key.
pub(super) enum Key {
    Rsa(Box<rsa::PrivateKey>),
    Ecdsa(p256::ecdsa::SigningKey),
    Ed25519 { seed: [u8; 32] },
    Dsa { der: Vec<u8> },
}

/// `genPrivateKey`: a key in PEM, or what went wrong in its place.
pub(super) fn generate(context: &mut Context<'_>, kind: &str) -> String {
    let key = match kind {
        "" | "rsa" => Key::rsa(context, LARGE_RSA_BITS),
        "dsa" => dsa(context),
        "ecdsa" => ecdsa(context),
        "ed25519" => {
            let mut seed = [0; 32];
            context.host.random(&mut seed);
            Ok(Key::Ed25519 { seed })
        }
        other => return format!("Unknown type {other}"),
    };
    key.map_or_else(|error| format!("failed to generate private key: {error}"), |key| key.to_pem())
}

fn ecdsa(context: &mut Context<'_>) -> Result<Key, String> {
    loop {
        let mut secret = [0; 32];
        context.host.random(&mut secret);
        // Only a handful of numbers near the limit are no keys.
        if let Ok(key) = p256::ecdsa::SigningKey::from_slice(&secret) {
            return Ok(Key::Ecdsa(key));
        }
    }
}

fn dsa(context: &mut Context<'_>) -> Result<Key, String> {
    let mut random = HostRandom(context);
    let components = Components::try_generate_from_rng_with_key_size(&mut random, KeySize::DSA_2048_256)
        .map_err(|error| error.to_string())?;
    let key =
        DsaKey::try_generate_from_rng_with_components(&mut random, components).map_err(|error| error.to_string())?;
    let public: &DsaPublicKey = key.verifying_key();
    let parts = public.components();
    let der = der::sequence(&[
        &der::integer(&[]),
        &der::integer(&parts.p().to_be_bytes()),
        &der::integer(&parts.q().to_be_bytes()),
        &der::integer(&parts.g().to_be_bytes()),
        &der::integer(&public.y().to_be_bytes()),
        &der::integer(&key.x().to_be_bytes()),
    ]);
    Ok(Key::Dsa { der })
}

impl Key {
    pub(super) fn rsa(context: &mut Context<'_>, bits: usize) -> Result<Key, String> {
        let mut tried = 0;
        let key = loop {
            tried += 1;
            match rsa::PrivateKey::new(&mut HostRandom(context), bits) {
                Ok(key) => break key,
                // Two primes may not fit together; the next two do.
                Err(rsa::Error::InvalidPrime) if tried < RSA_TRIES => {}
                Err(error) => return Err(error.to_string()),
            }
        };
        Ok(Key::Rsa(Box::new(key)))
    }

    pub(super) fn to_pem(&self) -> String {
        match self {
            Key::Rsa(key) => {
                let der = key.to_pkcs1_der().map(|der| der.as_bytes().to_vec()).unwrap_or_default();
                pem::encode("RSA PRIVATE KEY", &der)
            }
            Key::Ecdsa(key) => {
                let curve = der::tagged(0xA0, &der::object_id(P256));
                let public = der::tagged(0xA1, &der::bits(&public_point(key)));
                let secret = der::tagged(OCTET_STRING, &key.to_bytes());
                pem::encode("EC PRIVATE KEY", &der::sequence(&[&der::integer(&[1]), &secret, &curve, &public]))
            }
            Key::Ed25519 { seed } => {
                let algorithm = der::sequence(&[&der::object_id(ED25519)]);
                let secret = der::tagged(OCTET_STRING, &der::tagged(OCTET_STRING, seed));
                pem::encode("PRIVATE KEY", &der::sequence(&[&der::integer(&[]), &algorithm, &secret]))
            }
            Key::Dsa { der } => pem::encode("DSA PRIVATE KEY", der),
        }
    }

    pub(super) fn from_pem(text: &str) -> Result<Key, String> {
        let (label, der) = pem::decode(text).ok_or("no PEM data in input")?;
        match label {
            "PRIVATE KEY" => pkcs8(&der).ok_or_else(|| "decoding PEM as PKCS#8: asn1: structure error".to_owned()),
            "RSA PRIVATE KEY" => rsa::PrivateKey::from_pkcs1_der(&der)
                .map(|key| Key::Rsa(Box::new(key)))
                .map_err(|error| format!("parsing RSA private key from PEM: {error}")),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&der)
                .map(|key| Key::Ecdsa(key.into()))
                .map_err(|error| format!("parsing EC private key from PEM: {error}")),
            "DSA PRIVATE KEY" => match der::read_integers(&der) {
                Some(parts) if parts.len() == 6 => Ok(Key::Dsa { der }),
                _ => Err("parsing DSA private key from PEM: asn1: structure error".to_owned()),
            },
            other => match other.strip_suffix(" PRIVATE KEY") {
                Some(kind) => Err(format!("invalid private key type {kind}")),
                None => Err(format!("no private key data in PEM block of type {other}")),
            },
        }
    }

    /// The public half as certificates hold it: algorithm and bits.
    pub(super) fn public_info(&self) -> Result<Vec<u8>, String> {
        let (algorithm, bits) = match self {
            Key::Rsa(key) => {
                use rsa::traits::PublicKeyParts;
                let numbers = [der::integer(&key.n().to_be_bytes()), der::integer(&key.e().to_be_bytes())];
                let algorithm = der::sequence(&[&der::object_id(RSA), NULL]);
                (algorithm, der::sequence(&[&numbers[0], &numbers[1]]))
            }
            Key::Ecdsa(key) => (der::sequence(&[&der::object_id(EC), &der::object_id(P256)]), public_point(key)),
            Key::Ed25519 { seed } => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| error.to_string())?;
                (der::sequence(&[&der::object_id(ED25519)]), pair.public_key().as_ref().to_vec())
            }
            Key::Dsa { .. } => return Err("x509: unsupported public key type: *dsa.PublicKey".to_owned()),
        };
        Ok(der::sequence(&[&algorithm, &der::bits(&bits)]))
    }

    /// The algorithm this key signs with, as certificates name it.
    pub(super) fn signature_algorithm(&self) -> Result<Vec<u8>, String> {
        Ok(match self {
            Key::Rsa(_) => der::sequence(&[&der::object_id(RSA_SHA256), NULL]),
            Key::Ecdsa(_) => der::sequence(&[&der::object_id(ECDSA_SHA256)]),
            Key::Ed25519 { .. } => der::sequence(&[&der::object_id(ED25519)]),
            Key::Dsa { .. } => return Err("x509: certificate private key does not implement crypto.Signer".to_owned()),
        })
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Key::Rsa(key) => key.pkcs1v15_sign::<rsa::sha2::Sha256>(message).map_err(|error| error.to_string()),
            Key::Ecdsa(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign(message);
                Ok(signature.as_bytes().to_vec())
            }
            Key::Ed25519 { seed } => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|error| error.to_string())?;
                Ok(pair.sign(message).as_ref().to_vec())
            }
            Key::Dsa { .. } => Err("x509: certificate private key does not implement crypto.Signer".to_owned()),
        }
    }
}

fn public_point(key: &p256::ecdsa::SigningKey) -> Vec<u8> {
    key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
}

fn pkcs8(der: &[u8]) -> Option<Key> {
    use rsa::pkcs8::DecodePrivateKey as _;
    if let Ok(key) = rsa::PrivateKey::from_pkcs8_der(der) {
        return Some(Key::Rsa(Box::new(key)));
    }
    if let Ok(key) = p256::SecretKey::from_pkcs8_der(der) {
        return Some(Key::Ecdsa(key.into()));
    }
    let seed = der.get(der.len().checked_sub(32)?..)?.try_into().ok()?;
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(|_| Key::Ed25519 { seed })
}
