//! The shape of an expression.

use crate::{functions::Function, matcher::Matcher};

/// Bytes of the query's text, the end excluded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub fn to(self, end: Span) -> Span {
        Span { start: self.start, end: end.end }
    }

    /// `line:column` of the start, both from 1.
    pub fn place(self, query: &str) -> String {
        let Some(before) = query.get(..self.start) else { return "invalid position".to_owned() };
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueType {
    Scalar,
    Vector,
    Matrix,
    String,
}

impl ValueType {
    /// The word in answers.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }

    /// The words in errors.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    Call(Call),
    Matrix(MatrixSelector),
    Number(Number),
    Paren(Box<Paren>),
    String(Text),
    Subquery(Box<Subquery>),
    Unary(Box<Unary>),
    Vector(VectorSelector),
    /// Does not change from step to step; put in when an evaluation is prepared, never by the parser.
    StepInvariant(Box<Expr>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregator {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
    Limitk,
    LimitRatio,
}

impl Aggregator {
    pub const ALL: [Aggregator; 14] = [
        Aggregator::Avg,
        Aggregator::Bottomk,
        Aggregator::Count,
        Aggregator::CountValues,
        Aggregator::Group,
        Aggregator::Max,
        Aggregator::Min,
        Aggregator::Quantile,
        Aggregator::Stddev,
        Aggregator::Stdvar,
        Aggregator::Sum,
        Aggregator::Topk,
        Aggregator::Limitk,
        Aggregator::LimitRatio,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Aggregator::Avg => "avg",
            Aggregator::Bottomk => "bottomk",
            Aggregator::Count => "count",
            Aggregator::CountValues => "count_values",
            Aggregator::Group => "group",
            Aggregator::Max => "max",
            Aggregator::Min => "min",
            Aggregator::Quantile => "quantile",
            Aggregator::Stddev => "stddev",
            Aggregator::Stdvar => "stdvar",
            Aggregator::Sum => "sum",
            Aggregator::Topk => "topk",
            Aggregator::Limitk => "limitk",
            Aggregator::LimitRatio => "limit_ratio",
        }
    }

    pub fn takes_parameter(self) -> bool {
        use Aggregator::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        matches!(self, Topk | Bottomk | CountValues | Quantile | Limitk | LimitRatio)
    }

    pub fn is_experimental(self) -> bool {
        matches!(self, Aggregator::Limitk | Aggregator::LimitRatio)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    pub op: Aggregator,
    pub expr: Expr,
    pub param: Option<Expr>,
    pub grouping: Vec<String>,
    pub without: bool,
    pub span: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `</`: keeps a histogram's observations below.
    TrimUpper,
    /// `>/`: keeps a histogram's observations above.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    pub fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// How tightly it binds; larger is tighter.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
            BinaryOp::Pow => 6,
            _ => 3,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    pub op: BinaryOp,
    pub lhs: Expr,
    pub rhs: Expr,
    /// How samples of both sides find each other; nothing when one side is a scalar.
    pub matching: Option<VectorMatching>,
    pub return_bool: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cardinality {
    #[default]
    OneToOne,
    ManyToOne,
    OneToMany,
    ManyToMany,
}

impl Cardinality {
    pub fn name(self) -> &'static str {
        match self {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct VectorMatching {
    pub cardinality: Cardinality,
    pub labels: Vec<String>,
    /// Whether `labels` are the ones to match on (else the ones to ignore).
    pub on: bool,
    /// Labels of the "one" side that go into the answer.
    pub include: Vec<String>,
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub function: &'static Function,
    pub args: Vec<Expr>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    pub value: String,
    /// What was written, when that is no UTF-8; `value` has replacement characters then.
    pub invalid_utf8: Option<Vec<u8>>,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    pub expr: Expr,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    pub negative: bool,
    pub expr: Expr,
    pub start: usize,
}

/// The moment a selector is nailed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    TimeMs(i64),
    Start,
    End,
}

/// A shift back in time.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Offset {
    #[default]
    None,
    Ns(i64),
    Computed(Box<DurationExpr>),
}

/// A length of time in a selector's brackets.
#[derive(Debug, Clone, PartialEq)]
pub enum Length {
    Ns(i64),
    Computed(Box<DurationExpr>),
}

impl Length {
    pub fn ns(&self) -> i64 {
        match self {
            Length::Ns(ns) => *ns,
            Length::Computed(_) => 0,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    Literal(Number),
    Step(Span),
    Range(Span),
    Extreme { most: bool, lhs: Box<DurationExpr>, rhs: Box<DurationExpr>, span: Span },
    Negated { expr: Box<DurationExpr>, start: usize },
    Binary { op: BinaryOp, lhs: Box<DurationExpr>, rhs: Box<DurationExpr> },
    Wrapped(Box<DurationExpr>),
}

impl DurationExpr {
    pub fn span(&self) -> Span {
        match self {
            DurationExpr::Literal(number) => number.span,
            DurationExpr::Step(span) | DurationExpr::Range(span) | DurationExpr::Extreme { span, .. } => *span,
            DurationExpr::Negated { expr, start } => Span { start: *start, end: expr.span().end },
            DurationExpr::Binary { lhs, rhs, .. } => lhs.span().to(rhs.span()),
            DurationExpr::Wrapped(inner) => inner.span(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The name written before the braces, or nothing.
    pub name: String,
    /// All of them, the name's too (last).
    pub matchers: Vec<Matcher>,
    pub offset: Offset,
    pub at: Option<At>,
    pub anchored: bool,
    pub smoothed: bool,
    /// May match everything: the second argument of `info`.
    pub may_be_empty: bool,
    pub span: Span,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    pub selector: VectorSelector,
    pub range: Length,
    pub end: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    pub expr: Expr,
    pub range: Length,
    pub step: Option<Length>,
    pub offset: Offset,
    pub at: Option<At>,
    pub end: usize,
}

impl Expr {
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Aggregate(_) | Expr::Vector(_) => ValueType::Vector,
            Expr::Binary(binary) => match (binary.lhs.value_type(), binary.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            Expr::Call(call) => call.function.returns,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Number(_) => ValueType::Scalar,
            Expr::Paren(paren) => paren.expr.value_type(),
            Expr::String(_) => ValueType::String,
            Expr::Unary(unary) => unary.expr.value_type(),
            Expr::StepInvariant(inner) => inner.value_type(),
        }
    }

    pub fn span(&self) -> Span {
        match self {
            Expr::Aggregate(aggregate) => aggregate.span,
            Expr::Binary(binary) => binary.lhs.span().to(binary.rhs.span()),
            Expr::Call(call) => call.span,
            Expr::Matrix(matrix) => Span { start: matrix.selector.span.start, end: matrix.end },
            Expr::Number(number) => number.span,
            Expr::Paren(paren) => paren.span,
            Expr::String(text) => text.span,
            Expr::Subquery(subquery) => Span { start: subquery.expr.span().start, end: subquery.end },
            Expr::Unary(unary) => Span { start: unary.start, end: unary.expr.span().end },
            Expr::Vector(vector) => vector.span,
            Expr::StepInvariant(inner) => inner.span(),
        }
    }

    /// Without the parentheses and marks around it.
    pub fn unwrapped(&self) -> &Expr {
        match self {
            Expr::Paren(paren) => paren.expr.unwrapped(),
            Expr::StepInvariant(inner) => inner.unwrapped(),
            other => other,
        }
    }

    /// The expressions directly inside.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Aggregate(aggregate) => std::iter::once(&aggregate.expr).chain(&aggregate.param).collect(),
            Expr::Binary(binary) => vec![&binary.lhs, &binary.rhs],
            Expr::Call(call) => call.args.iter().collect(),
            Expr::Paren(paren) => vec![&paren.expr],
            Expr::Subquery(subquery) => vec![&subquery.expr],
            Expr::Unary(unary) => vec![&unary.expr],
            Expr::StepInvariant(inner) => vec![inner],
            Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Vector(_) => Vec::new(),
        }
    }

    /// Every selector, in the order of the text.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        match self {
            Expr::Vector(vector) => vec![vector],
            Expr::Matrix(matrix) => vec![&matrix.selector],
            other => other.children().into_iter().flat_map(Expr::selectors).collect(),
        }
    }
}
