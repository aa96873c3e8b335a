//! What came in since it was last put into chunk files: segments of frames, each of one batch.
//!
//! ```text
//! payload   = kind:u8 body
//! samples   = base_ms:zigzag sample*
//! sample    = (zigzag(series - the one before) << 4 | flags << 2 | form):varint [ms - base_ms:zigzag] value
//! value     = raw:u64 | whole:zigzag | (stale: nothing) | histogram: length:varint chunk
//! exemplars = (series:varint ms:zigzag value:u64 labels:varint (name value)*)*
//! metadata  = (metric kind help unit)*
//! deleted   = (series:varint start_ms:zigzag end_ms:zigzag)*
//! ```
//! Texts have their length before them.

use std::sync::Arc;

use coracle_promql::{Columns, Labels, storage::STALE_NAN};

use crate::{
    codec::{
        ChunkKind,
        histograms::OpenHistograms,
        varint::{self, Cursor, unzigzag, zigzag},
    },
    sample::{Exemplar, Metadata, Value},
};

const SAMPLES: u8 = 1;
const EXEMPLARS: u8 = 2;
const METADATA: u8 = 3;
const DELETED: u8 = 4;

const RAW: u64 = 0;
const WHOLE: u64 = 1;
const STALE: u64 = 2;
const HISTOGRAM: u64 = 3;
const OTHER_TIME: u64 = 1 << 2;
const OUT_OF_ORDER: u64 = 1 << 3;
/// Whole numbers up to here are shorter so than as floats.
const WHOLE_MAX: f64 = (1u64 << 48) as f64;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    Sample { series: u64, time_ms: i64, out_of_order: bool, value: Value },
    Exemplar { series: u64, exemplar: Exemplar },
    Metadata { metric: String, metadata: Metadata },
    Deleted { series: u64, start_ms: i64, end_ms: i64 },
}

/// A frame of samples under construction.
#[derive(Default)]
pub(crate) struct SamplesRecord {
    bytes: Vec<u8>,
    base_ms: i64,
    previous: u64,
}

impl SamplesRecord {
    pub(crate) fn push(&mut self, series: u64, time_ms: i64, out_of_order: bool, value: &Value) {
        if self.bytes.is_empty() {
            self.bytes.push(SAMPLES);
            varint::put_signed(&mut self.bytes, time_ms);
            (self.base_ms, self.previous) = (time_ms, 0);
        }
        let form = match value {
            Value::Float(value) if value.to_bits() == STALE_NAN => STALE,
            Value::Float(value) if value.abs() <= WHOLE_MAX && (*value as i64 as f64).to_bits() == value.to_bits() => {
                WHOLE
            }
            Value::Float(_) => RAW,
            Value::Histogram(_) => HISTOGRAM,
        };
        let other_time = if time_ms == self.base_ms { 0 } else { OTHER_TIME };
        let flags = form | other_time | if out_of_order { OUT_OF_ORDER } else { 0 };
        varint::put(&mut self.bytes, zigzag(series.wrapping_sub(self.previous) as i64) << 4 | flags);
        self.previous = series;
        if other_time != 0 {
            varint::put_signed(&mut self.bytes, time_ms.wrapping_sub(self.base_ms));
        }
        match value {
            Value::Float(value) if form == WHOLE => varint::put_signed(&mut self.bytes, *value as i64),
            Value::Float(value) if form == RAW => self.bytes.extend_from_slice(&value.to_bits().to_le_bytes()),
            Value::Float(_) => {}
            Value::Histogram(histogram) => {
                let mut chunk = OpenHistograms::default();
                chunk.push(0, histogram);
                let mut encoded = Vec::new();
                chunk.encode(&mut encoded);
                varint::put_bytes(&mut self.bytes, &encoded);
            }
        }
    }

    /// The payload, or nothing when there were no samples.
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        (!self.bytes.is_empty()).then_some(&self.bytes)
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }
}

pub(crate) fn exemplars<'a>(exemplars: impl IntoIterator<Item = (u64, &'a Exemplar)>) -> Vec<u8> {
    let mut bytes = vec![EXEMPLARS];
    for (series, exemplar) in exemplars {
        varint::put(&mut bytes, series);
        varint::put_signed(&mut bytes, exemplar.time_ms);
        bytes.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        varint::put(&mut bytes, exemplar.labels.len() as u64);
        for (name, value) in &exemplar.labels {
            varint::put_bytes(&mut bytes, name.as_bytes());
            varint::put_bytes(&mut bytes, value.as_bytes());
        }
    }
    bytes
}

pub(crate) fn metadata<'a>(metadata: impl IntoIterator<Item = (&'a str, &'a Metadata)>) -> Vec<u8> {
    let mut bytes = vec![METADATA];
    for (metric, Metadata { kind, help, unit }) in metadata {
        for text in [metric, kind, help, unit] {
            varint::put_bytes(&mut bytes, text.as_bytes());
        }
    }
    bytes
}

pub(crate) fn deleted(deleted: impl IntoIterator<Item = (u64, i64, i64)>) -> Vec<u8> {
    let mut bytes = vec![DELETED];
    for (series, start_ms, end_ms) in deleted {
        varint::put(&mut bytes, series);
        varint::put_signed(&mut bytes, start_ms);
        varint::put_signed(&mut bytes, end_ms);
    }
    bytes
}

/// Shows what a payload says; `None` where it stops making sense.
pub(crate) fn replay(payload: &[u8], mut each: impl FnMut(Event)) -> Option<()> {
    let mut cursor = Cursor(payload);
    match cursor.u8()? {
        SAMPLES => replay_samples(cursor, each),
        EXEMPLARS => {
            while !cursor.is_empty() {
                each(take_exemplar(&mut cursor)?);
            }
            Some(())
        }
        METADATA => {
            while !cursor.is_empty() {
                let metric = cursor.text()?.to_owned();
                let mut text = || cursor.text().map(str::to_owned);
                each(Event::Metadata { metric, metadata: Metadata { kind: text()?, help: text()?, unit: text()? } });
            }
            Some(())
        }
        DELETED => {
            while !cursor.is_empty() {
                let series = cursor.varint()?;
                each(Event::Deleted { series, start_ms: cursor.signed()?, end_ms: cursor.signed()? });
            }
            Some(())
        }
        _ => None,
    }
}

fn replay_samples(mut cursor: Cursor<'_>, mut each: impl FnMut(Event)) -> Option<()> {
    let base_ms = cursor.signed()?;
    let mut series = 0u64;
    while !cursor.is_empty() {
        let key = cursor.varint()?;
        series = series.wrapping_add(unzigzag(key >> 4) as u64);
        let time_ms = if key & OTHER_TIME == 0 { base_ms } else { base_ms.wrapping_add(cursor.signed()?) };
        let value = match key & 3 {
            RAW => Value::Float(f64::from_bits(cursor.u64()?)),
            WHOLE => Value::Float(cursor.signed()? as f64),
            STALE => Value::Float(f64::from_bits(STALE_NAN)),
            _ => {
                let mut columns = Columns::default();
                ChunkKind::Histograms.decode(cursor.bytes()?, i64::MIN, i64::MAX, &mut columns)?;
                Value::Histogram(Arc::clone(columns.histograms.values.first()?))
            }
        };
        each(Event::Sample { series, time_ms, out_of_order: key & OUT_OF_ORDER != 0, value });
    }
    Some(())
}

fn take_exemplar(cursor: &mut Cursor<'_>) -> Option<Event> {
    let series = cursor.varint()?;
    let time_ms = cursor.signed()?;
    let value = f64::from_bits(cursor.u64()?);
    let count = cursor.usize().filter(|count| *count <= cursor.0.len())?;
    let pairs: Vec<(&str, &str)> = (0..count).map(|_| Some((cursor.text()?, cursor.text()?))).collect::<Option<_>>()?;
    Some(Event::Exemplar { series, exemplar: Exemplar { labels: Labels::new(pairs), value, time_ms } })
}

#[cfg(test)]
mod tests {
    use coracle_promql::FloatHistogram;

    use super::*;

    #[test]
    fn what_happened_is_told_again() {
        let float = |series, time_ms, out_of_order, value| Event::Sample {
            series,
            time_ms,
            out_of_order,
            value: Value::Float(value),
        };
        let histogram = FloatHistogram { count: 2.0, sum: 3.5, ..FloatHistogram::default() };
        let events = vec![
            float(7, 1000, false, 5.0),
            float(8, 1000, false, 0.1),
            float(3, 400, true, -9.0),
            float(1 << 40, 2000, false, -0.0),
            Event::Sample { series: 1, time_ms: 1, out_of_order: false, value: Value::Histogram(histogram.into()) },
        ];
        let mut record = SamplesRecord::default();
        for event in &events {
            let Event::Sample { series, time_ms, out_of_order, value } = event else { unreachable!() };
            record.push(*series, *time_ms, *out_of_order, value);
        }
        let mut told = Vec::new();
        replay(record.payload().unwrap(), |event| told.push(event)).unwrap();
        assert_eq!(told, events);
    }
}
