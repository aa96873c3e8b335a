//! Kubernetes' protobuf, read into the same values JSON is: client-go writes built-in kinds in it.
//!
//! The wire format is the one of <https://protobuf.dev/programming-guides/encoding/>, wrapped in the envelope of
//! `k8s.io/apimachinery/pkg/runtime/generated.proto`. Field numbers come from the type table. Go writes every field that is
//! no pointer, empty or not, so an empty value means something only for [`POINTERS`] and for required fields.

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_schema::{
    Type,
    types::{Field, Format, Shape},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages nest no deeper than objects may.
const DEEPEST: usize = 128;

/// Scalar fields that Go keeps as pointers, so that zero is not the same as absent.
const POINTERS: [&str; 66] = [
    "activeDeadlineSeconds",
    "allocateLoadBalancerNodePorts",
    "allowPrivilegeEscalation",
    "allowVolumeExpansion",
    "attachRequired",
    "automountServiceAccountToken",
    "averageUtilization",
    "backoffLimit",
    "backoffLimitPerIndex",
    "blockOwnerDeletion",
    "completions",
    "controller",
    "defaultMode",
    "deletionGracePeriodSeconds",
    "enableServiceLinks",
    "expirationSeconds",
    "failedJobsHistoryLimit",
    "failureThreshold",
    "fsGroup",
    "gracePeriodSeconds",
    "hostUsers",
    "immutable",
    "internalTrafficPolicy",
    "leaseDurationSeconds",
    "leaseTransitions",
    "loadBalancerClass",
    "maxFailedIndexes",
    "minDomains",
    "minReplicas",
    "mode",
    "nodePort",
    "optional",
    "ordinals",
    "orphanDependents",
    "parallelism",
    "partition",
    "podInfoOnMount",
    "preemptionPolicy",
    "priority",
    "privileged",
    "progressDeadlineSeconds",
    "readOnlyRootFilesystem",
    "ready",
    "replicas",
    "requiresRepublish",
    "revisionHistoryLimit",
    "runAsGroup",
    "runAsNonRoot",
    "runAsUser",
    "serving",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "stabilizationWindowSeconds",
    "started",
    "startingDeadlineSeconds",
    "storageCapacity",
    "storageClassName",
    "successfulJobsHistoryLimit",
    "suspend",
    "terminating",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "ttlSecondsAfterFinished",
    "unhealthyPodEvictionPolicy",
    "volumeAttributesClassName",
    "volumeName",
];

/// A body that is not what it says it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// The magic bytes are missing.
    #[error("the body does not start with the protobuf envelope's magic bytes")]
    Magic,
    /// It ends in the middle of something, or a length points beyond its end.
    #[error("unexpected end of the protobuf body")]
    Truncated,
    /// A field has another wire type than its type allows.
    #[error("field {0:?} has an unexpected wire type")]
    WireType(String),
    /// Text that is not UTF-8, or embedded JSON that is none.
    #[error("field {0:?} holds malformed text")]
    Text(String),
    /// Messages within messages within messages.
    #[error("the protobuf body is nested too deeply")]
    Depth,
}

/// Reads an enveloped object of the given type, with its `apiVersion` and `kind`.
pub fn object(bytes: &[u8], of: Type<'_>) -> Result<Value, ProtobufError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?;
    let (mut api_version, mut kind, mut raw): (&str, &str, &[u8]) = ("", "", &[]);
    for field in Fields(envelope) {
        let (number, wire) = field?;
        match number {
            1 => {
                for field in Fields(wire.bytes("typeMeta")?) {
                    let (number, wire) = field?;
                    match number {
                        1 => api_version = wire.text("apiVersion")?,
                        2 => kind = wire.text("kind")?,
                        _ => {}
                    }
                }
            }
            2 => raw = wire.bytes("raw")?,
            _ => {}
        }
    }
    let mut object = Map::new();
    message(raw, of, &[], &mut object, 0)?;
    for (field, text) in [("apiVersion", api_version), ("kind", kind)] {
        if !text.is_empty() {
            object.insert(field.to_owned(), json!(text));
        }
    }
    Ok(Value::Object(object))
}

/// Reads one message's fields into `into`. `path` is the numbers of the messages that JSON writes inline, on the way here.
fn message(
    bytes: &[u8],
    of: Type<'_>,
    path: &[u8],
    into: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEEPEST {
        return Err(ProtobufError::Depth);
    }
    for field in Fields(bytes) {
        let (number, wire) = field?;
        let Ok(number) = u8::try_from(number) else { continue };
        let here: Vec<u8> = path.iter().copied().chain([number]).collect();
        let mut inlined = false;
        for field in of.fields() {
            let numbers = numbers(of, field);
            if numbers == here {
                member(field, wire, into, depth)?;
                inlined = false;
                break;
            }
            inlined |= numbers.len() > here.len() && numbers.starts_with(&here);
        }
        if inlined {
            message(wire.bytes("inline")?, of, &here, into, depth + 1)?;
        }
    }
    Ok(())
}

/// A field's number, after those of the messages that JSON writes inline.
fn numbers(of: Type<'_>, field: Field<'_>) -> Vec<u8> {
    let known: Vec<u8> = field.number().into_iter().take_while(|number| *number != 0).collect();
    if !known.is_empty() {
        return known;
    }
    // Upstream's proto files capitalize these unlike their JSON names.
    match (of.name().rsplit('.').next().unwrap_or_default(), field.name()) {
        ("MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration", "webhooks") => vec![2],
        ("Variable", "name") => vec![1],
        ("Variable", "expression") => vec![2],
        ("Validation", "expression") => vec![1],
        ("TypedLocalObjectReference" | "TypedObjectReference", "apiGroup") => vec![1],
        ("UserInfo", "uid") => vec![2],
        _ => Vec::new(),
    }
}

fn member(field: Field<'_>, wire: Wire<'_>, into: &mut Map<String, Value>, depth: usize) -> Result<(), ProtobufError> {
    let (name, of) = (field.name(), field.value());
    match of.shape() {
        Shape::List => {
            let element = of.element();
            let list = into.entry(name).or_insert_with(|| json!([]));
            let Some(list) = list.as_array_mut() else { return Ok(()) };
            match (element.map(Type::shape), wire) {
                // Numbers may come packed.
                (Some(Shape::Integer), Wire::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        list.push(json!(varint(&mut packed)?.cast_signed()));
                    }
                }
                (Some(_), wire) => list.push(value(name, element, wire, depth)?),
                (None, wire) => list.push(value(name, None, wire, depth)?),
            }
        }
        Shape::Object if !of.has_fields() && of.element().is_some() => {
            let (key, entry) = map_entry(name, of.element(), wire, depth)?;
            let map = into.entry(name).or_insert_with(|| json!({}));
            map[key] = entry;
        }
        _ => {
            let value = value(name, Some(of), wire, depth)?;
            let empty = value.is_null() || value == "" || value == 0 || value == false;
            if !empty || (!value.is_null() && (field.is_required() || POINTERS.contains(&name))) {
                into.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

fn map_entry(name: &str, of: Option<Type<'_>>, wire: Wire<'_>, depth: usize) -> Result<(String, Value), ProtobufError> {
    let (mut key, mut entry) = (String::new(), None);
    for field in Fields(wire.bytes(name)?) {
        match field? {
            (1, wire) => key = wire.text(name)?.to_owned(),
            (2, wire) => entry = Some(value(name, of, wire, depth + 1)?),
            _ => {}
        }
    }
    let absent = || match of.map(Type::shape) {
        Some(Shape::String | Shape::Quantity) | None => json!(""),
        Some(Shape::List) => json!([]),
        Some(Shape::Integer | Shape::Number) => json!(0),
        _ => json!({}),
    };
    Ok((key, entry.unwrap_or_else(absent)))
}

fn value(name: &str, of: Option<Type<'_>>, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    let Some(of) = of else { return wire.text(name).map(Value::from) };
    Ok(match of.shape() {
        Shape::String => match of.format() {
            Format::Byte => json!(STANDARD.encode(wire.bytes(name)?)),
            Format::DateTime => moment(name, wire, false)?,
            Format::MicroTime => moment(name, wire, true)?,
            _ => json!(wire.text(name)?),
        },
        Shape::Integer => json!(wire.number(name)?.cast_signed()),
        Shape::Boolean => json!(wire.number(name)? != 0),
        Shape::Number => json!(wire.double(name)?),
        Shape::Quantity => json!(first_text(name, wire)?),
        Shape::IntOrString => int_or_string(name, wire)?,
        // A list as a map's value is a message with the items.
        Shape::List => {
            let mut items = Vec::new();
            for field in Fields(wire.bytes(name)?) {
                items.push(value(name, of.element(), field?.1, depth + 1)?);
            }
            Value::Array(items)
        }
        Shape::Object if of.has_fields() => {
            let mut map = Map::new();
            message(wire.bytes(name)?, of, &[], &mut map, depth + 1)?;
            Value::Object(map)
        }
        // Anything at all is JSON inside a message of its own.
        Shape::Object | Shape::Any => embedded(name, wire)?,
    })
}

fn embedded(name: &str, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    for field in Fields(wire.bytes(name)?) {
        if let (1, wire) = field? {
            let raw = wire.bytes(name)?;
            return serde_json::from_slice(raw).map_err(|_| ProtobufError::Text(name.to_owned()));
        }
    }
    Ok(Value::Null)
}

fn first_text<'a>(name: &str, wire: Wire<'a>) -> Result<&'a str, ProtobufError> {
    for field in Fields(wire.bytes(name)?) {
        if let (1, wire) = field? {
            return wire.text(name);
        }
    }
    Ok("")
}

fn int_or_string(name: &str, wire: Wire<'_>) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut text) = (false, 0, "");
    for field in Fields(wire.bytes(name)?) {
        match field? {
            (1, wire) => is_text = wire.number(name)? == 1,
            (2, wire) => number = wire.number(name)?.cast_signed(),
            (3, wire) => text = wire.text(name)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(text) } else { json!(number) })
}

fn moment(name: &str, wire: Wire<'_>, micros: bool) -> Result<Value, ProtobufError> {
    let (mut seconds, mut nanos, mut any) = (0, 0, false);
    for field in Fields(wire.bytes(name)?) {
        any = true;
        match field? {
            (1, wire) => seconds = wire.number(name)?.cast_signed(),
            (2, wire) => nanos = wire.number(name)?.cast_signed(),
            _ => {}
        }
    }
    if !any {
        return Ok(Value::Null);
    }
    let wrong = || ProtobufError::Text(name.to_owned());
    let nanos = if micros { i32::try_from(nanos).map_err(|_| wrong())? } else { 0 };
    let moment = Timestamp::new(seconds, nanos).map_err(|_| wrong())?;
    Ok(json!(if micros { format!("{moment:.6}") } else { moment.to_string() }))
}

/// One field's content.
#[derive(Debug, Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self, name: &str) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError::WireType(name.to_owned())),
        }
    }

    fn text(self, name: &str) -> Result<&'a str, ProtobufError> {
        std::str::from_utf8(self.bytes(name)?).map_err(|_| ProtobufError::Text(name.to_owned()))
    }

    fn number(self, name: &str) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(number) | Self::Fixed64(number) => Ok(number),
            Self::Fixed32(number) => Ok(u64::from(number)),
            Self::Bytes(_) => Err(ProtobufError::WireType(name.to_owned())),
        }
    }

    fn double(self, name: &str) -> Result<f64, ProtobufError> {
        match self {
            Self::Fixed64(bits) => Ok(f64::from_bits(bits)),
            Self::Fixed32(bits) => Ok(f64::from(f32::from_bits(bits))),
            _ => Err(ProtobufError::WireType(name.to_owned())),
        }
    }
}

/// The fields of a message, in the order they stand in.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), ProtobufError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read_field(&mut self.0);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn read_field<'a>(rest: &mut &'a [u8]) -> Result<(u64, Wire<'a>), ProtobufError> {
    let tag = varint(rest)?;
    let wire = match tag & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => Wire::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().map_err(|_| ProtobufError::Truncated)?)),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| ProtobufError::Truncated)?;
            Wire::Bytes(take(rest, length)?)
        }
        5 => Wire::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().map_err(|_| ProtobufError::Truncated)?)),
        _ => return Err(ProtobufError::WireType(format!("number {}", tag >> 3))),
    };
    Ok((tag >> 3, wire))
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ProtobufError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ProtobufError::Truncated)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first().ok_or(ProtobufError::Truncated)?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtobufError::Truncated)
}

#[cfg(test)]
mod tests {
    use coracle_schema::kinds;
    use expect_test::{Expect, expect};

    use super::*;

    /// A field that holds bytes.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn enveloped(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &type_meta), field(2, raw)].concat()
    }

    fn check(group: &str, plural: &str, body: &[u8], expected: Expect) {
        let kind = kinds::find(group, "v1", plural).unwrap();
        let shown = match object(body, kind.schema.root()) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata = [field(1, b"a"), field(2, b""), field(3, b"ns"), field(8, b"")].concat();
        let data = [field(1, b"k"), field(2, b"v")].concat();
        let raw = [field(1, &metadata), field(2, &data)].concat();
        check(
            "",
            "configmaps",
            &enveloped("v1", "ConfigMap", &raw),
            expect![[
                r#"{"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"name":"a","namespace":"ns"}}"#
            ]],
        );
    }

    #[test]
    fn inlined_messages_numbers_and_quantities_are_read() {
        let empty_dir = field(2, b"");
        let volume = [field(1, b"tmp"), field(2, &empty_dir)].concat();
        let limits = [field(1, b"cpu"), field(2, &field(1, b"1"))].concat();
        let container = [field(1, b"c"), field(8, &field(1, &limits))].concat();
        let spec = [field(1, &volume), field(2, &container), vec![4 << 3, 0]].concat();
        check(
            "",
            "pods",
            &enveloped("v1", "Pod", &field(2, &spec)),
            expect![[
                r#"{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}],"terminationGracePeriodSeconds":0,"volumes":[{"emptyDir":{},"name":"tmp"}]}}"#
            ]],
        );
    }

    proptest::proptest! {
        #[test]
        fn no_body_brings_the_reader_down(body: Vec<u8>) {
            let kind = kinds::find("", "v1", "pods").unwrap();
            let _outcome = object(&[MAGIC, &[0x12, u8::try_from(body.len().min(127)).unwrap()], &body].concat(), kind.schema.root());
        }
    }

    #[test]
    fn broken_bodies_are_refused() {
        check("", "pods", b"{}", expect!["the body does not start with the protobuf envelope's magic bytes"]);
        check("", "pods", b"k8s\0\x12\x09\x0a", expect!["unexpected end of the protobuf body"]);
        check(
            "",
            "pods",
            &enveloped("v1", "Pod", &[0x08, 1]),
            expect![[r#"field "metadata" has an unexpected wire type"#]],
        );
    }
}
