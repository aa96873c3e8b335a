//! `drop` and `keep`.

use super::{ERROR_DETAILS_LABEL, ERROR_LABEL, LabelsBuilder, PRESERVE_ERROR_LABEL};
use crate::syntax::NamedMatcher;

pub(super) fn drop(named: &[NamedMatcher], labels: &mut LabelsBuilder) {
    for one in named {
        let (name, matcher) = match one {
            NamedMatcher::Name(name) => (name, None),
            NamedMatcher::Matcher(matcher) => (&matcher.name, Some(matcher)),
        };
        let value = match name.as_str() {
            ERROR_LABEL => labels.error(),
            ERROR_DETAILS_LABEL => labels.details(),
            name => labels.get(name).unwrap_or_default(),
        };
        if !matcher.is_none_or(|matcher| matcher.matches(value)) {
            continue;
        }
        match name.as_str() {
            ERROR_LABEL => labels.clear_error(),
            ERROR_DETAILS_LABEL => labels.clear_details(),
            name if matcher.is_some() || labels.get(name).is_some() => labels.delete(name),
            _ => {}
        }
    }
}

pub(super) fn keep(named: &[NamedMatcher], labels: &mut LabelsBuilder) {
    let mut gone = Vec::new();
    labels.visit(|_, name, value| {
        let special = matches!(name, ERROR_LABEL | ERROR_DETAILS_LABEL | PRESERVE_ERROR_LABEL);
        let kept = named.iter().any(|one| match one {
            NamedMatcher::Name(wanted) => wanted == name,
            NamedMatcher::Matcher(matcher) => matcher.name == name && matcher.matches(value),
        });
        if !special && !kept {
            gone.push(name.to_owned());
        }
    });
    gone.iter().for_each(|name| labels.delete(name));
}
