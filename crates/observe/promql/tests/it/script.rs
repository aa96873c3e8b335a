//! The language of PromQL test scripts: `load`, `eval`, `expect`, `clear`.

use std::{collections::BTreeMap, sync::LazyLock};

use coracle_promql::{
    Engine, EngineOptions, FloatHistogram, Labels, LabelsBuilder, QueryError, Value,
    engine::{Annotations, Answer, MatrixSeries, Sample, SampleValue, never},
    histogram::{CUSTOM_BUCKETS_SCHEMA, Span},
    labels::METRIC_NAME,
    memory::MemoryStorage,
    number::{parse_duration_ms, parse_float, parse_number},
    parser::{
        self, SequenceValue, SeriesDescription,
        ast::{At, Expr},
    },
    quote::unquote,
};
use regex::Regex;

static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$").unwrap());
static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$").unwrap()
});

/// Relative difference within which numbers count as the same.
const EPSILON: f64 = 1e-6;

pub fn options() -> EngineOptions {
    EngineOptions {
        max_samples: 10_000,
        lookback_ms: 5 * 60_000,
        subquery_step_ms: 60_000,
        parser: parser::Options::EVERYTHING,
        delayed_name_removal: true,
        type_and_unit_labels: false,
        start_timestamps: true,
    }
}

/// What came of a script.
#[derive(Default)]
pub struct Outcome {
    pub evaluations: usize,
    pub failures: Vec<String>,
}

pub fn run(text: &str, options: &EngineOptions) -> Outcome {
    let engine = Engine::new(options.clone());
    let mut storage = MemoryStorage::default();
    let mut outcome = Outcome::default();
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let block = lines[at + 1..].iter().take_while(|line| !line.is_empty()).count();
        let body = &lines[at + 1..at + 1 + block];
        let word = line.split_whitespace().next().unwrap_or_default().to_lowercase();
        if word == "clear" {
            storage = MemoryStorage::default();
            at += 1;
            continue;
        }
        if word.starts_with("load") {
            load(line, body, &mut storage);
        } else if word.starts_with("eval") {
            outcome.evaluations += 1;
            // A lone number or an old failure message ends a block early.
            let eval = Eval::parse(line, body);
            let result = eval.run(&engine, &storage);
            if let Err(problem) = result {
                outcome.failures.push(format!("line {}: {line}: {problem}", at + 1));
            }
            at += eval.used;
        } else {
            assert!(line.is_empty(), "line {}: {line:?} is no command", at + 1);
        }
        at += if word.starts_with("load") { block + 1 } else { 1 };
    }
    outcome
}

fn duration(text: &str) -> i64 {
    parse_duration_ms(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn load(line: &str, body: &[&str], storage: &mut MemoryStorage) {
    let (command, step) = line.split_once(char::is_whitespace).expect("load has a step");
    let step_ms = duration(step.trim());
    let mut starts: Option<Vec<Option<i64>>> = None;
    let mut classic: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    // The last definition of a series is the one that counts.
    let mut all: BTreeMap<Labels, usize> = BTreeMap::new();
    for (at, definition) in body.iter().enumerate().filter(|(_, definition)| !is_start_row(definition)) {
        all.insert(parsed(definition).labels, at);
    }
    for (place, definition) in body.iter().enumerate() {
        if is_start_row(definition) {
            starts = Some(definition.split_whitespace().skip(1).flat_map(start_offsets).collect());
            continue;
        }
        let series = parsed(definition);
        if all[&series.labels] != place {
            continue;
        }
        for (at, value) in series.values.into_iter().enumerate() {
            let time_ms = at as i64 * step_ms;
            let offset = starts.as_ref().and_then(|starts| starts[at]);
            let start_ms = offset.map_or(0, |offset| time_ms + offset);
            match value {
                SequenceValue::Omitted => {}
                SequenceValue::Float(value) => {
                    storage.push_float(&series.labels, time_ms, value, start_ms);
                    if command.ends_with("with_nhcb") {
                        collect_classic(&series.labels, time_ms, value, &mut classic);
                    }
                }
                SequenceValue::Histogram(value, _) => {
                    // Prometheus' store keeps no start timestamps of histograms yet, and its scripts know that.
                    storage.push_histogram(&series.labels, time_ms, (*value).clone(), 0);
                }
            }
        }
        starts = None;
    }
    for (labels, samples) in classic {
        for (time_ms, sample) in samples {
            storage.push_histogram(&labels, time_ms, sample.into_native(), 0);
        }
    }
}

fn is_start_row(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|name| name.ends_with("@st"))
}

fn parsed(line: &str) -> SeriesDescription {
    parser::parse_series(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// One item of a row of start timestamps: `_`, `_x3`, `-1m`, `-1mx3`, `-1m+10sx3`.
fn start_offsets(item: &str) -> Vec<Option<i64>> {
    if let Some(rest) = item.strip_prefix('_') {
        let times = rest.strip_prefix('x').map_or(1, |times| times.parse().unwrap());
        return vec![None; times];
    }
    let signed = |text: &str| match text.strip_prefix('-') {
        Some(rest) => -duration(rest),
        None => duration(text.trim_start_matches('+')),
    };
    let Some((offset, times)) = item.split_once('x') else { return vec![Some(signed(item))] };
    let times: i64 = times.parse().unwrap();
    let (base, step) = match offset[1..].find(['+', '-']) {
        Some(at) => (signed(&offset[..=at]), signed(&offset[at + 1..])),
        None => (signed(offset), 0),
    };
    (0..=times).map(|at| Some(base + at * step)).collect()
}

/// A classic histogram at one moment.
#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

fn collect_classic(labels: &Labels, time_ms: i64, value: f64, classic: &mut BTreeMap<Labels, BTreeMap<i64, Classic>>) {
    let name = labels.metric_name();
    let suffix = ["_bucket", "_count", "_sum"].into_iter().find(|suffix| name.ends_with(suffix));
    let Some(suffix) = suffix else { return };
    let upper = parse_float(labels.value("le"));
    if suffix == "_bucket" && upper.as_ref().map_or(true, |upper| upper.is_nan()) {
        return;
    }
    let mut base = LabelsBuilder::new(labels);
    base.set(METRIC_NAME, name.strip_suffix(suffix).unwrap()).remove("le");
    let sample = classic.entry(base.build()).or_default().entry(time_ms).or_default();
    match suffix {
        "_bucket" => sample.buckets.push((upper.unwrap(), value)),
        "_count" => sample.count = Some(value),
        _ => sample.sum = value,
    }
}

impl Classic {
    fn into_native(mut self) -> FloatHistogram {
        self.buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.buckets.dedup_by(|later, earlier| later.0 == earlier.0);
        let count = self.count.or(self.buckets.last().map(|bucket| bucket.1)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|bucket| bucket.0 != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let absolute =
            self.buckets.iter().map(|(_, cumulative)| cumulative - std::mem::replace(&mut before, *cumulative));
        let positive_buckets: Vec<f64> = absolute.collect();
        let bounds: Vec<f64> = self.buckets.iter().map(|bucket| bucket.0).filter(|upper| upper.is_finite()).collect();
        let mut histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: positive_buckets.len() as u32 }],
            positive_buckets,
            custom_values: Some(bounds.into()),
            ..FloatHistogram::default()
        };
        histogram.compact();
        histogram
    }
}

enum Text {
    Message(String),
    Pattern(Regex),
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Text::Message(message) => message == text,
            Text::Pattern(pattern) => pattern.is_match(text),
        }
    }

    fn shown(&self) -> &str {
        match self {
            Text::Message(message) => message,
            Text::Pattern(pattern) => pattern.as_str(),
        }
    }
}

#[derive(Default)]
struct Expected {
    fail: Option<Text>,
    ordered: bool,
    warnings: Vec<Text>,
    infos: Vec<Text>,
    any_warning: bool,
    any_info: bool,
    no_warning: bool,
    no_info: bool,
    string: Option<String>,
    scalar: Option<f64>,
    /// With the place among the results.
    series: Vec<(Labels, Vec<SequenceValue>)>,
}

enum Times {
    Instant(i64),
    Range(i64, i64, i64),
}

struct Eval {
    query: String,
    times: Times,
    /// Times of the samples of an expected range vector.
    samples: Option<(i64, i64)>,
    expected: Expected,
    used: usize,
}

impl Eval {
    fn parse(line: &str, body: &[&str]) -> Self {
        let (mode, query, times) = if let Some(parts) = INSTANT.captures(line) {
            let at = parts.get(2).map_or(0, |at| duration(at.as_str()));
            (parts.get(1).map(|mode| mode.as_str().to_owned()), parts[3].to_owned(), Times::Instant(at))
        } else {
            let parts = RANGE.captures(line).unwrap_or_else(|| panic!("{line}: no evaluation"));
            let times = Times::Range(duration(&parts[2]), duration(&parts[3]), duration(&parts[4]));
            (parts.get(1).map(|mode| mode.as_str().to_owned()), parts[5].to_owned(), times)
        };
        let anything = || Text::Pattern(Regex::new("").unwrap());
        let mut expected = Expected {
            ordered: mode.as_deref() == Some("ordered"),
            any_warning: mode.as_deref() == Some("warn"),
            any_info: mode.as_deref() == Some("info"),
            ..Expected::default()
        };
        if mode.as_deref() == Some("fail") {
            expected.fail = Some(anything());
        }
        let mut eval = Self { query, times, samples: None, expected, used: 0 };
        for line in body {
            eval.used += 1;
            if !eval.line(line) {
                break;
            }
        }
        eval
    }

    /// False when nothing of this evaluation can follow.
    fn line(&mut self, line: &str) -> bool {
        let expected = &mut self.expected;
        if let Some(message) = line.strip_prefix("expected_fail_message") {
            expected.fail = Some(Text::Message(message.trim().to_owned()));
            return false;
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
            expected.fail = Some(Text::Pattern(Regex::new(pattern.trim()).unwrap()));
            return false;
        }
        if let Some(times) = line.strip_prefix("expect range vector") {
            let words: Vec<&str> = times.split_whitespace().collect();
            self.samples = Some((duration(words[1]), duration(words[5])));
            return true;
        }
        if let Some(text) = line.strip_prefix("expect string ") {
            expected.string = Some(unquote(text).unwrap());
            return true;
        }
        if let Some(rest) = line.strip_prefix("expect ") {
            let (kind, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let text = match text.trim() {
                "" => Text::Pattern(Regex::new("").unwrap()),
                text if text.starts_with("msg:") => Text::Message(text[4..].trim().to_owned()),
                text => Text::Pattern(Regex::new(text.strip_prefix("regex:").unwrap().trim()).unwrap()),
            };
            match kind {
                "ordered" => expected.ordered = true,
                "fail" => expected.fail = Some(text),
                "warn" => expected.warnings.push(text),
                "no_warn" => expected.no_warning = true,
                "info" => expected.infos.push(text),
                "no_info" => expected.no_info = true,
                other => panic!("{other}: nothing that can be expected"),
            }
            return true;
        }
        if let Ok(value) = parse_number(line) {
            expected.scalar = Some(value);
            return false;
        }
        let series = parser::parse_series(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        expected.series.push((series.labels, series.values));
        true
    }

    fn run(&self, engine: &Engine, storage: &MemoryStorage) -> Result<(), String> {
        match self.times {
            Times::Range(start, end, step) => {
                let answer = engine.range(storage, &self.query, (start, end, step), &never);
                self.judge(&self.query, answer, start, step)
            }
            Times::Instant(at) => {
                self.instant(engine, storage, &self.query, at)?;
                for (query, time) in nailed(&self.query, at) {
                    self.instant(engine, storage, &query, time)
                        .map_err(|error| format!("as {query} at {time}: {error}"))?;
                }
                Ok(())
            }
        }
    }

    fn instant(&self, engine: &Engine, storage: &MemoryStorage, query: &str, at: i64) -> Result<(), String> {
        let answer = engine.instant(storage, query, at, &never);
        let is_scalar = matches!(&answer, Ok(Answer { value: Value::Scalar { .. }, .. }));
        let failed = answer.is_err();
        let (start, step) = self.samples.unwrap_or((at, 1));
        self.judge(query, answer, start, step)?;
        let depends_on_times = ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call));
        let own_way = self.samples.is_some() || self.expected.string.is_some() || depends_on_times;
        if failed || own_way || self.expected.ordered {
            return Ok(());
        }
        self.in_range_mode(engine, storage, query, at, is_scalar)
    }

    /// The middle step of a range query has to say the same.
    fn in_range_mode(
        &self,
        engine: &Engine,
        storage: &MemoryStorage,
        query: &str,
        at: i64,
        is_scalar: bool,
    ) -> Result<(), String> {
        let answer = engine.range(storage, query, (at - 60_000, at + 60_000, 60_000), &never);
        let answer = answer.map_err(|error| format!("in range mode: {error}"))?;
        let Value::Matrix(matrix) = answer.value else { panic!("a range query gives a matrix") };
        let mut vector = Vec::new();
        for MatrixSeries { labels, floats, histograms } in matrix {
            let float = floats.iter().find(|point| point.time_ms == at).map(|point| SampleValue::Float(point.value));
            let histogram = histograms.into_iter().find(|point| point.time_ms == at);
            let value = float.or(histogram.map(|point| SampleValue::Histogram(point.value)));
            vector.extend(value.map(|value| Sample { labels, time_ms: at, value }));
        }
        let value = match vector.first() {
            Some(Sample { value: SampleValue::Float(value), .. }) if is_scalar => {
                Value::Scalar { time_ms: at, value: *value }
            }
            _ => Value::Vector(vector),
        };
        self.compare(&value, at, 1).map_err(|error| format!("in range mode: {error}"))
    }

    fn judge(&self, query: &str, answer: Result<Answer, QueryError>, start: i64, step: i64) -> Result<(), String> {
        match (answer, &self.expected.fail) {
            (Err(error), Some(expected)) if expected.matches(&error.to_string()) => Ok(()),
            (Err(error), Some(expected)) => Err(format!("expected failure {:?}, got {error}", expected.shown())),
            (Err(error), None) => Err(format!("failed: {error}")),
            (Ok(_), Some(expected)) => Err(format!("expected failure {:?}, got none", expected.shown())),
            (Ok(answer), None) => {
                self.annotations(&answer.annotations).map_err(|error| format!("{error} ({query})"))?;
                self.compare(&answer.value, start, step)
            }
        }
    }

    fn annotations(&self, annotations: &Annotations) -> Result<(), String> {
        let expected = &self.expected;
        let kinds = [
            ("warning", &expected.warnings, expected.no_warning, expected.any_warning, annotations.texts(false)),
            ("info", &expected.infos, expected.no_info, expected.any_info, annotations.texts(true)),
        ];
        for (kind, wanted, none, any, found) in kinds {
            if any && found.is_empty() {
                return Err(format!("expected a {kind}"));
            }
            if none && !found.is_empty() {
                return Err(format!("unexpected {kind}: {found:?}"));
            }
            if wanted.is_empty() {
                continue;
            }
            if let Some(missing) = wanted.iter().find(|wanted| !found.iter().any(|found| wanted.matches(found))) {
                return Err(format!("expected {kind} {:?}, found {found:?}", missing.shown()));
            }
            if let Some(extra) = found.iter().find(|found| !wanted.iter().any(|wanted| wanted.matches(found))) {
                return Err(format!("unexpected {kind} {extra:?}"));
            }
        }
        Ok(())
    }

    fn compare(&self, value: &Value, start: i64, step: i64) -> Result<(), String> {
        let expected = &self.expected;
        match value {
            Value::String { value, .. } if expected.string.as_deref().unwrap_or("") == value => Ok(()),
            Value::Scalar { value, .. } => match expected.scalar {
                Some(wanted) if almost(wanted, *value) => Ok(()),
                wanted => Err(format!("expected {wanted:?}, got {value}")),
            },
            Value::Vector(vector) if expected.scalar.is_none() => self.compare_vector(vector),
            Value::Matrix(matrix) if expected.scalar.is_none() => self.compare_matrix(matrix, start, step),
            other => Err(format!("another kind of answer: {other:?}")),
        }
    }

    fn compare_vector(&self, vector: &[Sample]) -> Result<(), String> {
        let expected = &self.expected.series;
        for (place, sample) in vector.iter().enumerate() {
            let found = expected.iter().position(|(labels, _)| *labels == sample.labels);
            let Some(at) = found else { return Err(format!("unexpected {} {}", sample.labels, shown(&sample.value))) };
            if self.expected.ordered && at != place {
                return Err(format!("{} stands at {place}, not at {at}", sample.labels));
            }
            if !same(&expected[at].1[0], &sample.value) {
                return Err(format!(
                    "{}: expected {:?}, got {}",
                    sample.labels,
                    expected[at].1[0],
                    shown(&sample.value)
                ));
            }
        }
        match expected.iter().find(|(labels, _)| !vector.iter().any(|sample| sample.labels == *labels)) {
            Some((missing, _)) => Err(format!("missing {missing}")),
            None => Ok(()),
        }
    }

    fn compare_matrix(&self, matrix: &[MatrixSeries], start: i64, step: i64) -> Result<(), String> {
        let expected = &self.expected.series;
        for series in matrix {
            let found = expected.iter().rev().find(|(labels, _)| *labels == series.labels);
            let Some((_, values)) = found else {
                return Err(format!("unexpected {} {:?}", series.labels, series.floats));
            };
            let floats = series.floats.iter().map(|point| (point.time_ms, SampleValue::Float(point.value)));
            let histograms =
                series.histograms.iter().map(|point| (point.time_ms, SampleValue::Histogram(point.value.clone())));
            let got: BTreeMap<i64, SampleValue> = floats.chain(histograms).collect();
            for (at, value) in values.iter().enumerate() {
                let time = start + at as i64 * step;
                match (value, got.get(&time)) {
                    (SequenceValue::Omitted, None) => {}
                    (wanted, Some(got)) if same(wanted, got) => {}
                    (wanted, got) => {
                        let got = got.map(shown);
                        return Err(format!("{} at {time}: expected {wanted:?}, got {got:?}", series.labels));
                    }
                }
            }
            let wanted = values.iter().filter(|value| !matches!(value, SequenceValue::Omitted)).count();
            if got.len() != wanted {
                return Err(format!("{}: expected {wanted} samples, got {:?}", series.labels, got.len()));
            }
        }
        match expected.iter().find(|(labels, _)| !matrix.iter().any(|series| series.labels == *labels)) {
            Some((missing, _)) => Err(format!("missing {missing}")),
            None => Ok(()),
        }
    }
}

/// The same query nailed to its moment with `@`, to be run at other times.
fn nailed(query: &str, at: i64) -> Vec<(String, i64)> {
    let Ok(mut expr) = parser::parse(query, parser::Options::EVERYTHING) else { return Vec::new() };
    if !nail(&mut expr, at) {
        return Vec::new();
    }
    let times = if at == 0 { vec![-1000, 0, 1000] } else { vec![-10 * at, 0, at / 5, at, 10 * at] };
    times.into_iter().map(|time| (expr.to_string(), time)).collect()
}

/// False when the answer depends on the time of the query all the same.
fn nail(expr: &mut Expr, at: i64) -> bool {
    const TIME_DEPENDENT: [&str; 15] = [
        "days_in_month",
        "day_of_month",
        "day_of_week",
        "day_of_year",
        "end",
        "hour",
        "minute",
        "month",
        "year",
        "predict_linear",
        "range",
        "start",
        "step",
        "time",
        "timestamp",
    ];
    let set = |place: &mut Option<At>| {
        if !matches!(place, Some(At::TimeMs(_))) {
            // `start()` and `end()` stand beside it in the reference, and win.
            place.get_or_insert(At::TimeMs(at));
        }
    };
    match expr {
        Expr::Vector(selector) => set(&mut selector.at),
        Expr::Matrix(matrix) => set(&mut matrix.selector.at),
        Expr::Subquery(subquery) => set(&mut subquery.at),
        Expr::Call(call) => {
            let safe = !TIME_DEPENDENT.contains(&call.function.name);
            return call.args.iter_mut().all(|arg| nail(arg, at)) && safe;
        }
        Expr::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| nail(param, at));
            return nail(&mut aggregate.expr, at) && param;
        }
        Expr::Binary(binary) => return nail(&mut binary.lhs, at) & nail(&mut binary.rhs, at),
        Expr::Paren(paren) => return nail(&mut paren.expr, at),
        Expr::Unary(unary) => return nail(&mut unary.expr, at),
        Expr::Number(_) | Expr::String(_) | Expr::StepInvariant(_) => {}
    }
    true
}

fn shown(value: &SampleValue) -> String {
    match value {
        SampleValue::Float(value) => value.to_string(),
        SampleValue::Histogram(histogram) => histogram.test_expression(),
    }
}

fn almost(one: f64, other: f64) -> bool {
    if one == other || one.is_nan() && other.is_nan() {
        return true;
    }
    let sum = one.abs() + other.abs();
    let difference = (one - other).abs();
    if one == 0.0 || other == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < EPSILON * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < EPSILON
}

fn same(wanted: &SequenceValue, got: &SampleValue) -> bool {
    match (wanted, got) {
        (SequenceValue::Float(wanted), SampleValue::Float(got)) => almost(*wanted, *got),
        (SequenceValue::Histogram(wanted, hinted), SampleValue::Histogram(got)) => {
            let (mut wanted, mut got) = ((**wanted).clone(), (**got).clone());
            wanted.compact();
            got.compact();
            let all = |one: &[f64], other: &[f64]| {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| almost(*one, *other))
            };
            wanted.schema == got.schema
                && almost(wanted.count, got.count)
                && almost(wanted.sum, got.sum)
                && wanted.bounds() == got.bounds()
                && wanted.zero_threshold == got.zero_threshold
                && almost(wanted.zero_count, got.zero_count)
                && wanted.positive_spans == got.positive_spans
                && wanted.negative_spans == got.negative_spans
                && all(&wanted.positive_buckets, &got.positive_buckets)
                && all(&wanted.negative_buckets, &got.negative_buckets)
                && (!hinted || wanted.counter_reset_hint == got.counter_reset_hint)
        }
        _ => false,
    }
}
