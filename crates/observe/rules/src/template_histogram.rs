//! A histogram in a template: its text where it is printed, its numbers as fields.

use std::{any::Any, fmt, rc::Rc, sync::Arc};

use coracle_gotemplate::{Member, Object, Value};
use coracle_promql::FloatHistogram;

pub(crate) struct Histogram(Arc<FloatHistogram>);

impl Histogram {
    pub(crate) fn value(histogram: Arc<FloatHistogram>) -> Value {
        Value::Object(Rc::new(Self(histogram)))
    }
}

impl Object for Histogram {
    fn type_name(&self) -> &str {
        "*histogram.FloatHistogram"
    }

    fn member(&self, name: &str) -> Member {
        let histogram = &self.0;
        Member::Field(match name {
            "Count" => Value::Float(histogram.count),
            "Sum" => Value::Float(histogram.sum),
            "ZeroCount" => Value::Float(histogram.zero_count),
            "ZeroThreshold" => Value::Float(histogram.zero_threshold),
            "Schema" => Value::Int(i64::from(histogram.schema)),
            "String" => Value::string(histogram.to_string()),
            _ => return Member::Absent,
        })
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
