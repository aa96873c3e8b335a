//! What a pod refers to by name, and those objects once they are fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1 as core;

use super::ConfigError;

/// The names a pod refers to, all in its own namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
}

/// Everything the pod's environment and volumes may take from ConfigMaps and Secrets.
pub fn references(pod: &core::Pod) -> References {
    let mut found = References::default();
    let Some(spec) = &pod.spec else { return found };
    let inits = spec.init_containers.iter().flatten();
    for container in inits.chain(&spec.containers) {
        found.environment(container.env.as_deref(), container.env_from.as_deref());
    }
    for container in spec.ephemeral_containers.iter().flatten() {
        found.environment(container.env.as_deref(), container.env_from.as_deref());
    }
    for volume in spec.volumes.iter().flatten() {
        found.volume(volume);
    }
    found
}

impl References {
    fn environment(&mut self, env: Option<&[core::EnvVar]>, env_from: Option<&[core::EnvFromSource]>) {
        for source in env.into_iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            self.config_maps.extend(source.config_map_key_ref.as_ref().map(|key| key.name.clone()));
            self.secrets.extend(source.secret_key_ref.as_ref().map(|key| key.name.clone()));
        }
        for source in env_from.into_iter().flatten() {
            self.config_maps.extend(source.config_map_ref.as_ref().map(|source| source.name.clone()));
            self.secrets.extend(source.secret_ref.as_ref().map(|source| source.name.clone()));
        }
    }

    fn volume(&mut self, volume: &core::Volume) {
        self.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        self.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        let projections = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        for projection in projections {
            self.config_maps.extend(projection.config_map.as_ref().map(|source| source.name.clone()));
            self.secrets.extend(projection.secret.as_ref().map(|source| source.name.clone()));
        }
    }
}

/// The objects themselves. What is not in here does not exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub namespace: String,
    pub config_maps: BTreeMap<String, Arc<core::ConfigMap>>,
    pub secrets: BTreeMap<String, Arc<core::Secret>>,
    /// Services of the pod's namespace and of `default`, for the environment.
    pub services: Vec<Arc<core::Service>>,
}

impl Sources {
    /// A ConfigMap; `None` where it may be absent and is.
    pub fn config_map(&self, name: &str, optional: bool) -> Result<Option<&core::ConfigMap>, ConfigError> {
        match self.config_maps.get(name) {
            Some(found) => Ok(Some(found)),
            None if optional => Ok(None),
            None => Err(ConfigError::NoConfigMap(name.to_owned())),
        }
    }

    /// A Secret; `None` where it may be absent and is.
    pub fn secret(&self, name: &str, optional: bool) -> Result<Option<&core::Secret>, ConfigError> {
        match self.secrets.get(name) {
            Some(found) => Ok(Some(found)),
            None if optional => Ok(None),
            None => Err(ConfigError::NoSecret(name.to_owned())),
        }
    }

    /// The error for a key that is not there.
    pub fn no_key(&self, kind: &'static str, name: &str, key: &str) -> ConfigError {
        ConfigError::NoKey { kind, namespace: self.namespace.clone(), name: name.to_owned(), key: key.to_owned() }
    }
}

/// A ConfigMap's value, text or bytes.
pub fn config_map_bytes(config_map: &core::ConfigMap, key: &str) -> Option<Vec<u8>> {
    let text = config_map.data.as_ref().and_then(|data| data.get(key)).map(|text| text.clone().into_bytes());
    text.or_else(|| config_map.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.clone()))
}

/// All keys of a ConfigMap.
pub fn config_map_keys(config_map: &core::ConfigMap) -> impl Iterator<Item = &String> {
    config_map.data.iter().flat_map(BTreeMap::keys).chain(config_map.binary_data.iter().flat_map(BTreeMap::keys))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::references;

    #[test]
    fn names_are_found_wherever_they_stand() {
        let pod = serde_json::from_str(
            r#"{"spec":{"initContainers":[{"name":"i","envFrom":[{"configMapRef":{"name":"c1"}},{"secretRef":{"name":"s1"}}]}],
            "containers":[{"name":"a","env":[{"name":"X","valueFrom":{"configMapKeyRef":{"name":"c2","key":"k"}}},
            {"name":"Y","valueFrom":{"secretKeyRef":{"name":"s2","key":"k"}}}]}],
            "volumes":[{"name":"v","configMap":{"name":"c3"}},{"name":"w","secret":{"secretName":"s3"}},
            {"name":"p","projected":{"sources":[{"configMap":{"name":"c4"}},{"secret":{"name":"s4"}}]}}]}}"#,
        )
        .expect("a pod");
        expect![[r#"References { config_maps: {"c1", "c2", "c3", "c4"}, secrets: {"s1", "s2", "s3", "s4"} }"#]]
            .assert_eq(&format!("{:?}", references(&pod)));
    }
}
