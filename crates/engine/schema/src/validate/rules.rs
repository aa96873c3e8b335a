//! Checks that are the same for many fields: which fields have which is told by `facts/rules.txt`.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::OnceLock;

use serde_json::Value;

use super::field::Findings;
use super::{is_empty, list, metadata, names, selector, text, workload};
use crate::kinds::Kind;
use crate::quantity::Quantity;

/// One line of the table.
struct Rule {
    path: Vec<Step>,
    check: Check,
    /// What the check is told beside the value.
    words: &'static str,
}

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Items,
    Values,
}

type Check = fn(&Value, &str, &'static str, &mut Findings);

/// Checks an object of a built-in kind.
pub(super) fn check(kind: &Kind, object: &Value, findings: &mut Findings) {
    let group = if kind.group.is_empty() { "core" } else { &kind.group };
    check_part(&format!("{group}/{}", kind.kind), object, "", findings);
}

/// Checks a part that several kinds have, at a path.
pub(super) fn check_part(section: &str, value: &Value, path: &str, findings: &mut Findings) {
    for rule in sections().get(section).into_iter().flatten() {
        visit(value, path, &rule.path, &mut |value, path| (rule.check)(value, path, rule.words, findings));
    }
}

fn sections() -> &'static HashMap<&'static str, Vec<Rule>> {
    static SECTIONS: OnceLock<HashMap<&'static str, Vec<Rule>>> = OnceLock::new();
    SECTIONS.get_or_init(|| {
        let mut sections: HashMap<&'static str, Vec<Rule>> = HashMap::new();
        let mut current: Vec<&'static str> = Vec::new();
        for line in include_str!("../../facts/rules.txt").lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(names) => current = names.split(", ").collect(),
                None => current.iter().for_each(|name| sections.entry(name).or_default().push(read(line))),
            }
        }
        sections
    })
}

fn read(line: &'static str) -> Rule {
    let mut words = line.splitn(3, ' ');
    let (Some(path), Some(check)) = (words.next(), words.next()) else {
        panic!("facts/rules.txt: a path and a check expected in `{line}`");
    };
    Rule { path: steps(path), check: check_named(check), words: words.next().unwrap_or_default() }
}

fn steps(path: &'static str) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        let name = part.trim_end_matches("[]").trim_end_matches("{}");
        steps.push(Step::Field(name));
        match &part[name.len()..] {
            "[]" => steps.push(Step::Items),
            "{}" => steps.push(Step::Values),
            _ => {}
        }
    }
    steps
}

/// Calls `check` with everything at a path; with null where the last field is missing of what is there.
fn visit(value: &Value, path: &str, steps: &[Step], check: &mut dyn FnMut(&Value, &str)) {
    let Some((step, rest)) = steps.split_first() else { return check(value, path) };
    match (step, value) {
        (Step::Field(name), Value::Object(members)) => {
            let member = members.get(*name).unwrap_or(&Value::Null);
            // Most fields are not there, and then nothing need be written.
            if member.is_null() && !rest.is_empty() {
                return;
            }
            let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
            visit(member, &path, rest, check);
        }
        (Step::Items, Value::Array(items)) => {
            items.iter().enumerate().for_each(|(at, item)| visit(item, &format!("{path}[{at}]"), rest, check));
        }
        (Step::Values, Value::Object(members)) => {
            members.iter().for_each(|(key, member)| visit(member, &format!("{path}[{key}]"), rest, check));
        }
        _ => {}
    }
}

fn check_named(name: &str) -> Check {
    match name {
        "full" => |value, path, words, findings| {
            if is_empty(value) && !findings.0.iter().any(|found| found.field == path) {
                findings.required(path, words);
            }
        },
        "subdomain" => |value, path, _, findings| each(value, path, names::dns_1123_subdomain, findings),
        "label" => |value, path, _, findings| each(value, path, names::dns_1123_label, findings),
        "label1035" => |value, path, _, findings| each(value, path, names::dns_1035_label, findings),
        "qualified" => |value, path, _, findings| each(value, path, names::qualified_name, findings),
        // Told of the item that the name is of.
        "qualified-item" => |value, path, _, findings| each(value, parent_of(path), names::qualified_name, findings),
        "labelvalue" => |value, path, _, findings| each(value, path, names::label_value, findings),
        "labels" => |value, path, _, findings| metadata::labels(value, path, findings),
        "finalizer" => |value, path, _, findings| finalizer(text(value), list_of(path), findings),
        "provisioner" => |value, path, _, findings| {
            let lower = text(value).to_lowercase();
            if !lower.is_empty() {
                findings.invalid_each(path, &lower, names::qualified_name(&lower));
            }
        },
        "segment" => |value, path, _, findings| each(value, path, names::path_segment, findings),
        "pool" => |value, path, _, findings| {
            for part in text(value).split('/').filter(|part| !part.is_empty()) {
                findings.invalid_each(path, part, names::dns_1123_subdomain(part));
            }
        },
        "prefixed" => |value, path, _, findings| prefixed(text(value), path, findings),
        "fully-qualified" => |value, path, _, findings| {
            if value.is_string() && !text(value).contains('/') {
                findings.invalid(
                    path,
                    value.clone(),
                    "a fully qualified name must be a domain and a name separated by a slash",
                );
            }
        },
        "nameless" => |value, path, _, findings| {
            if value.get("").is_some() {
                findings.invalid(path, "", "field can not be empty.");
            }
        },
        "oneof" => |value, path, words, findings| one_of(value, path, words, findings),
        "oneof-part" => |value, path, words, findings| one_of(value, parent_of(path), words, findings),
        "oneof-of-list" => |value, path, words, findings| one_of(value, list_of(path), words, findings),
        "oneof-words" => |value, path, words, findings| {
            if !text(value).is_empty() && !words.split(',').any(|known| known == text(value)) {
                findings.invalid(path, value.clone(), format!("must be one of {words}"));
            }
        },
        "node-operator" => |value, path, _, findings| {
            if !["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"].contains(&text(value)) {
                findings.invalid(path, value.clone(), "not a valid selector operator");
            }
        },
        "least" => |value, path, words, findings| {
            let (least, words) = words.split_once(' ').unwrap_or((words, ""));
            let below = value.as_i64().filter(|number| *number < bound(least));
            if let (Some(number), true) = (below, words.is_empty()) {
                findings.invalid(path, number, format!("must be greater than or equal to {least}"));
            } else if let Some(number) = below {
                findings.invalid(path, number, words);
            }
        },
        "between" => |value, path, words, findings| {
            let mut words = words.splitn(3, ' ');
            let (least, most) = (bound(words.next().unwrap_or("")), bound(words.next().unwrap_or("")));
            if let Some(number) = value.as_i64().filter(|number| !(least..=most).contains(number)) {
                findings.invalid(path, number, words.next().unwrap_or(""));
            }
        },
        "longest" => |value, path, words, findings| {
            let (most, words) = words.split_once(' ').unwrap_or((words, ""));
            if text(value).len() as i64 > bound(most) {
                findings.invalid(path, value.clone(), words);
            }
        },
        "percent" => |value, path, _, findings| workload::number_or_percent(value, path, findings),
        "positive" => |value, path, _, findings| {
            if Quantity::parse(text(value)).is_ok_and(|quantity| quantity.is_zero()) {
                findings.invalid(path, value.clone(), "must be greater than zero");
            }
        },
        "nonnegative" => |value, path, _, findings| not_negative(value, path, findings),
        "nonnegative-of" => |value, path, words, findings| {
            let key = path.rfind('[').map_or("", |at| &path[at..]);
            not_negative(value, &format!("{words}{key}"), findings);
        },
        "ip" => |value, path, _, findings| ip(value, path, findings),
        "not-loopback" => |value, path, _, findings| {
            if text(value).parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
                findings.invalid(path, value.clone(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
            }
        },
        "cidr" => |value, path, _, findings| cidr(value, path, findings),
        "selector" => |value, path, _, findings| selector::check(value, path, findings),
        "unique" => |value, path, key, findings| {
            unique(
                value,
                |item| &item[key],
                |at, value, findings| {
                    findings.duplicate(&format!("{path}[{at}].{key}"), value);
                },
                findings,
            );
        },
        "uniqueitem" => |value, path, key, findings| {
            unique(
                value,
                |item| &item[key],
                |at, value, findings| findings.duplicate(&format!("{path}[{at}]"), value),
                findings,
            );
        },
        "uniquetext" => |value, path, _, findings| {
            unique(
                value,
                |item| item,
                |at, value, findings| findings.duplicate(&format!("{path}[{at}]"), value),
                findings,
            );
        },
        "uniquelabel" => |value, path, _, findings| {
            unique(value, |item| item, |_, value, findings| findings.duplicate(parent_of(path), value), findings);
        },
        other => panic!("facts/rules.txt: unknown check `{other}`"),
    }
}

fn bound(text: &str) -> i64 {
    text.parse().expect("bounds in facts/rules.txt are numbers")
}

/// `spec.drivers[0]` of `spec.drivers[0].topologyKeys`.
fn parent_of(path: &str) -> &str {
    path.rfind('.').map_or(path, |at| &path[..at])
}

/// `spec.modes` of `spec.modes[1]`.
fn list_of(path: &str) -> &str {
    path.rfind('[').map_or(path, |at| &path[..at])
}

fn each(value: &Value, path: &str, problems: fn(&str) -> Vec<String>, findings: &mut Findings) {
    let name = text(value);
    if !name.is_empty() {
        findings.invalid_each(path, name, problems(name));
    }
}

fn one_of(value: &Value, path: &str, words: &'static str, findings: &mut Findings) {
    let name = text(value);
    if !name.is_empty() && !words.split(' ').any(|known| known == name) {
        findings.not_supported(path, name, words.split(' '));
    }
}

fn not_negative(value: &Value, path: &str, findings: &mut Findings) {
    if Quantity::parse(text(value)).is_ok_and(|quantity| quantity.is_negative()) {
        findings.invalid(path, value.clone(), "must be greater than or equal to 0");
    }
}

fn finalizer(name: &str, path: &str, findings: &mut Findings) {
    findings.invalid_each(path, name, names::qualified_name(name));
    if !name.contains('/') && name != "kubernetes" {
        let words = "name is neither a standard finalizer name nor is it fully qualified";
        findings.invalid(path, name, words);
    }
}

fn prefixed(name: &str, path: &str, findings: &mut Findings) {
    if name.is_empty() {
        return;
    }
    match name.split_once('/') {
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            findings.invalid_each(path, domain, names::dns_1123_subdomain(domain));
        }
        _ => findings.invalid(path, name, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

fn ip(value: &Value, path: &str, findings: &mut Findings) {
    if text(value).parse::<IpAddr>().is_err() {
        findings.invalid(path, value.clone(), "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

/// A range of addresses, where it is a text.
pub(super) fn cidr(value: &Value, path: &str, findings: &mut Findings) {
    let parsed = text(value).split_once('/').and_then(|(address, prefix)| {
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        prefix.parse::<u8>().ok().filter(|prefix| *prefix <= most)
    });
    if !text(value).is_empty() && parsed.is_none() {
        findings.invalid(path, value.clone(), "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    }
}

fn unique<'v>(
    items: &'v Value,
    key: impl Fn(&'v Value) -> &'v Value,
    tell: impl Fn(usize, &'v str, &mut Findings),
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for (at, item) in list(items).iter().enumerate() {
        let name = text(key(item));
        if !seen.insert(name) && !name.is_empty() {
            tell(at, name, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read_and_is_about_kinds_there_are() {
        let parts = ["PodSpec", "JobSpec", "DeviceClaim"];
        for section in sections().keys() {
            let known = section.split_once('/').is_some_and(|(group, name)| {
                let group = if group == "core" { "" } else { group };
                crate::kinds::builtin().iter().any(|kind| kind.group == group && kind.kind == name)
            });
            assert!(known || parts.contains(section), "{section}");
        }
    }
}
