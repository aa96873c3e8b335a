//! Types: one view for built-in kinds (a static table made when building) and custom resources (read from their definition).

mod constraints;
mod custom;
pub(crate) mod table;

use std::fmt;
use std::sync::Arc;

pub use constraints::{Constraints, Pattern};
pub use custom::{SchemaError, parse};
use table::{Field as FieldRow, NONE, Node, Table};
pub use table::{Format, Shape};

/// A type that owns, or statically has, what it refers to.
#[derive(Clone)]
pub struct Schema {
    source: Source,
    root: u32,
}

#[derive(Clone)]
enum Source {
    Static(&'static Table),
    Shared(Arc<Table>),
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({:?} {})", self.root().shape(), self.root().name())
    }
}

impl Schema {
    /// A built-in definition by its OpenAPI name, such as `io.k8s.api.apps.v1.Deployment`.
    pub fn builtin(definition: &str) -> Option<Self> {
        table::builtin_root(definition).map(|root| Self { source: Source::Static(table::builtin()), root })
    }

    pub(crate) fn shared(table: Table, root: u32) -> Self {
        Self { source: Source::Shared(Arc::new(table)), root }
    }

    pub fn root(&self) -> Type<'_> {
        let table = match &self.source {
            Source::Static(table) => table,
            Source::Shared(table) => table.as_ref(),
        };
        Type { table, id: self.root }
    }
}

/// How a list merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// A view of one type in its table; free to copy.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    table: &'a Table,
    id: u32,
}

/// A view of one field of an object type.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    table: &'a Table,
    row: &'a FieldRow,
    index: usize,
}

impl<'a> Type<'a> {
    fn node(self) -> &'a Node {
        &self.table.nodes[self.id as usize]
    }

    pub fn shape(self) -> Shape {
        self.node().shape
    }

    pub fn format(self) -> Format {
        self.node().format
    }

    /// The OpenAPI name of a definition; empty for types written in place.
    pub fn name(self) -> &'a str {
        self.table.text(self.node().name)
    }

    pub(crate) fn id(self) -> u32 {
        self.id
    }

    /// Two views of the very same node, which ends walks through types that contain themselves.
    pub fn same(self, other: Self) -> bool {
        std::ptr::eq(self.table, other.table) && self.id == other.id
    }

    pub fn fields(self) -> impl DoubleEndedIterator<Item = Field<'a>> + ExactSizeIterator {
        let node = self.node();
        let (first, count) = (node.first as usize, node.count as usize);
        let table = self.table;
        table.fields[first..first + count].iter().enumerate().map(move |(offset, row)| Field {
            table,
            row,
            index: first + offset,
        })
    }

    pub fn field(self, name: &str) -> Option<Field<'a>> {
        let node = self.node();
        let (first, count) = (node.first as usize, node.count as usize);
        let rows = &self.table.fields[first..first + count];
        let offset = rows.binary_search_by(|row| self.table.text(row.name).cmp(name)).ok()?;
        Some(Field { table: self.table, row: &rows[offset], index: first + offset })
    }

    /// Whether the object has named fields at all.
    pub fn has_fields(self) -> bool {
        self.node().count > 0
    }

    /// The items of a list or the values of a map.
    pub fn element(self) -> Option<Type<'a>> {
        let id = self.node().element;
        (id != NONE).then_some(Type { table: self.table, id })
    }

    /// What a member of an object is: its field, or the map's value.
    pub fn member(self, name: &str) -> Option<Type<'a>> {
        self.field(name).map(Field::value).or_else(|| self.map_element())
    }

    fn map_element(self) -> Option<Type<'a>> {
        if self.shape() == Shape::Object { self.element() } else { None }
    }

    fn has(self, flag: u16) -> bool {
        self.node().flags & flag != 0
    }

    pub fn list_type(self) -> ListType {
        if self.has(table::MAP) {
            ListType::Map
        } else if self.has(table::SET) {
            ListType::Set
        } else {
            ListType::Atomic
        }
    }

    /// The keys of an associative list.
    pub fn keys(self) -> impl Iterator<Item = &'a str> {
        self.table.text(self.node().keys).split(',').filter(|key| !key.is_empty())
    }

    /// A map or struct that is owned as a whole; for an untyped value, that it is never looked into.
    pub fn is_atomic(self) -> bool {
        self.has(table::ATOMIC)
    }

    pub fn preserves_unknown(self) -> bool {
        self.has(table::PRESERVE)
    }

    pub fn is_nullable(self) -> bool {
        self.has(table::NULLABLE)
    }

    pub fn is_embedded(self) -> bool {
        self.has(table::EMBEDDED)
    }

    /// What a custom resource's definition demands of the value, beyond its type.
    pub fn constraints(self) -> Option<&'a Constraints> {
        self.table.constraints.get(self.node().constraints as usize)
    }
}

impl fmt::Debug for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}#{}({})", self.shape(), self.id, self.name())
    }
}

impl<'a> Field<'a> {
    pub fn name(self) -> &'a str {
        self.table.text(self.row.name)
    }

    pub fn value(self) -> Type<'a> {
        Type { table: self.table, id: self.row.node }
    }

    pub fn is_required(self) -> bool {
        self.row.flags & table::REQUIRED != 0
    }

    /// The default, as JSON text.
    pub fn default_text(self) -> Option<&'a str> {
        Some(self.table.text(self.row.default)).filter(|text| !text.is_empty())
    }

    /// Strategic merge patch merges this list item by item instead of replacing it.
    pub fn patch_merges(self) -> bool {
        self.row.flags & table::PATCH_MERGE != 0
    }

    pub fn patch_retains_keys(self) -> bool {
        self.row.flags & table::RETAIN_KEYS != 0
    }

    /// An empty text, a zero or a false is the same as nothing, and is not written.
    pub fn omits_zero(self) -> bool {
        self.row.flags & table::OMIT_ZERO != 0
    }

    /// The key of strategic merge patch's list merging; `None` for lists of scalars.
    pub fn merge_key(self) -> Option<&'a str> {
        Some(self.table.text(self.row.merge_key)).filter(|key| !key.is_empty())
    }

    /// The protobuf field number and, for fields that JSON writes inline, the numbers on the way.
    pub fn number(self) -> [u8; 3] {
        self.row.number
    }

    pub(crate) fn index(self) -> usize {
        self.index
    }
}
