//! What a query means, as a tree.

use crate::matcher::Matcher;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// Gives log lines.
    Log(LogExpr),
    /// Gives numbers.
    Metric(MetricExpr),
}

/// A selector of streams and what is done with their lines.
#[derive(Debug, Clone, PartialEq)]
pub struct LogExpr {
    /// Which streams.
    pub matchers: Vec<Matcher>,
    /// In the order they were written.
    pub stages: Vec<Stage>,
}

/// One step of a pipeline.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// Line filters in a row; all must hold.
    Lines(Vec<LineFilter>),
    /// `| json`
    Json,
    /// `| json a="b.c"`
    JsonExpressions(Vec<Extraction>),
    /// `| logfmt`, with expressions or without.
    Logfmt {
        /// `--strict`
        strict: bool,
        /// `--keep-empty`
        keep_empty: bool,
        /// Empty: all keys.
        expressions: Vec<Extraction>,
    },
    /// `| regexp "…"`
    Regexp(String),
    /// `| pattern "…"`
    Pattern(String),
    /// `| unpack`
    Unpack,
    /// `| label = "value"` and the like.
    Labels(LabelFilter),
    /// `| line_format "…"`
    LineFormat(String),
    /// `| label_format a=b,c="…"`
    LabelFormat(Vec<LabelFormat>),
    /// `| decolorize`
    Decolorize,
    /// `| drop …`
    Drop(Vec<NamedMatcher>),
    /// `| keep …`
    Keep(Vec<NamedMatcher>),
}

/// A condition on the line.
#[derive(Debug, Clone, PartialEq)]
pub struct LineFilter {
    /// How the line is compared.
    pub op: LineOp,
    /// With any of these. There is one where the operator is a negative one.
    pub any: Vec<LineMatch>,
}

/// How a line filter compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineOp {
    /// `|=`
    Contains,
    /// `!=`
    NotContains,
    /// `|~`
    Regexp,
    /// `!~`
    NotRegexp,
    /// `|>`
    Pattern,
    /// `!>`
    NotPattern,
}

impl LineOp {
    /// Whether lines that match go on.
    pub fn is_positive(self) -> bool {
        matches!(self, Self::Contains | Self::Regexp | Self::Pattern)
    }
}

/// What a line filter looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineMatch {
    /// Text, an expression or a pattern.
    Text(String),
    /// `ip("…")`
    Ip(String),
}

/// `label="path"` of a parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extraction {
    /// The label that is made.
    pub label: String,
    /// From what.
    pub expression: String,
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
}

/// A condition on labels.
#[derive(Debug, Clone, PartialEq)]
pub enum LabelFilter {
    /// By text.
    Matcher(Matcher),
    /// The value read as a number.
    Number(String, Comparison, f64),
    /// The value read as a duration, in nanoseconds.
    Duration(String, Comparison, i64),
    /// The value read as a size in bytes.
    Bytes(String, Comparison, u64),
    /// Whether the value holds an address of a range.
    Ip {
        /// The label.
        label: String,
        /// `!=`
        negated: bool,
        /// An address, a prefix or a range.
        pattern: String,
    },
    /// Both.
    And(Box<LabelFilter>, Box<LabelFilter>),
    /// One of them.
    Or(Box<LabelFilter>, Box<LabelFilter>),
}

/// One assignment of `label_format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelFormat {
    /// `to=from`
    Rename {
        /// The new name.
        to: String,
        /// The old one.
        from: String,
    },
    /// `label="template"`
    Template {
        /// The label.
        label: String,
        /// Its template.
        template: String,
    },
}

/// A label of `drop` or `keep`.
#[derive(Debug, Clone, PartialEq)]
pub enum NamedMatcher {
    /// Whatever its value is.
    Name(String),
    /// Where the value matches.
    Matcher(Matcher),
}

/// A query that gives numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricExpr {
    /// `rate({…}[5m])` and the like.
    Range(Box<RangeAggregation>),
    /// `sum by (…) (…)` and the like.
    Vector(Box<VectorAggregation>),
    /// `a + b`
    Binary(Box<Binary>),
    /// A number.
    Literal(f64),
    /// `vector(1)`
    VectorLiteral(f64),
    /// `label_replace(…)`
    LabelReplace(Box<LabelReplace>),
}

/// An aggregation over the samples of a time range.
#[derive(Debug, Clone, PartialEq)]
pub struct RangeAggregation {
    /// Which.
    pub op: RangeOp,
    /// Of what.
    pub range: LogRange,
    /// The quantile.
    pub parameter: Option<f64>,
    /// How samples are put together.
    pub grouping: Option<Grouping>,
}

/// Log lines of a time range, perhaps with a number out of a label.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRange {
    /// The lines.
    pub selector: LogExpr,
    /// How far back, in nanoseconds.
    pub interval_ns: i64,
    /// How much earlier, in nanoseconds.
    pub offset_ns: i64,
    /// Where the numbers come from.
    pub unwrap: Option<Unwrap>,
}

/// `| unwrap label | filters`
#[derive(Debug, Clone, PartialEq)]
pub struct Unwrap {
    /// The label.
    pub label: String,
    /// How it is read.
    pub conversion: Option<Conversion>,
    /// What the sample must satisfy.
    pub filters: Vec<LabelFilter>,
}

/// How `unwrap` reads a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// As a size, in bytes.
    Bytes,
    /// As a duration, in seconds.
    Duration,
    /// The same under another name.
    DurationSeconds,
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type { $($variant),* }

        impl $type {
            /// The word in a query.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// By the word in a query.
            pub fn by_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// An aggregation over time.
    RangeOp {
        Rate = "rate", RateCounter = "rate_counter", Count = "count_over_time", BytesRate = "bytes_rate",
        Bytes = "bytes_over_time", Avg = "avg_over_time", Sum = "sum_over_time", Min = "min_over_time",
        Max = "max_over_time", Stdvar = "stdvar_over_time", Stddev = "stddev_over_time",
        Quantile = "quantile_over_time", First = "first_over_time", Last = "last_over_time", Absent = "absent_over_time",
    }
}

named! {
    /// An aggregation over series.
    VectorOp {
        Sum = "sum", Avg = "avg", Max = "max", Min = "min", Count = "count", Stddev = "stddev", Stdvar = "stdvar",
        BottomK = "bottomk", TopK = "topk", ApproxTopK = "approx_topk", Sort = "sort", SortDesc = "sort_desc",
    }
}

named! {
    /// A binary operator.
    BinaryOp {
        Or = "or", And = "and", Unless = "unless", Add = "+", Sub = "-", Mul = "*", Div = "/", Mod = "%", Pow = "^",
        Equal = "==", NotEqual = "!=", Greater = ">", GreaterOrEqual = ">=", Less = "<", LessOrEqual = "<=",
    }
}

impl BinaryOp {
    /// Whether it is one of the set operators.
    pub fn is_set(self) -> bool {
        matches!(self, Self::Or | Self::And | Self::Unless)
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
        matches!(self, Equal | NotEqual | Greater | GreaterOrEqual | Less | LessOrEqual)
    }
}

/// `by (…)` or `without (…)`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grouping {
    /// Whether the labels are those that go.
    pub without: bool,
    /// The labels.
    pub labels: Vec<String>,
}

impl Grouping {
    /// Whether everything becomes one series without labels.
    pub fn is_singleton(&self) -> bool {
        !self.without && self.labels.is_empty()
    }
}

/// An aggregation over series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorAggregation {
    /// Which.
    pub op: VectorOp,
    /// Of what.
    pub of: MetricExpr,
    /// How series are put together.
    pub grouping: Grouping,
    /// How many are kept; 0 for those that have no such parameter.
    pub parameter: usize,
}

/// A binary operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// Which.
    pub op: BinaryOp,
    /// The left side.
    pub left: MetricExpr,
    /// The right side.
    pub right: MetricExpr,
    /// A comparison gives 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How the sides' series find each other.
    pub matching: VectorMatching,
}

/// How series of two sides are matched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VectorMatching {
    /// One side may have several for one of the other.
    pub card: Cardinality,
    /// Whether `labels` are those that count, rather than those that do not.
    pub on: bool,
    /// `on (…)` or `ignoring (…)`; `None` where nothing was written.
    pub labels: Option<Vec<String>>,
    /// What is taken over from the "one" side.
    pub include: Option<Vec<String>>,
}

/// How many series of each side go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cardinality {
    /// One and one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
}

/// `label_replace(v, dst, replacement, src, regex)`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// The label that is set.
    pub destination: String,
    /// To what, with `$1` for groups.
    pub replacement: String,
    /// From which label.
    pub source: String,
    /// What its whole value must match.
    pub regex: String,
}

/// A label replaced in every series.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelReplace {
    /// Of what.
    pub of: MetricExpr,
    /// How.
    pub how: Replacement,
}
