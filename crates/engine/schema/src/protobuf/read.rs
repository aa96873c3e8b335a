//! Protobuf into values. Go writes every field that is no pointer, empty or not, so an empty value means something only
//! where JSON would have it too.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    DEEPEST, MAGIC, ProtobufError, SchemaOr,
    number::Path,
    wire::{Fields, Wire, varint},
};
use crate::{
    decode,
    types::{Field, Format, Shape, Type},
};

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
    let object = Value::Object(object);
    // Messages hold JSON that nests as well.
    if decode::height(&object) > decode::DEEPEST { Err(ProtobufError::Depth) } else { Ok(object) }
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
        let mut inlined = false;
        for field in of.fields() {
            let here = Path::of(field);
            let Some(rest) = here.steps().strip_prefix(path) else { continue };
            if rest == [number] {
                member(field, wire, into, depth)?;
                inlined = false;
                break;
            }
            inlined |= rest.first() == Some(&number);
        }
        if inlined {
            let here: Vec<u8> = path.iter().copied().chain([number]).collect();
            message(wire.bytes("inline")?, of, &here, into, depth + 1)?;
        }
    }
    Ok(())
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
            let empty = value == "" || value == 0 || value == false;
            if !(value.is_null() || empty && field.omits_zero()) {
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
    let is_moment = of.is_some_and(|of| matches!(of.format(), Format::DateTime | Format::MicroTime));
    let absent = || match of.map(Type::shape) {
        _ if is_moment => Value::Null,
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
        Shape::Object | Shape::Any => match SchemaOr::of(of) {
            Some(or) => schema_or(&or, name, wire, depth)?,
            // Anything at all is JSON inside a message of its own.
            None => embedded(name, wire)?,
        },
    })
}

fn schema_or(or: &SchemaOr, name: &str, wire: Wire<'_>, depth: usize) -> Result<Value, ProtobufError> {
    let schema = SchemaOr::schema();
    let mut found = Value::Null;
    for field in Fields(wire.bytes(name)?) {
        let (number, wire) = field?;
        match (or, number) {
            // A boolean stands before the schema even where there is one.
            (SchemaOr::Bool, 1) => found = json!(wire.number(name)? != 0),
            (SchemaOr::Bool, 2) | (_, 1) => found = value(name, Some(schema.root()), wire, depth + 1)?,
            (SchemaOr::Array, 2) => push(&mut found, value(name, Some(schema.root()), wire, depth + 1)?),
            (SchemaOr::Names, 2) => push(&mut found, json!(wire.text(name)?)),
            _ => {}
        }
    }
    Ok(found)
}

fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
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
