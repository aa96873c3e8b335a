//! Which requests a policy or a binding is about.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    admission::{
        Attributes,
        webhook::{
            has_labels, in_namespace,
            rules::{Asked, Rule},
        },
    },
    registry::{Resource, Served},
    request::selector::LabelSelector,
    status::Failure,
    subresource::selector_text,
};

/// `matchConstraints` or `matchResources`.
pub struct Matching {
    rules: Vec<NamedRule>,
    excluded: Vec<NamedRule>,
    equivalent: bool,
    namespaces: LabelSelector,
    objects: LabelSelector,
}

struct NamedRule {
    rule: Rule,
    names: Vec<String>,
}

impl Matching {
    /// Reads them as they are stored.
    pub fn parse(matching: &Value) -> Result<Self, Failure> {
        let rules = |field: &str| {
            matching[field]
                .as_array()
                .into_iter()
                .flatten()
                .map(|rule| NamedRule {
                    rule: Rule::parse(rule),
                    names: rule["resourceNames"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect(),
                })
                .collect()
        };
        let selector = |field: &str| LabelSelector::parse(&selector_text(&matching[field]));
        Ok(Self {
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            equivalent: matching["matchPolicy"] != "Exact",
            namespaces: selector("namespaceSelector")?,
            objects: selector("objectSelector")?,
        })
    }

    /// The version in which the request is meant, where it is; without rules every request is.
    pub fn meant<'a>(
        &self,
        request: &Attributes<'a>,
        object: Option<&Value>,
        served: &'a Served,
    ) -> Result<Option<&'a Resource>, Failure> {
        if self.version(&self.excluded, request, served).is_some() {
            return Ok(None);
        }
        let seen_as = match self.rules.is_empty() {
            true => Some(request.resource),
            false => self.version(&self.rules, request, served),
        };
        let Some(seen_as) = seen_as else { return Ok(None) };
        let either = [object, request.old];
        if !self.objects.is_empty() && !either.into_iter().flatten().any(|of| has_labels(&self.objects, of)) {
            return Ok(None);
        }
        Ok(in_namespace(request, &self.namespaces, object)?.then_some(seen_as))
    }

    fn version<'a>(&self, rules: &[NamedRule], request: &Attributes<'a>, served: &'a Served) -> Option<&'a Resource> {
        let meant = |resource: &Resource| {
            let kind = &*resource.kind;
            let asked = Asked {
                operation: request.operation,
                group: &kind.group,
                version: &kind.version,
                resource: &kind.plural,
                subresource: request.subresource,
                namespaced: kind.namespaced,
            };
            rules.iter().any(|rule| {
                let named = rule.names.is_empty() || rule.names.iter().any(|name| name == request.name);
                named && rule.rule.matches(&asked)
            })
        };
        if rules.is_empty() {
            return None;
        }
        if meant(request.resource) {
            return Some(request.resource);
        }
        let mut others = served.all.iter().map(Arc::as_ref);
        others.find(|other| self.equivalent && other.prefix == request.resource.prefix && meant(other))
    }
}
