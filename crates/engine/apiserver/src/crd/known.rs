//! What is remembered of definitions, so that a change of one does not mean reading all the others' schemas again.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use coracle_cel::rules::Rules;
use coracle_schema::{Kind, Type};
use coracle_store::{Record, Snapshot};
use serde_json::Value;

use super::{PREFIX, conversion::ConversionHook};
use crate::{object, reach::Reach, registry::Resource};

/// All definitions, by name.
#[derive(Default)]
pub struct Known(BTreeMap<String, Definition>);

/// One definition.
pub struct Definition {
    /// As it is stored.
    pub record: Arc<Record>,
    /// The definition without its schemas.
    pub outline: Value,
    /// Its served versions. The same ones for as long as its spec is the same.
    pub resources: Vec<Arc<Resource>>,
    /// Of the spec, and of whether it is being deleted.
    fingerprint: u64,
}

impl Known {
    /// Takes in what has changed.
    pub fn refresh(&mut self, snapshot: &Snapshot, reach: &Reach) {
        let mut before = std::mem::take(&mut self.0);
        for record in snapshot.list(PREFIX) {
            let name = object::key_name(record.key());
            let known = before.remove(name);
            let definition = match known {
                Some(known) if known.record.revision() == record.revision() => Some(known),
                known => Definition::read(record, known, reach),
            };
            if let Some(definition) = definition {
                self.0.insert(name.to_owned(), definition);
            }
        }
    }

    /// In the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Definition> {
        self.0.values()
    }
}

impl Definition {
    /// Reads a definition; `known` is what was known of it so far. `None` where the store is damaged there.
    fn read(record: &Arc<Record>, known: Option<Self>, reach: &Reach) -> Option<Self> {
        let mut value = object::decode(record).ok()?;
        let mut hasher = DefaultHasher::new();
        value["spec"].to_string().hash(&mut hasher);
        object::is_deleting(&value).hash(&mut hasher);
        let fingerprint = hasher.finish();
        let resources = match known.filter(|known| known.fingerprint == fingerprint) {
            Some(known) => known.resources,
            None => resources(&value, record.revision(), reach),
        };
        for version in value["spec"]["versions"].as_array_mut().into_iter().flatten() {
            if let Some(version) = version.as_object_mut() {
                version.retain(|field, _| matches!(field.as_str(), "name" | "served" | "storage"));
            }
        }
        Some(Self { record: record.clone(), outline: value, resources, fingerprint })
    }
}

/// The served versions of a definition.
fn resources(definition: &Value, revision: u64, reach: &Reach) -> Vec<Arc<Resource>> {
    let Ok(versions) = Kind::from_crd(definition) else { return Vec::new() };
    let storage = versions.iter().find(|version| version.storage).map(|version| version.kind.version.to_string());
    let Some(storage) = storage else { return Vec::new() };
    let terminating = object::is_deleting(definition);
    let hook = ConversionHook::parse(reach, &definition["spec"]["conversion"]).map(Arc::new);
    versions
        .into_iter()
        .filter(|version| version.served)
        .map(|version| {
            let facts = version.kind.custom.clone().unwrap_or_default();
            let selectable =
                facts.selectable_fields.iter().map(|path| path.trim_start_matches('.').to_owned()).collect();
            let mut resource =
                Resource::custom(version.kind, &storage, hook.clone(), selectable, facts.deprecation_warning);
            resource.terminating = terminating;
            resource.rules = schema_of(definition, &resource.kind.version).and_then(Rules::compile).map(Arc::new);
            resource.complete_since = if has_defaults(resource.kind.schema.root()) { revision } else { 0 };
            Arc::new(resource)
        })
        .collect()
}

/// The schema of a version, as it is written.
fn schema_of<'a>(definition: &'a Value, version: &str) -> Option<&'a Value> {
    let versions = definition["spec"]["versions"].as_array()?;
    versions.iter().find(|known| known["name"] == version)?["schema"].get("openAPIV3Schema")
}

fn has_defaults(of: Type<'_>) -> bool {
    of.fields()
        .filter(|field| field.name() != "metadata")
        .any(|field| field.default_text().is_some() || has_defaults(field.value()))
        || of.element().is_some_and(has_defaults)
}
