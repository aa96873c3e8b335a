//! Both versions of remote write's messages, decoded into batches that borrow their texts.

use std::sync::Arc;

use coracle_promql::{FloatHistogram, Labels, labels::METRIC_NAME};

use crate::{
    Batch, Exemplar, Metadata,
    proto::{self, Field, Malformed, Message, each_field},
};

const KINDS: [&str; 8] = ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// A message of version 1: `prometheus.WriteRequest`.
pub(crate) fn decode_v1(bytes: &[u8]) -> Result<Batch<'_>, Malformed> {
    let mut batch = Batch::default();
    let mut labels = Vec::new();
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => series_v1(field.bytes()?, &mut labels, &mut batch)?,
            3 => metadata_v1(field.bytes()?, &mut batch)?,
            _ => {}
        }
    }
    Ok(batch)
}

fn series_v1<'a>(
    bytes: &'a [u8],
    labels: &mut Vec<(&'a str, &'a str)>,
    batch: &mut Batch<'a>,
) -> Result<(), Malformed> {
    labels.clear();
    // Labels come first on the wire, but need not.
    each_field(bytes, |number, field| {
        if number == 1 {
            labels.push(pair(field)?);
        }
        Ok(())
    })?;
    batch.start_series(labels.iter().copied());
    each_field(bytes, |number, field| {
        match number {
            2 => {
                let (time_ms, value) = sample(field)?;
                batch.push_float(time_ms, value);
            }
            3 => batch.push_exemplar(exemplar_v1(field.bytes()?)?),
            4 => {
                let (time_ms, histogram) = proto::histogram(field.bytes()?)?;
                push_histogram(batch, time_ms, histogram);
            }
            _ => {}
        }
        Ok(())
    })
}

fn push_histogram(batch: &mut Batch<'_>, time_ms: i64, histogram: FloatHistogram) {
    batch.push_histogram(time_ms, Arc::new(histogram));
}

fn pair(field: Field<'_>) -> Result<(&str, &str), Malformed> {
    let (mut name, mut value) = ("", "");
    each_field(field.bytes()?, |number, field| {
        match number {
            1 => name = field.text()?,
            2 => value = field.text()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, value))
}

fn sample(field: Field<'_>) -> Result<(i64, f64), Malformed> {
    let (mut value, mut time_ms) = (0.0, 0);
    each_field(field.bytes()?, |number, field| {
        match number {
            1 => value = field.double()?,
            2 => time_ms = field.signed()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((time_ms, value))
}

fn exemplar_v1(bytes: &[u8]) -> Result<Exemplar, Malformed> {
    let mut labels = Vec::new();
    let (mut value, mut time_ms) = (0.0, 0);
    each_field(bytes, |number, field| {
        match number {
            1 => labels.push(pair(field)?),
            2 => value = field.double()?,
            3 => time_ms = field.signed()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Exemplar { labels: Labels::new(labels), value, time_ms })
}

fn metadata_v1<'a>(bytes: &'a [u8], batch: &mut Batch<'a>) -> Result<(), Malformed> {
    let mut metric = "";
    let mut metadata = Metadata::default();
    let mut kind = 0;
    each_field(bytes, |number, field| {
        match number {
            1 => kind = field.number()?,
            2 => metric = field.text()?,
            4 => metadata.help = field.text()?.to_owned(),
            5 => metadata.unit = field.text()?.to_owned(),
            _ => {}
        }
        Ok(())
    })?;
    metadata.kind = kind_name(kind);
    batch.push_metadata(metric, metadata);
    Ok(())
}

fn kind_name(kind: u64) -> String {
    KINDS.get(kind as usize).unwrap_or(&KINDS[0]).to_string()
}

/// A message of version 2: `io.prometheus.write.v2.Request`.
pub(crate) fn decode_v2(bytes: &[u8]) -> Result<Batch<'_>, Malformed> {
    let mut symbols = Vec::new();
    each_field(bytes, |number, field| {
        if number == 4 {
            symbols.push(field.text()?);
        }
        Ok(())
    })?;
    let mut batch = Batch::default();
    let mut message = Message::new(bytes);
    while let Some((number, field)) = message.next()? {
        if number == 5 {
            series_v2(field.bytes()?, &symbols, &mut batch)?;
        }
    }
    Ok(batch)
}

/// References to symbols, in pairs.
fn pairs_v2<'a>(refs: &[u64], symbols: &[&'a str]) -> Result<Vec<(&'a str, &'a str)>, Malformed> {
    let text = |index: u64| symbols.get(index as usize).copied().ok_or(Malformed);
    let (pairs, rest) = refs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(Malformed);
    }
    pairs.iter().map(|[name, value]| Ok((text(*name)?, text(*value)?))).collect()
}

fn series_v2<'a>(bytes: &'a [u8], symbols: &[&'a str], batch: &mut Batch<'a>) -> Result<(), Malformed> {
    let mut refs = Vec::new();
    each_field(bytes, |number, field| match number {
        1 => field.each_varint(|number| refs.push(number)),
        _ => Ok(()),
    })?;
    let pairs = pairs_v2(&refs, symbols)?;
    let metric = pairs.iter().find(|(name, _)| *name == METRIC_NAME).map(|(_, value)| *value);
    batch.start_series(pairs);
    each_field(bytes, |number, field| {
        match number {
            2 => {
                let (time_ms, value) = sample(field)?;
                batch.push_float(time_ms, value);
            }
            3 => {
                let (time_ms, histogram) = proto::histogram(field.bytes()?)?;
                push_histogram(batch, time_ms, histogram);
            }
            4 => batch.push_exemplar(exemplar_v2(field.bytes()?, symbols)?),
            5 => {
                if let (Some(metric), Some(metadata)) = (metric, metadata_v2(field.bytes()?, symbols)?) {
                    batch.push_metadata(metric, metadata);
                }
            }
            _ => {}
        }
        Ok(())
    })
}

fn exemplar_v2(bytes: &[u8], symbols: &[&str]) -> Result<Exemplar, Malformed> {
    let mut refs = Vec::new();
    let (mut value, mut time_ms) = (0.0, 0);
    each_field(bytes, |number, field| {
        match number {
            1 => field.each_varint(|number| refs.push(number))?,
            2 => value = field.double()?,
            3 => time_ms = field.signed()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(Exemplar { labels: Labels::new(pairs_v2(&refs, symbols)?), value, time_ms })
}

/// Nothing when it says nothing.
fn metadata_v2(bytes: &[u8], symbols: &[&str]) -> Result<Option<Metadata>, Malformed> {
    let text = |index: u64| symbols.get(index as usize).map(|text| (*text).to_owned()).ok_or(Malformed);
    let mut metadata = Metadata::default();
    let mut kind = 0;
    each_field(bytes, |number, field| {
        match number {
            1 => kind = field.number()?,
            3 => metadata.help = text(field.number()?)?,
            4 => metadata.unit = text(field.number()?)?,
            _ => {}
        }
        Ok(())
    })?;
    metadata.kind = kind_name(kind);
    Ok((kind != 0 || !metadata.help.is_empty() || !metadata.unit.is_empty()).then_some(metadata))
}
