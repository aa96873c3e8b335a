//! What is served: every resource in every version, built-in and custom, behind one look-up.

pub mod convert;
mod selectable;

use std::{collections::HashMap, ops::Deref, sync::Arc};

use arc_swap::ArcSwap;
use coracle_cel::rules::Rules;
use coracle_schema::{Kind, kinds};
use coracle_store::Record;

use crate::{
    crd::conversion::ConversionHook,
    status::GroupResource,
    strategy::{self, Strategy},
};
use convert::{Conversion, older::Older};

/// A kind, built in or from a CustomResourceDefinition.
#[derive(Clone, Debug)]
pub enum KindRef {
    /// From the static table.
    BuiltIn(&'static Kind),
    /// From a definition.
    Custom(Arc<Kind>),
}

impl Deref for KindRef {
    type Target = Kind;

    fn deref(&self) -> &Kind {
        match self {
            Self::BuiltIn(kind) => kind,
            Self::Custom(kind) => kind,
        }
    }
}

/// One resource in one version.
#[derive(Clone)]
pub struct Resource {
    /// Its type.
    pub kind: KindRef,
    /// `apps/v1`: what its objects carry.
    pub api_version: String,
    /// Where the objects of all its versions lie: `/apps/deployments/`.
    pub prefix: String,
    /// What stored objects start with when they need no conversion.
    plain_start: String,
    /// Between this version and the stored one.
    pub conversion: Conversion,
    /// The rules of its own.
    pub strategy: &'static dyn Strategy,
    /// Fields that selectors may name, beside metadata.name and metadata.namespace.
    pub selectable: Arc<[String]>,
    /// What to tell whoever still uses this version.
    pub deprecation: Option<String>,
    /// Objects written before this revision may lack defaults that the schema has now; 0 where the schema has none.
    pub complete_since: u64,
    /// Whether its definition is on its way out, so that nothing new is made of it.
    pub terminating: bool,
    /// The rules in its schema, where it has any.
    pub rules: Option<Arc<Rules>>,
}

impl std::fmt::Debug for Resource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.api_version, self.kind.plural)
    }
}

impl Resource {
    fn built_in(kind: &'static Kind) -> Self {
        let storage_group = convert::storage_group(&kind.group, &kind.plural);
        let selectable = selectable::of(storage_group, &kind.plural);
        Self {
            kind: KindRef::BuiltIn(kind),
            api_version: kind.api_version(),
            prefix: prefix(storage_group, &kind.plural),
            plain_start: plain_start(&kind.api_version()),
            conversion: convert::of(&kind.group, &kind.version, &kind.plural),
            strategy: strategy::of(storage_group, &kind.plural),
            selectable: selectable.iter().map(|path| (*path).to_owned()).collect(),
            deprecation: deprecation(kind),
            terminating: false,
            rules: None,
            complete_since: 0,
        }
    }

    /// A version of a custom resource, stored as `storage_version`.
    pub fn custom(
        kind: Arc<Kind>,
        storage_version: &str,
        hook: Option<Arc<ConversionHook>>,
        selectable: Vec<String>,
        deprecation: Option<String>,
    ) -> Self {
        let stored = format!("{}/{storage_version}", kind.group);
        let conversion = match hook {
            Some(hook) => Conversion::Webhook { stored, hook },
            None => Conversion::Rename { stored },
        };
        Self {
            api_version: kind.api_version(),
            prefix: prefix(&kind.group, &kind.plural),
            plain_start: plain_start(&kind.api_version()),
            conversion,
            strategy: strategy::custom(),
            selectable: selectable.into(),
            deprecation,
            terminating: false,
            rules: None,
            complete_since: 0,
            kind: KindRef::Custom(kind),
        }
    }

    /// Whether a definition brought it.
    pub fn is_custom(&self) -> bool {
        matches!(self.kind, KindRef::Custom(_))
    }

    /// For messages.
    pub fn group_resource(&self) -> GroupResource<'_> {
        GroupResource { group: &self.kind.group, resource: &self.kind.plural }
    }

    /// The store's key of one object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.kind.namespaced {
            format!("{}{namespace}/{name}", self.prefix)
        } else {
            format!("{}{name}", self.prefix)
        }
    }

    /// What all keys of a namespace start with; of all namespaces where it is empty.
    pub fn scope(&self, namespace: &str) -> String {
        if self.kind.namespaced && !namespace.is_empty() {
            format!("{}{namespace}/", self.prefix)
        } else {
            self.prefix.clone()
        }
    }

    /// Whether a stored object's bytes are what this version shows.
    pub fn is_plain(&self, record: &Record) -> bool {
        record.value_bytes().starts_with(self.plain_start.as_bytes()) && record.revision() >= self.complete_since
    }

    /// Whether objects are stored as this version shows them.
    pub fn is_stored_version(&self) -> bool {
        match &self.conversion {
            Conversion::Rename { stored } | Conversion::Webhook { stored, .. } => *stored == self.api_version,
            conversion => matches!(conversion, Conversion::Same),
        }
    }

    /// Whether discovery lists `verb`.
    pub fn serves(&self, verb: &str) -> bool {
        self.kind.verbs.contains(&verb)
    }

    /// Whether a field selector may name `path`.
    pub fn is_selectable(&self, path: &str) -> bool {
        path == "metadata.name"
            || (path == "metadata.namespace" && self.kind.namespaced)
            || self.selectable.iter().any(|known| known == path)
    }
}

/// What upstream says of built-in resources that are on their way out.
fn deprecation(kind: &Kind) -> Option<String> {
    let text = match (&*kind.group, &*kind.plural) {
        ("", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        (group, plural) => return convert::older::find(group, &kind.version, plural).map(Older::warning),
    };
    Some(text.to_owned())
}

/// What the keys of a resource start with. The core group is written out, since a key's parts are never empty.
pub fn prefix(group: &str, plural: &str) -> String {
    format!("/{}/{plural}/", if group.is_empty() { "core" } else { group })
}

fn plain_start(api_version: &str) -> String {
    format!("{{\"apiVersion\":\"{api_version}\",")
}

/// One generation of what is served; replaced as a whole when a CustomResourceDefinition changes.
#[derive(Debug, Default)]
pub struct Served {
    by_path: HashMap<(String, String, String), Arc<Resource>>,
    /// In discovery's order.
    pub all: Vec<Arc<Resource>>,
    /// Goes up with each replacement.
    pub generation: u64,
}

impl Served {
    fn new(all: Vec<Arc<Resource>>, generation: u64) -> Self {
        let by_path = all.iter().map(|resource| {
            let Kind { group, version, plural, .. } = &*resource.kind;
            ((group.to_string(), version.to_string(), plural.to_string()), resource.clone())
        });
        Self { by_path: by_path.collect(), all, generation }
    }

    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(group.to_owned(), version.to_owned(), plural.to_owned()))
    }

    /// The resource of a kind.
    pub fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.all.iter().find(|resource| {
            resource.kind.kind == kind && resource.kind.group == group && resource.kind.version == version
        })
    }

    /// Any version of a group's resource: the stored one where it is served, since that needs no conversion.
    pub fn find_any_version(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let mut versions =
            self.all.iter().filter(|resource| resource.kind.plural == plural && resource.kind.group == group);
        let first = versions.next();
        first
            .filter(|first| first.is_stored_version())
            .or_else(|| versions.find(|one| one.is_stored_version()))
            .or(first)
    }

    /// Whether anything is served under a group and version.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.all.iter().any(|resource| resource.kind.group == group && resource.kind.version == version)
    }
}

/// What is served now.
pub struct Registry {
    built_in: Vec<Arc<Resource>>,
    now: ArcSwap<Served>,
}

impl Registry {
    /// The built-in resources.
    pub fn new() -> Self {
        let built_in: Vec<_> = kinds::builtin().iter().map(|kind| Arc::new(Resource::built_in(kind))).collect();
        let now = ArcSwap::new(Arc::new(Served::new(built_in.clone(), 1)));
        Self { built_in, now }
    }

    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        self.now.load_full()
    }

    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.now.load().find(group, version, plural).cloned()
    }

    /// Serves `custom` beside the built-in resources, instead of the custom ones so far.
    pub fn replace_custom(&self, custom: Vec<Arc<Resource>>) {
        let now = self.now.load();
        let so_far = now.all.get(self.built_in.len()..).unwrap_or_default();
        if so_far.len() == custom.len() && so_far.iter().zip(&custom).all(|(a, b)| Arc::ptr_eq(a, b)) {
            return;
        }
        let generation = now.generation + 1;
        let all = self.built_in.iter().cloned().chain(custom).collect();
        self.now.store(Arc::new(Served::new(all, generation)));
    }

    /// Whether a group belongs to the built-in resources.
    pub fn is_built_in_group(&self, group: &str) -> bool {
        self.built_in.iter().any(|resource| resource.kind.group == group)
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::new()
    }
}
