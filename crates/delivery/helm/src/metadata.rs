//! `Chart.yaml`.

use std::{collections::BTreeMap, rc::Rc};

use coracle_gotemplate::{Dict, DictType, Value, is_print, quote};

use crate::{YamlError, values::json_kind};

/// What `Chart.yaml` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    pub name: String,
    pub home: String,
    pub sources: Vec<String>,
    pub version: String,
    pub description: String,
    pub keywords: Vec<String>,
    pub maintainers: Vec<Maintainer>,
    pub icon: String,
    pub api_version: String,
    pub condition: String,
    pub tags: String,
    pub app_version: String,
    pub deprecated: bool,
    pub annotations: BTreeMap<String, String>,
    pub kube_version: String,
    pub dependencies: Vec<Dependency>,
    pub chart_type: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Maintainer {
    pub name: String,
    pub email: String,
    pub url: String,
}

/// A chart that a chart needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dependency {
    pub name: String,
    pub version: String,
    pub repository: String,
    pub condition: String,
    pub tags: Vec<String>,
    pub enabled: bool,
    pub import_values: Vec<Import>,
    pub alias: String,
}

/// One of a dependency's `import-values`.
#[derive(Debug, Clone, PartialEq)]
pub enum Import {
    /// A key under the subchart's `exports`, to be merged into the root of the chart's values.
    Export(String),
    /// A table of the subchart's, and where in the chart's values it goes.
    Pair { child: String, parent: String },
}

/// A `Chart.yaml` that names no usable chart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("validation: {0}")]
pub struct ValidationError(String);

/// A table being read into fields; the messages are those of Go's decoder.
struct Reader<'d> {
    dict: &'d Dict,
    type_name: &'static str,
}

type Read<T> = Result<T, YamlError>;

fn unfit<T>(value: &Value, type_name: &str, field: &str, wanted: &str) -> Read<T> {
    let kind = json_kind(value);
    let place = if field.is_empty() { "Go value".to_owned() } else { format!("Go struct field {type_name}.{field}") };
    Err(YamlError::new(format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into {place} of type {wanted}"
    )))
}

impl Reader<'_> {
    fn field(&self, key: &str) -> Option<Value> {
        self.dict.get(key).filter(|value| !value.is_nil())
    }

    fn text(&self, key: &str) -> Read<String> {
        self.field(key).map_or(Ok(String::new()), |value| self.text_of(&value, key))
    }

    fn text_of(&self, value: &Value, key: &str) -> Read<String> {
        scalar_text(value).map_or_else(|| unfit(value, self.type_name, key, "string"), Ok)
    }

    fn flag(&self, key: &str) -> Read<bool> {
        match self.field(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(other) => unfit(&other, self.type_name, key, "bool"),
        }
    }

    fn items(&self, key: &str, wanted: &str) -> Read<Vec<Value>> {
        match self.field(key) {
            None => Ok(Vec::new()),
            Some(Value::List(list)) => Ok(list.to_vec()),
            Some(other) => unfit(&other, self.type_name, key, wanted),
        }
    }

    fn texts(&self, key: &str) -> Read<Vec<String>> {
        self.items(key, "[]string")?.iter().map(|item| self.text_of(item, key)).collect()
    }

    fn text_map(&self, key: &str) -> Read<BTreeMap<String, String>> {
        match self.field(key) {
            None => Ok(BTreeMap::new()),
            Some(Value::Dict(dict)) => {
                let entries = dict.snapshot();
                entries.into_iter().map(|(name, value)| Ok((name.to_string(), self.text_of(&value, key)?))).collect()
            }
            Some(other) => unfit(&other, self.type_name, key, "map[string]string"),
        }
    }
}

/// A scalar as the string the YAML library gives to a field that wants one.
pub(crate) fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::Nil => Some(String::new()),
        Value::List(_) | Value::Dict(_) => None,
        // Numbers have become floats on the way; whole ones were written without an exponent.
        Value::Float(number) if number.fract() == 0.0 && number.abs() < 1e15 => Some(format!("{number:.0}")),
        other => Some(other.to_string()),
    }
}

/// Reads `Chart.yaml`, or `requirements.yaml` over it, into `metadata`.
pub(crate) fn read(text: &str, metadata: &mut Metadata) -> Read<()> {
    let value = coracle_sprig::yaml::read(text).map_err(|error| YamlError::within(text, error))?;
    let dict = match &value {
        Value::Nil => return Ok(()),
        Value::Dict(dict) => dict,
        other => return unfit(other, "", "", "chart.Metadata"),
    };
    let reader = Reader { dict, type_name: "Metadata" };
    let texts: [(&str, &mut String); 11] = [
        ("name", &mut metadata.name),
        ("home", &mut metadata.home),
        ("version", &mut metadata.version),
        ("description", &mut metadata.description),
        ("icon", &mut metadata.icon),
        ("apiVersion", &mut metadata.api_version),
        ("condition", &mut metadata.condition),
        ("tags", &mut metadata.tags),
        ("appVersion", &mut metadata.app_version),
        ("kubeVersion", &mut metadata.kube_version),
        ("type", &mut metadata.chart_type),
    ];
    for (key, field) in texts {
        if reader.field(key).is_some() {
            *field = reader.text(key)?;
        }
    }
    for (key, field) in [("sources", &mut metadata.sources), ("keywords", &mut metadata.keywords)] {
        if reader.field(key).is_some() {
            *field = reader.texts(key)?;
        }
    }
    if reader.field("maintainers").is_some() {
        let items = reader.items("maintainers", "[]*chart.Maintainer")?;
        metadata.maintainers = items.iter().map(maintainer).collect::<Read<_>>()?;
    }
    metadata.deprecated |= reader.flag("deprecated")?;
    if reader.field("annotations").is_some() {
        metadata.annotations = reader.text_map("annotations")?;
    }
    if reader.field("dependencies").is_some() {
        let items = reader.items("dependencies", "[]*chart.Dependency")?;
        metadata.dependencies = items.iter().map(dependency).collect::<Read<_>>()?;
    }
    Ok(())
}

fn maintainer(value: &Value) -> Read<Maintainer> {
    let Value::Dict(dict) = value else {
        return unfit(value, "Metadata", "maintainers", "chart.Maintainer");
    };
    let reader = Reader { dict, type_name: "Maintainer" };
    Ok(Maintainer { name: reader.text("name")?, email: reader.text("email")?, url: reader.text("url")? })
}

fn dependency(value: &Value) -> Read<Dependency> {
    let Value::Dict(dict) = value else {
        return unfit(value, "Metadata", "dependencies", "chart.Dependency");
    };
    let reader = Reader { dict, type_name: "Dependency" };
    let imports = reader.items("import-values", "[]interface {}")?;
    Ok(Dependency {
        name: reader.text("name")?,
        version: reader.text("version")?,
        repository: reader.text("repository")?,
        condition: reader.text("condition")?,
        tags: reader.texts("tags")?,
        enabled: reader.flag("enabled")?,
        import_values: imports.iter().filter_map(import).collect(),
        alias: reader.text("alias")?,
    })
}

/// Anything but a name or a pair imports nothing.
fn import(value: &Value) -> Option<Import> {
    match value {
        Value::Dict(pair) => {
            let text = |key: &str| pair.get(key).unwrap_or_default().to_string();
            Some(Import::Pair { child: text("child"), parent: text("parent") })
        }
        Value::String(name) => Some(Import::Export(name.to_string())),
        _ => None,
    }
}

/// Spaces of all kinds become plain ones; what cannot be printed goes.
fn sanitize(text: &mut String) {
    if text.is_ascii() && !text.bytes().any(|byte| byte.is_ascii_control()) {
        return;
    }
    *text = text
        .chars()
        .filter_map(|character| match character {
            _ if character.is_whitespace() => Some(' '),
            _ if is_print(character) => Some(character),
            _ => None,
        })
        .collect();
}

impl Metadata {
    /// Tidies texts, and refuses what cannot be a chart.
    pub(crate) fn validate(&mut self) -> Result<(), ValidationError> {
        self.sanitize();
        let refuse = |message: String| Err(ValidationError(message));
        if self.api_version.is_empty() {
            return refuse("chart.metadata.apiVersion is required".to_owned());
        }
        if self.name.is_empty() {
            return refuse("chart.metadata.name is required".to_owned());
        }
        let name = quote(self.name.as_bytes());
        if self.name == "." || self.name == ".." {
            return refuse(format!("chart.metadata.name {name} is not allowed"));
        }
        if self.name.contains('/') {
            return refuse(format!("chart.metadata.name {name} is invalid"));
        }
        if self.version.is_empty() {
            return refuse("chart.metadata.version is required".to_owned());
        }
        if coracle_sprig::semver::parse(&self.version).is_err() {
            return refuse(format!("chart.metadata.version {} is invalid", quote(self.version.as_bytes())));
        }
        if !matches!(self.chart_type.as_str(), "" | "application" | "library") {
            return refuse("chart.metadata.type must be application or library".to_owned());
        }
        let mut keys: Vec<&str> = Vec::new();
        for dependency in &self.dependencies {
            let alias_fits = |character: char| character.is_ascii_alphanumeric() || "_-".contains(character);
            if !dependency.alias.is_empty() && !dependency.alias.chars().all(alias_fits) {
                let name = quote(dependency.name.as_bytes());
                return refuse(format!("dependency {name} has disallowed characters in the alias"));
            }
            let key = if dependency.alias.is_empty() { &dependency.name } else { &dependency.alias };
            if keys.contains(&key.as_str()) {
                let key = quote(key.as_bytes());
                return refuse(format!("more than one dependency with name or alias {key}"));
            }
            keys.push(key);
        }
        Ok(())
    }

    fn sanitize(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.description,
            &mut self.home,
            &mut self.icon,
            &mut self.condition,
            &mut self.tags,
            &mut self.app_version,
            &mut self.kube_version,
        ];
        texts.into_iter().chain(&mut self.sources).chain(&mut self.keywords).for_each(sanitize);
        for maintainer in &mut self.maintainers {
            [&mut maintainer.name, &mut maintainer.email, &mut maintainer.url].into_iter().for_each(sanitize);
        }
        for dependency in &mut self.dependencies {
            let Dependency { name, version, repository, condition, tags, .. } = dependency;
            [name, version, repository, condition].into_iter().chain(tags).for_each(sanitize);
        }
    }

    /// `.Chart`, as a map with the names of Go's fields.
    pub(crate) fn to_dict(&self, typed: bool) -> Rc<Dict> {
        let list = |texts: &[String]| {
            if typed {
                Value::strings(texts.iter().map(String::as_str))
            } else {
                Value::list(texts.iter().map(|text| Value::from(text.as_str())).collect())
            }
        };
        let maintainers = self.maintainers.iter().map(|maintainer| {
            Value::dict([
                ("Name", Value::from(maintainer.name.as_str())),
                ("Email", Value::from(maintainer.email.as_str())),
                ("URL", Value::from(maintainer.url.as_str())),
            ])
        });
        let dependencies = self.dependencies.iter().map(|dependency| {
            let imports = dependency.import_values.iter().map(import_value).collect();
            Value::dict([
                ("Name", Value::from(dependency.name.as_str())),
                ("Version", Value::from(dependency.version.as_str())),
                ("Repository", Value::from(dependency.repository.as_str())),
                ("Condition", Value::from(dependency.condition.as_str())),
                ("Tags", list(&dependency.tags)),
                ("Enabled", Value::Bool(dependency.enabled)),
                ("ImportValues", Value::list(imports)),
                ("Alias", Value::from(dependency.alias.as_str())),
            ])
        });
        let annotations = self.annotations.iter().map(|(key, value)| (key.as_str(), Value::from(value.as_str())));
        Rc::new(Dict::from_entries(
            DictType::Any,
            [
                ("Name", Value::from(self.name.as_str())),
                ("Home", Value::from(self.home.as_str())),
                ("Sources", list(&self.sources)),
                ("Version", Value::from(self.version.as_str())),
                ("Description", Value::from(self.description.as_str())),
                ("Keywords", list(&self.keywords)),
                ("Maintainers", Value::list(maintainers.collect())),
                ("Icon", Value::from(self.icon.as_str())),
                ("APIVersion", Value::from(self.api_version.as_str())),
                ("Condition", Value::from(self.condition.as_str())),
                ("Tags", Value::from(self.tags.as_str())),
                ("AppVersion", Value::from(self.app_version.as_str())),
                ("Deprecated", Value::Bool(self.deprecated)),
                ("Annotations", Value::Dict(Rc::new(Dict::from_entries(DictType::String, annotations)))),
                ("KubeVersion", Value::from(self.kube_version.as_str())),
                ("Dependencies", Value::list(dependencies.collect())),
                ("Type", Value::from(self.chart_type.as_str())),
            ],
        ))
    }
}

fn import_value(import: &Import) -> Value {
    let (child, parent) = match import {
        Import::Export(name) => (format!("exports.{name}"), ".".to_owned()),
        Import::Pair { child, parent } => (child.clone(), parent.clone()),
    };
    let pair = [("child", Value::from(child)), ("parent", Value::from(parent))];
    Value::Dict(Rc::new(Dict::from_entries(DictType::String, pair)))
}
