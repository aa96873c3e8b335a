//! Which resources a selector means.

use coracle_yaml::Mark;
use regex::Regex;

use crate::error::Trouble;
use crate::id::{Gvk, Id};
use crate::resource::Resource;

/// What a person wrote: regular expressions for the parts of an id, and selectors of labels and annotations.
#[derive(Debug, Default, Clone)]
pub(crate) struct Selector {
    pub mark: Mark,
    pub gvk: Gvk,
    pub name: String,
    pub namespace: String,
    pub labels: String,
    pub annotations: String,
}

/// A selector with its expressions compiled.
pub(crate) struct Matcher {
    group: Option<Regex>,
    version: Option<Regex>,
    kind: Option<Regex>,
    name: Option<Regex>,
    namespace: Option<Regex>,
    labels: Vec<Requirement>,
    annotations: Vec<Requirement>,
    pub has_id: bool,
    pub has_labels: bool,
}

impl Selector {
    pub fn matcher(&self) -> Result<Matcher, Trouble> {
        let pattern = |text: &str| match text {
            "" => Ok(None),
            text => Regex::new(&format!("^(?:{text})$"))
                .map(Some)
                .map_err(|_| Trouble::new(self.mark, format!("{text:?} is not a regular expression"))),
        };
        let selector = |text: &str| parse(text).map_err(|message| Trouble::new(self.mark, message));
        let has_id = [&self.gvk.group, &self.gvk.version, &self.gvk.kind, &self.name, &self.namespace];
        Ok(Matcher {
            group: pattern(&self.gvk.group)?,
            version: pattern(&self.gvk.version)?,
            kind: pattern(&self.gvk.kind)?,
            name: pattern(&self.name)?,
            namespace: pattern(&self.namespace)?,
            labels: selector(&self.labels)?,
            annotations: selector(&self.annotations)?,
            has_id: has_id.iter().any(|part| !part.is_empty()),
            has_labels: !self.labels.is_empty() || !self.annotations.is_empty(),
        })
    }
}

fn fits(pattern: &Option<Regex>, text: &str) -> bool {
    pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
}

impl Matcher {
    fn fits_gvk(&self, gvk: &Gvk) -> bool {
        fits(&self.group, &gvk.group) && fits(&self.version, &gvk.version) && fits(&self.kind, &gvk.kind)
    }

    /// Whether an id is meant, its namespace taken as written.
    pub fn fits_id(&self, id: &Id) -> bool {
        self.fits_gvk(&id.gvk) && fits(&self.name, &id.name) && fits(&self.namespace, &id.namespace)
    }

    pub fn fits_labels(&self, resource: &Resource) -> bool {
        let all_fit = |requirements: &[Requirement], field: &str| {
            requirements.is_empty() || {
                let labels = resource.metadata_map(field);
                requirements.iter().all(|requirement| requirement.fits(&labels))
            }
        };
        all_fit(&self.annotations, "annotations") && all_fit(&self.labels, "labels")
    }

    /// Whether a resource is meant, by its present or its first name.
    fn fits_resource(&self, resource: &Resource) -> bool {
        let (id, original) = (resource.id(), resource.original_id());
        let in_namespace =
            fits(&self.namespace, original.effective_namespace()) || fits(&self.namespace, id.effective_namespace());
        in_namespace
            && (fits(&self.name, &original.name) || fits(&self.name, &id.name))
            && self.fits_gvk(&id.gvk)
            && self.fits_labels(resource)
    }
}

pub(crate) fn select(selector: &Selector, resources: &[Resource]) -> Result<Vec<usize>, Trouble> {
    let matcher = selector.matcher()?;
    Ok((0..resources.len()).filter(|index| matcher.fits_resource(&resources[*index])).collect())
}

/// One part of a label selector.
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

enum Operator {
    Exists,
    Absent,
    In,
    NotIn,
    GreaterThan,
    LessThan,
}

impl Requirement {
    fn fits(&self, labels: &[(String, String)]) -> bool {
        let value = labels.iter().find(|(key, _)| *key == self.key).map(|(_, value)| value);
        let listed = value.is_some_and(|value| self.values.contains(value));
        let numbers = || Some((value?.parse::<i64>().ok()?, self.values.first()?.parse::<i64>().ok()?));
        match self.operator {
            Operator::Exists => value.is_some(),
            Operator::Absent => value.is_none(),
            Operator::In => listed,
            Operator::NotIn => !listed,
            Operator::GreaterThan => numbers().is_some_and(|(value, limit)| value > limit),
            Operator::LessThan => numbers().is_some_and(|(value, limit)| value < limit),
        }
    }
}

/// Kubernetes' label selector language: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a>1`, `a<1`, `a`, `!a`,
/// between commas.
fn parse(selector: &str) -> Result<Vec<Requirement>, String> {
    if selector.trim().is_empty() {
        return Ok(Vec::new());
    }
    parts(selector).into_iter().map(|part| requirement(part.trim())).collect()
}

/// The parts between commas that stand outside parentheses.
fn parts(selector: &str) -> Vec<&str> {
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

fn requirement(text: &str) -> Result<Requirement, String> {
    let unreadable = || format!("cannot read the selector {text:?}");
    let made = |key: &str, operator, values: &[&str]| -> Result<Requirement, String> {
        let values: Vec<String> = values.iter().map(|value| value.trim().to_owned()).collect();
        if !is_label_key(key.trim()) {
            return Err(format!("{:?} is not a label name in selector {text:?}", key.trim()));
        }
        match values.iter().find(|value| !is_label_value(value)) {
            Some(value) => Err(format!("{value:?} is not a label value in selector {text:?}")),
            None => Ok(Requirement { key: key.trim().to_owned(), operator, values }),
        }
    };
    if let Some(open) = text.find('(') {
        let values = text[open + 1..].strip_suffix(')').ok_or_else(unreadable)?;
        let mut words = text[..open].split_whitespace();
        let (Some(key), Some(operator), None) = (words.next(), words.next(), words.next()) else {
            return Err(unreadable());
        };
        let operator = match operator {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            other => return Err(format!("expected in or notin, found {other:?} in selector {text:?}")),
        };
        return made(key, operator, &values.split(',').collect::<Vec<_>>());
    }
    if let Some(key) = text.strip_prefix('!') {
        return made(key, Operator::Absent, &[]);
    }
    let Some(at) = text.find(['=', '!', '<', '>']) else { return made(text, Operator::Exists, &[]) };
    let (key, rest) = text.split_at(at);
    let (operator, value) = if let Some(value) = rest.strip_prefix("==").or_else(|| rest.strip_prefix('=')) {
        (Operator::In, value)
    } else if let Some(value) = rest.strip_prefix("!=") {
        (Operator::NotIn, value)
    } else if let Some(value) = rest.strip_prefix('>') {
        (Operator::GreaterThan, value)
    } else if let Some(value) = rest.strip_prefix('<') {
        (Operator::LessThan, value)
    } else {
        return Err(unreadable());
    };
    if matches!(operator, Operator::GreaterThan | Operator::LessThan) && value.trim().parse::<i64>().is_err() {
        return Err(unreadable());
    }
    made(key, operator, &[value])
}

/// A name of at most 63 letters, digits and `-_.`, beginning and ending with a letter or digit, maybe behind a DNS name
/// and a slash.
fn is_label_key(key: &str) -> bool {
    let is_domain = |text: &str| {
        let fits = |label: &str| {
            let inner = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
            !label.is_empty() && inner && !label.starts_with('-') && !label.ends_with('-')
        };
        text.len() <= 253 && text.split('.').all(fits)
    };
    match key.split_once('/') {
        Some((domain, name)) => is_domain(domain) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

fn is_label_value(value: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && edge(value.bytes().next())
        && edge(value.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::parse;

    fn check(selector: &str, fits: bool) {
        let labels = [("a".to_owned(), "1".to_owned()), ("x.io/b".to_owned(), "two".to_owned())];
        let requirements = parse(selector).unwrap();
        assert_eq!(requirements.iter().all(|requirement| requirement.fits(&labels)), fits, "{selector}");
    }

    #[test]
    fn selectors_mean_what_kubernetes_says() {
        for (selector, fits) in [
            ("a=1", true),
            ("a==2", false),
            ("a!=2,x.io/b", true),
            ("x.io/b in (one, two)", true),
            ("x.io/b notin (one, two)", false),
            ("c notin (one)", true),
            ("!c, a > 0", true),
            ("a<1", false),
        ] {
            check(selector, fits);
        }
        for wrong in ["a in", "a in (b", "=b", "a=b c", "a>x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
