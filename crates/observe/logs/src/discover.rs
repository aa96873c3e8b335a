//! What Loki adds to pushed lines by default: `service_name` to streams, `detected_level` to lines. Names, words and the
//! order in which they are looked for are Loki 3's.

use std::{borrow::Cow, fmt};

use coracle_logql::{Labels, pipeline::logfmt_pairs};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::entry::{Entry, Stream};

const SERVICE_LABEL: &str = "service_name";
const UNKNOWN_SERVICE: &str = "unknown_service";
const LEVEL_LABEL: &str = "detected_level";
const UNKNOWN_LEVEL: &str = "unknown";
const SEVERITY_NUMBER: &str = "severity_number";
/// Streams that have one of these are made by programs for themselves.
const INTERNAL_LABELS: [&str; 2] = ["__aggregated_metric__", "__pattern__"];
/// Where a JSON line is looked through for a level: in it, and in the objects in it.
const JSON_DEPTH: usize = 2;

/// Labels that name a service, the best first.
const SERVICE_SOURCES: [&str; 13] = [
    "service",
    "app",
    "application",
    "app_name",
    "name",
    "app_kubernetes_io_name",
    "container",
    "container_name",
    "k8s_container_name",
    "component",
    "workload",
    "job",
    "k8s_job_name",
];

/// Fields that hold a level, the best first.
const LEVEL_FIELDS: [&str; 12] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
];

/// Values of such fields, in any case, and what they mean.
const LEVELS: [(&str, &str); 14] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("info", "info"),
    ("inf", "info"),
    ("information", "info"),
    ("warn", "warn"),
    ("wrn", "warn"),
    ("warning", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "critical"),
    ("fatal", "fatal"),
];

/// Words in the text of a line; of those at the same place the first counts.
const LEVEL_WORDS: [(&str, &str); 9] = [
    ("trace", "trace"),
    ("debug", "debug"),
    ("fatal", "fatal"),
    ("critical", "critical"),
    ("error", "error"),
    ("err", "error"),
    ("warning", "warn"),
    ("warn", "warn"),
    ("info", "info"),
];

/// What is added to pushed lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// `service_name` for streams that have none.
    pub service_name: bool,
    /// `detected_level` for lines that have none.
    pub levels: bool,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { service_name: true, levels: true }
    }
}

impl Discovery {
    /// Adds it.
    pub fn add_to(self, streams: &mut [Stream]) {
        for stream in streams {
            // A level is looked for in the labels that came.
            if self.levels {
                let of_stream = first_of(&stream.labels, &LEVEL_FIELDS).map(normal_level);
                stream.entries.iter_mut().for_each(|entry| add_level(of_stream.as_deref(), entry));
            }
            if self.service_name {
                add_service_name(&mut stream.labels);
            }
        }
    }
}

fn first_of<'l>(labels: &'l Labels, names: &[&str]) -> Option<&'l str> {
    names.iter().find_map(|name| labels.get(name))
}

fn add_service_name(labels: &mut Labels) {
    let has_one = labels.get(SERVICE_LABEL).is_some() || INTERNAL_LABELS.iter().any(|name| labels.get(name).is_some());
    // What has no labels at all is refused later on.
    if !has_one && !labels.is_empty() {
        let named = SERVICE_SOURCES.iter().find_map(|name| labels.get(name).filter(|value| !value.is_empty()));
        *labels = labels.set(SERVICE_LABEL, named.unwrap_or(UNKNOWN_SERVICE));
    }
}

fn add_level(of_stream: Option<&str>, entry: &mut Entry) {
    let level = match entry.metadata.iter().find(|(name, _)| name == LEVEL_LABEL) {
        Some((_, level)) => match normal_level(level) {
            normal if normal == *level => return,
            normal => normal.into_owned(),
        },
        None => of_stream.map_or_else(|| level_of(entry), str::to_owned),
    };
    if level.is_empty() {
        return;
    }
    let others = entry.metadata.iter().filter(|(name, _)| name != LEVEL_LABEL).cloned();
    entry.metadata = others.chain([(LEVEL_LABEL.to_owned(), level)]).collect();
}

fn level_of(entry: &Entry) -> String {
    let metadata = |wanted: &str| entry.metadata.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    if let Some(level) = LEVEL_FIELDS.iter().find_map(|name| metadata(name)) {
        return normal_level(level).into_owned();
    }
    let level = match metadata(SEVERITY_NUMBER).filter(|number| !number.is_empty()) {
        Some(number) => level_of_severity(number),
        None => level_of_line(&entry.line),
    };
    level.to_owned()
}

/// The usual word for a level that is known; others stay as they are.
fn normal_level(level: &str) -> Cow<'_, str> {
    known_level(level).map_or(Cow::Borrowed(level), Cow::Borrowed)
}

fn known_level(level: &str) -> Option<&'static str> {
    LEVELS.iter().find(|(word, _)| level.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}

/// By OpenTelemetry's numbers, of which each level has four.
fn level_of_severity(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) => "info",
        Ok(0 | 25..) => UNKNOWN_LEVEL,
        Ok(..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(9..=12) => "info",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
    }
}

fn level_of_line(line: &str) -> &'static str {
    let field = if is_json(line) {
        json_level(line)
    } else if line.contains('=') {
        logfmt_level(line)
    } else {
        None
    };
    field.as_deref().and_then(known_level).unwrap_or_else(|| level_in_text(line))
}

fn is_json(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('{') && line.ends_with('}')
}

/// The field that is named first among [`LEVEL_FIELDS`], wherever it stands.
fn logfmt_level(line: &str) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    logfmt_pairs(line, |key, value| {
        let place = LEVEL_FIELDS.iter().position(|field| key.eq_ignore_ascii_case(field));
        if let Some(place) = place.filter(|place| best.as_ref().is_none_or(|(at, _)| place < at)) {
            best = Some((place, value.to_owned()));
        }
    });
    best.map(|(_, value)| value)
}

/// The first field with a text that could be a level.
fn json_level(line: &str) -> Option<String> {
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_str(line);
    // It ends with an error where it has found one, and where the line is no JSON, which is all the same.
    drop(LevelSearch { depth: 0, named: false, found: &mut found }.deserialize(&mut reader));
    found
}

/// Goes through a JSON value; one that is a level ends it with an error.
struct LevelSearch<'s> {
    depth: usize,
    /// Whether a text here is a level.
    named: bool,
    found: &'s mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for LevelSearch<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for LevelSearch<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !self.named {
            return Ok(());
        }
        *self.found = Some(text.to_owned());
        Err(E::custom("the level is found"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(named) = map.next_key_seed(IsLevelField)? {
            if self.depth < JSON_DEPTH {
                map.next_value_seed(LevelSearch { depth: self.depth + 1, named, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Whether a key is among [`LEVEL_FIELDS`], as they are written.
struct IsLevelField;

impl<'de> DeserializeSeed<'de> for IsLevelField {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsLevelField {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(LEVEL_FIELDS.contains(&key))
    }
}

/// The level whose word stands first in a text.
fn level_in_text(line: &str) -> &'static str {
    let lower = line.to_lowercase();
    let found = LEVEL_WORDS.iter().filter_map(|(word, level)| Some((word_at(&lower, word)?, *level)));
    // Of equal places the first comes out.
    found.min_by_key(|(at, _)| *at).map_or(UNKNOWN_LEVEL, |(_, level)| level)
}

/// Where a word stands alone.
fn word_at(text: &str, word: &str) -> Option<usize> {
    let starts = |before: Option<&u8>| before.is_none_or(|b| b" \t\n[({\"=".contains(b));
    let ends = |after: Option<&u8>| after.is_none_or(|b| b" \t\n[](){}:,!\"=".contains(b));
    let bytes = text.as_bytes();
    memchr::memmem::find_iter(bytes, word)
        .find(|at| starts(at.checked_sub(1).and_then(|before| bytes.get(before))) && ends(bytes.get(at + word.len())))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn check(labels: &[(&str, &str)], metadata: &[(&str, &str)], line: &str, expected: &str) {
        let metadata: Arc<[_]> =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let entry = Entry { ts: 0, line: line.to_owned(), metadata };
        let mut streams = [Stream { labels: labels.iter().copied().collect(), entries: vec![entry] }];
        Discovery::default().add_to(&mut streams);
        let [Stream { labels, entries }] = &streams;
        let metadata: Vec<String> = entries[0].metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(format!("{labels} {}", metadata.join(" ")), expected, "{line}");
    }

    fn check_level(line: &str, expected: &str) {
        assert_eq!(level_of_line(line), expected, "{line}");
    }

    #[test]
    fn services_and_levels_by_labels() {
        check(
            &[("app", "a"), ("job", "j")],
            &[],
            "x",
            r#"{app="a", job="j", service_name="a"} detected_level=unknown"#,
        );
        check(&[("x", "y")], &[], "err: x", r#"{service_name="unknown_service", x="y"} detected_level=error"#);
        check(
            &[("service_name", "s"), ("app", "a")],
            &[],
            "x",
            r#"{app="a", service_name="s"} detected_level=unknown"#,
        );
        check(
            &[("level", "WARNING")],
            &[],
            "error",
            r#"{level="WARNING", service_name="unknown_service"} detected_level=warn"#,
        );
        check(
            &[("job", "j")],
            &[("severity", "Odd")],
            "error",
            r#"{job="j", service_name="j"} severity=Odd detected_level=Odd"#,
        );
        check(
            &[("job", "j")],
            &[("severity_number", "17")],
            "",
            r#"{job="j", service_name="j"} severity_number=17 detected_level=error"#,
        );
        check(
            &[("job", "j")],
            &[("detected_level", "ERR")],
            "info",
            r#"{job="j", service_name="j"} detected_level=error"#,
        );
        check(&[("__pattern__", "p")], &[], "info", r#"{__pattern__="p"} detected_level=info"#);
    }

    #[test]
    fn levels_by_lines() {
        check_level(r#"{"msg":"error","level":"INFO"}"#, "info");
        check_level(r#"{"a":[1,{"level":"warn"}],"n":1.5,"b":{"lvl":"dbg"},"x":null}"#, "debug");
        check_level(r#"{"a":{"b":{"level":"wrn"}},"msg":"fine"}"#, "unknown");
        check_level(r#"{"level":50,"msg":"an error here"}"#, "error");
        check_level(r#"{"level":"critical","broken"}"#, "critical");
        check_level(r#"ts=1 lvl=inf level=wrn msg="error""#, "warn");
        check_level(r#"Level="Trace""#, "trace");
        check_level("a=b [ERROR] what", "error");
        check_level("2024 WARN error", "warn");
        check_level("misc:error terrors debugging", "unknown");
        check_level("warning: x", "warn");
        check_level("Fatal!", "fatal");
        check_level("", "unknown");
    }
}
