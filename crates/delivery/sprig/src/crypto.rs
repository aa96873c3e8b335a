//! Hashes, passwords, encryption; keys and certificates are in the rooms below.

mod certificate;
mod der;
mod key;
mod password;
mod pem;

use aes::cipher::{
    BlockModeDecrypt, BlockModeEncrypt, KeyIvInit,
    block_padding::{NoPadding, Pkcs7},
};
use coracle_gotemplate::{Call, Context, Function, Type, Value};
use ring::digest;

use crate::{
    args::{Result, bytes, fail, int, text},
    encoding::BASE64,
};

const S: Type = Type::String;
const I: Type = Type::Int;
const L: Type = Type::List;
const CERTIFICATE: Type = Type::Object(certificate::TYPE_NAME);

pub(crate) const TABLE: &[Function] = &[
    Function::new("sha1sum", &[S], |_, a| Ok(hash(&digest::SHA1_FOR_LEGACY_USE_ONLY, &a[0]))),
    Function::new("sha256sum", &[S], |_, a| Ok(hash(&digest::SHA256, &a[0]))),
    Function::new("sha512sum", &[S], |_, a| Ok(hash(&digest::SHA512, &a[0]))),
    Function::new("adler32sum", &[S], |_, a| Ok(adler2::adler32_slice(bytes(&a[0])).to_string().into())),
    Function::new("bcrypt", &[S], |context, a| Ok(bcrypt(context, bytes(&a[0])).into())),
    Function::new("htpasswd", &[S, S], |context, a| {
        let user = text(&a[0]);
        if user.contains(':') {
            return Ok(format!("invalid username: {user}").into());
        }
        Ok(format!("{user}:{}", bcrypt(context, bytes(&a[1]))).into())
    }),
    Function::new("derivePassword", &[I, S, S, S, S], |_, a| {
        Ok(password::derive(int(&a[0]), &text(&a[1]), bytes(&a[2]), bytes(&a[3]), bytes(&a[4])).into())
    }),
    Function::new("encryptAES", &[S, S], |context, a| Ok(encrypt(context, bytes(&a[0]), bytes(&a[1])))),
    Function::new("decryptAES", &[S, S], |_, a| decrypt(bytes(&a[0]), bytes(&a[1]))),
    Function::new("genPrivateKey", &[S], |context, a| Ok(key::generate(context, &text(&a[0])).into())),
    Function::new("buildCustomCert", &[S, S], |_, a| certificate::custom(&text(&a[0]), &text(&a[1]))),
    Function::new("genCA", &[S, I], GEN_CA),
    Function::new("genCAWithKey", &[S, I, S], GEN_CA),
    Function::new("genSelfSignedCert", &[S, L, L, I], GEN_SELF_SIGNED),
    Function::new("genSelfSignedCertWithKey", &[S, L, L, I, S], GEN_SELF_SIGNED),
    Function::new("genSignedCert", &[S, L, L, I, CERTIFICATE], GEN_SIGNED),
    Function::new("genSignedCertWithKey", &[S, L, L, I, CERTIFICATE, S], GEN_SIGNED),
];

const GEN_CA: Call = |context, a| certificate::authority(context, &text(&a[0]), int(&a[1]), a.get(2));
const GEN_SELF_SIGNED: Call = |context, a| {
    let wanted = certificate::Wanted::read(a)?;
    certificate::self_signed(context, &wanted, a.get(4))
};
const GEN_SIGNED: Call = |context, a| {
    let wanted = certificate::Wanted::read(a)?;
    certificate::signed(context, &wanted, &a[4], a.get(5))
};

fn hash(algorithm: &'static digest::Algorithm, value: &Value) -> Value {
    let hash = digest::digest(algorithm, bytes(value));
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// The cost Go's library takes when asked for none.
const BCRYPT_COST: u32 = 10;
const LONGEST_BCRYPT_BYTES: usize = 72;

fn bcrypt(context: &mut Context<'_>, password: &[u8]) -> String {
    if password.len() > LONGEST_BCRYPT_BYTES {
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes".to_owned();
    }
    let mut salt = [0; 16];
    context.host.random(&mut salt);
    match ::bcrypt::hash_with_salt(password, BCRYPT_COST, salt) {
        Ok(parts) => parts.format_for_version(::bcrypt::Version::TwoA),
        Err(error) => format!("failed to encrypt string with bcrypt: {error}"),
    }
}

const BLOCK: usize = 16;

/// A key from a password: its first bytes, filled up with zeros.
fn aes_key(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let length = password.len().min(key.len());
    key[..length].copy_from_slice(&password[..length]);
    key
}

fn encrypt(context: &mut Context<'_>, password: &[u8], plain: &[u8]) -> Value {
    if plain.is_empty() {
        return "".into();
    }
    let mut start = [0; BLOCK];
    context.host.random(&mut start);
    let cipher = cbc::Encryptor::<aes::Aes256>::new(&aes_key(password).into(), &start.into());
    let secret = cipher.encrypt_padded_vec::<Pkcs7>(plain);
    BASE64.encode(&[&start[..], &secret].concat()).into()
}

fn decrypt(password: &[u8], encoded: &[u8]) -> Result {
    if encoded.is_empty() {
        return Ok("".into());
    }
    let secret = BASE64.decode(encoded)?;
    let Some((start, body)) = secret.split_first_chunk::<BLOCK>() else {
        return fail(format!(
            "runtime error: slice bounds out of range [:{BLOCK}] with capacity {}",
            encoded.len() / 4 * 3
        ));
    };
    if !body.len().is_multiple_of(BLOCK) {
        return fail("crypto/cipher: input not full blocks");
    }
    let cipher = cbc::Decryptor::<aes::Aes256>::new(&aes_key(password).into(), &(*start).into());
    let Ok(plain) = cipher.decrypt_padded_vec::<NoPadding>(body) else {
        return fail("crypto/cipher: input not full blocks");
    };
    let Some(padding) = plain.last() else {
        return fail("runtime error: index out of range [-1]");
    };
    match plain.len().checked_sub(usize::from(*padding)) {
        Some(length) => Ok(Value::string_from_bytes(plain[..length].to_vec())),
        None => {
            fail(format!("runtime error: slice bounds out of range [:{}]", plain.len() as i64 - i64::from(*padding)))
        }
    }
}
