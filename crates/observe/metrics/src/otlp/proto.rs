//! `ExportMetricsServiceRequest` on the wire.

use super::{
    Attributes, Buckets, DELTA, Data, Exponential, Histogram, Metric, NO_RECORDED_VALUE, Number, Point, Resource,
    SentExemplar, Summary,
};
use crate::proto::{Field, Malformed, each_field};

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<Resource>, Malformed> {
    let mut resources = Vec::new();
    each_field(bytes, |number, field| {
        if number == 1 {
            resources.push(resource(field.bytes()?)?);
        }
        Ok(())
    })?;
    Ok(resources)
}

fn resource(bytes: &[u8]) -> Result<Resource, Malformed> {
    let mut resource = Resource::default();
    each_field(bytes, |number, field| {
        match number {
            1 => each_field(field.bytes()?, |number, field| match number {
                1 => attribute(field, &mut resource.attributes),
                _ => Ok(()),
            })?,
            2 => each_field(field.bytes()?, |number, field| {
                if number == 2 {
                    resource.metrics.push(metric(field.bytes()?)?);
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(resource)
}

fn attribute(field: Field<'_>, into: &mut Attributes) -> Result<(), Malformed> {
    let (mut name, mut value) = (String::new(), String::new());
    each_field(field.bytes()?, |number, field| {
        match number {
            1 => name = field.text()?.to_owned(),
            2 => value = any_value(field.bytes()?, 0)?,
            _ => {}
        }
        Ok(())
    })?;
    into.push((name, value));
    Ok(())
}

/// Lists within lists go no deeper than this.
const DEPTH_MAX: usize = 16;

/// A value of any type as text; what is no simple one as JSON.
fn any_value(bytes: &[u8], depth: usize) -> Result<String, Malformed> {
    if depth > DEPTH_MAX {
        return Err(Malformed);
    }
    let mut text = String::new();
    each_field(bytes, |number, field| {
        match number {
            1 => text = field.text()?.to_owned(),
            2 => text = (field.number()? != 0).to_string(),
            3 => text = field.signed()?.to_string(),
            4 => text = field.double()?.to_string(),
            5 => {
                let mut items = Vec::new();
                each_field(field.bytes()?, |number, field| {
                    if number == 1 {
                        items.push(any_value(field.bytes()?, depth + 1)?);
                    }
                    Ok(())
                })?;
                text = serde_json::json!(items).to_string();
            }
            7 => text = String::from_utf8_lossy(field.bytes()?).into_owned(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(text)
}

fn metric(bytes: &[u8]) -> Result<Metric, Malformed> {
    let mut metric = Metric::default();
    each_field(bytes, |number, field| {
        match number {
            1 => metric.name = field.text()?.to_owned(),
            2 => metric.description = field.text()?.to_owned(),
            3 => metric.unit = field.text()?.to_owned(),
            5 => metric.data = Data::Gauge(collection(field, number_point)?.points),
            7 => {
                let Collection { points, delta, monotonic } = collection(field, number_point)?;
                metric.data = Data::Sum { points, delta, monotonic };
            }
            9 => {
                let Collection { points, delta, .. } = collection(field, histogram)?;
                metric.data = Data::Histogram { points, delta };
            }
            10 => {
                let Collection { points, delta, .. } = collection(field, exponential)?;
                metric.data = Data::Exponential { points, delta };
            }
            11 => metric.data = Data::Summary(collection(field, summary)?.points),
            _ => {}
        }
        Ok(())
    })?;
    Ok(metric)
}

struct Collection<T> {
    points: Vec<T>,
    delta: bool,
    monotonic: bool,
}

fn collection<T>(field: Field<'_>, point: fn(&[u8]) -> Result<T, Malformed>) -> Result<Collection<T>, Malformed> {
    let mut collection = Collection { points: Vec::new(), delta: false, monotonic: false };
    each_field(field.bytes()?, |number, field| {
        match number {
            1 => collection.points.push(point(field.bytes()?)?),
            2 => collection.delta = field.number()? == DELTA,
            3 => collection.monotonic = field.number()? != 0,
            _ => {}
        }
        Ok(())
    })?;
    Ok(collection)
}

fn flags(field: Field<'_>, point: &mut Point) -> Result<(), Malformed> {
    point.ended = field.number()? & NO_RECORDED_VALUE != 0;
    Ok(())
}

fn exemplar(field: Field<'_>, point: &mut Point) -> Result<(), Malformed> {
    let hexadecimal = |field: Field<'_>| Ok(field.bytes()?.iter().map(|byte| format!("{byte:02x}")).collect());
    let mut sent = SentExemplar::default();
    each_field(field.bytes()?, |number, field| {
        match number {
            2 => sent.time_ns = field.number()?,
            3 => sent.value = field.double()?,
            4 => sent.span_id = hexadecimal(field)?,
            5 => sent.trace_id = hexadecimal(field)?,
            6 => sent.value = field.signed()? as f64,
            7 => attribute(field, &mut sent.attributes)?,
            _ => {}
        }
        Ok(())
    })?;
    point.exemplars.push(sent.finish());
    Ok(())
}

fn number_point(bytes: &[u8]) -> Result<Number, Malformed> {
    let mut number_point = Number::default();
    let Number { point, value } = &mut number_point;
    each_field(bytes, |number, field| {
        match number {
            3 => point.time_ns = field.number()?,
            4 => *value = field.double()?,
            5 => exemplar(field, point)?,
            6 => *value = field.signed()? as f64,
            7 => attribute(field, &mut point.attributes)?,
            8 => flags(field, point)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(number_point)
}

fn histogram(bytes: &[u8]) -> Result<Histogram, Malformed> {
    let mut histogram = Histogram::default();
    each_field(bytes, |number, field| {
        match number {
            3 => histogram.point.time_ns = field.number()?,
            4 => histogram.count = field.number()?,
            5 => histogram.sum = Some(field.double()?),
            6 => field.each_fixed64(|count| histogram.counts.push(count))?,
            7 => field.each_fixed64(|bits| histogram.bounds.push(f64::from_bits(bits)))?,
            8 => exemplar(field, &mut histogram.point)?,
            9 => attribute(field, &mut histogram.point.attributes)?,
            10 => flags(field, &mut histogram.point)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(histogram)
}

fn exponential(bytes: &[u8]) -> Result<Exponential, Malformed> {
    let mut histogram = Exponential::default();
    each_field(bytes, |number, field| {
        match number {
            1 => attribute(field, &mut histogram.point.attributes)?,
            3 => histogram.point.time_ns = field.number()?,
            4 => histogram.count = field.number()?,
            5 => histogram.sum = field.double()?,
            6 => histogram.scale = field.zigzag()?.try_into().map_err(|_| Malformed)?,
            7 => histogram.zero_count = field.number()?,
            8 => histogram.positive = buckets(field.bytes()?)?,
            9 => histogram.negative = buckets(field.bytes()?)?,
            10 => flags(field, &mut histogram.point)?,
            11 => exemplar(field, &mut histogram.point)?,
            14 => histogram.zero_threshold = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(histogram)
}

fn buckets(bytes: &[u8]) -> Result<Buckets, Malformed> {
    let mut buckets = Buckets::default();
    each_field(bytes, |number, field| {
        match number {
            1 => buckets.offset = field.zigzag()?.try_into().map_err(|_| Malformed)?,
            2 => field.each_varint(|count| buckets.counts.push(count))?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(buckets)
}

fn summary(bytes: &[u8]) -> Result<Summary, Malformed> {
    let mut summary = Summary::default();
    each_field(bytes, |number, field| {
        match number {
            3 => summary.point.time_ns = field.number()?,
            4 => summary.count = field.number()?,
            5 => summary.sum = field.double()?,
            6 => {
                let (mut quantile, mut value) = (0.0, 0.0);
                each_field(field.bytes()?, |number, field| {
                    match number {
                        1 => quantile = field.double()?,
                        2 => value = field.double()?,
                        _ => {}
                    }
                    Ok(())
                })?;
                summary.quantiles.push((quantile, value));
            }
            7 => attribute(field, &mut summary.point.attributes)?,
            8 => flags(field, &mut summary.point)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(summary)
}
