//! `coracle.yaml`: the few things a Dockerfile cannot say.

use coracle_yaml::decode::{DecodeError, Fields, Located};
use coracle_yaml::{FileId, Node, Resolved, Value};

use super::RenderError;
use crate::source::Tree;

/// The settings file's name, at the root of the repository.
pub const FILE: &str = "coracle.yaml";
/// As many replicas as this are no mistake.
const REPLICAS_LIMIT: i64 = 1000;

/// How the app is to run; what is not set has a sensible default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    pub replicas: Option<u32>,
    /// The port requests go to; the first exposed one by default.
    pub port: Option<u16>,
    /// The path of the HTTP readiness check; without one, a TCP connection is enough.
    pub health: Option<String>,
    pub env: Vec<(String, EnvValue)>,
    pub requests: Vec<(String, String)>,
    pub limits: Vec<(String, String)>,
    /// Hosts it answers to besides its own `APP.localhost`.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    Text(String),
    /// A key of a Secret in the app's namespace.
    Secret {
        name: String,
        key: String,
    },
}

/// The settings of a repository; the defaults where it has no settings file.
pub(super) fn read(tree: &dyn Tree) -> Result<Settings, RenderError> {
    let Some(bytes) = tree.read(FILE)? else { return Ok(Settings::default()) };
    let error = |line, column, message: String| RenderError { file: FILE.to_owned(), line, column, message };
    let text = String::from_utf8(bytes).map_err(|_| error(0, 0, "the file is not UTF-8 text".to_owned()))?;
    parse(&text).map_err(|DecodeError { mark, message }| error(mark.line, mark.column, message))
}

fn parse(text: &str) -> Result<Settings, DecodeError> {
    let node = coracle_yaml::parse_one(text, FileId::default())
        .map_err(|error| DecodeError::new(error.mark, format!("this is not YAML: {error}")))?;
    if node.is_null() {
        return Ok(Settings::default());
    }
    let mut fields = Fields::of(&node, "")?;
    let mut settings = Settings {
        replicas: whole(&mut fields, "replicas", 0, REPLICAS_LIMIT)?.and_then(|value| u32::try_from(value).ok()),
        port: whole(&mut fields, "port", 1, 65535)?.and_then(|value| u16::try_from(value).ok()),
        health: health(&mut fields)?,
        hosts: fields.texts("hosts")?.into_iter().map(|host| host.value).collect(),
        ..Settings::default()
    };
    if let Some(env) = fields.node("env") {
        settings.env = environment(env)?;
    }
    if let Some(node) = fields.node("resources") {
        let mut resources = Fields::of(node, "resources")?;
        for (key, list) in [("requests", &mut settings.requests), ("limits", &mut settings.limits)] {
            if let Some(node) = resources.node(key) {
                *list = quantities(node, &format!("resources.{key}"))?;
            }
        }
        resources.finish()?;
    }
    fields.finish()?;
    Ok(settings)
}

fn whole(fields: &mut Fields<'_>, key: &'static str, least: i64, most: i64) -> Result<Option<i64>, DecodeError> {
    let mark = fields.node(key).map(|node| node.mark);
    match fields.integer(key)? {
        Some(value) if !(least..=most).contains(&value) => {
            let mark = mark.unwrap_or_else(|| fields.mark());
            Err(DecodeError::new(mark, format!("{key}: expected a number from {least} to {most}, found {value}")))
        }
        value => Ok(value),
    }
}

fn health(fields: &mut Fields<'_>) -> Result<Option<String>, DecodeError> {
    match fields.text("health")? {
        Some(Located { value, mark }) if !value.starts_with('/') => {
            Err(DecodeError::new(mark, format!("health: expected a path that begins with '/', found {value:?}")))
        }
        text => Ok(text.map(|text| text.value)),
    }
}

fn environment(node: &Node) -> Result<Vec<(String, EnvValue)>, DecodeError> {
    let wanted = "env: expected a mapping of names to values";
    let mapping =
        node.as_mapping().ok_or_else(|| DecodeError::new(node.mark, format!("{wanted}, found {}", node.describe())))?;
    let mut env = Vec::new();
    for entry in mapping.iter() {
        let value = match &entry.value.value {
            // Everything in the environment is text, so a number needs no quotes here.
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => EnvValue::Text(String::new()),
                _ => EnvValue::Text(scalar.text.to_string()),
            },
            _ => {
                let mut fields = Fields::of(&entry.value, &format!("env.{}", entry.key))?;
                let (name, key) = (fields.string("secret")?, fields.string("key")?);
                fields.finish()?;
                if name.is_empty() || key.is_empty() {
                    let message = format!("env.{}: expected a text, or a secret with a key", entry.key);
                    return Err(DecodeError::new(entry.value.mark, message));
                }
                EnvValue::Secret { name, key }
            }
        };
        env.push((entry.key.to_string(), value));
    }
    Ok(env)
}

fn quantities(node: &Node, path: &str) -> Result<Vec<(String, String)>, DecodeError> {
    let mut fields = Fields::of(node, path)?;
    let mut quantities = Vec::new();
    for key in ["cpu", "memory", "ephemeral-storage"] {
        let Some(node) = fields.node(key) else { continue };
        let text = node.as_text().filter(|text| is_quantity(text)).ok_or_else(|| {
            DecodeError::new(
                node.mark,
                format!("{path}.{key}: expected a quantity like 100m or 64Mi, found {}", node.describe()),
            )
        })?;
        quantities.push((key.to_owned(), text.to_owned()));
    }
    fields.finish()?;
    Ok(quantities)
}

fn is_quantity(text: &str) -> bool {
    let digits = text.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let suffix = &text[digits.len()..];
    digits.parse::<f64>().is_ok_and(|number| number >= 0.0)
        && matches!(suffix, "" | "m" | "k" | "M" | "G" | "T" | "P" | "E" | "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei")
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::parse;

    fn check(text: &str, expected: Expect) {
        let text = match parse(text) {
            Ok(settings) => format!("{settings:?}"),
            Err(error) => format!("{}:{}: {error}", error.mark.line, error.mark.column),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn settings_are_read_or_refused_with_their_place() {
        check(
            "",
            expect![
                "Settings { replicas: None, port: None, health: None, env: [], requests: [], limits: [], hosts: [] }"
            ],
        );
        check(
            "replicas: 5\nport: 8080\nhealth: /healthz\nenv:\n  COLOUR: teal\n  N: 3\n  P: {secret: s, key: k}\nresources:\n  limits: {cpu: 1, memory: 64Mi}\nhosts: [a.example]\n",
            expect![[
                r#"Settings { replicas: Some(5), port: Some(8080), health: Some("/healthz"), env: [("COLOUR", Text("teal")), ("N", Text("3")), ("P", Secret { name: "s", key: "k" })], requests: [], limits: [("cpu", "1"), ("memory", "64Mi")], hosts: ["a.example"] }"#
            ]],
        );
        check("replica: 5", expect![[r#"1:1: unknown field "replica"; did you mean "replicas"?"#]]);
        check("replicas: -1", expect!["1:11: replicas: expected a number from 0 to 1000, found -1"]);
        check("port: http", expect![[r#"1:7: port: expected a whole number, found the string "http""#]]);
        check("health: healthz", expect![[r#"1:9: health: expected a path that begins with '/', found "healthz""#]]);
        check(
            "resources: {limits: {memory: lots}}",
            expect![[
                r#"1:30: resources.limits.memory: expected a quantity like 100m or 64Mi, found the string "lots""#
            ]],
        );
        check("env: [A=b]", expect!["1:6: env: expected a mapping of names to values, found a list"]);
        check("env:\n  A: {secrets: s}", expect![[r#"2:7: unknown field "env.A.secrets"; did you mean "secret"?"#]]);
        check("a: [", expect!["2:1: this is not YAML: while parsing a node, did not find expected node content"]);
    }
}
