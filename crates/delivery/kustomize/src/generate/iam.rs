//! `IAMPolicyGenerator`: a service account that stands for one of a cloud.

use coracle_yaml::{Mark, Node};

use crate::resource::Resource;

#[derive(Debug, Default)]
pub(crate) struct Policy {
    pub mark: Mark,
    pub name: String,
    pub namespace: String,
    pub cloud_account: String,
    pub project: String,
}

impl Policy {
    pub(super) fn account(&self) -> Resource {
        let mut node = Node::mapping().at(self.mark);
        let root = node.as_mapping_mut().expect("just made as one");
        root.insert("apiVersion", Node::string("v1"));
        root.insert("kind", Node::string("ServiceAccount"));
        let mut resource = Resource::new(node);
        let account = format!("{}@{}.iam.gserviceaccount.com", self.cloud_account, self.project);
        resource.annotate("iam.gke.io/gcp-service-account", &account);
        resource.set_name(&self.name);
        resource.set_namespace(&self.namespace);
        resource
    }
}
