//! `metadata.managedFields`: who owns which fields, one entry for each manager, operation and subresource.

use serde_json::{Value, json};

use super::set::{Set, SetError};

/// More managers that only update than this are joined, oldest first.
const UPDATER_LIMIT: usize = 10;
const OLD_UPDATES: &str = "ancient-changes";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Apply,
    Update,
}

/// Who manages: the identity of an entry. For appliers the version is no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manager {
    pub name: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
}

impl Manager {
    pub(crate) fn is(&self, other: &Manager) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// As conflicts name it.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text += &format!(" with subresource {:?}", self.subresource);
        }
        if self.operation == Operation::Update {
            text += &format!(" using {}", self.api_version);
        }
        text
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub manager: Manager,
    /// RFC 3339.
    pub time: Option<String>,
    pub set: Set,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Managed(pub Vec<Entry>);

impl Managed {
    pub(crate) fn read(object: &Value) -> Result<Self, SetError> {
        let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(read_entry).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn position(&self, manager: &Manager) -> Option<usize> {
        self.0.iter().position(|entry| entry.manager.is(manager))
    }

    /// Whether an object's entries say the same, whenever that was.
    pub(crate) fn same_but_times(&self, object: &Value) -> bool {
        let Ok(other) = Self::read(object) else { return false };
        let same = |entry: &Entry| other.0.iter().any(|o| o.manager == entry.manager && o.set == entry.set);
        self.0.len() == other.0.len() && self.0.iter().all(same)
    }

    pub(crate) fn drop_empty(&mut self) {
        self.0.retain(|entry| !entry.set.is_empty());
    }

    /// Joins the oldest updaters of a version into one entry until there are few enough.
    pub(crate) fn cap(&mut self) {
        let is_updater = |entry: &Entry| entry.manager.operation == Operation::Update;
        let mut updaters = self.0.iter().filter(|entry| is_updater(entry)).count();
        if updaters <= UPDATER_LIMIT {
            return;
        }
        self.0.sort_by(|a, b| (&a.time, &a.manager.name).cmp(&(&b.time, &b.manager.name)));
        let mut at = 0;
        while updaters > UPDATER_LIMIT && at < self.0.len() {
            let version = self.0[at].manager.api_version.clone();
            let older = |entry: &Entry| is_updater(entry) && entry.manager.api_version == version;
            let first = self.0[..at].iter().position(older).filter(|_| is_updater(&self.0[at]));
            let Some(first) = first else {
                at += 1;
                continue;
            };
            let newer = self.0.remove(at);
            let bucket = &mut self.0[first];
            bucket.manager.name = OLD_UPDATES.to_owned();
            bucket.manager.subresource.clear();
            bucket.set = std::mem::take(&mut bucket.set).union(&newer.set);
            bucket.time = newer.time;
            updaters -= 1;
        }
    }

    /// Writes the entries into an object, in upstream's order.
    pub(crate) fn write(mut self, object: &mut Value) {
        self.0.sort_by(|a, b| {
            let key = |entry: &Entry| {
                let manager = &entry.manager;
                (
                    manager.operation,
                    entry.time.clone(),
                    manager.name.clone(),
                    manager.api_version.clone(),
                    manager.subresource.clone(),
                )
            };
            key(a).cmp(&key(b))
        });
        let entries: Vec<Value> = self.0.iter().map(write_entry).collect();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            if entries.is_empty() {
                metadata.remove("managedFields");
            } else {
                metadata.insert("managedFields".to_owned(), Value::Array(entries));
            }
        }
    }
}

fn read_entry(entry: &Value) -> Result<Entry, SetError> {
    let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let operation = if entry["operation"] == "Apply" { Operation::Apply } else { Operation::Update };
    let set = entry.get("fieldsV1").map(Set::parse).transpose()?.unwrap_or_default();
    Ok(Entry {
        manager: Manager {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
        },
        time: entry["time"].as_str().map(str::to_owned),
        set,
    })
}

fn write_entry(entry: &Entry) -> Value {
    let manager = &entry.manager;
    let operation = match manager.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut written = json!({
        "apiVersion": manager.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.set.to_value(),
        "manager": manager.name,
        "operation": operation,
    });
    if !manager.subresource.is_empty() {
        written["subresource"] = manager.subresource.as_str().into();
    }
    if let Some(time) = &entry.time {
        written["time"] = time.as_str().into();
    }
    written
}
