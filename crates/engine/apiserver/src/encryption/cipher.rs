//! The three ciphers, laid out as upstream does: AES in CBC mode, AES in GCM mode, and NaCl's secretbox.

use aes::{Aes128, Aes192, Aes256};
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, StreamCipher, block_padding::Pkcs7};
use poly1305::{Poly1305, universal_hash::KeyInit};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use salsa20::XSalsa20;

const CBC_START: usize = 16;
const BOX_NONCE: usize = 24;
const TAG: usize = 16;

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Not authenticated: whoever can write to the disk can change what is read.
    AesCbc,
    /// Authenticated together with the place where the value stands.
    AesGcm,
    /// XSalsa20 with Poly1305; its nonces are long enough to be drawn at random for ever.
    Secretbox,
}

impl Kind {
    /// The name in files and prefixes.
    pub fn name(self) -> &'static str {
        match self {
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
        }
    }
}

/// A cipher with its key.
pub enum Cipher {
    /// Of 16, 24 or 32 bytes.
    Cbc(Vec<u8>),
    /// Of 16 or 32 bytes.
    Gcm(Box<LessSafeKey>),
    /// Of 32 bytes.
    Secretbox([u8; 32]),
}

impl Cipher {
    /// A cipher with a key; what is wrong with the key, in words.
    pub fn new(kind: Kind, key: &[u8]) -> Result<Self, String> {
        let wrong = |sizes: &str| format!("{} keys have {sizes} bytes, this one has {}", kind.name(), key.len());
        match (kind, key.len()) {
            (Kind::AesCbc, 16 | 24 | 32) => Ok(Self::Cbc(key.to_owned())),
            (Kind::AesCbc, _) => Err(wrong("16, 24 or 32")),
            (Kind::AesGcm, 16 | 32) => {
                let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
                let key = UnboundKey::new(algorithm, key).map_err(|_| wrong("16 or 32"))?;
                Ok(Self::Gcm(Box::new(LessSafeKey::new(key))))
            }
            (Kind::AesGcm, _) => Err(wrong("16 or 32")),
            (Kind::Secretbox, _) => key.try_into().map(Self::Secretbox).map_err(|_| wrong("32")),
        }
    }

    /// The key, where it is one of secretbox.
    pub fn secretbox(&self) -> Option<[u8; 32]> {
        match self {
            Self::Secretbox(key) => Some(*key),
            _ => None,
        }
    }

    /// Adds the encrypted form of what stands at `place`.
    pub fn seal(&self, place: &[u8], plain: &[u8], into: &mut Vec<u8>) {
        match self {
            Self::Cbc(key) => {
                let start: [u8; CBC_START] = rand::random();
                into.extend_from_slice(&start);
                into.extend(cbc_encrypt(key, &start, plain));
            }
            Self::Gcm(key) => {
                let nonce: [u8; NONCE_LEN] = rand::random();
                let mut text = plain.to_owned();
                key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text)
                    .expect("values are much shorter than what GCM can take");
                into.extend_from_slice(&nonce);
                into.extend(text);
            }
            Self::Secretbox(key) => {
                let nonce: [u8; BOX_NONCE] = rand::random();
                let mut text = plain.to_owned();
                let tag = box_apply(key, &nonce, &mut text, true);
                into.extend_from_slice(&nonce);
                into.extend_from_slice(&tag);
                into.extend(text);
            }
        }
    }

    /// What was encrypted; `None` where it was with another key, or changed since.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Cbc(key) => {
                let (start, text) = sealed.split_first_chunk::<CBC_START>()?;
                cbc_decrypt(key, start, text)
            }
            Self::Gcm(key) => {
                let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
                let mut text = text.to_owned();
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let plain = key.open_in_place(nonce, Aad::from(place), &mut text).ok()?.len();
                text.truncate(plain);
                Some(text)
            }
            Self::Secretbox(key) => {
                let (nonce, rest) = sealed.split_first_chunk::<BOX_NONCE>()?;
                let (tag, text) = rest.split_first_chunk::<TAG>()?;
                let mut text = text.to_owned();
                let computed = box_apply(key, nonce, &mut text, false);
                let difference = computed.iter().zip(tag).fold(0, |sum, (a, b)| sum | (a ^ b));
                (difference == 0).then_some(text)
            }
        }
    }
}

/// Encrypts or decrypts in place; the tag of the encrypted text.
fn box_apply(key: &[u8; 32], nonce: &[u8; BOX_NONCE], text: &mut [u8], encrypts: bool) -> [u8; TAG] {
    let mut stream = XSalsa20::new(key.into(), nonce.into());
    let mut tag_key = [0; 32];
    stream.apply_keystream(&mut tag_key);
    let mac = Poly1305::new((&tag_key).into());
    if encrypts {
        stream.apply_keystream(text);
        mac.compute_unpadded(text).into()
    } else {
        let tag = mac.compute_unpadded(text).into();
        stream.apply_keystream(text);
        tag
    }
}

fn cbc_encrypt(key: &[u8], start: &[u8; CBC_START], plain: &[u8]) -> Vec<u8> {
    const WHY: &str = "the key's length was checked";
    match key.len() {
        16 => cbc::Encryptor::<Aes128>::new_from_slices(key, start).expect(WHY).encrypt_padded_vec::<Pkcs7>(plain),
        24 => cbc::Encryptor::<Aes192>::new_from_slices(key, start).expect(WHY).encrypt_padded_vec::<Pkcs7>(plain),
        _ => cbc::Encryptor::<Aes256>::new_from_slices(key, start).expect(WHY).encrypt_padded_vec::<Pkcs7>(plain),
    }
}

fn cbc_decrypt(key: &[u8], start: &[u8; CBC_START], text: &[u8]) -> Option<Vec<u8>> {
    match key.len() {
        16 => cbc::Decryptor::<Aes128>::new_from_slices(key, start).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
        24 => cbc::Decryptor::<Aes192>::new_from_slices(key, start).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
        _ => cbc::Decryptor::<Aes256>::new_from_slices(key, start).ok()?.decrypt_padded_vec::<Pkcs7>(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_was_changed_does_not() {
        let key: Vec<u8> = (0..32).collect();
        for (kind, sizes) in [(Kind::AesCbc, &[16, 24, 32][..]), (Kind::AesGcm, &[16, 32]), (Kind::Secretbox, &[32])] {
            for size in sizes {
                let cipher = Cipher::new(kind, &key[..*size]).unwrap();
                for length in [0, 1, 15, 16, 63, 64, 1000] {
                    let plain = vec![7; length];
                    let mut sealed = Vec::new();
                    cipher.seal(b"/a", &plain, &mut sealed);
                    assert_eq!(cipher.open(b"/a", &sealed), Some(plain), "{kind:?} {size} {length}");
                    if kind != Kind::AesCbc {
                        let last = sealed.len() - 1;
                        sealed[last] ^= 1;
                        assert_eq!(cipher.open(b"/a", &sealed), None);
                    }
                }
                assert_eq!(cipher.open(b"/a", b"short"), None);
            }
        }
        let mut sealed = Vec::new();
        let cipher = Cipher::new(Kind::AesGcm, &key).unwrap();
        cipher.seal(b"/a", b"text", &mut sealed);
        assert_eq!(cipher.open(b"/b", &sealed), None, "moved elsewhere");
    }

    /// The example of NaCl's own tests ("crypto_secretbox", `box` of 131 bytes), cut to its first bytes.
    #[test]
    fn secretbox_is_nacls() {
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        let key: [u8; 32] = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389").try_into().unwrap();
        let nonce: [u8; 24] = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37").try_into().unwrap();
        let mut text = hex(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705",
        );
        let tag = box_apply(&key, &nonce, &mut text, true);
        assert_eq!(tag.to_vec(), hex("f3ffc7703f9400e52a7dfb4b3d3305d9"));
        assert_eq!(text[..16].to_vec(), hex("8e993b9f48681273c29650ba32fc76ce"));
    }
}
