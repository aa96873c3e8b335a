//! What kinds the API has now.

use kube::{
    Client, Discovery,
    core::ApiResource,
    discovery::{ApiCapabilities, Scope},
};

/// A kind, in the version its group recommends.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    capabilities: ApiCapabilities,
}

impl Kind {
    pub(crate) fn supports(&self, verb: &str) -> bool {
        self.capabilities.supports_operation(verb)
    }

    /// As messages call it: `deployments.apps`, `pods.`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}.{}", self.resource.plural, self.resource.group)
    }
}

/// All kinds.
pub(crate) async fn kinds(client: &Client) -> kube::Result<Vec<Kind>> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // Older servers only tell group by group.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let kind = |(resource, capabilities): (ApiResource, ApiCapabilities)| Kind {
        resource,
        namespaced: capabilities.scope == Scope::Namespaced,
        capabilities,
    };
    Ok(discovery.groups().flat_map(|group| group.recommended_resources()).map(kind).collect())
}
