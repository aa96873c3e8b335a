//! Resources that are made instead of read: ConfigMaps, Secrets, accounts for clouds, and what charts render.

mod charts;
mod iam;
mod pairs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_yaml::{Mark, Node, Scalar, Style, Value};

use crate::error::{Error, Trouble};
use crate::load::Root;
use crate::origin::Origin;
use crate::read::generators::{Chart, Generator};
use crate::resource::Resource;

pub(crate) use iam::Policy;

/// Base64 is broken into lines of this many characters.
const BASE64_LINE: usize = 70;

/// What makes resources.
pub(crate) enum Source {
    Data(Box<Generator>),
    Chart(Box<Chart>),
    Policy(Policy),
}

/// A generator, and where it came from if that is to be noted.
pub(crate) struct Step {
    pub source: Source,
    pub origin: Option<Origin>,
}

pub(crate) fn run(root: &Root<'_>, source: &Source) -> Result<Vec<Resource>, Error> {
    match source {
        Source::Data(generator) => Ok(vec![data(root, generator)?]),
        Source::Chart(chart) => charts::render(root, chart),
        Source::Policy(policy) => Ok(vec![policy.account()]),
    }
}

fn data(root: &Root<'_>, generator: &Generator) -> Result<Resource, Error> {
    let error = |trouble: Trouble| root.session.error(trouble);
    if generator.name.is_empty() {
        return Err(error(Trouble::new(generator.mark, "a generated object needs a name")));
    }
    let mut pairs = pairs::read(root, generator)?;
    pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut node = Node::mapping().at(generator.mark);
    let mapping = node.as_mapping_mut().expect("just made as one");
    mapping.insert("apiVersion", Node::string("v1"));
    mapping.insert("kind", Node::string(if generator.is_secret { "Secret" } else { "ConfigMap" }));
    mapping.insert("metadata", metadata(generator));
    if generator.is_secret {
        let kind = if generator.secret_type.is_empty() { "Opaque" } else { &generator.secret_type };
        mapping.insert("type", Node::string(kind));
        mapping.insert("data", Node::mapping());
    }
    if generator.options.immutable {
        mapping.insert("immutable", Node::plain("true"));
    }
    for (key, value) in pairs {
        let (field, node) = entry(&value, generator.is_secret);
        let data = mapping.get_or_insert_with(field, Node::mapping);
        data.as_mapping_mut().expect("made as one").insert(&key, node);
    }
    let mut resource = Resource::new(node);
    if !generator.options.disable_name_suffix_hash {
        resource.set_needs_hash();
    }
    resource.set_behavior(generator.behavior);
    Ok(resource)
}

fn metadata(generator: &Generator) -> Node {
    let mut node = Node::mapping();
    let mapping = node.as_mapping_mut().expect("just made as one");
    mapping.insert("name", Node::string(&generator.name));
    if !generator.namespace.is_empty() {
        mapping.insert("namespace", Node::string(&generator.namespace));
    }
    for (field, entries) in [("labels", &generator.options.labels), ("annotations", &generator.options.annotations)] {
        if entries.is_empty() {
            continue;
        }
        let mut map = Node::mapping();
        for (key, value) in entries {
            map.as_mapping_mut().expect("just made as one").insert(key, Node::string(value));
        }
        mapping.insert(field, map);
    }
    node
}

/// Text that is UTF-8 goes to a ConfigMap's `data`, other bytes to `binaryData`; a Secret holds all as base64.
fn entry(value: &[u8], is_secret: bool) -> (&'static str, Node) {
    match std::str::from_utf8(value) {
        Ok(text) if !is_secret => ("data", Node::string(text)),
        _ => {
            let text = broken_base64(&STANDARD.encode(value));
            let scalar = Scalar { text: text.into(), style: Style::Literal, tag: Some("str".into()) };
            let node = Node { mark: Mark::default(), value: Value::Scalar(scalar) };
            (if is_secret { "data" } else { "binaryData" }, node)
        }
    }
}

pub(crate) fn broken_base64(encoded: &str) -> String {
    if encoded.len() < BASE64_LINE {
        return encoded.to_owned();
    }
    let mut text = String::with_capacity(encoded.len() + encoded.len() / BASE64_LINE + 1);
    for line in encoded.as_bytes().chunks(BASE64_LINE) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text
}
