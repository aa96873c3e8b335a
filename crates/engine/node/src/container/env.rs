//! A container's environment: services, envFrom, env, with `$(NAME)` expanded as the variables come. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;

use super::{
    ConfigError, Sources,
    downward::{self, Facts},
    expand::expand,
    service_env,
    sources::{config_map_bytes, config_map_keys},
};

/// The variables of `container`, in order, each once.
pub fn environment(
    pod: &core::Pod,
    container: &core::Container,
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, ConfigError> {
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links) != Some(false);
    let services = service_env::variables(&sources.services, &sources.namespace, links);
    let mut environment = Environment::default();
    for source in container.env_from.iter().flatten() {
        environment.take_all(source, sources)?;
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            Some(from) if variable.value.as_deref().unwrap_or_default().is_empty() => {
                value_from(pod, container, from, sources, facts)?
            }
            _ => {
                let text = variable.value.as_deref().unwrap_or_default();
                Some(expand(text, |name| environment.get(name).or_else(|| services.get(name).cloned())))
            }
        };
        if let Some(value) = value {
            environment.set(&variable.name, value);
        }
    }
    for (name, value) in services {
        if environment.get(&name).is_none() {
            environment.set(&name, value);
        }
    }
    Ok(environment.0)
}

/// Variables in the order in which they were first set.
#[derive(Default)]
struct Environment(Vec<(String, String)>);

impl Environment {
    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(found, _)| found == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn take_all(&mut self, source: &core::EnvFromSource, sources: &Sources) -> Result<(), ConfigError> {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let mut values = BTreeMap::new();
        if let Some(from) = &source.config_map_ref
            && let Some(config_map) = sources.config_map(&from.name, from.optional.unwrap_or_default())?
        {
            values.extend(
                config_map_keys(config_map).filter_map(|key| Some((key.clone(), config_map_bytes(config_map, key)?))),
            );
        }
        if let Some(from) = &source.secret_ref
            && let Some(secret) = sources.secret(&from.name, from.optional.unwrap_or_default())?
        {
            values.extend(secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())));
        }
        for (key, bytes) in values {
            let name = format!("{prefix}{key}");
            if is_variable_name(&name) {
                self.set(&name, String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        Ok(())
    }
}

/// Printable ASCII without `=`, as Kubernetes takes it today.
fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

fn value_from(
    pod: &core::Pod,
    container: &core::Container,
    from: &core::EnvVarSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, ConfigError> {
    if let Some(selector) = &from.field_ref {
        return downward::field(pod, facts, &selector.field_path).map(Some);
    }
    if let Some(selector) = &from.resource_field_ref {
        return downward::resource(pod, facts, selector, &container.name).map(Some);
    }
    let (found, optional, missing) = if let Some(selector) = &from.config_map_key_ref {
        let optional = selector.optional.unwrap_or_default();
        let config_map = sources.config_map(&selector.name, optional)?;
        let bytes = config_map.and_then(|config_map| config_map_bytes(config_map, &selector.key));
        (bytes, optional, sources.no_key("ConfigMap", &selector.name, &selector.key))
    } else if let Some(selector) = &from.secret_key_ref {
        let optional = selector.optional.unwrap_or_default();
        let secret = sources.secret(&selector.name, optional)?;
        let bytes = secret.and_then(|secret| secret.data.as_ref()?.get(&selector.key)).map(|bytes| bytes.0.clone());
        (bytes, optional, sources.no_key("Secret", &selector.name, &selector.key))
    } else {
        return Ok(None);
    };
    match found {
        Some(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        None if optional => Ok(None),
        None => Err(missing),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::environment;
    use crate::container::{Sources, downward::Facts};

    fn check(container: Value, expected: Expect) {
        let pod = json!({ "metadata": { "name": "web" }, "spec": { "enableServiceLinks": false, "containers": [container] } });
        let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(pod).expect("a pod");
        let config = json!({ "data": { "COLOR": "blue", "bad=name": "x" }, "binaryData": { "BIN": "aGk=" } });
        let secret = json!({ "data": { "password": "c2VjcmV0" } });
        let sources = Sources {
            namespace: "shop".into(),
            config_maps: [("config".to_owned(), Arc::new(serde_json::from_value(config).expect("a ConfigMap")))].into(),
            secrets: [("secret".to_owned(), Arc::new(serde_json::from_value(secret).expect("a Secret")))].into(),
            services: Vec::new(),
        };
        let container = &pod.spec.as_ref().expect("a spec").containers[0];
        let shown = match environment(&pod, container, &sources, &Facts::default()) {
            Ok(variables) => variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn later_ones_win_and_see_earlier_ones() {
        check(
            json!({ "name": "a",
                "envFrom": [{ "configMapRef": { "name": "config" } }, { "prefix": "S_", "secretRef": { "name": "secret" } }],
                "env": [
                    { "name": "NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
                    { "name": "COLOR", "value": "dark-$(COLOR)" },
                    { "name": "URL", "value": "http://$(NAME)/$(LATER)" },
                    { "name": "LATER", "value": "x" },
                    { "name": "PASS", "valueFrom": { "secretKeyRef": { "name": "secret", "key": "password" } } },
                    { "name": "NONE", "valueFrom": { "configMapKeyRef": { "name": "absent", "key": "k", "optional": true } } },
                ] }),
            expect![[r#"
                BIN=hi
                COLOR=dark-blue
                S_password=secret
                NAME=web
                URL=http://web/$(LATER)
                LATER=x
                PASS=secret
            "#]],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let from = |from: Value| json!({ "name": "a", "env": [{ "name": "X", "valueFrom": from }] });
        check(
            from(json!({ "configMapKeyRef": { "name": "absent", "key": "k" } })),
            expect![[r#"configmap "absent" not found"#]],
        );
        check(
            from(json!({ "secretKeyRef": { "name": "secret", "key": "k" } })),
            expect!["couldn't find key k in Secret shop/secret"],
        );
        check(
            json!({ "name": "a", "envFrom": [{ "secretRef": { "name": "absent" } }] }),
            expect![[r#"secret "absent" not found"#]],
        );
    }
}
