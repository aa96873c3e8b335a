//! Who may do what: the question, the answer, and the seam behind which it is decided.

pub mod default_roles;
pub mod rbac;

/// One request, as an authorizer sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: String,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// `get`, `list`, `create` …, or the HTTP method in lower case outside the resources.
    pub verb: String,
    /// The API group; empty is the core group.
    pub api_group: String,
    /// The resource's plural name.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty for all of them or none.
    pub namespace: String,
    /// The object's name, or empty.
    pub name: String,
    /// The URL's path.
    pub path: String,
    /// Whether this is about a resource rather than only a path.
    pub resource_request: bool,
}

/// What was decided, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may happen.
    pub allowed: bool,
    /// The reason, for people and for SubjectAccessReview; often empty when denied.
    pub reason: String,
}

impl Decision {
    /// It may.
    pub fn allow(reason: String) -> Self {
        Self { allowed: true, reason }
    }

    /// It may not.
    pub fn deny(reason: String) -> Self {
        Self { allowed: false, reason }
    }
}

/// Decides requests. Must be quick: it is asked on every one.
pub trait Authorizer: Send + Sync + 'static {
    /// Whether the request may go on.
    fn authorize(&self, asked: &Attributes) -> Decision;
}

/// Lets everybody do everything; for tests of other things.
#[derive(Debug, Clone, Copy)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn authorize(&self, _asked: &Attributes) -> Decision {
        Decision::allow(String::new())
    }
}
