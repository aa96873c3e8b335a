//! Having the image a container names: by policy, with the credentials of its pod.

use std::time::Instant;

use base64::Engine;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1 as core;
use serde::Deserialize;

use crate::{
    context::Context,
    doors::{Credential, ImageInfo},
};

/// The waiting reason and its message.
pub type ImageFailure = (&'static str, String);

/// Has the image, pulled where the policy wants it. Tells its events itself.
pub async fn ensure(
    context: &Context,
    pod: &core::Pod,
    container: &core::Container,
) -> Result<ImageInfo, ImageFailure> {
    let image = container.image.as_deref().unwrap_or_default();
    let name = Some(container.name.as_str());
    let present = context.runtime.find_image(image).map_err(|error| {
        let message = format!("Failed to apply default image tag {image:?}: {error}");
        context.warn(pod, name, "InspectFailed", message.clone());
        context.warn(pod, name, "Failed", "Error: InvalidImageName".to_owned());
        ("InvalidImageName", message)
    })?;
    match (policy(container), present) {
        ("Never", None) => {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            context.warn(pod, name, "ErrImageNeverPull", message.clone());
            context.warn(pod, name, "Failed", "Error: ErrImageNeverPull".to_owned());
            Err(("ErrImageNeverPull", message))
        }
        ("Never" | "IfNotPresent", Some(found)) => {
            let message =
                format!("Container image {image:?} already present on machine and can be accessed by the pod");
            context.inform(pod, name, "Pulled", message);
            Ok(found)
        }
        _ => pull(context, pod, container, image).await,
    }
}

/// The policy of the container, or the one its tag implies.
fn policy(container: &core::Container) -> &str {
    let image = container.image.as_deref().unwrap_or_default();
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    let latest = !image.contains('@') && tag.is_none_or(|tag| tag == "latest");
    let implied = if latest { "Always" } else { "IfNotPresent" };
    container.image_pull_policy.as_deref().filter(|policy| !policy.is_empty()).unwrap_or(implied)
}

async fn pull(
    context: &Context,
    pod: &core::Pod,
    container: &core::Container,
    image: &str,
) -> Result<ImageInfo, ImageFailure> {
    let name = Some(container.name.as_str());
    context.inform(pod, name, "Pulling", format!("Pulling image {image:?}"));
    let started = Instant::now();
    let credentials = credentials(context, pod).await;
    match context.runtime.pull(image, credentials).await {
        Ok(found) => {
            let took = shown_duration(started.elapsed());
            let size = found.size_bytes;
            let message = format!(
                "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
            );
            context.inform(pod, name, "Pulled", message);
            Ok(found)
        }
        Err(error) => {
            context.warn(pod, name, "Failed", format!("Failed to pull image {image:?}: {error}"));
            context.warn(pod, name, "Failed", "Error: ErrImagePull".to_owned());
            Err(("ErrImagePull", error))
        }
    }
}

/// To the millisecond, as Go would print it.
fn shown_duration(elapsed: std::time::Duration) -> String {
    let elapsed = SignedDuration::try_from(elapsed).unwrap_or(SignedDuration::MAX);
    if elapsed.as_secs() == 0 {
        format!("{}ms", elapsed.as_millis())
    } else {
        format!("{}s", elapsed.as_millis() as f64 / 1000.0)
    }
}

/// The names and passwords of the pod's `imagePullSecrets`.
async fn credentials(context: &Context, pod: &core::Pod) -> Vec<Credential> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for reference in pod.spec.iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten()) {
        match context.api.secret(namespace, &reference.name).await {
            Ok(Some(secret)) => found.extend(of_secret(&secret)),
            _ => missing.push(reference.name.clone()),
        }
    }
    if !missing.is_empty() {
        let message = format!(
            "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
            missing.join(", ")
        );
        context.warn(pod, None, "FailedToRetrieveImagePullSecret", message);
    }
    found
}

#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerAuth {
    username: String,
    password: String,
    auth: String,
}

/// What a secret of type `kubernetes.io/dockerconfigjson` (or its older form) holds.
fn of_secret(secret: &core::Secret) -> Vec<Credential> {
    let bytes = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
    let auths = match (bytes(".dockerconfigjson"), bytes(".dockercfg")) {
        (Some(bytes), _) => serde_json::from_slice::<DockerConfig>(bytes).unwrap_or_default().auths,
        (None, Some(bytes)) => serde_json::from_slice(bytes).unwrap_or_default(),
        (None, None) => return Vec::new(),
    };
    auths.into_iter().map(|(registry, auth)| credential(registry, auth)).collect()
}

fn credential(registry: String, auth: DockerAuth) -> Credential {
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(&auth.auth)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let (username, password) = match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((username, password)) if auth.username.is_empty() => (username.to_owned(), password.to_owned()),
        _ => (auth.username, auth.password),
    };
    Credential { registry, username, password }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as core;

    use super::{of_secret, policy};

    #[test]
    fn the_tag_implies_the_policy() {
        let policy = |image: &str| {
            let container = core::Container { image: Some(image.to_owned()), ..core::Container::default() };
            policy(&container).to_owned()
        };
        assert_eq!(policy("web"), "Always");
        assert_eq!(policy("host:5000/web"), "Always");
        assert_eq!(policy("host:5000/web:latest"), "Always");
        assert_eq!(policy("web:1"), "IfNotPresent");
        assert_eq!(policy("host:5000/web@sha256:aa"), "IfNotPresent");
    }

    #[test]
    fn pull_secrets_of_both_shapes() {
        let secret: core::Secret = serde_json::from_value(serde_json::json!({ "data": {
            // {"auths":{"r.example":{"auth":"dTpw"},"s.example":{"username":"a","password":"b"}}}
            ".dockerconfigjson": "eyJhdXRocyI6eyJyLmV4YW1wbGUiOnsiYXV0aCI6ImRUcHcifSwicy5leGFtcGxlIjp7InVzZXJuYW1lIjoiYSIsInBhc3N3b3JkIjoiYiJ9fX0=",
        } }))
        .expect("a secret");
        let found: Vec<_> =
            of_secret(&secret).into_iter().map(|c| format!("{} {} {}", c.registry, c.username, c.password)).collect();
        assert_eq!(found, ["r.example u p", "s.example a b"]);
        assert!(of_secret(&core::Secret::default()).is_empty());
    }
}
