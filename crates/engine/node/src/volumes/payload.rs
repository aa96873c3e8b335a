//! The files of configMap, secret, downwardAPI and projected volumes. Pure: objects in, bytes out.

use std::{collections::BTreeMap, path::Component};

use k8s_openapi::api::core::v1 as core;

use super::VolumeError;
use crate::container::{
    Sources,
    downward::{self, Facts},
    sources::{config_map_bytes, config_map_keys},
};

const DEFAULT_MODE: i32 = 0o644;

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// Files by their path in the volume.
pub type Payload = BTreeMap<String, File>;

/// Which token a projection asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenKey {
    pub audience: Option<String>,
    pub expiration_s: i64,
}

impl TokenKey {
    fn of(source: &core::ServiceAccountTokenProjection) -> Self {
        Self { audience: source.audience.clone(), expiration_s: source.expiration_seconds.unwrap_or(3600) }
    }
}

/// The tokens the volumes of a pod ask for.
pub fn tokens(spec: &core::PodSpec) -> Vec<TokenKey> {
    let projected = spec.volumes.iter().flatten().filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
    let mut keys: Vec<_> =
        sources.filter_map(|source| source.service_account_token.as_ref()).map(TokenKey::of).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What volumes are filled from.
pub struct Inputs<'a> {
    pub pod: &'a core::Pod,
    pub sources: &'a Sources,
    pub facts: &'a Facts,
    pub tokens: &'a BTreeMap<TokenKey, String>,
}

/// The files of a volume; `None` where the volume is not made of files from the API.
pub fn payload(volume: &core::Volume, inputs: &Inputs<'_>) -> Result<Option<Payload>, VolumeError> {
    let mut files = Payload::new();
    if let Some(source) = &volume.config_map {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        inputs.config_map(&mut files, &source.name, source.items.as_deref(), source.optional, mode)?;
    } else if let Some(source) = &volume.secret {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        inputs.secret(&mut files, name, source.items.as_deref(), source.optional, mode)?;
    } else if let Some(source) = &volume.downward_api {
        let mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        inputs.downward(&mut files, source.items.as_deref(), mode)?;
    } else if let Some(projected) = &volume.projected {
        let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in projected.sources.iter().flatten() {
            inputs.projection(&mut files, source, mode)?;
        }
    } else {
        return Ok(None);
    }
    Ok(Some(files))
}

impl Inputs<'_> {
    fn projection(&self, files: &mut Payload, source: &core::VolumeProjection, mode: i32) -> Result<(), VolumeError> {
        if let Some(source) = &source.config_map {
            self.config_map(files, &source.name, source.items.as_deref(), source.optional, mode)?;
        }
        if let Some(source) = &source.secret {
            self.secret(files, &source.name, source.items.as_deref(), source.optional, mode)?;
        }
        if let Some(source) = &source.downward_api {
            self.downward(files, source.items.as_deref(), mode)?;
        }
        if let Some(source) = &source.service_account_token {
            let token = self.tokens.get(&TokenKey::of(source));
            let token = token.ok_or_else(|| VolumeError::Token("not requested".into()))?;
            put(files, &source.path, token.clone().into_bytes(), mode)?;
        }
        if source.cluster_trust_bundle.is_some() {
            return Err(VolumeError::Unsupported("clusterTrustBundle"));
        }
        if source.pod_certificate.is_some() {
            return Err(VolumeError::Unsupported("podCertificate"));
        }
        Ok(())
    }

    fn config_map(
        &self,
        files: &mut Payload,
        name: &str,
        items: Option<&[core::KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<(), VolumeError> {
        let optional = optional.unwrap_or_default();
        let Some(config_map) = self.sources.config_map(name, optional)? else { return Ok(()) };
        let keys = config_map_keys(config_map).cloned().collect();
        put_keys(files, keys, items, optional, mode, |key| config_map_bytes(config_map, key))
    }

    fn secret(
        &self,
        files: &mut Payload,
        name: &str,
        items: Option<&[core::KeyToPath]>,
        optional: Option<bool>,
        mode: i32,
    ) -> Result<(), VolumeError> {
        let optional = optional.unwrap_or_default();
        let Some(secret) = self.sources.secret(name, optional)? else { return Ok(()) };
        let keys = secret.data.iter().flatten().map(|(key, _)| key.clone()).collect();
        put_keys(files, keys, items, optional, mode, |key| Some(secret.data.as_ref()?.get(key)?.0.clone()))
    }

    fn downward(
        &self,
        files: &mut Payload,
        items: Option<&[core::DownwardAPIVolumeFile]>,
        mode: i32,
    ) -> Result<(), VolumeError> {
        for item in items.unwrap_or_default() {
            let text = match (&item.field_ref, &item.resource_field_ref) {
                (Some(field), _) => downward::field(self.pod, self.facts, &field.field_path)?,
                (None, Some(resource)) => downward::resource(self.pod, self.facts, resource, "")?,
                (None, None) => continue,
            };
            put(files, &item.path, text.into_bytes(), item.mode.unwrap_or(mode))?;
        }
        Ok(())
    }
}

/// All keys by their own names, or the named ones where they are wanted.
fn put_keys(
    files: &mut Payload,
    keys: Vec<String>,
    items: Option<&[core::KeyToPath]>,
    optional: bool,
    mode: i32,
    bytes: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<(), VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        for key in keys {
            let content = bytes(&key).unwrap_or_default();
            put(files, &key, content, mode)?;
        }
        return Ok(());
    };
    for item in items {
        match bytes(&item.key) {
            Some(content) => put(files, &item.path, content, item.mode.unwrap_or(mode))?,
            None if optional => {}
            None => return Err(VolumeError::NoKey(item.key.clone())),
        }
    }
    Ok(())
}

fn put(files: &mut Payload, path: &str, bytes: Vec<u8>, mode: i32) -> Result<(), VolumeError> {
    let inside =
        std::path::Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || path.starts_with("..") || !inside {
        return Err(VolumeError::Path(path.to_owned()));
    }
    files.insert(path.to_owned(), File { bytes, mode: u32::try_from(mode).unwrap_or(0o644) & 0o777 });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::{Inputs, TokenKey, payload};
    use crate::container::{Sources, downward::Facts};

    fn check(volume: Value, expected: Expect) {
        let volume = serde_json::from_value(volume).expect("a volume");
        let pod = serde_json::from_value(json!({ "metadata": { "name": "web", "namespace": "shop" } })).expect("a pod");
        let config = json!({ "data": { "a": "1", "b": "2" } });
        let secret = json!({ "data": { "password": "c2VjcmV0" } });
        let sources = Sources {
            namespace: "shop".into(),
            config_maps: [("config".to_owned(), Arc::new(serde_json::from_value(config).expect("a ConfigMap")))].into(),
            secrets: [("secret".to_owned(), Arc::new(serde_json::from_value(secret).expect("a Secret")))].into(),
            services: Vec::new(),
        };
        let tokens: BTreeMap<_, _> = [(TokenKey { audience: None, expiration_s: 3607 }, "jwt".to_owned())].into();
        let inputs = Inputs { pod: &pod, sources: &sources, facts: &Facts::default(), tokens: &tokens };
        let shown = match payload(&volume, &inputs) {
            Ok(Some(files)) => files
                .iter()
                .map(|(path, file)| format!("{path} {:o} {}\n", file.mode, String::from_utf8_lossy(&file.bytes)))
                .collect(),
            Ok(None) => "not made of files".to_owned(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn config_maps_and_secrets() {
        check(
            json!({ "name": "v", "configMap": { "name": "config" } }),
            expect![[r#"
            a 644 1
            b 644 2
        "#]],
        );
        check(
            json!({ "name": "v", "configMap": { "name": "config", "defaultMode": 256,
                "items": [{ "key": "a", "path": "deep/er" }, { "key": "b", "path": "b", "mode": 511 }] } }),
            expect![[r#"
                b 777 2
                deep/er 400 1
            "#]],
        );
        check(
            json!({ "name": "v", "secret": { "secretName": "secret" } }),
            expect![[r#"
            password 644 secret
        "#]],
        );
        check(json!({ "name": "v", "secret": { "secretName": "absent", "optional": true } }), expect![[""]]);
        check(json!({ "name": "v", "emptyDir": {} }), expect!["not made of files"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let items = |item: Value| json!({ "name": "v", "configMap": { "name": "config", "items": [item] } });
        check(items(json!({ "key": "zz", "path": "x" })), expect!["references non-existent config key: zz"]);
        check(items(json!({ "key": "a", "path": "../x" })), expect![[r#""../x" is not a path inside the volume"#]]);
        check(json!({ "name": "v", "secret": { "secretName": "absent" } }), expect![[r#"secret "absent" not found"#]]);
    }

    #[test]
    fn the_volume_every_pod_has() {
        check(
            json!({ "name": "kube-api-access", "projected": { "defaultMode": 420, "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                { "configMap": { "name": "config", "items": [{ "key": "a", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "fieldPath": "metadata.namespace" } }] } },
            ] } }),
            expect![[r#"
                ca.crt 644 1
                namespace 644 shop
                token 644 jwt
            "#]],
        );
    }
}
