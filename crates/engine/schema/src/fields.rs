//! Checking and trimming an object's fields against its type: unknown fields, wrong JSON types, pruning.

use base64::Engine as _;
use serde_json::Value;

use crate::decode::{Path, height};
use crate::kinds::Kind;
use crate::quantity::Quantity;
use crate::types::{Format, Shape, Type};

/// Fields the type does not have, as `unknown field "spec.foo"`.
pub fn unknown(kind: &Kind, value: &Value) -> Vec<String> {
    unknown_in(kind.schema.root(), value)
}

pub(crate) fn unknown_in(of: Type<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    visit_unknown(of, value, Path::Root, &mut found);
    found
}

fn visit_unknown(of: Type<'_>, value: &Value, path: Path<'_>, found: &mut Vec<String>) {
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            for (name, member) in members {
                let path = Path::Field(&path, name);
                match of.member(name) {
                    Some(member_type) => visit_unknown(member_type, member, path, found),
                    None if of.preserves_unknown() => {}
                    None => found.push(format!("unknown field \"{path}\"")),
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            let Some(element) = of.element() else { return };
            for (index, item) in items.iter().enumerate() {
                visit_unknown(element, item, Path::Index(&path, index), found);
            }
        }
        _ => {}
    }
}

/// The message of a strict failure, from the findings of [`crate::decode`] or [`unknown`].
pub fn strict_message(kind: &Kind, findings: &[String]) -> String {
    decode_message(kind, &format!("strict decoding error: {}", findings.join(", ")))
}

/// How upstream words a body that does not fit its kind.
pub fn decode_message(kind: &Kind, problem: &str) -> String {
    format!("{0} in version \"{1}\" cannot be handled as a {0}: {problem}", kind.kind, kind.version)
}

/// Drops what the type does not have. Of built-in kinds it drops nulls too, which no built-in field keeps.
pub fn prune(kind: &Kind, value: &mut Value) {
    prune_in(kind.schema.root(), value, kind.is_builtin());
}

fn prune_in(of: Type<'_>, value: &mut Value, drop_nulls: bool) {
    match (of.shape(), value) {
        (Shape::Object, Value::Object(members)) => {
            if of.has_fields() || of.element().is_some() || !of.preserves_unknown() {
                members.retain(|name, member| match of.member(name) {
                    Some(_) => !(drop_nulls && member.is_null()),
                    None => of.preserves_unknown(),
                });
            }
            for (name, member) in members.iter_mut() {
                if let Some(member_type) = of.member(name) {
                    prune_in(member_type, member, drop_nulls);
                }
            }
        }
        (Shape::List, Value::Array(items)) => {
            let Some(element) = of.element() else { return };
            items.iter_mut().for_each(|item| prune_in(element, item, drop_nulls));
        }
        _ => {}
    }
}

/// Objects nest so deep and no deeper. What says who owns their fields nests a little deeper than they do, and stands in
/// other objects sometimes; and all of it has to be read again.
pub const DEEPEST: usize = 100;

/// Whether an object nests deeper than objects may, but for its managed fields.
pub fn is_too_deep(object: &Value) -> bool {
    let Some(members) = object.as_object() else { return height(object) > DEEPEST };
    members.iter().any(|(name, member)| match member {
        Value::Object(metadata) if name == "metadata" => {
            metadata.iter().any(|(name, member)| name != "managedFields" && 2 + height(member) > DEEPEST)
        }
        member => 1 + height(member) > DEEPEST,
    })
}

/// The first value whose JSON type does not fit its field, in the words Go's decoder uses; only built-in kinds are read so.
pub fn type_error(kind: &Kind, value: &Value) -> Option<String> {
    let trail = Trail { owner: None, path: Path::Root };
    wrong(kind.schema.root(), value, &trail)
}

/// Go names the innermost struct and the fields on the way, without list positions.
struct Trail<'a> {
    owner: Option<Type<'a>>,
    path: Path<'a>,
}

fn wrong(of: Type<'_>, value: &Value, trail: &Trail<'_>) -> Option<String> {
    match (of.shape(), value) {
        (_, Value::Null) | (Shape::Any, _) => None,
        (Shape::Object, Value::Object(members)) => members.iter().find_map(|(name, member)| {
            let of_field = of.field(name);
            let member_type = of.member(name)?;
            let path = Path::Field(&trail.path, name);
            match of_field {
                Some(_) => wrong(member_type, member, &Trail { owner: Some(of), path }),
                // Go does not count a map's keys as fields on the way.
                None => wrong(member_type, member, &Trail { owner: trail.owner, path: trail.path }),
            }
        }),
        (Shape::Object, _) if of.preserves_unknown() && !of.has_fields() => None,
        (Shape::List, Value::Array(items)) => {
            let element = of.element()?;
            items.iter().find_map(|item| wrong(element, item, trail))
        }
        (Shape::String, Value::String(text)) => bad_text(of.format(), text),
        (Shape::Boolean, Value::Bool(_)) | (Shape::Number, Value::Number(_)) => None,
        (Shape::Integer, Value::Number(number)) => {
            let fits = match (of.format(), number.as_i64()) {
                (Format::Int32, Some(n)) => i32::try_from(n).is_ok(),
                (_, n) => n.is_some(),
            };
            (!fits).then(|| mismatch(&format!("number {number}"), of, trail))
        }
        (Shape::IntOrString, Value::String(_)) => None,
        (Shape::IntOrString, Value::Number(number)) => {
            let fits = number.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
            (!fits).then(|| mismatch(&format!("number {number}"), of, trail))
        }
        (Shape::Quantity, Value::Number(number)) => Quantity::parse(&number.to_string()).err().map(|e| e.to_string()),
        (Shape::Quantity, Value::String(text)) => Quantity::parse(text).err().map(|error| error.to_string()),
        (_, value) => Some(mismatch(json_name(value), of, trail)),
    }
}

fn mismatch(found: &str, of: Type<'_>, trail: &Trail<'_>) -> String {
    let owner = trail.owner.map(|owner| go_struct(owner.name())).unwrap_or_default();
    if owner.is_empty() {
        return format!("json: cannot unmarshal {found} into Go value of type {}", go_type(of));
    }
    let field = trail.path.to_string();
    format!("json: cannot unmarshal {found} into Go struct field {owner}.{field} of type {}", go_type(of))
}

fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn go_struct(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

/// The Go type of a field: `int32`, `[]v1.Container`, `map[string]string`.
fn go_type(of: Type<'_>) -> String {
    match of.shape() {
        Shape::String if of.format() == Format::Byte => "[]uint8".to_owned(),
        Shape::String if matches!(of.format(), Format::DateTime | Format::MicroTime) => "string".to_owned(),
        Shape::String => "string".to_owned(),
        Shape::Integer if of.format() == Format::Int32 => "int32".to_owned(),
        Shape::Integer => "int64".to_owned(),
        Shape::Number => "float64".to_owned(),
        Shape::Boolean => "bool".to_owned(),
        Shape::IntOrString => "int32".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Any => "interface {}".to_owned(),
        Shape::List => format!("[]{}", of.element().map(go_type).unwrap_or_default()),
        Shape::Object if of.name().is_empty() => {
            format!("map[string]{}", of.element().map(go_type).unwrap_or_default())
        }
        Shape::Object => {
            let mut parts = of.name().rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or_default())
        }
    }
}

fn bad_text(format: Format, text: &str) -> Option<String> {
    match format {
        Format::Byte => base64_error(text),
        Format::DateTime | Format::MicroTime => {
            if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() {
                return None;
            }
            let layout = if format == Format::DateTime {
                "2006-01-02T15:04:05Z07:00"
            } else {
                "2006-01-02T15:04:05.000000Z07:00"
            };
            Some(format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\""))
        }
        _ => None,
    }
}

fn base64_error(text: &str) -> Option<String> {
    // Go's decoder skips line breaks, which multi-line YAML leaves in.
    let packed: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    let error = base64::engine::general_purpose::STANDARD.decode(&packed).err()?;
    let at = match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol { offset: at, .. } => at,
        _ => packed.len() / 4 * 4,
    };
    Some(format!("illegal base64 data at input byte {at}"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::kinds;

    fn check(kind: (&str, &str, &str), value: Value, expected: Expect) {
        let kind = kinds::find_kind(kind.0, kind.1, kind.2).unwrap();
        expected.assert_eq(&type_error(kind, &value).unwrap_or_default());
    }

    #[test]
    fn wrong_types_are_worded_as_go_does() {
        let deployment = ("apps", "v1", "Deployment");
        let pod = ("", "v1", "Pod");
        check(
            deployment,
            json!({"spec": {"replicas": "3"}}),
            expect!["json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"],
        );
        check(
            deployment,
            json!({"spec": {"replicas": 1.5}}),
            expect![
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ],
        );
        check(
            pod,
            json!({"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 5}]}]}}),
            expect![
                "json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string"
            ],
        );
        check(
            pod,
            json!({"spec": {"containers": {}}}),
            expect![
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
            ],
        );
        check(
            pod,
            json!({"metadata": {"labels": {"a": 1}}}),
            expect!["json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"],
        );
        check(
            pod,
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "abc"}}}]}}),
            expect!["quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"],
        );
        check(("", "v1", "Secret"), json!({"data": {"a": "a*b="}}), expect!["illegal base64 data at input byte 1"]);
        check(pod, json!({"spec": {"nodeName": null}}), expect![""]);
    }

    #[test]
    fn pruning_keeps_what_the_type_has() {
        let kind = kinds::find_kind("", "v1", "Pod").unwrap();
        let mut value = json!({"foo": 1, "metadata": {"name": "a", "labels": {"x": "y"}, "creationTimestamp": null},
            "spec": {"containers": [{"name": "a", "bar": {}}]}});
        prune(kind, &mut value);
        expect![[r#"{"metadata":{"labels":{"x":"y"},"name":"a"},"spec":{"containers":[{"name":"a"}]}}"#]]
            .assert_eq(&value.to_string());
    }
}
