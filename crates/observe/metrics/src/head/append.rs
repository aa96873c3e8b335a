//! Taking samples in: checked first, then logged, then applied; a batch whose log could not be written leaves no trace.

use std::fmt::Write;

use super::{Head, LOOSE_MAX, OPEN_BYTES_MAX, Open, UNKNOWN_BITS, push};
use crate::sample::{Appended, Batch, BatchSeries, Value};
use crate::symbols::TEXT_BYTES_MAX;

/// A sample that was checked and waits for the log.
pub(crate) struct Staged {
    pub(crate) slot: u32,
    pub(crate) time_ms: i64,
    pub(crate) value: Value,
    pub(crate) out_of_order: bool,
    /// The series' newest sample before this one, to go back to.
    pub(super) before: Option<(i64, u64)>,
}

/// Why a sample is not taken.
enum Refusal {
    OutOfOrder,
    TooOld,
    Duplicate,
    TooNew,
    Limit(String),
    Invalid(String),
}

/// What tells two samples of one time apart.
pub(super) fn bits_of(value: &Value) -> u64 {
    match value {
        Value::Float(value) => value.to_bits(),
        Value::Histogram(histogram) => histogram.sum.to_bits() ^ histogram.count.to_bits().rotate_left(17),
    }
}

impl Head {
    /// Checks a batch; what may come in is appended to `staged`, with the slot of each series in `slots`.
    pub(crate) fn stage(
        &mut self,
        batch: &Batch<'_>,
        now_ms: i64,
        staged: &mut Vec<Staged>,
        slots: &mut Vec<Option<u32>>,
    ) -> Appended {
        let mut appended = Appended::default();
        let newest_allowed_ms = now_ms.saturating_add(self.options.future_ms);
        for series in &batch.series {
            let floats = &batch.floats[series.floats.start as usize..series.floats.end as usize];
            let histograms = &batch.histograms[series.histograms.start as usize..series.histograms.end as usize];
            let slot = match self.find_or_create(batch, series) {
                Ok(slot) => slot,
                Err(refusal) => {
                    slots.push(None);
                    refuse(&mut appended, refusal, batch, series, floats.len() + histograms.len());
                    continue;
                }
            };
            slots.push(Some(slot));
            for (time_ms, value) in floats {
                match self.stage_one(slot, *time_ms, Value::Float(*value), newest_allowed_ms, staged) {
                    Ok(()) => appended.floats += 1,
                    Err(refusal) => refuse(&mut appended, refusal, batch, series, 1),
                }
            }
            for (time_ms, value) in histograms {
                let checked = match value.is_stale() {
                    true => Ok(()),
                    false => value.validate().map_err(|why| Refusal::Invalid(why.to_string())),
                };
                let value = Value::Histogram(value.clone());
                match checked.and_then(|()| self.stage_one(slot, *time_ms, value, newest_allowed_ms, staged)) {
                    Ok(()) => appended.histograms += 1,
                    Err(refusal) => refuse(&mut appended, refusal, batch, series, 1),
                }
            }
        }
        appended
    }

    fn find_or_create(&mut self, batch: &Batch<'_>, series: &BatchSeries) -> Result<u32, Refusal> {
        let labels = batch.labels_of(series);
        if let Some(slot) = self.index.find(series.hash, labels) {
            return Ok(slot);
        }
        self.check_labels(labels)?;
        if self.series.len() >= self.options.series_max {
            return Err(Refusal::Limit(format!(
                "there are {} series already, the limit; remove the labels with the most values (api/v1/status/tsdb shows \
                 them), or allow more with --max-series",
                self.series.len()
            )));
        }
        if self.series.len().is_multiple_of(256) && self.heap_bytes() > self.options.memory_bytes
            || !self.index.symbols.has_room()
        {
            return Err(Refusal::Limit(format!(
                "series take {} MiB of memory, the limit; remove the labels with the most values (api/v1/status/tsdb shows \
                 them), or allow more with --memory",
                self.heap_bytes() >> 20
            )));
        }
        let symbols = &mut self.index.symbols;
        let pairs: Vec<_> = labels.iter().map(|(name, value)| (symbols.intern(name), symbols.intern(value))).collect();
        let id = self.next_id;
        self.next_id += 1;
        Ok(self.insert(id, &pairs, series.hash))
    }

    fn check_labels(&self, labels: &[(&str, &str)]) -> Result<(), Refusal> {
        let options = &self.options;
        if labels.is_empty() {
            return Err(Refusal::Invalid("a series needs labels".to_owned()));
        }
        if labels.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Refusal::Invalid("a label is there twice".to_owned()));
        }
        if labels.iter().any(|(name, _)| name.is_empty()) {
            return Err(Refusal::Invalid("a label has no name".to_owned()));
        }
        if labels.len() > options.labels_max {
            return Err(Refusal::Limit(format!("{} labels, the limit is {}", labels.len(), options.labels_max)));
        }
        let value_max = options.label_value_bytes_max.min(TEXT_BYTES_MAX);
        for (name, value) in labels {
            if name.len() > options.label_name_bytes_max.min(TEXT_BYTES_MAX) {
                return Err(Refusal::Limit(format!(
                    "a label's name has {} bytes, the limit is {}",
                    name.len(),
                    options.label_name_bytes_max
                )));
            }
            if value.len() > value_max {
                return Err(Refusal::Limit(format!("{name} has {} bytes, the limit is {value_max}", value.len())));
            }
        }
        Ok(())
    }

    fn stage_one(
        &mut self,
        slot: u32,
        time_ms: i64,
        value: Value,
        newest_allowed_ms: i64,
        staged: &mut Vec<Staged>,
    ) -> Result<(), Refusal> {
        if time_ms > newest_allowed_ms {
            return Err(Refusal::TooNew);
        }
        let window_ms = self.options.out_of_order_window_ms;
        let oldest_allowed_ms = self.newest_ms.saturating_sub(window_ms.max(self.options.block_range_ms / 2));
        let series = &mut self.series[slot as usize];
        let before = (series.newest_ms, series.newest_bits);
        let bits = bits_of(&value);
        if time_ms == series.newest_ms {
            let same = bits == series.newest_bits || series.newest_bits == UNKNOWN_BITS;
            return if same { Ok(()) } else { Err(Refusal::Duplicate) };
        }
        if time_ms > series.newest_ms && time_ms >= oldest_allowed_ms {
            (series.newest_ms, series.newest_bits) = (time_ms, bits);
            staged.push(Staged { slot, time_ms, value, out_of_order: false, before: Some(before) });
            return Ok(());
        }
        if window_ms == 0 {
            let new_series = time_ms > series.newest_ms;
            return Err(if new_series { Refusal::TooOld } else { Refusal::OutOfOrder });
        }
        if time_ms < self.newest_ms.saturating_sub(window_ms) {
            return Err(Refusal::TooOld);
        }
        staged.push(Staged { slot, time_ms, value, out_of_order: true, before: None });
        Ok(())
    }

    /// Forgets what was staged.
    pub(crate) fn unstage(&mut self, staged: &[Staged]) {
        for sample in staged.iter().rev() {
            if let Some(before) = sample.before {
                let series = &mut self.series[sample.slot as usize];
                (series.newest_ms, series.newest_bits) = before;
            }
        }
    }

    /// Takes in what was staged and logged.
    pub(crate) fn apply(&mut self, sample: &Staged) {
        let Staged { slot, time_ms, value, out_of_order, .. } = sample;
        self.newest_ms = self.newest_ms.max(*time_ms);
        self.oldest_ms = self.oldest_ms.min(*time_ms);
        self.samples_taken += 1;
        if *out_of_order {
            return self.apply_loose(*slot, *time_ms, value);
        }
        if self.is_full(*slot, *time_ms, value) {
            self.seal(*slot);
        }
        let open = &mut self.series[*slot as usize].open;
        let before = open.heap_bytes();
        push(open, *time_ms, value);
        self.open_heap_bytes += open.heap_bytes();
        self.open_heap_bytes -= before;
    }

    /// Whether the growing chunk has to end before this sample.
    fn is_full(&self, slot: u32, time_ms: i64, value: &Value) -> bool {
        let open = &self.series[slot as usize].open;
        let other_kind = match open {
            Open::Nothing => return false,
            Open::Floats(_) => matches!(value, Value::Histogram(_)),
            Open::Histograms(_) => matches!(value, Value::Float(_)),
        };
        let other_range =
            open.span().is_some_and(|(first_ms, _)| self.range_start(first_ms) != self.range_start(time_ms));
        other_kind
            || other_range
            || open.count() >= self.options.chunk_samples
            || matches!(open, Open::Floats(_)) && open.len_bytes() > OPEN_BYTES_MAX
    }

    fn apply_loose(&mut self, slot: u32, time_ms: i64, value: &Value) {
        let samples = self.loose.entry(slot).or_default();
        let at = samples.partition_point(|(other_ms, _)| *other_ms < time_ms);
        if samples.get(at).is_none_or(|(other_ms, _)| *other_ms != time_ms) {
            samples.insert(at, (time_ms, value.clone()));
        }
        if samples.len() >= LOOSE_MAX {
            self.seal_loose(slot);
        }
    }
}

fn refuse(appended: &mut Appended, refusal: Refusal, batch: &Batch<'_>, series: &BatchSeries, samples: usize) {
    let refused = &mut appended.refused;
    let (count, why) = match refusal {
        Refusal::OutOfOrder => (&mut refused.out_of_order, "out of order sample".to_owned()),
        Refusal::TooOld => (&mut refused.too_old, "out of bounds: the sample is too old".to_owned()),
        Refusal::Duplicate => (&mut refused.duplicate, "duplicate sample for timestamp".to_owned()),
        Refusal::TooNew => (&mut refused.too_new, "out of bounds: the sample is too far in the future".to_owned()),
        Refusal::Limit(why) => (&mut refused.limit, why),
        Refusal::Invalid(why) => (&mut refused.invalid, why),
    };
    *count += samples.max(1);
    if appended.first_refusal.is_none() {
        let mut text = why;
        text.push_str(" (series {");
        for (index, (name, value)) in batch.labels_of(series).iter().take(8).enumerate() {
            let value: String = value.chars().take(64).collect();
            let comma = if index > 0 { ", " } else { "" };
            write!(text, "{comma}{name}={value:?}").expect("writing to a string does not fail");
        }
        text.push_str("})");
        appended.first_refusal = Some(text);
    }
}
