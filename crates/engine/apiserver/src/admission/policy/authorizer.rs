//! The authorizer as expressions see it.

use std::fmt;

use coracle_cel::{Authorize, Check, Decided};

use crate::{
    authn::User,
    authz::{Attributes, Decision, Selectors},
    request::selector::{FieldSelector, LabelSelector},
    server::Inner,
};

/// Answers for the one who asks.
pub struct RequestAuthorizer<'a> {
    /// Who decides.
    pub server: &'a Inner,
    /// Who asks.
    pub user: &'a User,
}

impl fmt::Debug for RequestAuthorizer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestAuthorizer({})", self.user.name)
    }
}

impl Authorize for RequestAuthorizer<'_> {
    fn check(&self, check: &Check) -> Decided {
        let account = check.service_account.as_ref().map(|(namespace, name)| {
            let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
            User::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
        });
        // One that cannot be read narrows nothing.
        let fields = FieldSelector::parse(&check.field_selector).ok().filter(|selector| !selector.is_empty());
        let labels = LabelSelector::parse(&check.label_selector).ok().filter(|selector| !selector.is_empty());
        let attributes = Attributes {
            user: account.as_ref().unwrap_or(self.user),
            verb: &check.verb,
            api_group: &check.group,
            api_version: "*",
            resource: &check.resource,
            subresource: &check.subresource,
            namespace: &check.namespace,
            name: &check.name,
            path: check.path.as_deref().unwrap_or_default(),
            resource_request: check.path.is_none(),
            selectors: Selectors { fields: fields.as_ref(), labels: labels.as_ref() },
        };
        let (allowed, reason) = match self.server.authorizer.authorize(&attributes) {
            Decision::Allow { reason } => (true, reason),
            Decision::Deny { reason } | Decision::NoOpinion { reason } => (false, reason),
        };
        Decided { allowed, reason, error: None }
    }
}
