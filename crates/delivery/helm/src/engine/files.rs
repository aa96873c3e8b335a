//! `.Files`.

use std::{any::Any, collections::BTreeMap, fmt, rc::Rc, sync::Arc};

use coracle_gotemplate::{Context, Dict, DictType, FunctionError, Kind, Member, Object, Str, Type, Value};

use crate::{chart::File, glob::Glob};

/// The files of a chart that are not templates, by name.
pub(super) struct Files {
    files: BTreeMap<Str, Arc<[u8]>>,
}

impl Files {
    pub fn of(files: &[File]) -> Files {
        Files { files: files.iter().map(|file| (file.name.as_str().into(), file.data.clone())).collect() }
    }

    pub fn into_value(self) -> Value {
        Value::Object(Rc::new(self))
    }

    fn bytes(&self, name: &Value) -> Arc<[u8]> {
        let data = name.as_str().and_then(|name| self.files.get(name));
        data.cloned().unwrap_or_default()
    }

    fn glob(&self, pattern: &Value) -> Files {
        let glob = pattern.as_str().and_then(Glob::compile).unwrap_or_else(Glob::everything);
        let matching = self.files.iter().filter(|(name, _)| glob.matches(name));
        Files { files: matching.map(|(name, data)| (name.clone(), data.clone())).collect() }
    }

    /// Each file under its last name, as YAML.
    fn flattened(&self, text: impl Fn(&[u8]) -> Value) -> Value {
        let entries = self.files.iter().map(|(name, data)| (super::base_name(name), text(data)));
        let dict = Value::Dict(Rc::new(Dict::from_entries(DictType::String, entries)));
        Value::from(coracle_sprig::yaml::write(&dict).trim_end_matches('\n'))
    }

    fn lines(&self, name: &Value) -> Value {
        let data = self.bytes(name);
        if data.is_empty() {
            return Value::strings(Vec::<Str>::new());
        }
        let text = String::from_utf8_lossy(&data);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Value::strings(text.split('\n'))
    }
}

fn text(data: &[u8]) -> Value {
    Value::string_from_bytes(data.to_vec())
}

impl Object for Files {
    fn type_name(&self) -> &str {
        "engine.files"
    }

    fn kind(&self) -> Kind {
        Kind::Map
    }

    fn member(&self, name: &str) -> Member {
        match name {
            "Get" | "GetBytes" | "Glob" | "Lines" => Member::Method { params: &[Type::String], rest: None },
            "AsConfig" | "AsSecrets" => Member::Method { params: &[], rest: None },
            _ => Member::Absent,
        }
    }

    fn call(&self, name: &str, _: &mut Context<'_>, arguments: &[Value]) -> Result<Value, FunctionError> {
        Ok(match name {
            "Get" => text(&self.bytes(&arguments[0])),
            "GetBytes" => Value::Bytes(self.bytes(&arguments[0])),
            "Glob" => self.glob(&arguments[0]).into_value(),
            "Lines" => self.lines(&arguments[0]),
            "AsConfig" => self.flattened(text),
            _ => self.flattened(|data| Value::from(coracle_sprig::encoding::base64(data))),
        })
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dict = self.underlying().expect("files are a map");
        write!(f, "{dict}")
    }

    fn is_true(&self) -> bool {
        !self.files.is_empty()
    }

    fn underlying(&self) -> Option<Value> {
        let entries = self.files.iter().map(|(name, data)| (name.clone(), Value::Bytes(data.clone())));
        Some(Value::Dict(Rc::new(Dict::from_entries(DictType::Named("map[string][]uint8"), entries))))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
