//! `.Chart`.

use std::{any::Any, fmt, rc::Rc};

use coracle_gotemplate::{Dict, Kind, Member, Object, Value};

use crate::{Flavour, metadata::Metadata};

/// `.Chart` as each Helm has it: a map in Helm 4, a struct in Helm 3.
pub(super) fn of(metadata: &Metadata, is_root: bool, flavour: Flavour) -> Value {
    let fields = metadata.to_dict(flavour == Flavour::Helm3);
    fields.set("IsRoot", Value::Bool(is_root));
    match flavour {
        Flavour::Helm4 => Value::Dict(fields),
        Flavour::Helm3 => Value::Object(Rc::new(Struct { fields })),
    }
}

struct Struct {
    fields: Rc<Dict>,
}

impl Object for Struct {
    fn type_name(&self) -> &str {
        "struct { chart.Metadata; IsRoot bool }"
    }

    fn kind(&self) -> Kind {
        Kind::Struct
    }

    fn member(&self, name: &str) -> Member {
        self.fields.get(name).map_or(Member::Absent, Member::Field)
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, value) in self.fields.entries().values().enumerate() {
            write!(f, "{}{value}", if index > 0 { " " } else { "" })?;
        }
        f.write_str("}")
    }

    fn json(&self) -> Option<Value> {
        // What Go's encoder writes: the fields' tags, empty ones left out.
        let entries = self.fields.entries();
        let shown = entries.iter().filter(|(_, value)| value.is_true());
        Some(Value::dict(shown.map(|(key, value)| (json_name(key), value.clone()))))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn json_name(field: &str) -> String {
    match field {
        "APIVersion" => "apiVersion".to_owned(),
        "IsRoot" => field.to_owned(),
        _ => field[..1].to_ascii_lowercase() + &field[1..],
    }
}
