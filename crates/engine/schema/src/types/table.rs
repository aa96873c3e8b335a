//! The flat form of types: nodes and fields hold only integers and refer to one pool of text, so that the built-in table is
//! mapped from the program's file untouched, and a custom resource's table is three allocations.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::constraints::Constraints;

pub(crate) const NONE: u32 = u32::MAX;

/// What JSON a value is, as far as the merge algorithms and the decoder care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Fields by name, or a map when it has an element, or anything when it has neither and preserves unknown fields.
    Object,
    List,
    String,
    Integer,
    Number,
    Boolean,
    IntOrString,
    Quantity,
    /// Any JSON at all.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    None,
    Int32,
    Int64,
    Double,
    Byte,
    DateTime,
    MicroTime,
}

/// A slice of the table's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: u32,
    pub len: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub shape: Shape,
    pub format: Format,
    pub flags: u16,
    /// The definition's OpenAPI name; empty for types written in place.
    pub name: Span,
    /// The keys of an associative list, joined by commas.
    pub keys: Span,
    pub first: u32,
    pub count: u32,
    /// Items of a list, values of a map.
    pub element: u32,
    pub constraints: u32,
}

// The same bits as build.rs.
pub(crate) const ATOMIC: u16 = 1;
pub(crate) const SET: u16 = 2;
pub(crate) const MAP: u16 = 4;
pub(crate) const PRESERVE: u16 = 8;
pub(crate) const NULLABLE: u16 = 16;
pub(crate) const EMBEDDED: u16 = 32;

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub name: Span,
    pub node: u32,
    pub merge_key: Span,
    /// JSON text; empty when there is none.
    pub default: Span,
    pub flags: u16,
    /// The protobuf field number; further numbers lead through messages that JSON writes inline.
    pub number: [u8; 3],
}

pub(crate) const REQUIRED: u16 = 1;
pub(crate) const PATCH_MERGE: u16 = 2;
pub(crate) const RETAIN_KEYS: u16 = 4;
pub(crate) const OMIT_ZERO: u16 = 16;

#[derive(Debug)]
pub(crate) struct Table {
    pub text: Cow<'static, str>,
    pub nodes: Cow<'static, [Node]>,
    pub fields: Cow<'static, [Field]>,
    pub constraints: Vec<Constraints>,
}

impl Table {
    pub(crate) fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..(span.start + span.len) as usize]
    }
}

mod generated {
    use super::{Field, Format, NONE, Node, Shape, Span};

    #[allow(clippy::too_many_arguments, reason = "one row of a generated table")]
    const fn n(
        shape: Shape,
        format: Format,
        flags: u16,
        name_start: u32,
        name_len: u32,
        keys_start: u32,
        keys_len: u32,
        first: u32,
        count: u32,
        element: u32,
    ) -> Node {
        let name = Span { start: name_start, len: name_len };
        let keys = Span { start: keys_start, len: keys_len };
        Node { shape, format, flags, name, keys, first, count, element, constraints: NONE }
    }

    #[allow(clippy::too_many_arguments, reason = "one row of a generated table")]
    const fn f(
        name_start: u32,
        name_len: u32,
        node: u32,
        key_start: u32,
        key_len: u32,
        default_start: u32,
        default_len: u32,
        flags: u16,
        number: [u8; 3],
    ) -> Field {
        let name = Span { start: name_start, len: name_len };
        let merge_key = Span { start: key_start, len: key_len };
        let default = Span { start: default_start, len: default_len };
        Field { name, node, merge_key, default, flags, number }
    }

    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

static BUILTIN: Table = Table {
    text: Cow::Borrowed(generated::TEXT),
    nodes: Cow::Borrowed(&generated::NODES),
    fields: Cow::Borrowed(&generated::FIELDS),
    constraints: Vec::new(),
};

pub(crate) fn builtin() -> &'static Table {
    &BUILTIN
}

/// The nodes of all built-in definitions, ordered by name.
pub(crate) fn builtin_roots() -> &'static [u32] {
    &generated::ROOTS
}

/// The node of a built-in definition.
pub(crate) fn builtin_root(name: &str) -> Option<u32> {
    let node_name = |id: &u32| BUILTIN.text(BUILTIN.nodes[*id as usize].name);
    let position = generated::ROOTS.binary_search_by(|id| node_name(id).cmp(name)).ok()?;
    Some(generated::ROOTS[position])
}

/// Descriptions of the built-in types: of each field in table order, then of each definition in name order.
///
/// Unpacked on each call, because OpenAPI documents are asked for rarely and kept by whoever asks.
pub(crate) fn descriptions() -> Vec<String> {
    use std::io::Read as _;
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions"));
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(packed.as_slice())
        .read_to_string(&mut text)
        .expect("the build script wrote UTF-8 and compressed it");
    text.split('\0').map(str::to_owned).collect()
}

/// The ids of types that several rooms of this crate look for by name.
pub(crate) fn object_meta() -> u32 {
    static ID: OnceLock<u32> = OnceLock::new();
    *ID.get_or_init(|| {
        builtin_root("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").expect("every kind has ObjectMeta")
    })
}
