//! The abstract syntax: what the parser makes, macros already expanded.

/// A node's number: its place in the tables of positions and types.
pub type Id = usize;

/// One expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// Its number.
    pub id: Id,
    /// What it is.
    pub kind: ExprKind,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// A name.
    Ident(String),
    /// `operand.field`, or `has(operand.field)` where only the presence is tested.
    Select { operand: Box<Expr>, field: String, test_only: bool },
    /// A function, an operator or a method.
    Call { function: String, target: Option<Box<Expr>>, args: Vec<Expr> },
    /// `[a, ?b]`.
    List(Vec<Element>),
    /// `{k: v, ?k: v}`.
    Map(Vec<Entry>),
    /// `Name{field: value}`.
    Struct { name: String, fields: Vec<FieldInit> },
    /// What most macros become.
    Comprehension(Box<Comprehension>),
}

/// An item of a list; an optional one is left out when it is empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Element {
    /// The item.
    pub value: Expr,
    /// Whether it was written with `?`.
    pub optional: bool,
}

/// An entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The entry's own number.
    pub id: Id,
    /// Its key.
    pub key: Expr,
    /// Its value.
    pub value: Expr,
    /// Whether it was written with `?`.
    pub optional: bool,
}

/// A field of a new object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldInit {
    /// The field's own number.
    pub id: Id,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Expr,
    /// Whether it was written with `?`.
    pub optional: bool,
}

/// A fold over a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Comprehension {
    /// What is walked.
    pub range: Expr,
    /// The element, or the key or index when there are two.
    pub variable: String,
    /// The value, in the two-variable forms.
    pub second: Option<String>,
    /// The accumulator.
    pub accumulator: String,
    /// Its first value.
    pub init: Expr,
    /// Goes on while this holds.
    pub condition: Expr,
    /// The next value.
    pub step: Expr,
    /// What comes out.
    pub result: Expr,
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `null`.
    Null,
    /// `true`.
    Bool(bool),
    /// `1`.
    Int(i64),
    /// `1u`.
    Uint(u64),
    /// `1.0`.
    Double(f64),
    /// `'a'`.
    String(String),
    /// `b'a'`.
    Bytes(Vec<u8>),
}

/// The name the folding macros use, which nobody can write.
pub const ACCUMULATOR: &str = "@result";

/// The functions operators stand for.
pub mod operator {
    pub const CONDITIONAL: &str = "_?_:_";
    pub const AND: &str = "_&&_";
    pub const OR: &str = "_||_";
    pub const NOT: &str = "!_";
    pub const EQUALS: &str = "_==_";
    pub const NOT_EQUALS: &str = "_!=_";
    pub const LESS: &str = "_<_";
    pub const LESS_EQUALS: &str = "_<=_";
    pub const GREATER: &str = "_>_";
    pub const GREATER_EQUALS: &str = "_>=_";
    pub const ADD: &str = "_+_";
    pub const SUBTRACT: &str = "_-_";
    pub const MULTIPLY: &str = "_*_";
    pub const DIVIDE: &str = "_/_";
    pub const MODULO: &str = "_%_";
    pub const NEGATE: &str = "-_";
    pub const INDEX: &str = "_[_]";
    pub const OPT_INDEX: &str = "_[?_]";
    pub const OPT_SELECT: &str = "_?._";
    pub const IN: &str = "@in";
    pub const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
}
