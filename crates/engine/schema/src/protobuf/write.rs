//! JSON text into protobuf, in one pass.

use std::{borrow::Cow, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    MAGIC, ProtobufError, SchemaOr, meta_schema,
    number::Path,
    schema,
    wire::{Kind, Open, close, open, put_bytes, put_number, put_tag, put_varint},
};
use crate::types::{Field, Format, Shape, Type};

/// What follows the raw object in the envelope: no content encoding, no content type.
const ENVELOPE_END: [u8; 4] = [3 << 3 | 2, 0, 4 << 3 | 2, 0];
const PARTIAL: &str = "PartialObjectMetadata";
const PARTIAL_LIST: &str = "PartialObjectMetadataList";

/// A whole JSON document in its envelope: an object, a list of objects, a status. Which it is, it says itself.
pub fn document(json: &[u8]) -> Result<Vec<u8>, ProtobufError> {
    let about: About<'_> = serde_json::from_slice(json).map_err(misfit)?;
    let mut raw = Vec::with_capacity(json.len());
    if about.api_version.starts_with("meta.k8s.io/") && about.kind == PARTIAL {
        partial(json, &mut raw)?;
    } else if about.api_version.starts_with("meta.k8s.io/") && about.kind == PARTIAL_LIST {
        list(json, None, &mut raw)?;
    } else if let Some(of) = schema(&about.api_version, &about.kind) {
        message(json, of.root(), &mut raw)?;
    } else {
        let item = about.kind.strip_suffix("List").and_then(|item| schema(&about.api_version, item));
        let item = item.ok_or_else(|| ProtobufError::NoMessage(about.kind.to_string()))?;
        list(json, Some(item.root()), &mut raw)?;
    }
    Ok(envelope(&about.api_version, &about.kind, &raw))
}

#[derive(serde::Deserialize)]
struct About<'a> {
    #[serde(rename = "apiVersion", default, borrow)]
    api_version: Cow<'a, str>,
    #[serde(default, borrow)]
    kind: Cow<'a, str>,
}

fn misfit(error: serde_json::Error) -> ProtobufError {
    ProtobufError::Misfit(error.to_string())
}

/// One message without an envelope.
fn message(json: &[u8], of: Type<'_>, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Content { of, out }.deserialize(&mut deserializer).map_err(misfit)
}

/// An object's metadata alone, from any object: the message of `PartialObjectMetadata`.
pub fn partial(json: &[u8], out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    #[derive(serde::Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: Option<&'a RawValue>,
    }
    let whole: Whole<'_> = serde_json::from_slice(json).map_err(misfit)?;
    let metadata = open(out, 1);
    if let Some(raw) = whole.metadata {
        message(raw.get().as_bytes(), meta_schema("ObjectMeta").root(), out)?;
    }
    close(out, metadata);
    Ok(())
}

fn list(json: &[u8], of: Option<Type<'_>>, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    #[derive(serde::Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: Option<&'a RawValue>,
        #[serde(borrow, default)]
        items: Vec<&'a RawValue>,
    }
    let whole: Whole<'_> = serde_json::from_slice(json).map_err(misfit)?;
    let mut writer = ListWriter::new(whole.metadata.map_or("{}", RawValue::get).as_bytes(), of)?;
    for item in whole.items {
        writer.push(item.get().as_bytes())?;
    }
    out.append(&mut writer.raw);
    Ok(())
}

/// A list's message, written item by item.
pub struct ListWriter<'a> {
    raw: Vec<u8>,
    of: Option<Type<'a>>,
}

impl<'a> ListWriter<'a> {
    /// A list with this metadata, as JSON. Without a type, only the items' metadata is written.
    pub fn new(metadata: &[u8], of: Option<Type<'a>>) -> Result<Self, ProtobufError> {
        let mut raw = Vec::with_capacity(1024);
        let head = open(&mut raw, 1);
        message(metadata, meta_schema("ListMeta").root(), &mut raw)?;
        close(&mut raw, head);
        Ok(Self { raw, of })
    }

    /// Adds an object.
    pub fn push(&mut self, json: &[u8]) -> Result<(), ProtobufError> {
        let item = open(&mut self.raw, 2);
        match self.of {
            Some(of) => message(json, of, &mut self.raw)?,
            None => partial(json, &mut self.raw)?,
        }
        close(&mut self.raw, item);
        Ok(())
    }

    /// The list in its envelope.
    pub fn finish(self, api_version: &str, kind: &str) -> Vec<u8> {
        envelope(api_version, kind, &self.raw)
    }
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 32);
    out.extend_from_slice(MAGIC);
    let type_meta = open(&mut out, 1);
    put_bytes(&mut out, 1, api_version.as_bytes());
    put_bytes(&mut out, 2, kind.as_bytes());
    close(&mut out, type_meta);
    put_bytes(&mut out, 2, raw);
    out.extend_from_slice(&ENVELOPE_END);
    out
}

/// A frame of a watch: its length as four bytes, then the event, which has no envelope of its own around the object's.
pub fn watch_event(kind: &str, object: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.reserve(object.len() + kind.len() + 24);
    out.extend_from_slice(&[0; 4]);
    put_bytes(out, 1, kind.as_bytes());
    let mut raw = Vec::with_capacity(8);
    put_tag(&mut raw, 1, Kind::Bytes);
    put_varint(&mut raw, object.len() as u64);
    put_tag(out, 2, Kind::Bytes);
    put_varint(out, (raw.len() + object.len()) as u64);
    out.append(&mut raw);
    out.extend_from_slice(object);
    let length = u32::try_from(out.len() - start - 4).expect("an object is no larger than a request's body");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The fields of a message, from a JSON object.
struct Content<'t, 'o> {
    of: Type<'t>,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Content<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Content<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of {}", self.of.name())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(field) = members.next_key_seed(Name(self.of))? {
            let path = field.map(Path::of);
            match (field, path.as_ref().map(Path::steps)) {
                (Some(field), Some([outer @ .., number])) => {
                    let (of, out) = (field.value(), &mut *self.out);
                    let opened: Vec<_> = outer.iter().map(|number| open(out, *number)).collect();
                    members.next_value_seed(Member { of, number: *number, out })?;
                    opened.into_iter().rev().for_each(|message| close(self.out, message));
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// A field, looked up by its key.
struct Name<'t>(Type<'t>);

impl<'de, 't> DeserializeSeed<'de> for Name<'t> {
    type Value = Option<Field<'t>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de, 't> Visitor<'de> for Name<'t> {
    type Value = Option<Field<'t>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// A field's value with its tag: once for a single value, once an item for lists and maps.
struct Member<'t, 'o> {
    of: Type<'t>,
    number: u8,
    out: &'o mut Vec<u8>,
}

impl<'t> Member<'t, '_> {
    fn again(&mut self, of: Type<'t>) -> Member<'t, '_> {
        Member { of, number: self.number, out: self.out }
    }

    fn is_map(&self) -> bool {
        self.of.shape() == Shape::Object && !self.of.has_fields() && self.of.element().is_some()
    }

    fn is_embedded(&self) -> bool {
        match self.of.shape() {
            Shape::Any => true,
            Shape::Object => !self.of.has_fields() && self.of.element().is_none(),
            _ => false,
        }
    }

    fn embed<E: serde::de::Error>(self, json: &RawValue) -> Result<(), E> {
        if json.get() == "null" {
            return Ok(());
        }
        let message = open(self.out, self.number);
        match SchemaOr::of(self.of) {
            Some(or) => put_either(&or, json.get(), self.out).map_err(E::custom)?,
            None => put_bytes(self.out, 1, json.get().as_bytes()),
        }
        close(self.out, message);
        Ok(())
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match (self.of.shape(), self.of.format()) {
            (Shape::String, Format::Byte) => {
                let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
                put_bytes(self.out, self.number, &STANDARD.decode(packed).map_err(E::custom)?);
            }
            (Shape::String, Format::DateTime | Format::MicroTime) if text.is_empty() => {}
            (Shape::String, format @ (Format::DateTime | Format::MicroTime)) => {
                let moment: Timestamp = text.parse().map_err(E::custom)?;
                let nanos = if format == Format::MicroTime { i64::from(moment.subsec_nanosecond()) } else { 0 };
                let message = open(self.out, self.number);
                put_number(self.out, 1, moment.as_second());
                put_number(self.out, 2, nanos);
                close(self.out, message);
            }
            (Shape::Quantity, _) => {
                let message = open(self.out, self.number);
                put_bytes(self.out, 1, text.as_bytes());
                close(self.out, message);
            }
            (Shape::IntOrString, _) => self.int_or_string(1, 0, text),
            _ => put_bytes(self.out, self.number, text.as_bytes()),
        }
        Ok(())
    }

    fn whole<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        match self.of.shape() {
            Shape::Integer => put_number(self.out, self.number, value),
            Shape::Number => self.double(value as f64),
            Shape::IntOrString => self.int_or_string(0, value, ""),
            Shape::Quantity => return self.text(&value.to_string()),
            shape => return Err(E::custom(format!("a number where {shape:?} is wanted"))),
        }
        Ok(())
    }

    fn double(self, value: f64) {
        put_tag(self.out, self.number, Kind::Fixed64);
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    fn int_or_string(self, which: i64, number: i64, text: &str) {
        let message = open(self.out, self.number);
        put_number(self.out, 1, which);
        put_number(self.out, 2, number);
        put_bytes(self.out, 3, text.as_bytes());
        close(self.out, message);
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.is_embedded() {
            return self.embed(<&RawValue>::deserialize(deserializer)?);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of {:?}", self.of)
    }

    /// Nothing is written for nothing.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        put_tag(self.out, self.number, Kind::Varint);
        self.out.push(u8::from(value));
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.whole(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.whole(i64::try_from(value).map_err(E::custom)?)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        match self.of.shape() {
            Shape::Number => self.double(value),
            Shape::Quantity => return self.text(&value.to_string()),
            _ if value.fract() == 0.0 && value.abs() < 1e15 => return self.whole(value as i64),
            shape => return Err(E::custom(format!("a fraction where {shape:?} is wanted"))),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let of = self.of.element().filter(|_| self.of.shape() == Shape::List);
        let of = of.ok_or_else(|| A::Error::custom(format!("a list where {:?} is wanted", self.of.shape())))?;
        while items.next_element_seed(self.again(of))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        if !self.is_map() {
            let message = open(self.out, self.number);
            Content { of: self.of, out: self.out }.visit_map(members)?;
            close(self.out, message);
            return Ok(());
        }
        let element = self.of.element().ok_or_else(|| A::Error::custom("a map without values"))?;
        while let Some(entry) = members.next_key_seed(EntryKey { number: self.number, out: self.out })? {
            if element.shape() == Shape::List {
                // A list as a value is a message with the items.
                let list = open(self.out, 2);
                members.next_value_seed(Member { of: element, number: 1, out: self.out })?;
                close(self.out, list);
            } else {
                members.next_value_seed(Member { of: element, number: 2, out: self.out })?;
            }
            close(self.out, entry);
        }
        Ok(())
    }
}

/// The key of a map's entry, which is a message of key and value: left open for the value.
struct EntryKey<'o> {
    number: u8,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for EntryKey<'_> {
    type Value = Open;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Open, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for EntryKey<'_> {
    type Value = Open;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Open, E> {
        let entry = open(self.out, self.number);
        put_bytes(self.out, 1, key.as_bytes());
        Ok(entry)
    }
}

fn put_either(or: &SchemaOr, json: &str, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    match (or, json) {
        (SchemaOr::Bool, "true" | "false") => {
            put_number(out, 1, i64::from(json == "true"));
            Ok(())
        }
        (SchemaOr::Bool, _) => {
            put_number(out, 1, 1);
            put_schema(2, json, out)
        }
        (_, json) if json.starts_with('{') => put_schema(1, json, out),
        (SchemaOr::Array, _) => {
            let schemas: Vec<&RawValue> = serde_json::from_str(json).map_err(misfit)?;
            schemas.into_iter().try_for_each(|schema| put_schema(2, schema.get(), out))
        }
        (SchemaOr::Names, _) => {
            let names: Vec<String> = serde_json::from_str(json).map_err(misfit)?;
            names.iter().for_each(|name| put_bytes(out, 2, name.as_bytes()));
            Ok(())
        }
    }
}

fn put_schema(number: u8, json: &str, out: &mut Vec<u8>) -> Result<(), ProtobufError> {
    let schema = open(out, number);
    message(json.as_bytes(), SchemaOr::schema().root(), out)?;
    close(out, schema);
    Ok(())
}
