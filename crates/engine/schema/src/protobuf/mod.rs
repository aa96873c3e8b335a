//! Kubernetes' protobuf, both ways: client-go's default clients write and read built-in kinds in it.
//!
//! The wire format is the one of <https://protobuf.dev/programming-guides/encoding/>, wrapped in the envelope of
//! `k8s.io/apimachinery/pkg/runtime/generated.proto`. Field numbers come from the type table. JSON becomes protobuf
//! in one pass over its text, without a tree in between; protobuf becomes the same values that JSON is decoded to.

mod number;
mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

use thiserror::Error;

use crate::{
    kinds,
    types::{Schema, Type},
};

pub use read::object;
pub use write::{ListWriter, document, partial, watch_event};

/// What every body starts with.
const MAGIC: &[u8] = b"k8s\0";
/// Messages nest no deeper than objects may.
const DEEPEST: usize = 128;

/// A body that is not what it says it is.
#[derive(Debug, Error, PartialEq, Eq)]
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
    /// A document without a message of its own, such as a custom resource or a table.
    #[error("{0} has no protobuf form")]
    NoMessage(String),
    /// A document that does not fit its type.
    #[error("the document does not fit its type: {0}")]
    Misfit(String),
}

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The message of a kind: an object's, or one of those that answers are made of.
fn schema(api_version: &str, kind: &str) -> Option<Schema> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Schema::builtin(&kinds::definition_name(group, version, kind)).or_else(|| {
        // Statuses, options and discovery go by the core group's version.
        (group.is_empty() && version == "v1").then(|| Schema::builtin(&format!("{META}.{kind}"))).flatten()
    })
}

/// A type of the meta group, which every build has.
fn meta_schema(name: &str) -> Schema {
    Schema::builtin(&format!("{META}.{name}")).expect("the build script collects it")
}

/// Types that JSON writes as one of two shapes, and protobuf as a message with a field for each.
enum SchemaOr {
    /// A boolean (1) or a schema (2).
    Bool,
    /// A schema (1) or several (2).
    Array,
    /// A schema (1) or property names (2).
    Names,
}

impl SchemaOr {
    fn of(of: Type<'_>) -> Option<Self> {
        match of.name().rsplit('.').next()? {
            "JSONSchemaPropsOrBool" => Some(Self::Bool),
            "JSONSchemaPropsOrArray" => Some(Self::Array),
            "JSONSchemaPropsOrStringArray" => Some(Self::Names),
            _ => None,
        }
    }

    /// The schema these types hold.
    fn schema() -> Schema {
        Schema::builtin("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
            .expect("every build has custom resource definitions")
    }
}
