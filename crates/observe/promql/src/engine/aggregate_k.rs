//! Aggregations that pick series: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use super::{
    Annotation, QueryError,
    aggregate::groups,
    context::{Context, Frame},
    eval::Evaluated,
    prepare::{go_max, go_min},
    series::{Cell, Series, is_present},
};
use crate::{
    labels::Labels,
    number::short_float,
    parser::ast::{Aggregate, Aggregator},
};

/// The least and the greatest value of a parameter over all steps; NaN if any is.
pub(super) fn extremes(param: &Series) -> (f64, f64) {
    let values = param.floats.iter().filter(|value| is_present(**value));
    values.fold((f64::MAX, f64::MIN), |(least, most), value| (go_min(least, *value), go_max(most, *value)))
}

pub(super) fn has_nan(param: &Series) -> bool {
    param.floats.iter().any(|value| is_present(*value) && value.is_nan())
}

pub(super) fn eval(
    context: &Context<'_>,
    node: &Aggregate,
    frame: Frame,
    input: &[Series],
    param: &Series,
) -> Evaluated {
    let (least, most) = extremes(param);
    let has_nan = has_nan(param);
    if node.op == Aggregator::LimitRatio {
        if most == 0.0 && least == 0.0 {
            return Ok(Vec::new());
        }
        if has_nan {
            return Err(QueryError::Execution("Ratio value is NaN".into()));
        }
        let span = node.param.as_ref().map(|param| param.span()).unwrap_or_default();
        if most > 1.0 {
            context.annotate(Annotation::InvalidRatio { ratio: most, capped_to: 1.0 }, span);
        }
        if least < -1.0 {
            context.annotate(Annotation::InvalidRatio { ratio: least, capped_to: -1.0 }, span);
        }
    } else {
        if most < 1.0 {
            return Ok(Vec::new());
        }
        if has_nan {
            return Err(QueryError::Execution("Parameter value is NaN".into()));
        }
        if least <= i64::MIN as f64 {
            return Err(QueryError::Execution(format!("Scalar value {} underflows int64", short_float(least))));
        }
        if most >= i64::MAX as f64 {
            return Err(QueryError::Execution(format!("Scalar value {} overflows int64", short_float(most))));
        }
    }
    let mut picked: Vec<Series> =
        input.iter().map(|series| Series::new(series.labels.clone(), series.drop_name)).collect();
    let mut order = Vec::new();
    for (_, members) in groups(input, node) {
        for step in 0..frame.steps {
            context.check("expression evaluation")?;
            for at in pick(context, node, input, &members, step, param.float(step)) {
                if let Some(cell) = input[at].get(step) {
                    picked[at].push(step, cell);
                    order.push(at);
                }
            }
        }
    }
    if frame.steps == 1 {
        // The order of the values is the answer's order.
        return Ok(order.into_iter().map(|at| std::mem::take(&mut picked[at])).collect());
    }
    picked.retain(|series| !series.is_empty());
    Ok(picked)
}

fn pick(
    context: &Context<'_>,
    node: &Aggregate,
    input: &[Series],
    members: &[usize],
    step: usize,
    param: f64,
) -> Vec<usize> {
    let present = members.iter().copied().filter_map(|at| input[at].get(step).map(|cell| (at, cell)));
    let k = (param as i64).min(input.len() as i64).max(0) as usize;
    match node.op {
        // These are given in the order of a heap by value, as they are in Prometheus.
        Aggregator::Limitk => Heap::of(present.take(k)),
        Aggregator::LimitRatio => {
            let ratio = param.clamp(-1.0, 1.0);
            Heap::of(present.filter(|(at, _)| is_sampled(&input[*at].labels, ratio)))
        }
        op => {
            if k == 0 {
                return Vec::new();
            }
            let mut heap = Heap { entries: Vec::with_capacity(k), top: op == Aggregator::Topk };
            for (at, cell) in present {
                match cell {
                    Cell::Float(value) => heap.offer(value, at, k),
                    Cell::Histogram(_) => {
                        context.annotate(Annotation::HistogramIgnoredInAggregation { op: op.name() }, node.span);
                    }
                }
            }
            heap.into_ordered()
        }
    }
}

/// The k best so far, the worst of them on top. The same moves as Go's `container/heap`, so that among equal values
/// the same ones stay.
struct Heap {
    entries: Vec<(f64, usize)>,
    /// Whether the greatest values are wanted.
    top: bool,
}

impl Heap {
    /// All of them, the least on top; histograms count as nothing.
    fn of<'a>(cells: impl Iterator<Item = (usize, Cell<'a>)>) -> Vec<usize> {
        let mut heap = Self { entries: Vec::new(), top: true };
        for (at, cell) in cells {
            let value = if let Cell::Float(value) = cell { value } else { 0.0 };
            heap.offer(value, at, usize::MAX);
        }
        heap.entries.into_iter().map(|(_, at)| at).collect()
    }

    fn less(&self, one: f64, other: f64) -> bool {
        one.is_nan() || if self.top { one < other } else { one > other }
    }

    fn offer(&mut self, value: f64, at: usize, k: usize) {
        if self.entries.len() < k {
            self.entries.push((value, at));
            self.up(self.entries.len() - 1);
            return;
        }
        let worst = self.entries[0].0;
        let better = if self.top { worst < value } else { worst > value };
        if better || (worst.is_nan() && !value.is_nan()) {
            self.entries[0] = (value, at);
            self.down();
        }
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.less(self.entries[at].0, self.entries[parent].0) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self) {
        let mut at = 0;
        loop {
            let left = 2 * at + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let right_is_less = right < self.entries.len() && self.less(self.entries[right].0, self.entries[left].0);
            let child = if right_is_less { right } else { left };
            if !self.less(self.entries[child].0, self.entries[at].0) {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
    }

    /// The best first.
    fn into_ordered(mut self) -> Vec<usize> {
        let top = self.top;
        self.entries.sort_by(|(one, _), (other, _)| match (one.is_nan(), other.is_nan()) {
            (false, false) if top => other.partial_cmp(one).unwrap_or(std::cmp::Ordering::Equal),
            (false, false) => one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal),
            (one, other) => one.cmp(&other),
        });
        self.entries.into_iter().map(|(_, at)| at).collect()
    }
}

/// A positive ratio takes the series whose hash lies below it, a negative one exactly the others.
fn is_sampled(labels: &Labels, ratio: f64) -> bool {
    let offset = hash(labels) as f64 / u64::MAX as f64;
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

/// The hash that Prometheus gives these labels: XXH64 of names and values, each with its length in front.
fn hash(labels: &Labels) -> u64 {
    let mut bytes = Vec::new();
    for (name, value) in labels {
        for part in [name, value] {
            match u8::try_from(part.len()) {
                Ok(length) if length < 255 => bytes.push(length),
                _ => {
                    bytes.push(255);
                    bytes.extend_from_slice(&(part.len() as u32).to_le_bytes()[..3]);
                }
            }
            bytes.extend_from_slice(part.as_bytes());
        }
    }
    xxh64(&bytes)
}

const PRIMES: [u64; 5] =
    [0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5];

fn xxh64(bytes: &[u8]) -> u64 {
    let [p1, p2, p3, p4, p5] = PRIMES;
    let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("a chunk of eight bytes"));
    let round = |sum: u64, word: u64| sum.wrapping_add(word.wrapping_mul(p2)).rotate_left(31).wrapping_mul(p1);
    let mut stripes = bytes.chunks_exact(32);
    let mut hash = if bytes.len() >= 32 {
        let mut lanes = [p1.wrapping_add(p2), p2, 0, 0u64.wrapping_sub(p1)];
        for stripe in &mut stripes {
            for (lane, chunk) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = round(*lane, word(chunk));
            }
        }
        let [a, b, c, d] = lanes;
        let merged = a.rotate_left(1).wrapping_add(b.rotate_left(7)).wrapping_add(c.rotate_left(12));
        lanes.iter().fold(merged.wrapping_add(d.rotate_left(18)), |hash, lane| {
            (hash ^ round(0, *lane)).wrapping_mul(p1).wrapping_add(p4)
        })
    } else {
        p5
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let mut rest = stripes.remainder();
    while let Some((chunk, after)) = rest.split_at_checked(8) {
        hash = (hash ^ round(0, word(chunk))).rotate_left(27).wrapping_mul(p1).wrapping_add(p4);
        rest = after;
    }
    if let Some((chunk, after)) = rest.split_at_checked(4) {
        let value = u32::from_le_bytes(chunk.try_into().expect("a chunk of four bytes"));
        hash = (hash ^ u64::from(value).wrapping_mul(p1)).rotate_left(23).wrapping_mul(p2).wrapping_add(p3);
        rest = after;
    }
    for byte in rest {
        hash = (hash ^ u64::from(*byte).wrapping_mul(p5)).rotate_left(11).wrapping_mul(p1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(p2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(p3);
    hash ^ (hash >> 32)
}
