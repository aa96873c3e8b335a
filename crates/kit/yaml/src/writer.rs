//! Trees to YAML text, byte for byte as Go's YAML libraries write it: keys in natural order, the plainest style that
//! reads back as the same value.

mod natural;
mod text;

use std::borrow::Cow;

use self::text::Shape;
use crate::{emit::go_float, resolve::old_meaning};

const INDENT: usize = 2;
/// A key longer than this cannot stand before its colon.
const LONGEST_SIMPLE_KEY: usize = 128;

/// Which of Go's two libraries is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The older one, which Kubernetes tools write with: lists stand below their key without indent, long lines are
    /// folded at 80.
    Compact,
    /// The newer one: lists are indented, lines are as long as they are.
    Indented,
}

/// What a tree is at its top.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    EmptyList,
    EmptyMap,
    /// A list with items.
    List,
    /// A map with entries.
    Map,
}

/// The entries of a map.
pub type Entries<'a, Node> = Vec<(&'a str, &'a Node)>;

/// How to see trees of some type.
pub trait Source {
    type Node;

    fn kind<'a>(&self, node: &'a Self::Node) -> Kind<'a>;

    /// Shows the items of a list.
    fn items(&self, node: &Self::Node, see: &mut dyn FnMut(&[Self::Node]));

    /// Shows the entries of a map, in any order.
    fn entries(&self, node: &Self::Node, see: &mut dyn FnMut(Entries<'_, Self::Node>));
}

/// One document.
pub fn write<S: Source>(source: &S, node: &S::Node, layout: Layout) -> String {
    let mut writer = Writer { pen: Pen { out: String::new(), column: 0, layout }, source };
    writer.document(node);
    writer.pen.out
}

struct Writer<'s, S> {
    pen: Pen,
    source: &'s S,
}

/// The text so far, and where in it the next character stands.
struct Pen {
    out: String,
    /// Characters since the last line break.
    column: usize,
    layout: Layout,
}

impl Pen {
    fn put(&mut self, char: char) {
        self.out.push(char);
        self.column += 1;
    }

    /// Text without line breaks.
    fn text(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += if text.is_ascii() { text.len() } else { text.chars().count() };
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    fn indent_to(&mut self, indent: usize) {
        while self.column < indent {
            self.put(' ');
        }
    }

    /// Ends the line unless a literal block has just done so.
    fn end_line(&mut self) {
        if self.column > 0 || self.out.is_empty() {
            self.line_break();
        }
    }

    fn scalar(&mut self, scalar: &Kind<'_>, indent: usize) {
        match scalar {
            Kind::Bool(value) => self.text(if *value { "true" } else { "false" }),
            Kind::Int(value) => self.text(&value.to_string()),
            Kind::UInt(value) => self.text(&value.to_string()),
            Kind::Float(value) => self.text(&go_float(*value)),
            Kind::Text(text) => self.string(text, indent, false),
            Kind::EmptyList => self.text("[]"),
            Kind::EmptyMap => self.text("{}"),
            Kind::Null | Kind::List | Kind::Map => self.text("null"),
        }
    }

    fn string(&mut self, text: &str, indent: usize, is_key: bool) {
        let shape = Shape::of(text, self.layout);
        if text.contains('\n') {
            if shape.block_allowed && !is_key {
                return self.literal(text, indent);
            }
            return self.double_quoted(text, indent, is_key);
        }
        if old_meaning(text) {
            return self.double_quoted(text, indent, is_key);
        }
        if shape.plain_allowed {
            return self.plain(text, indent, is_key);
        }
        if shape.single_quoted_allowed {
            return self.single_quoted(text, indent, is_key);
        }
        self.double_quoted(text, indent, is_key);
    }
}

impl<S: Source> Writer<'_, S> {
    fn document(&mut self, node: &S::Node) {
        match self.source.kind(node) {
            Kind::Map => self.mapping(node, 0),
            Kind::List => self.sequence(node, 0),
            scalar => {
                self.pen.scalar(&scalar, INDENT);
                self.pen.end_line();
            }
        }
    }

    /// The entries of a map; the cursor may already stand at `indent`, behind a dash.
    fn mapping(&mut self, node: &S::Node, indent: usize) {
        let source = self.source;
        source.entries(node, &mut |mut entries| {
            let in_numbers = self.pen.layout == Layout::Indented;
            entries.sort_by(|left, right| natural::order(left.0, right.0, in_numbers));
            for (key, value) in entries {
                self.pen.indent_to(indent);
                self.entry(key, value, indent);
            }
        });
    }

    fn entry(&mut self, key: &str, value: &S::Node, indent: usize) {
        if is_simple_key(key) {
            self.pen.string(key, indent + INDENT, true);
            self.pen.put(':');
            return self.field_value(value, indent);
        }
        self.pen.text("? ");
        self.pen.string(key, indent + INDENT, false);
        self.pen.end_line();
        self.pen.indent_to(indent);
        self.pen.text(": ");
        self.inline_value(value, indent);
    }

    fn field_value(&mut self, value: &S::Node, indent: usize) {
        match self.source.kind(value) {
            Kind::Map => {
                self.pen.line_break();
                self.mapping(value, indent + INDENT);
            }
            Kind::List => {
                self.pen.line_break();
                self.sequence(value, if self.pen.layout == Layout::Compact { indent } else { indent + INDENT });
            }
            scalar => {
                self.pen.put(' ');
                self.pen.scalar(&scalar, indent + INDENT);
                self.pen.end_line();
            }
        }
    }

    fn sequence(&mut self, node: &S::Node, indent: usize) {
        let source = self.source;
        source.items(node, &mut |items| {
            for item in items {
                self.pen.indent_to(indent);
                self.pen.text("- ");
                self.inline_value(item, indent);
            }
        });
    }

    /// A value that begins on the line of the dash or colon before it.
    fn inline_value(&mut self, value: &S::Node, indent: usize) {
        match self.source.kind(value) {
            Kind::Map => self.mapping(value, indent + INDENT),
            Kind::List => self.sequence(value, indent + INDENT),
            scalar => {
                self.pen.scalar(&scalar, indent + INDENT);
                self.pen.end_line();
            }
        }
    }
}

fn is_simple_key(key: &str) -> bool {
    key.len() <= LONGEST_SIMPLE_KEY && !key.contains(text::is_break)
}
