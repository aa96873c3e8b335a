//! The templates of alerts' labels and annotations: Go's, with Prometheus' functions.

use std::{any::Any, collections::BTreeMap, sync::Arc};

use coracle_gotemplate::{
    Context, Dict, DictType, Function, FunctionError, Functions, Host, Limits, List, ListType, MissingKey, Set, Type,
    Value, execute,
};
use coracle_promql::{
    Labels,
    engine::{Sample, SampleValue},
    go_regex,
    number::{parse_duration_ms, parse_float},
};

use crate::{humanize, template_histogram::Histogram};

/// What stands before every text, so that people can write `$labels` and `$value`.
const SHORTHANDS: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                          {{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// Answers queries that templates ask.
pub type Query<'a> = &'a dyn Fn(&str) -> Result<Vec<Sample>, String>;

/// What a template is expanded with.
pub struct Data<'a> {
    pub labels: &'a Labels,
    pub value: &'a SampleValue,
    pub external_labels: &'a [(String, String)],
    pub external_url: &'a str,
    pub time_ms: i64,
    pub query: Query<'a>,
}

/// Whether a text is a template; what is wrong with it if not.
pub fn check(alert: &str, text: &str) -> Result<(), String> {
    let name = format!("__alert_{alert}");
    let mut set = Set::new(&name, functions(), MissingKey::Zero);
    set.parse(&name, &format!("{SHORTHANDS}{text}")).map_err(|error| error.to_string())
}

/// The text with its actions carried out; mistakes end up in the text.
pub fn expand(alert: &str, text: &str, data: &Data<'_>) -> String {
    if !text.contains("{{") {
        return text.to_owned();
    }
    try_expand(alert, text, data).unwrap_or_else(|error| format!("<error expanding template: {error}>"))
}

fn try_expand(alert: &str, text: &str, data: &Data<'_>) -> Result<String, String> {
    let name = format!("__alert_{alert}");
    let mut set = Set::new(&name, functions(), MissingKey::Zero);
    set.parse(&name, &format!("{SHORTHANDS}{text}"))
        .map_err(|error| format!("error parsing template {name}: {error}"))?;
    let set = Arc::new(set);
    let external = data.external_labels.iter().map(|(label, value)| (label.as_str(), value.as_str()));
    let root = Value::dict([
        ("Labels", strings(data.labels.iter())),
        ("ExternalLabels", strings(external)),
        ("ExternalURL", Value::string(data.external_url)),
        ("Value", sample_value(data.value)),
    ]);
    let mut answers = BTreeMap::new();
    loop {
        let mut host = Answers {
            known: std::mem::take(&mut answers),
            asked: None,
            time_ms: data.time_ms,
            external_url: data.external_url.to_owned(),
        };
        let result = execute(&set, &name, &root, &mut host, Limits::default());
        answers = host.known;
        // A query that nobody has asked yet is asked now, and the template runs again.
        if let Some(question) = host.asked {
            let answer = (data.query)(&question);
            answers.insert(question, answer);
            continue;
        }
        return match result {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(format!("error executing template {name}: {error}")),
        };
    }
}

fn strings<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    let entries = pairs.map(|(name, value)| (name, Value::string(value)));
    Value::Dict(std::rc::Rc::new(Dict::from_entries(DictType::String, entries)))
}

fn sample_value(value: &SampleValue) -> Value {
    match value {
        SampleValue::Float(value) => Value::Float(*value),
        SampleValue::Histogram(histogram) => Histogram::value(Arc::clone(histogram)),
    }
}

/// Functions are plain pointers: what they need of the world stands here.
struct Answers {
    known: BTreeMap<String, Result<Vec<Sample>, String>>,
    asked: Option<String>,
    time_ms: i64,
    external_url: String,
}

impl Host for Answers {
    fn now(&mut self) -> (i64, u32) {
        (self.time_ms.div_euclid(1000), self.time_ms.rem_euclid(1000) as u32 * 1_000_000)
    }

    fn random(&mut self, buffer: &mut [u8]) {
        buffer.fill(0);
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

fn functions() -> Arc<Functions> {
    Arc::new(Functions::default().with(TABLE))
}

type Answer = Result<Value, FunctionError>;

const SAMPLES: &str = "template.queryResult";

static TABLE: &[Function] = &[
    Function::variadic("args", &[], Type::Any, args),
    Function::new("externalURL", &[], |context, _| Ok(Value::string(answers(context)?.external_url.as_str()))),
    Function::new("first", &[Type::Any], first),
    Function::new("graphLink", &[Type::String], |_, args| link(args, 0)),
    Function::new("humanize", &[Type::Any], |_, args| number(&args[0]).map(humanize::humanize).map(Value::string)),
    Function::new("humanize1024", &[Type::Any], |_, args| {
        number(&args[0]).map(humanize::humanize_1024).map(Value::string)
    }),
    Function::new("humanizeDuration", &[Type::Any], |_, args| {
        number(&args[0]).map(humanize::humanize_duration).map(Value::string)
    }),
    Function::new("humanizePercentage", &[Type::Any], |_, args| {
        let percent = number(&args[0])? * 100.0;
        Ok(Value::string(format!("{}%", humanize::four_digits(percent))))
    }),
    Function::new("humanizeTimestamp", &[Type::Any], |_, args| {
        humanize::humanize_timestamp(number(&args[0])?).map(Value::string).map_err(FunctionError::new)
    }),
    Function::new("label", &[Type::String, Type::Any], |_, args| sample_label(&args[1], text(&args[0])?)),
    Function::new("match", &[Type::String, Type::String], |_, args| {
        Ok(Value::Bool(regex(text(&args[0])?)?.is_match(text(&args[1])?)))
    }),
    Function::new("now", &[], |context, _| Ok(Value::Float(answers(context)?.time_ms as f64 / 1000.0))),
    Function::new("parseDuration", &[Type::String], parse_duration),
    Function::new("pathPrefix", &[], |context, _| Ok(Value::string(path_of(&answers(context)?.external_url)))),
    Function::new("query", &[Type::String], query),
    Function::new("reReplaceAll", &[Type::String, Type::String, Type::String], replace_all),
    Function::new("safeHtml", &[Type::String], |_, args| Ok(args[0].clone())),
    Function::new("sortByLabel", &[Type::String, Type::Any], sort_by_label),
    Function::new("stripDomain", &[Type::String], |_, args| Ok(Value::string(strip_domain(text(&args[0])?)))),
    Function::new("stripPort", &[Type::String], |_, args| Ok(Value::string(strip_port(text(&args[0])?)))),
    Function::new("strvalue", &[Type::Any], |_, args| sample_label(&args[0], "__value__")),
    Function::new("tableLink", &[Type::String], |_, args| link(args, 1)),
    Function::new("title", &[Type::String], |_, args| Ok(Value::string(title(text(&args[0])?)))),
    Function::new("toLower", &[Type::String], |_, args| Ok(Value::string(text(&args[0])?.to_lowercase()))),
    Function::new("toUpper", &[Type::String], |_, args| Ok(Value::string(text(&args[0])?.to_uppercase()))),
    Function::new("urlQueryEscape", &[Type::String], |_, args| Ok(Value::string(query_escape(text(&args[0])?)))),
    Function::new("value", &[Type::Any], |_, args| field(&args[0], "Value")),
];

fn answers<'a>(context: &'a mut Context<'_>) -> Result<&'a mut Answers, FunctionError> {
    context
        .host
        .as_any()
        .downcast_mut()
        .ok_or_else(|| FunctionError::new("these functions belong to alerts' templates"))
}

fn text(value: &Value) -> Result<&str, FunctionError> {
    value.as_str().ok_or_else(|| FunctionError::new("the text is not UTF-8"))
}

fn number(value: &Value) -> Result<f64, FunctionError> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) | Value::Int64(value) => Ok(*value as f64),
        Value::Uint64(value) => Ok(*value as f64),
        Value::String(text) => parse_float(text).map_err(FunctionError::new),
        other => Err(FunctionError::new(format!("can't convert {} to float", other.type_name()))),
    }
}

fn args(_: &mut Context<'_>, args: &[Value]) -> Answer {
    Ok(Value::dict(args.iter().enumerate().map(|(index, value)| (format!("arg{index}"), value.clone()))))
}

fn query(context: &mut Context<'_>, args: &[Value]) -> Answer {
    let question = text(&args[0])?.to_owned();
    let answers = answers(context)?;
    let Some(answer) = answers.known.get(&question) else {
        answers.asked = Some(question);
        return Err(FunctionError::new("the query is asked first"));
    };
    let samples = answer.as_ref().map_err(|error| FunctionError::new(error.as_str()))?;
    let samples = samples
        .iter()
        .map(|sample| Value::dict([("Labels", strings(sample.labels.iter())), ("Value", sample_value(&sample.value))]));
    Ok(Value::List(std::rc::Rc::new(List::new(ListType::Named(SAMPLES), samples.collect()))))
}

fn first(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let first = args[0].as_list().and_then(|list| list.first().cloned());
    first.ok_or_else(|| FunctionError::new("first() called on vector with no elements"))
}

fn field(sample: &Value, name: &str) -> Answer {
    let found = sample.as_dict().and_then(|sample| sample.get(name));
    found.ok_or_else(|| FunctionError::new("this is no sample of a query"))
}

fn sample_label(sample: &Value, label: &str) -> Answer {
    let labels = field(sample, "Labels")?;
    let value = labels.as_dict().and_then(|labels| labels.get(label));
    Ok(value.unwrap_or_else(|| Value::string("")))
}

fn sort_by_label(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let label = text(&args[0])?;
    let list = args[1].as_list().ok_or_else(|| FunctionError::new("sortByLabel sorts what a query gave"))?;
    let mut keyed = Vec::with_capacity(list.len());
    for sample in list.iter() {
        let key = sample_label(sample, label)?;
        keyed.push((key.as_str().unwrap_or_default().to_owned(), sample.clone()));
    }
    keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
    let sorted = keyed.into_iter().map(|(_, sample)| sample).collect();
    Ok(Value::List(std::rc::Rc::new(List::new(ListType::Named(SAMPLES), sorted))))
}

fn regex(pattern: &str) -> Result<go_regex::Regex, FunctionError> {
    go_regex::compile_unanchored(pattern).map_err(|error| FunctionError::new(error.to_string()))
}

fn replace_all(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let (regex, replacement, subject) = (regex(text(&args[0])?)?, text(&args[1])?, text(&args[2])?);
    Ok(Value::string(go_regex::replace_all(&regex, replacement, subject)))
}

fn parse_duration(_: &mut Context<'_>, args: &[Value]) -> Answer {
    let written = text(&args[0])?;
    let (sign, unsigned) = match written.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, written),
    };
    let ms = parse_duration_ms(unsigned).map_err(FunctionError::new)?;
    Ok(Value::Float(sign * ms as f64 / 1000.0))
}

fn path_of(url: &str) -> &str {
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path = url[after_scheme..].find('/').map_or("", |at| &url[after_scheme + at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

fn link(args: &[Value], tab: u8) -> Answer {
    Ok(Value::string(format!("/graph?g0.expr={}&g0.tab={tab}", query_escape(text(&args[0])?))))
}

/// Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Host and port of `host:port` or `[host]:port`; nothing when there is no port.
fn split_host_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once("]:")?;
        return Some((host, port));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains(':')).then_some((host, port))
}

fn strip_port(text: &str) -> &str {
    split_host_port(text).map_or(text, |(host, _)| host)
}

fn strip_domain(text: &str) -> String {
    let (host, port) = split_host_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let name = host.split('.').next().unwrap_or_default();
    if port.is_empty() { name.to_owned() } else { format!("{name}:{port}") }
}

/// The first letter of every word in upper case.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        let in_word = c.is_alphanumeric() || (inside && matches!(c, '\'' | '_'));
        if in_word && !inside {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        inside = in_word;
    }
    out
}
