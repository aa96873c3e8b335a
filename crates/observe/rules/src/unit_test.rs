//! promtool's unit tests of rules: series go in, rules run, alerts and answers to queries are compared.

use std::collections::{BTreeSet, HashMap};

use coracle_promql::{
    Answer, Engine, EngineOptions, Labels, Value,
    engine::{MatrixSeries, Sample, SampleValue, never},
    go_regex,
    memory::MemoryStorage,
    number::{duration_text, parse_float, short_float},
    parser::{self, Options, SequenceValue},
    quote::quote,
};
use coracle_yaml::{
    FileId, Node,
    decode::{DecodeError, Fields},
};

use crate::{
    Files,
    evaluate::{ALERT_NAME, RunningGroup, State, World, vector},
    file::{self, duration, pairs, text},
    report::{Case, Report},
};

/// How tests are run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings<'a> {
    pub options: Options,
    /// Only tests with a name in which one of these regular expressions matches; all when there are none.
    pub run: &'a [String],
    pub ignore_unknown_fields: bool,
    /// Shows of alerts only what is missing and what is too much.
    pub diff: bool,
    /// Tells which tests run, and shows all samples at their end.
    pub debug: bool,
}

#[derive(Debug, Default)]
struct TestFile {
    rule_files: Vec<String>,
    evaluation_interval_ms: i64,
    group_order: Vec<String>,
    fuzzy: bool,
    tests: Vec<Test>,
}

#[derive(Debug, Default)]
struct Test {
    name: String,
    interval_ms: i64,
    start_ms: i64,
    series: Vec<(String, String)>,
    alerts: Vec<AlertCase>,
    queries: Vec<QueryCase>,
    external_labels: Vec<(String, String)>,
    external_url: String,
}

#[derive(Debug)]
struct AlertCase {
    eval_time_ms: i64,
    name: String,
    expected: Vec<Shown>,
}

#[derive(Debug)]
struct QueryCase {
    expr: String,
    eval_time_ms: i64,
    expected: Vec<ExpectedSample>,
}

#[derive(Debug)]
struct ExpectedSample {
    labels: String,
    value: f64,
    histogram: String,
}

/// An alert as it is compared and shown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Shown {
    labels: Labels,
    annotations: Labels,
}

/// Runs the tests of one file.
pub fn run(files: &dyn Files, path: &str, settings: Settings<'_>) -> Report {
    let mut report = Report::default();
    if let Err(why) = run_file(files, path, settings, &mut report) {
        report.aborted = Some(why);
    }
    report
}

fn run_file(files: &dyn Files, path: &str, settings: Settings<'_>, report: &mut Report) -> Result<(), String> {
    let content = files.read(path)?;
    let file = TestFile::parse(&content)
        .map_err(|error| format!("{}:{}: {}", error.mark.line, error.mark.column, error.message))?;
    let base = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut rule_files = Vec::new();
    for pattern in &file.rule_files {
        let absolute = pattern.starts_with('/') || base.is_empty();
        let pattern = if absolute { pattern.clone() } else { format!("{base}/{pattern}") };
        let found = files.matching(&pattern);
        if found.is_empty() {
            report.notes.push(format!("  WARNING: no file match pattern {pattern}"));
        }
        rule_files.extend(found);
    }
    let mut order = HashMap::new();
    for (index, name) in file.group_order.iter().enumerate() {
        if order.insert(name.as_str(), index).is_some() {
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
    }
    let run = match settings.run {
        [] => None,
        parts => Some(go_regex::compile_unanchored(&parts.join("|")).map_err(|error| error.to_string())?),
    };
    for (index, test) in file.tests.iter().enumerate() {
        if run.as_ref().is_some_and(|run| !run.is_match(&test.name)) {
            continue;
        }
        let name = if test.name.is_empty() { format!("unnamed#{index}") } else { test.name.clone() };
        if settings.debug {
            report.notes.push(format!("DEBUG: Starting test {name}"));
        }
        let failures = match groups_of(files, &rule_files, settings) {
            Ok(mut groups) => {
                groups.sort_by_key(|group| order.get(group.name.as_str()).copied().unwrap_or(0));
                let running = groups.iter().map(RunningGroup::new).collect();
                match Bench::new(test, file.evaluation_interval_ms, file.fuzzy, settings) {
                    Ok(bench) => bench.run(running, &mut report.notes),
                    Err(error) => vec![error],
                }
            }
            Err(broken) => broken,
        };
        report.cases.push(Case { name, failures });
    }
    Ok(())
}

/// The groups of all rule files, or everything that is wrong with them.
fn groups_of(files: &dyn Files, paths: &[String], settings: Settings<'_>) -> Result<Vec<file::Group>, Vec<String>> {
    let (mut groups, mut broken) = (Vec::new(), Vec::new());
    for path in paths {
        let parsed = files.read(path).map_err(|error| vec![file::RuleError(error)]);
        match parsed.and_then(|text| file::parse(&text, settings.options, settings.ignore_unknown_fields)) {
            Ok(parsed) => groups.extend(parsed),
            Err(errors) => broken.extend(errors.into_iter().map(|error| format!("{path}: {error}"))),
        }
    }
    if broken.is_empty() { Ok(groups) } else { Err(broken) }
}

impl TestFile {
    fn parse(text: &str) -> Result<Self, DecodeError> {
        let documents = coracle_yaml::parse(text, FileId::default())
            .map_err(|error| DecodeError::new(Default::default(), error.to_string()))?;
        let Some(document) = documents.first().filter(|node| !node.is_null()) else { return Ok(Self::default()) };
        let mut fields = Fields::of(document, "")?;
        let evaluation_interval_ms = duration(&mut fields, "evaluation_interval")?.filter(|ms| *ms != 0);
        let mut file = Self {
            rule_files: scalars(&mut fields, "rule_files")?,
            evaluation_interval_ms: evaluation_interval_ms.unwrap_or(60_000),
            group_order: scalars(&mut fields, "group_eval_order")?,
            fuzzy: fields.flag("fuzzy_compare")?,
            tests: Vec::new(),
        };
        let tests = fields.list("tests")?;
        fields.finish()?;
        for node in tests {
            file.tests.push(Test::parse(node, file.evaluation_interval_ms)?);
        }
        Ok(file)
    }
}

fn scalars(fields: &mut Fields<'_>, key: &'static str) -> Result<Vec<String>, DecodeError> {
    fields.list(key)?.iter().map(file::scalar_text).collect()
}

fn string(fields: &mut Fields<'_>, key: &'static str) -> Result<String, DecodeError> {
    Ok(text(fields, key)?.map(|text| text.value).unwrap_or_default())
}

impl Test {
    fn parse(node: &Node, evaluation_interval_ms: i64) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(node, "test")?;
        let mut test = Self {
            name: string(&mut fields, "name")?,
            interval_ms: duration(&mut fields, "interval")?.filter(|ms| *ms != 0).unwrap_or(evaluation_interval_ms),
            external_labels: pairs(&mut fields, "external_labels")?,
            external_url: string(&mut fields, "external_url")?,
            ..Self::default()
        };
        if let Some(start) = text(&mut fields, "start_timestamp")? {
            test.start_ms = timestamp_ms(&start.value).map_err(|error| DecodeError::new(start.mark, error))?;
        }
        for node in fields.list("input_series")? {
            let mut fields = Fields::of(node, "input_series")?;
            test.series.push((string(&mut fields, "series")?, string(&mut fields, "values")?));
            fields.finish()?;
        }
        for node in fields.list("alert_rule_test")? {
            test.alerts.push(AlertCase::parse(node)?);
        }
        for node in fields.list("promql_expr_test")? {
            test.queries.push(QueryCase::parse(node)?);
        }
        fields.finish()?;
        Ok(test)
    }

    fn last_eval_time_ms(&self) -> i64 {
        let alerts = self.alerts.iter().map(|case| case.eval_time_ms);
        alerts.chain(self.queries.iter().map(|case| case.eval_time_ms)).max().unwrap_or(0)
    }
}

impl AlertCase {
    fn parse(node: &Node) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(node, "alert_rule_test")?;
        let eval_time_ms = duration(&mut fields, "eval_time")?.unwrap_or(0);
        let name = string(&mut fields, "alertname")?;
        let mut expected = Vec::new();
        for node in fields.list("exp_alerts")? {
            let mut fields = Fields::of(node, "exp_alerts")?;
            let labels = Labels::new(pairs(&mut fields, "exp_labels")?).with(ALERT_NAME, &name);
            let annotations = Labels::new(pairs(&mut fields, "exp_annotations")?);
            fields.finish()?;
            expected.push(Shown { labels, annotations });
        }
        fields.finish()?;
        expected.sort();
        Ok(Self { eval_time_ms, name, expected })
    }
}

impl QueryCase {
    fn parse(node: &Node) -> Result<Self, DecodeError> {
        let mut fields = Fields::of(node, "promql_expr_test")?;
        let mut case = Self {
            expr: string(&mut fields, "expr")?,
            eval_time_ms: duration(&mut fields, "eval_time")?.unwrap_or(0),
            expected: Vec::new(),
        };
        for node in fields.list("exp_samples")? {
            let mut fields = Fields::of(node, "exp_samples")?;
            let value = match text(&mut fields, "value")? {
                None => 0.0,
                Some(value) => parse_float(&value.value.replace(".inf", "Inf").replace(".nan", "NaN"))
                    .map_err(|error| DecodeError::new(value.mark, error))?,
            };
            let labels = string(&mut fields, "labels")?;
            let histogram = string(&mut fields, "histogram")?;
            fields.finish()?;
            case.expected.push(ExpectedSample { labels, value, histogram });
        }
        fields.finish()?;
        Ok(case)
    }
}

/// RFC 3339, or seconds since the epoch.
fn timestamp_ms(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = parse_float(text) {
        return Ok((seconds * 1000.0).round() as i64);
    }
    let time: jiff::Timestamp =
        text.parse().map_err(|_| format!("cannot parse {} to a valid timestamp", quote(text)))?;
    Ok(time.as_millisecond())
}

/// One test under way.
struct Bench<'a> {
    test: &'a Test,
    interval_ms: i64,
    fuzzy: bool,
    diff: bool,
    debug: bool,
    engine: Engine,
    storage: MemoryStorage,
}

impl<'a> Bench<'a> {
    fn new(test: &'a Test, interval_ms: i64, fuzzy: bool, settings: Settings<'_>) -> Result<Self, String> {
        let engine = Engine::new(EngineOptions {
            max_samples: 10_000,
            subquery_step_ms: interval_ms,
            parser: settings.options,
            ..EngineOptions::default()
        });
        let mut storage = MemoryStorage::default();
        for (series, values) in &test.series {
            let line = format!("{series} {values}");
            let described = parser::parse_series(&line).map_err(|error| error.to_string())?;
            for (index, value) in described.values.into_iter().enumerate() {
                let time_ms = test.start_ms + index as i64 * test.interval_ms;
                match value {
                    SequenceValue::Omitted => {}
                    SequenceValue::Float(value) => storage.push_float(&described.labels, time_ms, value, 0),
                    SequenceValue::Histogram(value, _) => {
                        storage.push_histogram(&described.labels, time_ms, (*value).clone(), 0);
                    }
                }
            }
        }
        let Settings { diff, debug, .. } = settings;
        Ok(Self { test, interval_ms, fuzzy, diff, debug, engine, storage })
    }

    fn run(mut self, mut groups: Vec<RunningGroup>, notes: &mut Vec<String>) -> Vec<String> {
        if let Some(case) = self.test.alerts.iter().find(|case| case.name.is_empty()) {
            let name = &self.test.name;
            let within = if name.is_empty() { String::new() } else { format!(" (in TestGroup {name})") };
            let time = duration_text(case.eval_time_ms);
            let problem = "an item under alert_rule_test misses required attribute alertname at eval_time";
            return vec![format!("{problem} {time}{within}")];
        }
        let mut failures = Vec::new();
        let mut times: BTreeSet<i64> = self.test.alerts.iter().map(|case| case.eval_time_ms).collect();
        let last = self.test.last_eval_time_ms();
        let mut elapsed = 0;
        while elapsed <= last {
            let broken = self.evaluate(&mut groups, self.test.start_ms + elapsed);
            if !broken.is_empty() {
                failures.extend(broken);
                return failures;
            }
            let due: Vec<i64> =
                times.iter().copied().filter(|time| (elapsed..elapsed + self.interval_ms).contains(time)).collect();
            for time in due {
                times.remove(&time);
                failures.extend(self.check_alerts(&groups, time));
            }
            elapsed += self.interval_ms;
        }
        failures.extend(self.test.queries.iter().filter_map(|case| self.check_query(case).err()));
        if self.debug {
            notes.push(self.dump(last));
        }
        failures
    }

    /// All samples, given and made.
    fn dump(&self, last_ms: i64) -> String {
        // A time between two seconds is rounded up.
        let until_ms = (last_ms + 1000) / 1000 * 1000;
        let (time, range) = (go_duration(until_ms), duration_text(until_ms));
        let query = format!("{{__name__=~\".+\"}}[{range}]");
        let shown = match self.engine.instant(&self.storage, &query, self.test.start_ms + until_ms, &never) {
            Ok(Answer { value: Value::Matrix(all), .. }) => all.iter().map(show_series).collect::<Vec<_>>().join("\n"),
            Ok(_) => "no series".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("DEBUG: Dump of all data (input_series and rules) at {time}:\n{shown}")
    }

    fn evaluate(&mut self, groups: &mut [RunningGroup], time_ms: i64) -> Vec<String> {
        let mut failures = Vec::new();
        for group in groups {
            for index in 0..group.rules.len() {
                let world = World {
                    engine: &self.engine,
                    storage: &self.storage,
                    interrupt: &never,
                    external_labels: &self.test.external_labels,
                    external_url: &self.test.external_url,
                };
                for sample in group.evaluate(index, &world, time_ms) {
                    match sample.value {
                        SampleValue::Float(value) => self.storage.push_float(&sample.labels, time_ms, value, 0),
                        SampleValue::Histogram(value) => {
                            self.storage.push_histogram(&sample.labels, time_ms, (*value).clone(), 0);
                        }
                    }
                }
                let rule = &group.rules[index];
                if let Some(failure) = &rule.failure {
                    let time = go_duration(time_ms);
                    failures.push(format!("    rule: {}, time: {time}, err: {failure}", rule.rule.name));
                }
            }
        }
        failures
    }

    fn check_alerts(&self, groups: &[RunningGroup], time_ms: i64) -> Vec<String> {
        let mut failures = Vec::new();
        for case in self.test.alerts.iter().filter(|case| case.eval_time_ms == time_ms) {
            let rules = groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.rule.name == case.name);
            let firing = rules.flat_map(|rule| rule.active_alerts().filter(|alert| alert.state == State::Firing));
            let mut got: Vec<Shown> = firing
                .map(|alert| Shown { labels: alert.labels.clone(), annotations: alert.annotations.clone() })
                .collect();
            got.sort();
            if got == case.expected {
                continue;
            }
            let name = match self.test.name.as_str() {
                "" => String::new(),
                name => format!("    name: {name},\n"),
            };
            let (alert, time) = (&case.name, duration_text(case.eval_time_ms));
            if self.diff {
                let diff = indent(&show_difference(&case.expected, &got), "            ");
                failures.push(format!("{name}    alertname: {alert}, time: {time}, \n        diff: {diff}"));
                continue;
            }
            let expected = indent(&show_alerts(&case.expected), "            ");
            let got = indent(&show_alerts(&got), "            ");
            failures.push(format!(
                "{name}    alertname: {alert}, time: {time}, \n        exp:{expected}, \n        got:{got}"
            ));
        }
        failures
    }

    fn check_query(&self, case: &QueryCase) -> Result<(), String> {
        let about = format!("    expr: {}, time: {}", quote(&case.expr), duration_text(case.eval_time_ms));
        let time_ms = self.test.start_ms + case.eval_time_ms;
        let answer = self.engine.instant(&self.storage, &case.expr, time_ms, &never);
        let answer = answer.map_err(|error| error.to_string());
        let got = answer.and_then(|answer| vector(answer.value).map_err(|error| error.to_string()));
        let mut got: Vec<Compared> =
            got.map_err(|error| format!("{about}, err: {error}"))?.into_iter().map(Compared::of).collect();
        let mut expected = Vec::new();
        for sample in &case.expected {
            let parsed = Compared::expected(sample);
            expected.push(parsed.map_err(|error| format!("{about}, err: labels {}: {error}", quote(&sample.labels)))?);
        }
        got.sort_by(|one, other| one.labels.cmp(&other.labels));
        expected.sort_by(|one, other| one.labels.cmp(&other.labels));
        let same = got.len() == expected.len()
            && got.iter().zip(&expected).all(|(got, expected)| got.equals(expected, self.fuzzy));
        if same {
            return Ok(());
        }
        Err(format!("{about},\n        exp: {}\n        got: {}", show_samples(&expected), show_samples(&got)))
    }
}

/// A sample as it is compared: histograms by the way they are written.
struct Compared {
    labels: Labels,
    value: f64,
    histogram: String,
}

impl Compared {
    fn of(sample: Sample) -> Self {
        let (value, histogram) = match sample.value {
            SampleValue::Float(value) => (value, String::new()),
            SampleValue::Histogram(histogram) => (0.0, histogram.test_expression()),
        };
        Self { labels: sample.labels, value, histogram }
    }

    fn expected(sample: &ExpectedSample) -> Result<Self, String> {
        let labels = parser::parse_metric(&sample.labels).map_err(|error| error.to_string())?;
        let mut histogram = String::new();
        if !sample.histogram.is_empty() {
            let described =
                parser::parse_series(&format!("{{}} {}", sample.histogram)).map_err(|error| error.to_string())?;
            histogram = match described.values.as_slice() {
                [SequenceValue::Histogram(value, _)] => value.test_expression(),
                [_] => return Err("expected histogram".to_owned()),
                values => return Err(format!("expected 1 value, got {}", values.len())),
            };
        }
        Ok(Self { labels, value: sample.value, histogram })
    }

    fn equals(&self, other: &Self, fuzzy: bool) -> bool {
        let (one, two) = (self.value, other.value);
        let same = one == two || (fuzzy && (one.next_up() == two || one.next_down() == two));
        self.labels == other.labels && self.histogram == other.histogram && same
    }
}

fn show_samples(samples: &[Compared]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let shown = samples.iter().map(|sample| {
        let value = if sample.histogram.is_empty() { scientific(sample.value) } else { sample.histogram.clone() };
        format!("{} {value}", sample.labels)
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Go's `FormatFloat(value, 'E', -1, 64)`.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return coracle_promql::number::plain_float(value);
    }
    let text = format!("{value:E}");
    let (mantissa, exponent) = text.split_once('E').expect("the E format has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}E{sign}{:02}", exponent.abs())
}

fn show_alerts(alerts: &[Shown]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let shown = alerts.iter().enumerate().map(|(index, alert)| {
        let text = format!("\nLabels:{}\nAnnotations:{}", alert.labels, alert.annotations);
        format!("{index}:{}", indent(&text, "  "))
    });
    format!("[\n{}\n]", shown.collect::<Vec<_>>().join(",\n"))
}

/// A line for each alert that is missing, and for each that was not expected.
fn show_difference(expected: &[Shown], got: &[Shown]) -> String {
    let line =
        |sign: char, alert: &Shown| format!("\n{sign} Labels:{} Annotations:{}", alert.labels, alert.annotations);
    let missing = expected.iter().filter(|alert| !got.contains(alert)).map(|alert| line('-', alert));
    let too_much = got.iter().filter(|alert| !expected.contains(alert)).map(|alert| line('+', alert));
    let lines: String = missing.chain(too_much).collect();
    // Equal sets that differ in how often they have something.
    if lines.is_empty() { format!("{} alerts, not {}", got.len(), expected.len()) } else { lines }
}

/// A series as Prometheus prints it.
fn show_series(series: &MatrixSeries) -> String {
    let floats = series.floats.iter().map(|point| (point.time_ms, short_float(point.value)));
    let histograms = series.histograms.iter().map(|point| (point.time_ms, point.value.to_string()));
    let mut points: Vec<(i64, String)> = floats.chain(histograms).collect();
    points.sort_by_key(|(time_ms, _)| *time_ms);
    let points: String = points.into_iter().map(|(time_ms, value)| format!("\n{value} @[{time_ms}]")).collect();
    format!("{} =>{points}", series.labels)
}

/// Every line but the first behind some white space.
fn indent(text: &str, by: &str) -> String {
    text.split('\n').collect::<Vec<_>>().join(&format!("\n{by}"))
}

/// Go's way of printing a length of time: `1h2m3s`.
fn go_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let seconds = (ms % 60_000) as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}
