//! What objects may look like: types as data, defaulting, pruning, validation and the merge algorithms.
//!
//! Everything here is pure: objects come in as [`serde_json::Value`], times as text, answers go out as values. One path
//! serves the built-in kinds, whose types are a static table made when building, and custom resources, whose types are
//! read from a CustomResourceDefinition.
//!
//! The interface, in the order an API server uses it:
//!
//! ```text
//! kinds::builtin() -> &'static [Kind]                    // every built-in kind, one per served version
//! kinds::find(group, version, plural) -> Option<&'static Kind>
//! kinds::find_kind(group, version, kind) -> Option<&'static Kind>
//! Kind { group, version, kind, list_kind, plural, singular, short_names, categories, namespaced, verbs,
//!        subresources, schema, custom: Option<CustomFacts> }     kind.api_version() -> String
//! Kind::from_crd(&Value) -> Result<Vec<CrdVersion>, CrdError>    // CrdVersion { kind: Arc<Kind>, served, storage, ... }
//!
//! decode::json(&[u8], Option<Type>) / decode::yaml(..) -> Result<Decoded { value, strict: Vec<String> }, DecodeError>
//!                                                         // strict: duplicate and unknown fields in the order of the text
//! fields::type_error(&kind, &value) -> Option<String>    // upstream's `json: cannot unmarshal ...` text (built-in kinds)
//! fields::decode_message(&kind, &str) -> String          // wraps it for the 400 answer
//! fields::unknown(&kind, &value) -> Vec<String>          // [`unknown field "spec.foo"`], for patched objects
//! fields::prune(&kind, &mut value)                        // drops unknown fields (and nulls of built-in kinds)
//! fields::strict_message(&kind, &[String]) -> String     // `Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: ...`
//!
//! defaults::apply(&kind, &mut value)
//! strategy::prepare_create(&kind, &mut value)             // drops status where it is a subresource, generation = 1, ...
//! strategy::prepare_update(&kind, &mut new, &old)         // keeps status, bumps generation
//! strategy::prepare_status_update(&kind, &mut new, &old)  // keeps everything but status
//! validate::create(&kind, &value) -> Vec<FieldError>
//! validate::update(&kind, &new, &old) -> Vec<FieldError>  // update_at(&kind, "resize", ..) for subresources
//! FieldError { problem, field, value, detail }: reason(), message(), Display
//! validate::invalid_status(&kind, name, &[FieldError]) -> Value        // the 422 Status object
//!
//! patch::json(&Value, &Value patch) -> Result<Value, PatchError>
//! patch::merge(&Value, &Value patch) -> Value
//! patch::strategic(Type, &Value, &Value patch) -> Result<Value, PatchError>
//!
//! apply::apply(&Request { kind, live: Option<&Value>, manager, subresource, now, force }, config: Value) -> Result<Value, ApplyError>
//!                                                         // equal to live: nothing to write. Conflicts: 409, causes FieldManagerConflict
//! apply::update(&Request { .. }, new: Value) -> Value    // the object with its managedFields brought up to date
//!
//! table::columns(&kind) -> Vec<Column>                    // with priority and description, as Table wants
//! table::cells(&kind, &Value, now_seconds: i64) -> Vec<Value>
//! openapi::v2(&[&Kind]) / openapi::v3(&[&Kind], group_version) -> Value
//! openapi::v2_protobuf(&Value) -> Vec<u8>                 // for Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf
//! protobuf::object(&[u8], Type) -> Result<Value, ProtobufError>          // what client-go's default clients send
//! protobuf::document(&[u8]) -> Result<Vec<u8>, ProtobufError>           // JSON of an object, list or status, in its envelope
//! json_path::find(&Value, ".spec.x") -> Vec<&Value>       // scale paths, selectable fields, printer columns
//! quantity::Quantity::parse(&str) -> Result<Quantity, QuantityError>
//! ```

pub mod apply;
pub mod decode;
pub mod defaults;
pub mod fields;
pub mod json_path;
pub mod kinds;
pub mod openapi;
pub mod patch;
pub mod protobuf;
pub mod strategy;
pub mod table;
pub mod types;
pub mod validate;

pub use coracle_quantity as quantity;
pub use kinds::Kind;
pub use types::{Schema, Type};
