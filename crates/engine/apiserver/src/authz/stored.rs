//! RBAC over the store: the roles and bindings in force are those stored, to the last write.

use std::sync::atomic::{AtomicU64, Ordering};

use coracle_store::{Event, EventKind, Store, Watcher};
use parking_lot::RwLock;
use serde_json::Value;

use super::{
    Attributes, Authorizer, Decision, NonResourceRule, ResourceRule, Rules,
    rbac::{PolicyRule, Rbac},
};
use crate::authn::User;

/// The four kinds with where they are stored.
const KINDS: [(&str, &str); 4] = [
    ("Role", "/rbac.authorization.k8s.io/roles/"),
    ("ClusterRole", "/rbac.authorization.k8s.io/clusterroles/"),
    ("RoleBinding", "/rbac.authorization.k8s.io/rolebindings/"),
    ("ClusterRoleBinding", "/rbac.authorization.k8s.io/clusterrolebindings/"),
];

/// Decides by the stored roles. What was acknowledged to a writer counts for the next request.
pub struct StoredRbac {
    store: Store,
    /// The store's revision up to which [`Followed`] has been brought.
    seen: AtomicU64,
    followed: RwLock<Followed>,
}

struct Followed {
    rbac: Rbac,
    watchers: Vec<(&'static str, Watcher)>,
}

impl StoredRbac {
    /// Reads what is stored, and follows it from there.
    pub fn new(store: Store) -> Self {
        let (revision, followed) = read(&store);
        Self { store, seen: AtomicU64::new(revision), followed: RwLock::new(followed) }
    }

    /// Asks the roles as they are now.
    pub fn with<T>(&self, ask: impl FnOnce(&Rbac) -> T) -> T {
        let now = self.store.revision();
        if self.seen.load(Ordering::Acquire) != now {
            let mut followed = self.followed.write();
            let seen = followed.catch_up().unwrap_or_else(|_forgotten| {
                let (revision, fresh) = read(&self.store);
                *followed = fresh;
                revision
            });
            self.seen.store(seen, Ordering::Release);
        }
        ask(&self.followed.read().rbac)
    }
}

/// Everything stored at one revision, and watchers from there on.
fn read(store: &Store) -> (u64, Followed) {
    loop {
        let snapshot = store.snapshot();
        let watchers: Result<Vec<_>, _> =
            KINDS.iter().map(|(kind, prefix)| Ok((*kind, store.watch(prefix, snapshot.revision())?))).collect();
        let Ok::<_, coracle_store::WatchError>(watchers) = watchers else { continue };
        let mut rbac = Rbac::default();
        for (kind, prefix) in KINDS {
            for record in snapshot.list(prefix) {
                apply(&mut rbac, kind, record.value_bytes());
            }
        }
        return (snapshot.revision(), Followed { rbac, watchers });
    }
}

fn apply(rbac: &mut Rbac, kind: &str, bytes: &[u8]) {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(object) => rbac.apply(kind, &object),
        Err(error) => tracing::error!(kind, %error, "a stored role or binding cannot be read; it grants nothing"),
    }
}

impl Followed {
    /// Takes in what has happened since, and returns the revision up to which nothing is left out.
    fn catch_up(&mut self) -> Result<u64, coracle_store::Compacted> {
        let Self { rbac, watchers } = self;
        let mut complete = u64::MAX;
        for (kind, watcher) in watchers {
            loop {
                let events = watcher.pending()?;
                if events.is_empty() {
                    break;
                }
                for event in events {
                    take_in(rbac, kind, &event);
                }
            }
            complete = complete.min(watcher.progress());
        }
        Ok(complete)
    }
}

fn take_in(rbac: &mut Rbac, kind: &str, event: &Event) {
    if event.kind != EventKind::Deleted {
        return apply(rbac, kind, event.record.value_bytes());
    }
    let mut path = event.record.key().rsplit('/');
    let (name, namespace) = (path.next().unwrap_or_default(), path.next().unwrap_or_default());
    rbac.remove(kind, if kind.starts_with("Cluster") { "" } else { namespace }, name);
}

impl Authorizer for StoredRbac {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.with(|rbac| rbac.authorize(attributes))
    }

    fn rules(&self, user: &User, namespace: &str) -> Rules {
        let rules = self.with(|rbac| rbac.rules_for(user, namespace));
        let (paths, resources): (Vec<PolicyRule>, Vec<PolicyRule>) =
            rules.into_iter().partition(|rule| rule.resources.is_empty() && !rule.non_resource_urls.is_empty());
        Rules {
            resource: resources.into_iter().map(resource_rule).collect(),
            non_resource: paths
                .into_iter()
                .map(|rule| NonResourceRule { verbs: rule.verbs, paths: rule.non_resource_urls })
                .collect(),
            ..Rules::default()
        }
    }
}

fn resource_rule(rule: PolicyRule) -> ResourceRule {
    ResourceRule {
        verbs: rule.verbs,
        api_groups: rule.api_groups,
        resources: rule.resources,
        resource_names: rule.resource_names,
    }
}
