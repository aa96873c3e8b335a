//! The configuration file: which resources, and which keys.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::cipher::{Cipher, Kind};

/// What is encrypted, and with what.
pub struct Keyring {
    rules: Vec<Rule>,
}

struct Rule {
    resources: Vec<String>,
    /// The first one writes, all of them read.
    providers: Vec<Provider>,
}

/// One way for a value to stand on the disk.
pub enum Provider {
    /// As it is.
    Identity,
    /// Encrypted with one key, behind a prefix that names it.
    Cipher {
        /// `k8s:enc:KIND:v1:NAME:`
        prefix: String,
        /// The key.
        cipher: Cipher,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    resources: Vec<ResourceRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceRule {
    resources: Vec<String>,
    providers: Vec<ProviderDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderDocument {
    aescbc: Option<Keys>,
    aesgcm: Option<Keys>,
    secretbox: Option<Keys>,
    identity: Option<serde_json::Value>,
    kms: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    secret: String,
}

impl Keyring {
    /// What an `EncryptionConfiguration` says.
    pub fn from_yaml(text: &str) -> Result<Self, String> {
        let document: Document = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if document.kind != "EncryptionConfiguration" || document.api_version != "apiserver.config.k8s.io/v1" {
            let Document { api_version, kind, .. } = document;
            return Err(format!("{api_version} {kind} is no EncryptionConfiguration of apiserver.config.k8s.io/v1"));
        }
        let mut rules = Vec::new();
        for ResourceRule { resources, providers } in document.resources {
            let mut read = Vec::new();
            for provider in providers {
                read.extend(provider.read()?);
            }
            if read.is_empty() {
                return Err("resources need at least one provider".to_owned());
            }
            rules.push(Rule { resources, providers: read });
        }
        Ok(Self { rules })
    }

    /// What values of a resource are written with; `None` where nothing is said of it.
    pub fn writer(&self, group: &str, resource: &str) -> Option<&Provider> {
        self.rules.iter().find(|rule| rule.is_about(group, resource))?.providers.first()
    }

    /// The name of the key they are written with.
    pub fn writing_key(&self, group: &str, resource: &str) -> Option<String> {
        match self.writer(group, resource)? {
            Provider::Identity => None,
            Provider::Cipher { prefix, .. } => prefix.split(':').nth(4).map(str::to_owned),
        }
    }

    /// All keys with their prefixes.
    pub fn ciphers(&self) -> impl Iterator<Item = (&str, &Cipher)> {
        self.rules.iter().flat_map(|rule| &rule.providers).filter_map(|provider| match provider {
            Provider::Identity => None,
            Provider::Cipher { prefix, cipher } => Some((prefix.as_str(), cipher)),
        })
    }

    /// The secretbox keys by name, in their order.
    pub fn secretbox_keys(&self) -> Vec<(String, [u8; 32])> {
        let named =
            |(prefix, cipher): (&str, &Cipher)| Some((prefix.split(':').nth(4)?.to_owned(), cipher.secretbox()?));
        self.ciphers().filter_map(named).collect()
    }
}

impl Rule {
    fn is_about(&self, group: &str, resource: &str) -> bool {
        let (own, all) = if group.is_empty() {
            (resource.to_owned(), "*.".to_owned())
        } else {
            (format!("{resource}.{group}"), format!("*.{group}"))
        };
        self.resources.iter().any(|named| *named == own || *named == all || named == "*.*")
    }
}

impl ProviderDocument {
    fn read(self) -> Result<Vec<Provider>, String> {
        if self.kms.is_some() {
            return Err("kms is not supported: use secretbox, aesgcm or aescbc".to_owned());
        }
        let kinds = [(self.aescbc, Kind::AesCbc), (self.aesgcm, Kind::AesGcm), (self.secretbox, Kind::Secretbox)];
        let mut providers = Vec::new();
        for (keys, kind) in kinds {
            for Key { name, secret } in keys.into_iter().flat_map(|keys| keys.keys) {
                if name.is_empty() || name.contains(':') {
                    return Err(format!("key name {name:?} must not be empty or contain ':'"));
                }
                let bytes = STANDARD.decode(secret.trim()).map_err(|_| format!("key {name:?} is not base64"))?;
                let cipher = Cipher::new(kind, &bytes).map_err(|problem| format!("key {name:?}: {problem}"))?;
                providers.push(Provider::Cipher { prefix: format!("k8s:enc:{}:v1:{name}:", kind.name()), cipher });
            }
        }
        if self.identity.is_some() {
            providers.push(Provider::Identity);
        }
        if providers.is_empty() {
            return Err("a provider needs aescbc, aesgcm, secretbox or identity, with at least one key".to_owned());
        }
        Ok(providers)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn keyring(resources: &str, providers: &str) -> Result<Keyring, String> {
        Keyring::from_yaml(&format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: {resources}\n  \
             providers: {providers}\n"
        ))
    }

    #[test]
    fn resources_are_named_one_by_one_or_by_group() {
        let check = |resources: &str, group: &str, resource: &str, is: bool| {
            let keyring =
                keyring(resources, &format!("[{{secretbox: {{keys: [{{name: a, secret: {KEY}}}]}}}}]")).unwrap();
            assert_eq!(keyring.writer(group, resource).is_some(), is, "{resources} {group} {resource}");
        };
        check("[secrets]", "", "secrets", true);
        check("[secrets]", "", "configmaps", false);
        check("[deployments.apps]", "apps", "deployments", true);
        check("['*.apps']", "apps", "deployments", true);
        check("['*.']", "", "configmaps", true);
        check("['*.']", "apps", "deployments", false);
        check("['*.*']", "apps", "deployments", true);
    }

    #[test]
    fn mistakes_are_told() {
        let check = |providers: &str, expected: Expect| {
            expected.assert_eq(&keyring("[secrets]", providers).err().unwrap_or_default());
        };
        check("[{kms: {name: a}}]", expect!["kms is not supported: use secretbox, aesgcm or aescbc"]);
        check("[]", expect!["resources need at least one provider"]);
        check(
            "[{secretbox: {keys: [{name: a, secret: AAAA}]}}]",
            expect![[r#"key "a": secretbox keys have 32 bytes, this one has 3"#]],
        );
        check(
            "[{aesgcm: {keys: [{name: 'a:b', secret: AAAA}]}}]",
            expect![[r#"key name "a:b" must not be empty or contain ':'"#]],
        );
        check(
            "[{secretbox: {keys: []}}]",
            expect!["a provider needs aescbc, aesgcm, secretbox or identity, with at least one key"],
        );
        check("[{identity: {}}]", expect![""]);
    }
}
