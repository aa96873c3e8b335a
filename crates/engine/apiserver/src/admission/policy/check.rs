//! What both kinds of policies do with a request: find the bindings that mean it, their parameters, and the objects in the
//! version the policy names.

use std::borrow::Cow;

use coracle_cel::Check;
use serde_json::Value;

use super::{authorizer::RequestAuthorizer, params, parse::Policy, scope::Subject};
use crate::{
    admission::{
        Attributes, Operation,
        webhook::{connect_options, convert, converts, review::describe},
    },
    object,
    registry::{Resource, Served},
    status::{Cause, Failure},
};

/// Why a policy refuses.
pub struct Denial {
    /// Under which binding; `None` where the policy itself is not in order.
    pub binding: Option<String>,
    /// In words.
    pub message: String,
    /// The reason of the Status; empty for upstream's default.
    pub reason: String,
}

/// One evaluation to be made.
pub struct Invocation {
    /// Under which of the policy's bindings.
    pub binding: usize,
    /// On which view.
    pub view: usize,
    /// With which parameters; null without.
    pub params: Value,
}

/// What a policy has to do with a request.
pub struct Found<'a> {
    /// The evaluations to be made.
    pub invocations: Vec<Invocation>,
    /// The request in the version the policy names.
    pub views: Vec<View<'a>>,
    /// What is wrong with the configuration, as refusals; none where the policy fails open.
    pub problems: Vec<Denial>,
}

/// A request as a policy's expressions see it.
pub struct View<'a> {
    /// The version.
    pub seen_as: &'a Resource,
    /// The object as it will be.
    pub object: Cow<'a, Value>,
    /// The object as it was.
    pub old: Cow<'a, Value>,
    /// What is asked.
    pub request: Value,
    /// The namespace; null for what is in none.
    pub namespace: Value,
}

impl<'a> View<'a> {
    /// The request in a version.
    pub async fn new(
        request: &Attributes<'a>,
        seen_as: &'a Resource,
        object: Option<&'a Value>,
    ) -> Result<Self, Failure> {
        let (mut object, mut old) = match request.operation {
            Operation::Connect => (Cow::Owned(connect_options(request)), Cow::Owned(Value::Null)),
            _ => (shown(object), shown(request.old)),
        };
        if converts(request, seen_as) {
            for shown in [&mut object, &mut old] {
                if !shown.is_null() {
                    let converted = convert(request.resource, seen_as, shown.clone().into_owned()).await?;
                    *shown = Cow::Owned(converted);
                }
            }
        }
        let kind = &request.resource.kind;
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        let namespace = match request.namespace {
            "" => Value::Null,
            _ if is_namespace => Value::Null,
            name => match request.server.store.get(&format!("/core/namespaces/{name}")) {
                Some(record) => object::decode(&record)?,
                None => Value::Null,
            },
        };
        Ok(Self { seen_as, object, old, request: describe(request, seen_as), namespace })
    }

    /// Calls `evaluate` with everything expressions may name.
    pub fn with_subject<T>(
        &self,
        request: &Attributes<'_>,
        params: &Value,
        evaluate: impl FnOnce(&Subject<'_>) -> T,
    ) -> T {
        let authorizer = RequestAuthorizer { server: request.server, user: request.user };
        let kind = &request.resource.kind;
        evaluate(&Subject {
            object: &self.object,
            old: &self.old,
            request: &self.request,
            namespace: &self.namespace,
            params,
            authorizer: &authorizer,
            resource: Check {
                group: kind.group.to_string(),
                resource: kind.plural.to_string(),
                subresource: request.subresource.to_owned(),
                namespace: request.namespace.to_owned(),
                name: request.name.to_owned(),
                ..Check::default()
            },
            namespace_type: &request.server.policies.namespace_type,
        })
    }
}

fn shown(object: Option<&Value>) -> Cow<'_, Value> {
    object.map_or(Cow::Owned(Value::Null), Cow::Borrowed)
}

/// The evaluations of a policy that a request asks for.
pub async fn invocations<'a>(
    request: &Attributes<'a>,
    policy: &Policy,
    object: Option<&'a Value>,
    served: &'a Served,
) -> Result<Found<'a>, Failure> {
    let mut found = Found { invocations: Vec::new(), views: Vec::new(), problems: Vec::new() };
    let problem = |binding: Option<&str>, message: &str| {
        let what = if binding.is_some() { "binding" } else { "policy" };
        let message = format!("failed to configure {what}: {message}");
        (!policy.ignores_failure).then(|| Denial {
            binding: binding.map(str::to_owned),
            message,
            reason: String::new(),
        })
    };
    let Some(matching) = &policy.matching else { return Ok(found) };
    let seen_as = match matching.meant(request, object, served) {
        Ok(Some(seen_as)) => seen_as,
        Ok(None) => return Ok(found),
        Err(failure) => {
            found.problems.extend(problem(None, &failure.message));
            return Ok(found);
        }
    };
    for (index, binding) in policy.bindings.iter().enumerate() {
        let meant = binding.matching.as_ref().map(|matching| matching.meant(request, object, served));
        match meant {
            Some(Ok(None)) => continue,
            Some(Err(failure)) => {
                found.problems.extend(problem(Some(&binding.name), &failure.message));
                continue;
            }
            Some(Ok(Some(_))) | None => {}
        }
        let params = match params::collect(request, policy.param_kind.as_ref(), &binding.param_ref).await {
            Ok(params) => params,
            Err(message) => {
                found.problems.extend(problem(Some(&binding.name), &message));
                continue;
            }
        };
        if found.views.is_empty() && !params.is_empty() {
            found.views.push(View::new(request, seen_as, object).await?);
        }
        found.invocations.extend(params.into_iter().map(|params| Invocation { binding: index, view: 0, params }));
    }
    Ok(found)
}

/// The refusal of a request by a policy.
pub fn refusal(request: &Attributes<'_>, denial: Denial) -> Failure {
    let reason = if denial.reason.is_empty() { "Invalid".to_owned() } else { denial.reason };
    let mut failure = request.forbidden(&denial.message);
    failure.code = match reason.as_str() {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    failure.reason = reason.into();
    let cause = Cause { reason: String::new(), message: denial.message, field: String::new() };
    failure.with_causes(vec![cause])
}
