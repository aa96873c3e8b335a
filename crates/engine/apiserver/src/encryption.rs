//! What stands encrypted on the disk: secrets from the first start, and whatever else a file in the format of upstream's
//! `EncryptionConfiguration` names. The store seals entries with it on their way to the disk; in memory they are plain.
//!
//! The file that is made at the first start holds one secretbox key, readable by the owner only. Rotating writes a new key
//! before the others and everything anew with it; old keys stay in the file, since old backups need them.

mod cipher;
mod config;

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_clock::Clock;
use coracle_store::Sealer;
use serde_json::json;

use config::{Keyring, Provider};

/// Why there is no encryption.
#[derive(Debug, thiserror::Error)]
pub enum EncryptionError {
    /// The file cannot be read or written.
    #[error("encryption configuration {}: {cause}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The file says what cannot be.
    #[error("encryption configuration {}: {problem}", .path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What.
        problem: String,
    },
}

/// Encrypts by a configuration file.
pub struct Encryption {
    path: PathBuf,
    /// Whether the file is this server's to change.
    is_own: bool,
    clock: Arc<dyn Clock>,
    keyring: ArcSwap<Keyring>,
}

impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encryption({})", self.path.display())
    }
}

impl Encryption {
    /// Encrypts by somebody's file.
    pub fn load(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, EncryptionError> {
        let keyring = ArcSwap::from_pointee(read(path)?);
        Ok(Self { path: path.to_owned(), is_own: false, clock, keyring })
    }

    /// Encrypts secrets by a file of its own, which is made with a fresh key where it is not there.
    pub fn load_or_create(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, EncryptionError> {
        if !path.exists() {
            write(path, &[fresh_key(&*clock, &[])])?;
        }
        Ok(Self { is_own: true, ..Self::load(path, clock)? })
    }

    /// Takes up a fresh key, or what somebody's file says now; the name of the key that secrets are sealed with from here
    /// on. What stands on the disk already is not touched.
    pub fn rotate(&self) -> Result<String, EncryptionError> {
        if self.is_own {
            let mut keys = self.keyring.load().secretbox_keys();
            let names: Vec<String> = keys.iter().map(|(name, _)| name.clone()).collect();
            keys.insert(0, fresh_key(&*self.clock, &names));
            write(&self.path, &keys)?;
        }
        let keyring = read(&self.path)?;
        let name = keyring.writing_key("", "secrets").unwrap_or_default();
        self.keyring.store(Arc::new(keyring));
        Ok(name)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Sealer for Encryption {
    fn seal(&self, key: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let (group, resource) = resource_of(key)?;
        let keyring = self.keyring.load();
        match keyring.writer(group, resource)? {
            Provider::Identity => None,
            Provider::Cipher { prefix, cipher } => {
                let mut sealed = prefix.clone().into_bytes();
                cipher.seal(key.as_bytes(), plain, &mut sealed);
                Some(sealed)
            }
        }
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let keyring = self.keyring.load();
        // Several keys may have the same name, one after the other.
        let mut found = false;
        for (prefix, cipher) in keyring.ciphers() {
            let Some(rest) = sealed.strip_prefix(prefix.as_bytes()) else { continue };
            found = true;
            if let Some(plain) = cipher.open(key.as_bytes(), rest) {
                return Ok(plain);
            }
        }
        let name = sealed.split(|byte| *byte == b':').nth(4).map(String::from_utf8_lossy).unwrap_or_default();
        Err(match found {
            true => format!("the encryption key {name:?} is another one than it was sealed with, or it was changed"),
            false => format!("{} has no encryption key {name:?}", self.path.display()),
        })
    }
}

/// Group and resource of a store's key.
fn resource_of(key: &str) -> Option<(&str, &str)> {
    let mut parts = key.strip_prefix('/')?.split('/');
    let group = parts.next()?;
    Some((if group == "core" { "" } else { group }, parts.next()?))
}

fn read(path: &Path) -> Result<Keyring, EncryptionError> {
    let text = fs::read_to_string(path).map_err(|cause| EncryptionError::File { path: path.to_owned(), cause })?;
    Keyring::from_yaml(&text).map_err(|problem| EncryptionError::Wrong { path: path.to_owned(), problem })
}

/// A key, named by the day it was made.
fn fresh_key(clock: &dyn Clock, taken: &[String]) -> (String, [u8; 32]) {
    let day = clock.now().strftime("key-%Y-%m-%d").to_string();
    let free = |name: &String| !taken.contains(name);
    let name = (2..).map(|count| format!("{day}.{count}")).find(free).unwrap_or_default();
    (if free(&day) { day } else { name }, rand::random())
}

/// Writes the file so that it is there whole or not at all, for its owner only.
fn write(path: &Path, keys: &[(String, [u8; 32])]) -> Result<(), EncryptionError> {
    let keys: Vec<_> =
        keys.iter().map(|(name, secret)| json!({"name": name, "secret": STANDARD.encode(secret)})).collect();
    let document = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": keys}}, {"identity": {}}]}],
    });
    let text = serde_json::to_string_pretty(&document).unwrap_or_default();
    let temporary = path.with_extension("new");
    let put = || {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        // A key that secrets are sealed with must not be lost with the directory's last moments.
        path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    };
    put().map_err(|cause| EncryptionError::File { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use coracle_clock::SystemClock;

    use super::*;

    #[test]
    fn keys_are_rotated_and_old_ones_still_open() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("encryption.yaml");
        let encryption = Encryption::load_or_create(&path, Arc::new(SystemClock)).unwrap();
        let sealed = encryption.seal("/core/secrets/a/b", b"hush").unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"hush"));
        assert_eq!(encryption.seal("/core/configmaps/a/b", b"loud"), None);
        let name = encryption.rotate().unwrap();
        let fresh = encryption.seal("/core/secrets/a/b", b"hush").unwrap();
        assert!(
            fresh.starts_with(format!("k8s:enc:secretbox:v1:{name}:").as_bytes()) && !sealed.starts_with(&fresh[..40])
        );
        for again in [encryption, Encryption::load(&path, Arc::new(SystemClock)).unwrap()] {
            assert_eq!(again.open("/core/secrets/a/b", &sealed).unwrap(), b"hush");
            assert_eq!(again.open("/core/secrets/a/b", &fresh).unwrap(), b"hush");
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let other = Encryption::load_or_create(&home.path().join("other"), Arc::new(SystemClock)).unwrap();
        assert!(other.open("/core/secrets/a/b", &sealed).is_err());
    }
}
