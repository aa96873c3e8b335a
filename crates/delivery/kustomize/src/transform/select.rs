//! Which resources a patch's target means.

use coracle_yaml::Mark;
use regex::Regex;

use crate::kustomization::Selector;
use crate::resource::Resource;

/// A selector that does not parse.
pub(super) struct SelectError {
    pub mark: Mark,
    pub message: String,
}

pub(super) fn select(selector: &Selector, resources: &[Resource]) -> Result<Vec<usize>, SelectError> {
    let error = |message: String| SelectError { mark: selector.mark, message };
    let pattern = |text: &str| match text {
        "" => Ok(None),
        text => Regex::new(&format!("^(?:{text})$")).map(Some).map_err(|_| error(format!("{text:?} is no pattern"))),
    };
    let fits = |pattern: &Option<Regex>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
    let (group, version, kind) = (pattern(&selector.group)?, pattern(&selector.version)?, pattern(&selector.kind)?);
    let (name, namespace) = (pattern(&selector.name)?, pattern(&selector.namespace)?);
    let mut selected = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let (id, original) = (resource.id(), resource.original_id());
        let in_namespace =
            fits(&namespace, original.effective_namespace()) || fits(&namespace, id.effective_namespace());
        let named = fits(&name, &original.name) || fits(&name, &id.name);
        let of_kind = fits(&group, &id.gvk.group) && fits(&version, &id.gvk.version) && fits(&kind, &id.gvk.kind);
        if in_namespace
            && named
            && of_kind
            && labels_match(&selector.label_selector, &resource.metadata_map("labels")).map_err(error)?
            && labels_match(&selector.annotation_selector, &resource.metadata_map("annotations")).map_err(error)?
        {
            selected.push(index);
        }
    }
    Ok(selected)
}

/// Kubernetes' label selector language: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, between commas.
fn labels_match(selector: &str, labels: &[(String, String)]) -> Result<bool, String> {
    for requirement in requirements(selector) {
        let requirement = requirement.trim();
        if requirement.is_empty() {
            continue;
        }
        if !requirement_fits(requirement, labels)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The parts between commas that stand outside parentheses.
fn requirements(selector: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, char) in selector.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&selector[start..]);
    parts
}

fn requirement_fits(requirement: &str, labels: &[(String, String)]) -> Result<bool, String> {
    let value = |key: &str| labels.iter().find(|(name, _)| name == key.trim()).map(|(_, value)| value.as_str());
    if let Some(open) = requirement.find('(') {
        let values = requirement[open + 1..]
            .strip_suffix(')')
            .ok_or_else(|| format!("no closing parenthesis in selector {requirement:?}"))?;
        let mut words = requirement[..open].split_whitespace();
        let (Some(key), Some(operator), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("cannot read the selector {requirement:?}"));
        };
        let listed = value(key).is_some_and(|value| values.split(',').any(|item| item.trim() == value));
        return match operator {
            "in" => Ok(listed),
            "notin" => Ok(!listed),
            other => Err(format!("expected in or notin, found {other:?} in selector {requirement:?}")),
        };
    }
    if let Some((key, wanted)) = requirement.split_once("!=") {
        return Ok(value(key) != Some(wanted.trim()));
    }
    if let Some((key, wanted)) = requirement.split_once("==").or_else(|| requirement.split_once('=')) {
        return Ok(value(key) == Some(wanted.trim()));
    }
    match requirement.strip_prefix('!') {
        Some(key) => Ok(value(key).is_none()),
        None => Ok(value(requirement).is_some()),
    }
}
