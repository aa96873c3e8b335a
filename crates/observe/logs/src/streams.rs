//! All streams that there are, by tenant.

use std::{collections::HashMap, sync::Arc};

use coracle_logql::{Labels, Matcher};

/// The number of a stream in this process.
pub(crate) type StreamId = u32;

/// A stream as it is known.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) id: StreamId,
    pub(crate) tenant: Arc<str>,
    pub(crate) labels: Arc<Labels>,
}

/// The streams of a store.
#[derive(Default)]
pub(crate) struct Streams {
    tenants: HashMap<Arc<str>, HashMap<Arc<Labels>, Arc<Known>>>,
    by_id: HashMap<StreamId, Arc<Known>>,
    next: StreamId,
}

impl Streams {
    /// The stream of these labels, which is made where it is not there.
    pub(crate) fn intern(&mut self, tenant: &str, labels: &Labels) -> Arc<Known> {
        if let Some(known) = self.tenants.get(tenant).and_then(|streams| streams.get(labels)) {
            return Arc::clone(known);
        }
        let tenant = match self.tenants.get_key_value(tenant) {
            Some((tenant, _)) => Arc::clone(tenant),
            None => Arc::from(tenant),
        };
        let known = Arc::new(Known { id: self.next, tenant: Arc::clone(&tenant), labels: Arc::new(labels.clone()) });
        self.next += 1;
        self.by_id.insert(known.id, Arc::clone(&known));
        self.tenants.entry(tenant).or_default().insert(Arc::clone(&known.labels), Arc::clone(&known));
        known
    }

    pub(crate) fn get(&self, id: StreamId) -> Option<&Arc<Known>> {
        self.by_id.get(&id)
    }

    /// How many a tenant has.
    pub(crate) fn count(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, HashMap::len)
    }

    /// Whether a tenant has a stream.
    pub(crate) fn is_known(&self, tenant: &str, labels: &Labels) -> bool {
        self.tenants.get(tenant).is_some_and(|streams| streams.contains_key(labels))
    }

    /// The streams of a tenant that matchers select.
    pub(crate) fn select(&self, tenant: &str, matchers: &[Matcher]) -> HashMap<StreamId, Arc<Known>> {
        let streams = self.tenants.get(tenant).into_iter().flat_map(HashMap::values);
        streams.filter(|known| matches(&known.labels, matchers)).map(|known| (known.id, Arc::clone(known))).collect()
    }

    /// Forgets streams that nothing refers to any more.
    pub(crate) fn retain(&mut self, used: impl Fn(StreamId) -> bool) {
        self.by_id.retain(|id, _| used(*id));
        for streams in self.tenants.values_mut() {
            streams.retain(|_, known| used(known.id));
        }
        self.tenants.retain(|_, streams| !streams.is_empty());
    }
}

/// Whether labels satisfy all matchers.
pub(crate) fn matches(labels: &Labels, matchers: &[Matcher]) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels.get(&matcher.name).unwrap_or_default()))
}
