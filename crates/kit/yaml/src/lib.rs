//! YAML as Kubernetes tools read and write it: an ordered tree that remembers where each node stood, the scalar rules
//! of the Go libraries those tools use, and their way of writing.
//!
//! Reading ([`parse`]) keeps scalars as written and resolves them only when asked ([`Node::to_json`]), because the tools
//! do so too: `1.0` stays `1.0` through any number of merges and becomes a number at the very end. Writing ([`emit`])
//! takes JSON, sorts keys in natural order and picks the plainest style that reads back as the same value.
//!
//! ```
//! use coracle_yaml::{FileId, emit, parse_one};
//!
//! let tree = parse_one("port10: 010\nport9: '80'\nname: yes\n", FileId::default()).unwrap();
//! let port = tree.get("port10").unwrap();
//! assert_eq!((port.mark.line, port.mark.column), (1, 9));
//! assert_eq!(emit(&tree.to_json()), "name: \"yes\"\nport9: \"80\"\nport10: 8\n");
//! ```

pub mod decode;
mod emit;
mod json;
mod lenient;
mod load;
mod node;
mod parse;
mod resolve;
mod writer;

pub use emit::{emit, emit_documents, go_float};
pub use load::{Build, load};
pub use node::{Entry, FileId, Mapping, Mark, Node, Scalar, Style, Value};
pub use parse::{ParseError, Repeated, parse, parse_first, parse_one};
pub use resolve::Resolved;
pub use writer::{Entries, Kind, Layout, Source, write};
