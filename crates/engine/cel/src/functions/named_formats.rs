//! Named formats: what names and texts of Kubernetes look like.

use coracle_schema::validate::names;

use super::Implementation;
use crate::value::{EvalError, Opaque, Value};

/// A format by its name.
#[derive(Debug)]
pub struct NamedFormat {
    /// What expressions call it.
    pub name: &'static str,
    /// How long its expression is taken to be.
    pub expression_size: u64,
    /// What is wrong with a text.
    problems: fn(&str) -> Vec<String>,
}

static FORMATS: [NamedFormat; 13] = [
    NamedFormat { name: "dns1123Label", expression_size: 30, problems: names::dns_1123_label },
    NamedFormat { name: "dns1123Subdomain", expression_size: 60, problems: names::dns_1123_subdomain },
    NamedFormat { name: "dns1035Label", expression_size: 30, problems: names::dns_1035_label },
    NamedFormat { name: "qualifiedName", expression_size: 60, problems: names::qualified_name },
    NamedFormat {
        name: "dns1123LabelPrefix",
        expression_size: 30,
        problems: |text| names::dns_1123_label(&whole(text)),
    },
    NamedFormat {
        name: "dns1123SubdomainPrefix",
        expression_size: 60,
        problems: |text| names::dns_1123_subdomain(&whole(text)),
    },
    NamedFormat {
        name: "dns1035LabelPrefix",
        expression_size: 30,
        problems: |text| names::dns_1035_label(&whole(text)),
    },
    NamedFormat { name: "labelValue", expression_size: 40, problems: names::label_value },
    NamedFormat { name: "uri", expression_size: 1400, problems: uri },
    NamedFormat {
        name: "uuid",
        expression_size: 60,
        problems: |text| unless(is_uuid(text), "does not match the UUID format"),
    },
    NamedFormat {
        name: "byte",
        expression_size: 70,
        problems: |text| unless(super::base64_bytes(text).is_some(), "invalid base64"),
    },
    NamedFormat {
        name: "date",
        expression_size: 100,
        problems: |text| unless(text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(), "invalid date"),
    },
    NamedFormat {
        name: "datetime",
        expression_size: 100,
        problems: |text| unless(super::timestamp(text).is_some(), "invalid datetime"),
    },
];

/// A prefix may end in a dash, which stands for what will follow.
fn whole(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(start) if !start.is_empty() => format!("{start}a"),
        _ => prefix.to_owned(),
    }
}

fn unless(fine: bool, problem: &str) -> Vec<String> {
    if fine { Vec::new() } else { vec![problem.to_owned()] }
}

fn uri(text: &str) -> Vec<String> {
    super::Url::parse(text).err().into_iter().collect()
}

fn is_uuid(text: &str) -> bool {
    let plain: String = text.chars().filter(|c| *c != '-').collect();
    plain.len() == 32 && plain.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub fn implementation(name: &str) -> Option<Implementation> {
    Some(match name {
        "validate" => validate,
        "format.named" => |args| match &args[0] {
            Value::String(name) => Ok(match FORMATS.iter().find(|format| format.name == &**name) {
                Some(format) => Value::some(Value::opaque(Opaque::Format(format))),
                None => Value::Optional(None),
            }),
            _ => Err(EvalError::no_such_overload()),
        },
        "format.dns1123Label" => |_| Ok(named(0)),
        "format.dns1123Subdomain" => |_| Ok(named(1)),
        "format.dns1035Label" => |_| Ok(named(2)),
        "format.qualifiedName" => |_| Ok(named(3)),
        "format.dns1123LabelPrefix" => |_| Ok(named(4)),
        "format.dns1123SubdomainPrefix" => |_| Ok(named(5)),
        "format.dns1035LabelPrefix" => |_| Ok(named(6)),
        "format.labelValue" => |_| Ok(named(7)),
        "format.uri" => |_| Ok(named(8)),
        "format.uuid" => |_| Ok(named(9)),
        "format.byte" => |_| Ok(named(10)),
        "format.date" => |_| Ok(named(11)),
        "format.datetime" => |_| Ok(named(12)),
        _ => return None,
    })
}

fn named<'a>(index: usize) -> Value<'a> {
    Value::opaque(Opaque::Format(&FORMATS[index]))
}

fn validate<'a>(args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let [Value::Opaque(format), Value::String(text)] = args else { return Err(EvalError::no_such_overload()) };
    let Opaque::Format(format) = &**format else { return Err(EvalError::no_such_overload()) };
    let problems = (format.problems)(text);
    if problems.is_empty() {
        return Ok(Value::Optional(None));
    }
    Ok(Value::some(Value::list(problems.into_iter().map(Value::text).collect())))
}
