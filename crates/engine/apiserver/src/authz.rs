//! Who may: the seam between a request and whatever decides about it.

pub mod default_roles;
mod node;
pub mod rbac;
mod stored;

pub use node::NodeOr;
pub use stored::StoredRbac;

use crate::{
    authn::{MASTERS, User},
    request::selector::{FieldSelector, LabelSelector},
};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Who, with their groups.
    pub user: &'a User,
    /// `get`, `list`, ...; the lower-case HTTP method for paths.
    pub verb: &'a str,
    /// API group, empty for core.
    pub api_group: &'a str,
    /// API version.
    pub api_version: &'a str,
    /// Plural.
    pub resource: &'a str,
    /// Subresource, or empty.
    pub subresource: &'a str,
    /// Namespace, or empty for the whole cluster.
    pub namespace: &'a str,
    /// Object name, or empty.
    pub name: &'a str,
    /// The path, for requests that are about no resource.
    pub path: &'a str,
    /// Whether it is about a resource.
    pub resource_request: bool,
    /// Which objects of a collection it is about.
    pub selectors: Selectors<'a>,
}

/// Which objects of a collection a request is about: all of them where there are no selectors, or none that can be read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selectors<'a> {
    /// By their fields.
    pub fields: Option<&'a FieldSelector>,
    /// By their labels.
    pub labels: Option<&'a LabelSelector>,
}

impl Attributes<'_> {
    /// The sentence upstream refuses with.
    pub fn denial(&self) -> String {
        let user = &self.user.name;
        if !self.resource_request {
            return format!("User {user:?} cannot {} path {:?}", self.verb, self.path);
        }
        let resource = match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        };
        let scope = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!("User {user:?} cannot {} resource {resource:?} in API group {:?} {scope}", self.verb, self.api_group)
    }
}

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// Why, for SubjectAccessReview.
        reason: String,
    },
    /// No, whatever others say.
    Deny {
        /// Why.
        reason: String,
    },
    /// Not for this authorizer to say; the same as no when nobody else says yes.
    NoOpinion {
        /// Why.
        reason: String,
    },
}

/// One rule of a SelfSubjectRulesReview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub api_groups: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
    /// Names; empty for all.
    pub resource_names: Vec<String>,
}

/// One rule about paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NonResourceRule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// Paths.
    pub paths: Vec<String>,
}

/// What a user may do in a namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// About resources.
    pub resource: Vec<ResourceRule>,
    /// About paths.
    pub non_resource: Vec<NonResourceRule>,
    /// Whether there may be more than these.
    pub incomplete: bool,
    /// What could not be found out.
    pub error: String,
}

/// Decides who may do what.
pub trait Authorizer: Send + Sync {
    /// Whether `attributes` are allowed.
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;

    /// What `user` may do in `namespace`.
    fn rules(&self, user: &User, namespace: &str) -> Rules;
}

/// Lets everybody do everything: for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _: &Attributes<'_>) -> Decision {
        Decision::Allow { reason: String::new() }
    }

    fn rules(&self, _: &User, _: &str) -> Rules {
        all_rules()
    }
}

/// Lets members of `system:masters` do everything, and asks `inner` about everybody else.
pub struct MastersOr<A>(pub A);

impl<A: Authorizer> Authorizer for MastersOr<A> {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.in_group(MASTERS) {
            return Decision::Allow { reason: String::new() };
        }
        self.0.authorize(attributes)
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        if user.in_group(MASTERS) { all_rules() } else { self.0.rules(user, namespace) }
    }
}

fn all_rules() -> Rules {
    let any = || vec!["*".to_owned()];
    Rules {
        resource: vec![ResourceRule { verbs: any(), api_groups: any(), resources: any(), resource_names: Vec::new() }],
        non_resource: vec![NonResourceRule { verbs: any(), paths: any() }],
        ..Rules::default()
    }
}
