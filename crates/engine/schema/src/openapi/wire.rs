//! The version 2 document as protobuf, which is how client-go asks for it (`com.github.proto-openapi.spec.v2.v1.0+protobuf`).
//!
//! The field numbers are those of gnostic's `openapi.v2`. Only what documents of [`super::v2`] hold is written.

use serde_json::{Map, Value};

/// Writes a version 2 document as protobuf.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    out.message(2, |info| {
        info.text(1, &document["info"]["title"]);
        info.text(2, &document["info"]["version"]);
    });
    out.message(8, |paths| {
        for (path, item) in members(&document["paths"]) {
            paths.named(2, path, |out| path_item(item, out));
        }
    });
    out.message(9, |definitions| {
        for (name, definition) in members(&document["definitions"]) {
            definitions.named(1, name, |out| schema(definition, out));
        }
    });
    out.message(13, |definitions| {
        for (name, token) in members(&document["securityDefinitions"]) {
            definitions.named(1, name, |item| {
                item.message(2, |key| {
                    for (number, field) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
                        key.text(number, &token[field]);
                    }
                });
            });
        }
    });
    out.0
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A protobuf message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, number: u32, write: impl FnOnce(&mut Message)) {
        let mut inner = Message::default();
        write(&mut inner);
        self.bytes(number, &inner.0);
    }

    fn named(&mut self, number: u32, name: &str, write: impl FnOnce(&mut Message)) {
        self.message(number, |entry| {
            entry.bytes(1, name.as_bytes());
            entry.message(2, write);
        });
    }

    fn text(&mut self, number: u32, value: &Value) {
        if let Some(text) = value.as_str() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u32, values: &Value) {
        items(values).iter().for_each(|value| self.text(number, value));
    }

    fn flag(&mut self, number: u32, value: &Value) {
        if *value == Value::Bool(true) {
            self.varint(u64::from(number) << 3);
            self.varint(1);
        }
    }

    fn whole(&mut self, number: u32, value: &Value) {
        if let Some(whole) = value.as_i64() {
            self.varint(u64::from(number) << 3);
            self.varint(whole as u64);
        }
    }

    fn double(&mut self, number: u32, value: &Value) {
        if let Some(double) = value.as_f64() {
            self.varint(u64::from(number) << 3 | 1);
            self.0.extend_from_slice(&double.to_le_bytes());
        }
    }

    /// Any value at all, as YAML, of which JSON is a part.
    fn any(&mut self, number: u32, value: &Value) {
        self.message(number, |any| any.bytes(2, format!("{value}\n").as_bytes()));
    }

    /// The extensions among an object's members.
    fn extensions(&mut self, number: u32, object: &Map<String, Value>) {
        for (name, value) in object.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.message(number, |extension| {
                extension.bytes(1, name.as_bytes());
                extension.any(2, value);
            });
        }
    }
}

fn schema(value: &Value, out: &mut Message) {
    let Some(object) = value.as_object() else { return };
    for (number, key) in [(1, "$ref"), (2, "format"), (3, "title"), (4, "description"), (13, "pattern")] {
        out.text(number, &value[key]);
    }
    if let Some(default) = object.get("default") {
        out.any(5, default);
    }
    for (number, key) in [(6, "multipleOf"), (7, "maximum"), (9, "minimum")] {
        out.double(number, &value[key]);
    }
    for (number, key) in [(8, "exclusiveMaximum"), (10, "exclusiveMinimum"), (16, "uniqueItems")] {
        out.flag(number, &value[key]);
    }
    let counts = [
        (11, "maxLength"),
        (12, "minLength"),
        (14, "maxItems"),
        (15, "minItems"),
        (17, "maxProperties"),
        (18, "minProperties"),
    ];
    for (number, key) in counts {
        out.whole(number, &value[key]);
    }
    out.texts(19, &value["required"]);
    items(&value["enum"]).iter().for_each(|choice| out.any(20, choice));
    match &value["additionalProperties"] {
        Value::Bool(allowed) => out.message(21, |item| {
            item.varint(2 << 3);
            item.varint(u64::from(*allowed));
        }),
        Value::Object(_) => {
            out.message(21, |item| item.message(1, |out| schema(&value["additionalProperties"], out)));
        }
        _ => {}
    }
    if value["type"].is_string() {
        out.message(22, |kind| kind.text(1, &value["type"]));
    }
    if value["items"].is_object() {
        out.message(23, |list| list.message(1, |out| schema(&value["items"], out)));
    }
    if value["properties"].is_object() {
        out.message(25, |properties| {
            for (name, property) in members(&value["properties"]) {
                properties.named(1, name, |out| schema(property, out));
            }
        });
    }
    out.extensions(31, object);
}

fn path_item(item: &Value, out: &mut Message) {
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if let Some(operation) = item[method].as_object() {
            out.message(number, |out| self::operation(operation, out));
        }
    }
    items(&item["parameters"]).iter().for_each(|parameter| out.message(9, |out| parameters_item(parameter, out)));
}

fn operation(operation: &Map<String, Value>, out: &mut Message) {
    let get = |key: &str| operation.get(key).unwrap_or(&Value::Null);
    out.text(5, get("operationId"));
    out.texts(6, get("produces"));
    out.texts(7, get("consumes"));
    items(get("parameters")).iter().for_each(|parameter| out.message(8, |out| parameters_item(parameter, out)));
    out.message(9, |responses| {
        for (code, response) in members(get("responses")) {
            responses.named(1, code, |value| {
                value.message(1, |out| {
                    out.text(1, &response["description"]);
                    if response["schema"].is_object() {
                        out.message(2, |item| item.message(1, |out| schema(&response["schema"], out)));
                    }
                });
            });
        }
    });
    out.extensions(13, operation);
}

fn parameters_item(parameter: &Value, out: &mut Message) {
    let place = parameter["in"].as_str().unwrap_or_default();
    out.message(1, |out| match place {
        "body" => out.message(1, |body| {
            body.text(2, &parameter["name"]);
            body.text(3, &parameter["in"]);
            body.flag(4, &parameter["required"]);
            body.message(5, |out| schema(&parameter["schema"], out));
        }),
        "path" => out.message(2, |other| {
            other.message(4, |path| {
                path.flag(1, &parameter["required"]);
                path.text(2, &parameter["in"]);
                path.text(4, &parameter["name"]);
                path.text(5, &parameter["type"]);
            });
        }),
        _ => out.message(2, |other| {
            other.message(3, |query| {
                query.text(2, &parameter["in"]);
                query.text(4, &parameter["name"]);
                query.text(6, &parameter["type"]);
                query.flag(20, &parameter["uniqueItems"]);
            });
        }),
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_small_document_byte_by_byte() {
        let document = json!({"swagger": "2.0", "info": {"title": "T", "version": "v"}, "definitions": {"D": {
            "type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/definitions/D"}}, "x-y": [1]}}});
        let written = v2_protobuf(&document);
        let mut expected = b"\x0a\x032.0\x12\x06\x0a\x01T\x12\x01v\x42\x00".to_vec();
        let property = b"\x0a\x01a\x12\x11\x0a\x0f#/definitions/D";
        let mut schema = b"\x9a\x01\x01a\xb2\x01\x08\x0a\x06object\xca\x01\x18\x0a\x16".to_vec();
        schema.extend_from_slice(property);
        schema.extend_from_slice(b"\xfa\x01\x0d\x0a\x03x-y\x12\x06\x12\x04[1]\n");
        let mut named = b"\x0a\x01D\x12".to_vec();
        named.push(schema.len() as u8);
        named.extend(schema);
        expected.extend_from_slice(b"\x4a");
        expected.push(named.len() as u8 + 2);
        expected.push(0x0a);
        expected.push(named.len() as u8);
        expected.extend(named);
        expected.extend_from_slice(b"\x6a\x00");
        assert_eq!(written, expected);
    }
}
