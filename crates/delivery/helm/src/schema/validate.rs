//! Values against schemas, keyword by keyword, in the order in which the library reports.

use std::collections::BTreeSet;

use coracle_gotemplate::{Dict, List, Value, number};
use serde_json::Value as Json;

use super::{Violation, What, format, grouped, join_quoted, quote, reference::Root};

/// References and nesting deeper than this are a cycle.
const DEPTH_LIMIT: u32 = 256;

/// The first thing wrong with the values, if any; an error is about the schema itself.
pub(super) fn run(root: &Root<'_>, value: &Value) -> Result<Option<Violation>, String> {
    let mut validator = Validator { root, path: Vec::new(), depth: 0 };
    Ok(validator.schema(root.schema, value)?.err())
}

/// The properties and items a schema has looked at, for `unevaluatedProperties` and `unevaluatedItems`.
#[derive(Default)]
struct Evaluated {
    properties: BTreeSet<String>,
    items: BTreeSet<usize>,
}

/// Whether a number is on the wrong side of a bound.
type Breaks = fn(f64, f64) -> bool;

impl Evaluated {
    fn merge(&mut self, other: Evaluated) {
        self.properties.extend(other.properties);
        self.items.extend(other.items);
    }
}

type Verdict = Result<Evaluated, Violation>;
type Checked<T> = Result<T, String>;

struct Validator<'r, 's> {
    root: &'r Root<'s>,
    path: Vec<String>,
    depth: u32,
}

/// What one schema has found so far.
#[derive(Default)]
struct Findings {
    violations: Vec<Violation>,
    evaluated: Evaluated,
}

impl Findings {
    fn take(&mut self, verdict: Verdict) {
        match verdict {
            Ok(evaluated) => self.evaluated.merge(evaluated),
            Err(violation) => self.violations.push(violation),
        }
    }

    /// A part's verdict, where what it looked at is not this value's.
    fn take_part(&mut self, verdict: Verdict) {
        self.violations.extend(verdict.err());
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Int(number) | Value::Int64(number) => Some(*number as f64),
        Value::Uint64(number) => Some(*number as f64),
        Value::Uint8(number) => Some(f64::from(*number)),
        _ => None,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Nil => "null",
        Value::Bool(_) => "boolean",
        Value::List(_) | Value::Bytes(_) => "array",
        Value::Dict(_) | Value::Object(_) => "object",
        Value::String(_) | Value::Binary(_) => "string",
        _ => "number",
    }
}

fn equals(value: &Value, json: &Json) -> bool {
    match (value, json) {
        (Value::Nil, Json::Null) => true,
        (Value::Bool(value), Json::Bool(json)) => value == json,
        (Value::String(value), Json::String(json)) => **value == **json,
        (Value::List(value), Json::Array(json)) => {
            value.len() == json.len() && value.iter().zip(json).all(|(value, json)| equals(value, json))
        }
        (Value::Dict(value), Json::Object(json)) => {
            value.len() == json.len()
                && json.iter().all(|(key, json)| value.get(key).is_some_and(|value| equals(&value, json)))
        }
        (value, Json::Number(json)) => number_of(value).is_some_and(|value| Some(value) == json.as_f64()),
        _ => false,
    }
}

fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::String(left), Value::String(right)) => left == right,
        (Value::List(left), Value::List(right)) => {
            left.len() == right.len() && left.iter().zip(right.iter()).all(|(left, right)| same(left, right))
        }
        (Value::Dict(left), Value::Dict(right)) => {
            left.len() == right.len()
                && left.entries().iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, &other)))
        }
        _ => number_of(left).is_some() && number_of(left) == number_of(right),
    }
}

fn display(json: &Json) -> String {
    match json {
        Json::String(text) => quote(text),
        Json::Null => "<nil>".to_owned(),
        Json::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => number::format_float(float),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn texts(json: Option<&Json>) -> Vec<String> {
    let items = json.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn limit(schema: &Json, key: &str) -> Option<usize> {
    schema.get(key)?.as_f64().map(|limit| limit as usize)
}

fn is_compound(json: &Json) -> bool {
    matches!(json, Json::Array(_) | Json::Object(_))
}

impl<'s> Validator<'_, 's> {
    fn violation(&self, message: impl Into<String>) -> Violation {
        Violation { path: self.path.clone(), what: What::Message(message.into()), causes: Vec::new() }
    }

    fn with_causes(&self, message: &str, causes: Vec<Violation>) -> Violation {
        Violation { causes, ..self.violation(message) }
    }

    /// A part of the value being validated.
    fn part(&mut self, schema: &'s Json, value: &Value, step: impl Into<String>) -> Checked<Verdict> {
        self.path.push(step.into());
        let verdict = self.schema(schema, value);
        self.path.pop();
        verdict
    }

    fn schema(&mut self, schema: &'s Json, value: &Value) -> Checked<Verdict> {
        if self.depth > DEPTH_LIMIT {
            return Err(format!("schemas are nested or refer to each other more than {DEPTH_LIMIT} deep"));
        }
        self.depth += 1;
        let verdict = self.keywords(schema, value);
        self.depth -= 1;
        verdict
    }

    fn keywords(&mut self, schema: &'s Json, value: &Value) -> Checked<Verdict> {
        match schema {
            Json::Bool(true) => return Ok(Ok(Evaluated::default())),
            Json::Bool(false) => return Ok(Err(self.violation("false schema"))),
            _ => {}
        }
        let reference = schema.get("$ref").and_then(Json::as_str);
        if let (Some(reference), 0..2019) = (reference, self.root.draft) {
            // Older drafts ignore what stands beside a reference.
            return self.reference(reference, value);
        }
        if let Err(violation) = self.whole(schema, value)? {
            return Ok(Err(violation));
        }
        let mut findings = Findings::default();
        for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
            if let Some(reference) = schema.get(key).and_then(Json::as_str) {
                let verdict = self.reference(reference, value)?;
                findings.take(verdict);
            }
        }
        match value {
            Value::Dict(dict) => self.object(schema, dict, &mut findings)?,
            Value::List(list) => self.array(schema, list, &mut findings)?,
            Value::String(text) => self.string(schema, text, &mut findings)?,
            _ => self.number(schema, value, &mut findings),
        }
        self.combinations(schema, value, &mut findings)?;
        if self.root.draft >= 2019 {
            self.unevaluated(schema, value, &mut findings)?;
        }
        let mut violations = findings.violations;
        Ok(match violations.len() {
            0 => Ok(findings.evaluated),
            1 => Err(violations.remove(0)),
            _ => Err(Violation { path: self.path.clone(), what: What::Group, causes: violations }),
        })
    }

    fn reference(&mut self, reference: &str, value: &Value) -> Checked<Verdict> {
        let target = self.root.resolve(reference)?;
        let verdict = self.schema(target, value)?;
        Ok(verdict.map_err(|violation| Violation {
            path: self.path.clone(),
            what: What::Reference,
            causes: violation.flattened(),
        }))
    }

    /// Keywords about the value as a whole; the first that fails is the only one told.
    fn whole(&self, schema: &Json, value: &Value) -> Checked<Result<(), Violation>> {
        if let Some(wanted) = schema.get("type") {
            let wanted = wanted.as_str().map_or_else(|| texts(Some(wanted)), |one| vec![one.to_owned()]);
            let got = type_of(value);
            let whole = number_of(value).is_some_and(|number| number.fract() == 0.0);
            let fits = wanted.iter().any(|wanted| wanted == got || wanted == "integer" && whole);
            if !fits && !wanted.is_empty() {
                return Ok(Err(self.violation(format!("got {got}, want {}", wanted.join(" or ")))));
            }
        }
        if let Some(wanted) = schema.get("const")
            && !equals(value, wanted)
        {
            let message = if is_compound(wanted) {
                "'const' failed".to_owned()
            } else {
                format!("value must be {}", display(wanted))
            };
            return Ok(Err(self.violation(message)));
        }
        if let Some(Json::Array(wanted)) = schema.get("enum")
            && !wanted.iter().any(|wanted| equals(value, wanted))
        {
            return Ok(Err(self.violation(enum_message(wanted))));
        }
        if let (Some(wanted), Value::String(text), 0..2019) =
            (schema.get("format").and_then(Json::as_str), value, self.root.draft)
            && !format::fits(wanted, text)
        {
            return Ok(Err(self.violation(format!("{} is not valid {wanted}", quote(text)))));
        }
        Ok(Ok(()))
    }

    fn object(&mut self, schema: &'s Json, dict: &Dict, findings: &mut Findings) -> Checked<()> {
        let count = dict.len();
        if let Some(want) = limit(schema, "minProperties").filter(|want| count < *want) {
            findings.violations.push(self.violation(format!("minProperties: got {count}, want {want}")));
        }
        if let Some(want) = limit(schema, "maxProperties").filter(|want| count > *want) {
            findings.violations.push(self.violation(format!("maxProperties: got {count}, want {want}")));
        }
        let missing: Vec<String> =
            texts(schema.get("required")).into_iter().filter(|name| !dict.contains(name)).collect();
        match missing.as_slice() {
            [] => {}
            [one] => findings.violations.push(self.violation(format!("missing property {}", quote(one)))),
            many => findings.violations.push(self.violation(format!("missing properties {}", join_quoted(many)))),
        }
        self.dependencies(schema, dict, findings)?;
        self.properties(schema, dict, findings)?;
        if let Some(names) = schema.get("propertyNames") {
            for (name, _) in dict.snapshot() {
                if let Err(violation) = self.schema(names, &Value::String(name.clone()))? {
                    let causes = violation.flattened();
                    let message = format!("invalid propertyName {}", quote(&name));
                    findings.violations.push(self.with_causes(&message, causes));
                }
            }
        }
        Ok(())
    }

    fn dependencies(&mut self, schema: &'s Json, dict: &Dict, findings: &mut Findings) -> Checked<()> {
        for key in ["dependencies", "dependentSchemas", "dependentRequired"] {
            let Some(Json::Object(dependencies)) = schema.get(key) else { continue };
            for (name, dependency) in dependencies.iter().filter(|(name, _)| dict.contains(name)) {
                if let Json::Array(_) = dependency {
                    let missing: Vec<String> =
                        texts(Some(dependency)).into_iter().filter(|name| !dict.contains(name)).collect();
                    if !missing.is_empty() {
                        let (missing, name) = (join_quoted(&missing), quote(name));
                        let message = format!("properties {missing} required, if {name} exists");
                        findings.violations.push(self.violation(message));
                    }
                } else {
                    let whole = Value::dict(dict.snapshot());
                    let verdict = self.schema(dependency, &whole)?;
                    findings.take(verdict);
                }
            }
        }
        Ok(())
    }

    fn properties(&mut self, schema: &'s Json, dict: &Dict, findings: &mut Findings) -> Checked<()> {
        let properties = schema.get("properties");
        let mut patterns = Vec::new();
        if let Some(Json::Object(fields)) = schema.get("patternProperties") {
            for (pattern, schema) in fields {
                patterns.push((compile(pattern)?, schema));
            }
        }
        let additional = schema.get("additionalProperties");
        let mut surplus = Vec::new();
        for (name, value) in dict.snapshot() {
            let mut evaluated = false;
            if let Some(schema) = properties.and_then(|properties| properties.get(&*name)) {
                evaluated = true;
                let verdict = self.part(schema, &value, &*name)?;
                findings.take_part(verdict);
            }
            for (pattern, schema) in &patterns {
                if pattern.is_match(&name) {
                    evaluated = true;
                    let verdict = self.part(schema, &value, &*name)?;
                    findings.take_part(verdict);
                }
            }
            match additional {
                Some(additional) if !evaluated => {
                    evaluated = true;
                    if additional == &Json::Bool(false) {
                        surplus.push(name.to_string());
                    } else {
                        let verdict = self.part(additional, &value, &*name)?;
                        findings.take_part(verdict);
                    }
                }
                _ => {}
            }
            if evaluated {
                findings.evaluated.properties.insert(name.to_string());
            }
        }
        if !surplus.is_empty() {
            let message = format!("additional properties {} not allowed", join_quoted(&surplus));
            findings.violations.push(self.violation(message));
        }
        Ok(())
    }

    fn array(&mut self, schema: &'s Json, list: &List, findings: &mut Findings) -> Checked<()> {
        let count = list.len();
        if let Some(want) = limit(schema, "minItems").filter(|want| count < *want) {
            findings.violations.push(self.violation(format!("minItems: got {count}, want {want}")));
        }
        if let Some(want) = limit(schema, "maxItems").filter(|want| count > *want) {
            findings.violations.push(self.violation(format!("maxItems: got {count}, want {want}")));
        }
        if schema.get("uniqueItems") == Some(&Json::Bool(true))
            && let Some((first, second)) = duplicate(list)
        {
            findings.violations.push(self.violation(format!("items at {first} and {second} are equal")));
        }
        self.items(schema, list, findings)?;
        self.contains(schema, list, findings)
    }

    fn items(&mut self, schema: &'s Json, list: &List, findings: &mut Findings) -> Checked<()> {
        let modern = self.root.draft >= 2020;
        let (first, rest) = match (modern, schema.get("items")) {
            (true, rest) => (schema.get("prefixItems"), rest),
            (false, Some(first @ Json::Array(_))) => (Some(first), schema.get("additionalItems")),
            (false, rest) => (None, rest),
        };
        let first = first.and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        for (index, item) in list.iter().enumerate() {
            let schema = match (first.get(index), rest) {
                (Some(schema), _) => schema,
                (None, Some(Json::Bool(false))) if !modern => {
                    let message = format!("last {} additionalItem(s) not allowed", list.len() - index);
                    findings.violations.push(self.violation(message));
                    return Ok(());
                }
                (None, Some(schema)) => schema,
                (None, None) => return Ok(()),
            };
            findings.evaluated.items.insert(index);
            let verdict = self.part(schema, item, index.to_string())?;
            findings.take_part(verdict);
        }
        Ok(())
    }

    fn contains(&mut self, schema: &'s Json, list: &List, findings: &mut Findings) -> Checked<()> {
        let Some(wanted) = schema.get("contains") else { return Ok(()) };
        let mut causes = Vec::new();
        let mut matched = Vec::new();
        for (index, item) in list.iter().enumerate() {
            match self.part(wanted, item, index.to_string())? {
                Ok(_) => matched.push(index),
                Err(violation) => causes.push(violation),
            }
        }
        let places = matched.iter().map(usize::to_string).collect::<Vec<_>>().join(" ");
        let count = matched.len();
        match limit(schema, "minContains") {
            Some(want) if count < want => {
                let found =
                    if count == 0 { "none matched".to_owned() } else { format!("matched {count} items at {places}") };
                let message = format!("min {want} items required to match contains schema, but {found}");
                findings.violations.push(self.with_causes(&message, causes));
            }
            None if count == 0 => {
                findings.violations.push(self.with_causes("no items match contains schema", causes));
            }
            _ => {}
        }
        if let Some(want) = limit(schema, "maxContains").filter(|want| count > *want) {
            let message =
                format!("max {want} items required to match contains schema, but matched {count} items at {places}");
            findings.violations.push(self.violation(message));
        }
        if self.root.draft >= 2020 {
            findings.evaluated.items.extend(matched);
        }
        Ok(())
    }

    fn string(&self, schema: &Json, text: &str, findings: &mut Findings) -> Checked<()> {
        let length = text.chars().count();
        let shown = |number: usize| grouped(number as f64);
        if let Some(want) = limit(schema, "minLength").filter(|want| length < *want) {
            let message = format!("minLength: got {}, want {}", shown(length), shown(want));
            findings.violations.push(self.violation(message));
        }
        if let Some(want) = limit(schema, "maxLength").filter(|want| length > *want) {
            let message = format!("maxLength: got {}, want {}", shown(length), shown(want));
            findings.violations.push(self.violation(message));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Json::as_str)
            && !compile(pattern)?.is_match(text)
        {
            let message = format!("{} does not match pattern {}", quote(text), quote(pattern));
            findings.violations.push(self.violation(message));
        }
        Ok(())
    }

    fn number(&self, schema: &Json, value: &Value, findings: &mut Findings) {
        let Some(got) = number_of(value) else { return };
        let exclusive = |key: &str| schema.get(key) == Some(&Json::Bool(true));
        let bounds: [(&str, Breaks); 4] = [
            ("minimum", |got, want| got < want),
            ("maximum", |got, want| got > want),
            ("exclusiveMinimum", |got, want| got <= want),
            ("exclusiveMaximum", |got, want| got >= want),
        ];
        for (key, breaks) in bounds {
            let Some(want) = schema.get(key).and_then(Json::as_f64) else { continue };
            // In draft 4 these are flags beside the bound.
            let flag = match key {
                "minimum" => exclusive("exclusiveMinimum"),
                "maximum" => exclusive("exclusiveMaximum"),
                _ => false,
            };
            if breaks(got, want) || flag && got == want {
                let message = format!("{key}: got {}, want {}", grouped(got), grouped(want));
                findings.violations.push(self.violation(message));
            }
        }
        if let Some(want) = schema.get("multipleOf").and_then(Json::as_f64) {
            let quotient = got / want;
            if (quotient - quotient.round()).abs() > 1e-9 {
                let message = format!("multipleOf: got {}, want {}", grouped(got), grouped(want));
                findings.violations.push(self.violation(message));
            }
        }
    }

    fn combinations(&mut self, schema: &'s Json, value: &Value, findings: &mut Findings) -> Checked<()> {
        if let Some(not) = schema.get("not")
            && self.schema(not, value)?.is_ok()
        {
            findings.violations.push(self.violation("'not' failed"));
        }
        if let Some(Json::Array(schemas)) = schema.get("allOf") {
            let mut causes = Vec::new();
            for schema in schemas {
                match self.schema(schema, value)? {
                    Ok(evaluated) => findings.evaluated.merge(evaluated),
                    Err(violation) => causes.push(violation),
                }
            }
            if !causes.is_empty() {
                findings.violations.push(self.with_causes("'allOf' failed", causes));
            }
        }
        if let Some(Json::Array(schemas)) = schema.get("anyOf") {
            let mut causes = Vec::new();
            for schema in schemas {
                match self.schema(schema, value)? {
                    Ok(evaluated) => findings.evaluated.merge(evaluated),
                    Err(violation) => causes.push(violation),
                }
            }
            if causes.len() == schemas.len() {
                findings.violations.push(self.with_causes("'anyOf' failed", causes));
            }
        }
        if let Some(Json::Array(schemas)) = schema.get("oneOf") {
            self.one_of(schemas, value, findings)?;
        }
        if let Some(condition) = schema.get("if") {
            let verdict = self.schema(condition, value)?;
            let branch = if verdict.is_ok() { schema.get("then") } else { schema.get("else") };
            if let Ok(evaluated) = verdict {
                findings.evaluated.merge(evaluated);
            }
            if let Some(branch) = branch {
                let verdict = self.schema(branch, value)?;
                findings.take(verdict);
            }
        }
        Ok(())
    }

    fn one_of(&mut self, schemas: &'s [Json], value: &Value, findings: &mut Findings) -> Checked<()> {
        let mut matched = None;
        let mut causes = Vec::new();
        for (index, schema) in schemas.iter().enumerate() {
            match (self.schema(schema, value)?, matched) {
                (Ok(evaluated), None) => {
                    findings.evaluated.merge(evaluated);
                    matched = Some(index);
                }
                (Ok(_), Some(first)) => {
                    let message = format!("'oneOf' failed, subschemas {first}, {index} matched");
                    findings.violations.push(self.violation(message));
                    return Ok(());
                }
                (Err(violation), None) => causes.push(violation),
                (Err(_), Some(_)) => {}
            }
        }
        if matched.is_none() {
            findings.violations.push(self.with_causes("'oneOf' failed, none matched", causes));
        }
        Ok(())
    }

    fn unevaluated(&mut self, schema: &'s Json, value: &Value, findings: &mut Findings) -> Checked<()> {
        if let (Some(rest), Value::Dict(dict)) = (schema.get("unevaluatedProperties"), value) {
            for (name, value) in dict.snapshot() {
                if !findings.evaluated.properties.contains(&*name) {
                    let verdict = self.part(rest, &value, &*name)?;
                    findings.take_part(verdict);
                    findings.evaluated.properties.insert(name.to_string());
                }
            }
        }
        if let (Some(rest), Value::List(list)) = (schema.get("unevaluatedItems"), value) {
            for (index, item) in list.iter().enumerate() {
                if !findings.evaluated.items.contains(&index) {
                    let verdict = self.part(rest, item, index.to_string())?;
                    findings.take_part(verdict);
                    findings.evaluated.items.insert(index);
                }
            }
        }
        Ok(())
    }
}

fn enum_message(wanted: &[Json]) -> String {
    if wanted.iter().any(is_compound) {
        return "'enum' failed".to_owned();
    }
    match wanted {
        [one] => format!("value must be {}", display(one)),
        many => format!("value must be one of {}", many.iter().map(display).collect::<Vec<_>>().join(", ")),
    }
}

fn duplicate(list: &List) -> Option<(usize, usize)> {
    (0..list.len())
        .flat_map(|second| (0..second).map(move |first| (first, second)))
        .find(|(first, second)| same(&list[*first], &list[*second]))
}

fn compile(pattern: &str) -> Checked<regex::Regex> {
    regex::Regex::new(pattern).map_err(|_| format!("{} is not valid regex", quote(pattern)))
}
