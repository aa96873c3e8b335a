//! Installs the definition of Application, and the namespace Applications live in.

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::application::{MANAGER, NAMESPACE};

const DEFINITION: &str = include_str!("../crd/application.yaml");
/// The API serves a new kind within moments; longer than this means something is wrong.
const ESTABLISHED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

pub(crate) fn definition() -> Value {
    coracle_yaml::parse_one(DEFINITION, coracle_yaml::FileId::default())
        .expect("the definition is part of the program and tested")
        .to_json()
}

/// Applies both and waits until Applications are served.
pub async fn install(client: &kube::Client) -> Result<(), kube::Error> {
    let parameters = PatchParams::apply(MANAGER).force();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    namespaces.patch(NAMESPACE, &parameters, &Patch::Apply(&namespace)).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.patch("applications.argoproj.io", &parameters, &Patch::Apply(&definition())).await?;
    let applications: Api<crate::application::Application> = Api::namespaced(client.clone(), NAMESPACE);
    let served = async {
        while let Err(error) = applications.list(&Default::default()).await {
            tracing::debug!(%error, "applications are not served yet");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if tokio::time::timeout(ESTABLISHED_WITHIN, served).await.is_err() {
        applications.list(&Default::default()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_definition_is_one() {
        let definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
            serde_json::from_value(super::definition()).unwrap();
        assert_eq!(definition.spec.names.kind, "Application");
    }
}
