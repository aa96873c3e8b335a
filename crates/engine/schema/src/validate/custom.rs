//! Custom resources by their schema. What is wrong in a part that an update does not touch is let be, so that tightening a
//! schema does not lock the objects that are there.

use serde_json::Value;

use super::field::Findings;
use crate::types::{Constraints, Field, Format, ListType, Shape, Type};

pub(super) fn check(of: Type<'_>, object: &Value, old: Option<&Value>, findings: &mut Findings) {
    visit(of, object, old, "", findings);
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn visit(of: Type<'_>, value: &Value, old: Option<&Value>, path: &str, findings: &mut Findings) {
    // Metadata has its own rules, and untouched parts are let be.
    if (path == "metadata" && of.name().ends_with("ObjectMeta")) || (old == Some(value) && !path.is_empty()) {
        return;
    }
    if value.is_null() && of.is_nullable() {
        return;
    }
    if let Some(expected) = wrong_type(of, value) {
        let found = json_type(value);
        let words = format!("{} in body must be of type {expected}: {found:?}", shown(path));
        return findings.type_invalid(path, found, words);
    }
    match value {
        Value::Object(members) => {
            for field in of.fields().filter(|field| is_missing(*field, value)) {
                findings.required(&join(path, field.name()), "");
            }
            for (name, member) in members {
                let Some(member_type) = of.member(name) else { continue };
                let path = match of.field(name) {
                    Some(_) => join(path, name),
                    None => join(path, name),
                };
                visit(member_type, member, old.and_then(|old| old.get(name)), &path, findings);
            }
        }
        Value::Array(items) => visit_items(of, items, old, path, findings),
        _ => {}
    }
    if let Some(constraints) = of.constraints() {
        constrain(constraints, value, path, findings);
    }
}

fn is_missing(field: Field<'_>, value: &Value) -> bool {
    field.is_required() && value.get(field.name()).is_none()
}

fn visit_items(of: Type<'_>, items: &[Value], old: Option<&Value>, path: &str, findings: &mut Findings) {
    let key = |item: &Value| -> Vec<Value> { of.keys().map(|key| item[key].clone()).collect() };
    let same = |a: &Value, b: &Value| match of.list_type() {
        ListType::Map => key(a) == key(b),
        _ => a == b,
    };
    let old_items = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for (index, item) in items.iter().enumerate() {
        let path = format!("{path}[{index}]");
        if of.list_type() != ListType::Atomic && items[..index].iter().any(|earlier| same(earlier, item)) {
            let shown = match of.list_type() {
                ListType::Map => {
                    of.keys().map(|key| (key.to_owned(), item[key].clone())).collect::<serde_json::Map<_, _>>().into()
                }
                _ => item.clone(),
            };
            findings.duplicate(&path, shown);
        }
        let before = match of.list_type() {
            ListType::Map => old_items.iter().find(|before| same(before, item)),
            _ => None,
        };
        if let Some(element) = of.element() {
            visit(element, item, before, &path, findings);
        }
    }
}

fn shown(path: &str) -> String {
    if path.is_empty() { String::new() } else { path.to_owned() }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type that was expected, when the value has another.
fn wrong_type(of: Type<'_>, value: &Value) -> Option<&'static str> {
    let (fits, expected) = match of.shape() {
        Shape::Any => (true, ""),
        Shape::Object => (value.is_object(), "object"),
        Shape::List => (value.is_array(), "array"),
        Shape::String => (value.is_string(), "string"),
        Shape::Boolean => (value.is_boolean(), "boolean"),
        Shape::Number => (value.is_number(), "number"),
        Shape::Integer => (value.as_f64().is_some_and(|number| number.fract() == 0.0), "integer"),
        Shape::IntOrString => (value.is_string() || value.is_i64() || value.is_u64(), "integer,string"),
        Shape::Quantity => (value.is_string() || value.is_number(), "string"),
    };
    let dated = of.shape() == Shape::String && of.format() == Format::DateTime;
    if fits && dated && value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err()) {
        return Some("date-time");
    }
    (!fits).then_some(expected)
}

/// Numbers as Go prints them: whole ones without a point.
fn number(value: f64) -> String {
    value.to_string()
}

fn constrain(c: &Constraints, value: &Value, path: &str, findings: &mut Findings) {
    let place = shown(path);
    let mut wrong = |words: String| findings.invalid(path, value.clone(), format!("{place} in body {words}"));
    if let Some(found) = value.as_f64() {
        match c.maximum {
            Some(most) if c.exclusive_maximum && found >= most => {
                wrong(format!("should be less than {}", number(most)))
            }
            Some(most) if !c.exclusive_maximum && found > most => {
                wrong(format!("should be less than or equal to {}", number(most)));
            }
            _ => {}
        }
        match c.minimum {
            Some(least) if c.exclusive_minimum && found <= least => {
                wrong(format!("should be greater than {}", number(least)));
            }
            Some(least) if !c.exclusive_minimum && found < least => {
                wrong(format!("should be greater than or equal to {}", number(least)));
            }
            _ => {}
        }
        if let Some(step) = c.multiple_of.filter(|step| (found / step).fract() != 0.0) {
            wrong(format!("should be a multiple of {}", number(step)));
        }
    }
    if let Some(text) = value.as_str() {
        let length = text.chars().count() as u64;
        if let Some(least) = c.min_length.filter(|least| length < *least) {
            wrong(format!("should be at least {least} chars long"));
        }
        if let Some(pattern) = c.pattern.as_deref().filter(|pattern| !pattern.regex.is_match(text)) {
            wrong(format!("should match '{}'", pattern.text));
        }
        if let Some(format) = c.format.as_deref().filter(|format| !has_format(format, text)) {
            let words = format!("{place} in body must be of type {format}: {text:?}");
            findings.invalid(path, text, words);
        }
        if let Some(most) = c.max_length.filter(|most| length > *most) {
            findings.too_long(path, most);
        }
    }
    sizes(c, value, path, findings);
    if !c.choices.is_empty() && !c.choices.contains(value) {
        let choices: Vec<String> =
            c.choices.iter().map(|choice| choice.as_str().map_or(choice.to_string(), str::to_owned)).collect();
        findings.not_supported(path, value.clone(), choices.iter().map(String::as_str));
    }
    junctions(c, value, path, findings);
}

fn sizes(c: &Constraints, value: &Value, path: &str, findings: &mut Findings) {
    let place = shown(path);
    if let Some(items) = value.as_array() {
        let found = items.len() as u64;
        if let Some(least) = c.min_items.filter(|least| found < *least) {
            findings.invalid(path, found, format!("{place} in body should have at least {least} items"));
        }
        if let Some(most) = c.max_items.filter(|most| found > *most) {
            findings.too_many(path, items.len(), most);
        }
        let repeated = || items.iter().enumerate().any(|(index, item)| items[..index].contains(item));
        if c.unique_items && repeated() {
            findings.invalid(path, value.clone(), format!("{place} in body shouldn't contain duplicates"));
        }
    }
    if let Some(members) = value.as_object() {
        let found = members.len() as u64;
        if let Some(least) = c.min_properties.filter(|least| found < *least) {
            findings.invalid(path, found, format!("{place} in body should have at least {least} properties"));
        }
        if let Some(most) = c.max_properties.filter(|most| found > *most) {
            findings.too_many(path, members.len(), most);
        }
    }
}

/// `allOf` and its siblings.
fn junctions(c: &Constraints, value: &Value, path: &str, findings: &mut Findings) {
    let place = shown(path);
    for part in &c.all_of {
        nested(part, value, path, findings);
    }
    if !c.any_of.is_empty() && !c.any_of.iter().any(|part| holds(part, value)) {
        findings.invalid(path, "", format!("{place:?} must validate at least one schema (anyOf)"));
    }
    if !c.one_of.is_empty() {
        let holding = c.one_of.iter().filter(|part| holds(part, value)).count();
        let found =
            if holding == 0 { "Found none valid".to_owned() } else { format!("Found {holding} valid alternatives") };
        if holding != 1 {
            findings.invalid(path, "", format!("{place:?} must validate one and only one schema (oneOf). {found}"));
        }
    }
    if c.not.as_deref().is_some_and(|part| holds(part, value)) {
        findings.invalid(path, "", format!("{place:?} must not validate the schema (not)"));
    }
}

fn holds(c: &Constraints, value: &Value) -> bool {
    let mut findings = Findings::default();
    nested(c, value, "", &mut findings);
    findings.0.is_empty()
}

/// Inside a junction a schema also speaks of members.
fn nested(c: &Constraints, value: &Value, path: &str, findings: &mut Findings) {
    constrain(c, value, path, findings);
    match value {
        Value::Object(members) => {
            for name in c.required.iter().filter(|name| !members.contains_key(&***name)) {
                findings.required(&join(path, name), "");
            }
            for (name, member) in members {
                match c.properties.get(name.as_str()) {
                    Some(part) => nested(part, member, &join(path, name), findings),
                    None => {
                        if let Some(part) = &c.additional {
                            nested(part, member, &join(path, name), findings);
                        }
                    }
                }
            }
        }
        Value::Array(items) => {
            if let Some(part) = &c.items {
                for (index, item) in items.iter().enumerate() {
                    nested(part, item, &format!("{path}[{index}]"), findings);
                }
            }
        }
        _ => {}
    }
}

/// The formats that upstream checks; others are comments.
fn has_format(format: &str, text: &str) -> bool {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    match format {
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => text.split_once('/').is_some_and(|(address, bits)| match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => bits.parse::<u8>().is_ok_and(|bits| bits <= 32),
            Ok(IpAddr::V6(_)) => bits.parse::<u8>().is_ok_and(|bits| bits <= 128),
            Err(_) => false,
        }),
        "date" => text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10,
        "uuid" | "uuid3" | "uuid4" | "uuid5" => {
            let parts: Vec<&str> = text.split('-').collect();
            let hex = |part: &&str, len| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, len)| hex(part, len))
        }
        "hostname" => {
            !text.is_empty() && text.len() <= 255 && text.split('.').all(|label| !label.is_empty() && label.len() <= 63)
        }
        "uri" => {
            text.split_once(':').is_some_and(|(scheme, _)| scheme.starts_with(|c: char| c.is_ascii_alphabetic()))
                || text.starts_with('/')
        }
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "mac" => {
            text.split([':', '-']).all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
        "byte" => {
            use base64::Engine as _;
            base64::engine::general_purpose::STANDARD.decode(text).is_ok()
        }
        _ => true,
    }
}
