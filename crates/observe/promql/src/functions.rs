//! The functions' names and what they take and give.

use crate::parser::ast::ValueType::{self, Matrix, Scalar, String, Vector};

#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    pub args: &'static [ValueType],
    /// Arguments that may be left out at the end (or repeated): 0 none, negative without limit.
    pub variadic: i32,
    pub returns: ValueType,
    pub experimental: bool,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    pub fn find(name: &str) -> Option<&'static Function> {
        FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
    }

    /// All of them, ordered by name.
    pub fn all() -> &'static [Function] {
        FUNCTIONS
    }
}

const fn plain(name: &'static str, args: &'static [ValueType]) -> Function {
    Function { name, args, variadic: 0, returns: Vector, experimental: false }
}

const fn scalar(name: &'static str, args: &'static [ValueType]) -> Function {
    Function { name, args, variadic: 0, returns: Scalar, experimental: false }
}

const fn variadic(function: Function, variadic: i32) -> Function {
    Function { variadic, ..function }
}

const fn experimental(function: Function) -> Function {
    Function { experimental: true, ..function }
}

/// Ordered by name, so that it can be searched.
static FUNCTIONS: &[Function] = &[
    plain("abs", &[Vector]),
    plain("absent", &[Vector]),
    plain("absent_over_time", &[Matrix]),
    plain("acos", &[Vector]),
    plain("acosh", &[Vector]),
    plain("asin", &[Vector]),
    plain("asinh", &[Vector]),
    plain("atan", &[Vector]),
    plain("atanh", &[Vector]),
    plain("avg_over_time", &[Matrix]),
    plain("ceil", &[Vector]),
    plain("changes", &[Matrix]),
    plain("clamp", &[Vector, Scalar, Scalar]),
    plain("clamp_max", &[Vector, Scalar]),
    plain("clamp_min", &[Vector, Scalar]),
    plain("cos", &[Vector]),
    plain("cosh", &[Vector]),
    plain("count_over_time", &[Matrix]),
    variadic(plain("day_of_month", &[Vector]), 1),
    variadic(plain("day_of_week", &[Vector]), 1),
    variadic(plain("day_of_year", &[Vector]), 1),
    variadic(plain("days_in_month", &[Vector]), 1),
    plain("deg", &[Vector]),
    plain("delta", &[Matrix]),
    plain("deriv", &[Matrix]),
    experimental(plain("double_exponential_smoothing", &[Matrix, Scalar, Scalar])),
    experimental(scalar("end", &[])),
    plain("exp", &[Vector]),
    experimental(plain("first_over_time", &[Matrix])),
    plain("floor", &[Vector]),
    plain("histogram_avg", &[Vector]),
    plain("histogram_count", &[Vector]),
    plain("histogram_fraction", &[Scalar, Scalar, Vector]),
    plain("histogram_quantile", &[Scalar, Vector]),
    experimental(variadic(plain("histogram_quantiles", &[Vector, String, Scalar, Scalar]), 9)),
    plain("histogram_stddev", &[Vector]),
    plain("histogram_stdvar", &[Vector]),
    plain("histogram_sum", &[Vector]),
    variadic(plain("hour", &[Vector]), 1),
    plain("idelta", &[Matrix]),
    plain("increase", &[Matrix]),
    experimental(variadic(plain("info", &[Vector, Vector]), 1)),
    plain("irate", &[Matrix]),
    variadic(plain("label_join", &[Vector, String, String, String]), -1),
    plain("label_replace", &[Vector, String, String, String, String]),
    plain("last_over_time", &[Matrix]),
    plain("ln", &[Vector]),
    plain("log10", &[Vector]),
    plain("log2", &[Vector]),
    experimental(plain("mad_over_time", &[Matrix])),
    experimental(scalar("max_of", &[Scalar, Scalar])),
    plain("max_over_time", &[Matrix]),
    experimental(scalar("min_of", &[Scalar, Scalar])),
    plain("min_over_time", &[Matrix]),
    variadic(plain("minute", &[Vector]), 1),
    variadic(plain("month", &[Vector]), 1),
    scalar("pi", &[]),
    plain("predict_linear", &[Matrix, Scalar]),
    plain("present_over_time", &[Matrix]),
    plain("quantile_over_time", &[Scalar, Matrix]),
    plain("rad", &[Vector]),
    experimental(scalar("range", &[])),
    plain("rate", &[Matrix]),
    plain("resets", &[Matrix]),
    variadic(plain("round", &[Vector, Scalar]), 1),
    scalar("scalar", &[Vector]),
    plain("sgn", &[Vector]),
    plain("sin", &[Vector]),
    plain("sinh", &[Vector]),
    plain("sort", &[Vector]),
    experimental(variadic(plain("sort_by_label", &[Vector, String]), -1)),
    experimental(variadic(plain("sort_by_label_desc", &[Vector, String]), -1)),
    plain("sort_desc", &[Vector]),
    plain("sqrt", &[Vector]),
    experimental(scalar("start", &[])),
    plain("stddev_over_time", &[Matrix]),
    plain("stdvar_over_time", &[Matrix]),
    experimental(scalar("step", &[])),
    plain("sum_over_time", &[Matrix]),
    plain("tan", &[Vector]),
    plain("tanh", &[Vector]),
    scalar("time", &[]),
    plain("timestamp", &[Vector]),
    experimental(plain("ts_of_first_over_time", &[Matrix])),
    experimental(plain("ts_of_last_over_time", &[Matrix])),
    experimental(plain("ts_of_max_over_time", &[Matrix])),
    experimental(plain("ts_of_min_over_time", &[Matrix])),
    plain("vector", &[Scalar]),
    variadic(plain("year", &[Vector]), 1),
];
