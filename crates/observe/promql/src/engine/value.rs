//! What queries answer with.

use std::sync::Arc;

use crate::{histogram::FloatHistogram, labels::Labels};

#[derive(Debug, Clone, PartialEq)]
pub enum SampleValue {
    Float(f64),
    Histogram(Arc<FloatHistogram>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Labels,
    pub time_ms: i64,
    pub value: SampleValue,
}

/// A value and its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Point<V> {
    pub time_ms: i64,
    pub value: V,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct MatrixSeries {
    pub labels: Labels,
    pub floats: Vec<Point<f64>>,
    pub histograms: Vec<Point<Arc<FloatHistogram>>>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar { time_ms: i64, value: f64 },
    String { time_ms: i64, value: String },
    Vector(Vec<Sample>),
    Matrix(Vec<MatrixSeries>),
}

impl Value {
    /// The word in the HTTP interface's answers.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Scalar { .. } => "scalar",
            Value::String { .. } => "string",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
        }
    }
}
