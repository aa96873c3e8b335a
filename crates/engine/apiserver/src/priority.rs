//! Priority and fairness: requests take seats at the level their flow schema leads to. Who floods one level waits there in
//! a queue of their own, and takes nothing from the others: node agents and leader leases go on.
//!
//! Kept simple where upstream is not: a level's seats are its nominal share, none are lent or borrowed; each flow has one
//! queue, and queues take turns; every request takes one seat.

pub mod defaults;
mod level;
mod schema;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use coracle_store::{Store, Watcher};
use http::HeaderValue;
use parking_lot::Mutex;
use serde_json::Value;

use crate::{authn::User, request::info::RequestInfo, response::Answer, status::Failure};
pub use level::Seat;
use level::{Level, Shape};
use schema::Schema;

/// Requests under way at once, over all levels; as many as upstream's defaults allow.
const SEATS: u64 = 600;
const SCHEMAS: &str = "/flowcontrol.apiserver.k8s.io/flowschemas/";
const LEVELS: &str = "/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";

/// See the module.
pub struct Priority {
    store: Store,
    now: ArcSwap<Rules>,
    /// The store's revision up to which `watchers` have been looked at.
    seen: AtomicU64,
    watchers: Mutex<Option<[Watcher; 2]>>,
}

#[derive(Default)]
struct Rules {
    /// The most important first.
    schemas: Vec<Schema>,
    levels: HashMap<String, Arc<Level>>,
}

/// Where a request was put.
#[derive(Debug, Clone)]
pub struct Place {
    schema_uid: String,
    level_uid: String,
}

impl Place {
    /// Says it in the answer's headers.
    pub fn tell(&self, answer: &mut Answer) {
        for (name, uid) in [
            ("x-kubernetes-pf-flowschema-uid", &self.schema_uid),
            ("x-kubernetes-pf-prioritylevel-uid", &self.level_uid),
        ] {
            if let Ok(value) = HeaderValue::from_str(uid) {
                answer.headers_mut().insert(name, value);
            }
        }
    }
}

impl Priority {
    /// Follows the flow schemas and levels in `store`.
    pub fn new(store: Store) -> Self {
        let never = AtomicU64::new(u64::MAX);
        Self { store, now: ArcSwap::default(), seen: never, watchers: Mutex::default() }
    }

    /// Where a request is put, and its seat there, which is waited for; an error where too many wait already.
    pub async fn admit(&self, info: &RequestInfo, user: &User) -> (Option<Place>, Result<Option<Seat>, Failure>) {
        let rules = self.rules();
        let found = rules.schemas.iter().find(|schema| schema.is_about(info, user));
        let Some((schema, level)) = found.and_then(|schema| Some((schema, rules.levels.get(&schema.level)?))) else {
            return (None, Ok(None));
        };
        let place = Place { schema_uid: schema.uid.clone(), level_uid: level.uid.clone() };
        let mut flow = DefaultHasher::new();
        (&schema.name, schema.flow_of(info, user)).hash(&mut flow);
        let seat = level.seat(flow.finish()).await;
        let refused = || Failure::too_many_requests("too many requests, please try again later", 1);
        (Some(place), seat.map(Some).map_err(|_refused| refused()))
    }

    /// The rules as they are stored now.
    fn rules(&self) -> Arc<Rules> {
        let revision = self.store.revision();
        if self.seen.load(Ordering::Acquire) != revision
            && let Some(mut watchers) = self.watchers.try_lock()
        {
            if has_changed(&mut watchers) {
                // From before the reading on, so that nothing is missed between.
                let watch = |topic: &str| self.store.watch(topic, self.store.revision()).ok();
                *watchers = watch(SCHEMAS).zip(watch(LEVELS)).map(|(schemas, levels)| [schemas, levels]);
                self.now.store(Arc::new(self.read()));
            }
            self.seen.store(revision, Ordering::Release);
        }
        self.now.load_full()
    }

    /// Reads everything; levels that stay keep those who sit and wait there.
    fn read(&self) -> Rules {
        let snapshot = self.store.snapshot();
        let decode = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
        let stored: Vec<Value> = snapshot.list(LEVELS).filter_map(|record| decode(record.value_bytes())).collect();
        let total: u64 = stored.iter().map(level::shares).sum();
        let before = self.now.load();
        let mut levels = HashMap::new();
        for object in &stored {
            let shape = Shape::of(object, SEATS, total);
            let name = crate::object::name(object).to_owned();
            let uid = crate::object::meta_text(object, "uid");
            let level = match before.levels.get(&name).filter(|level| level.uid == uid) {
                Some(known) => {
                    known.reshape(shape);
                    known.clone()
                }
                None => Arc::new(Level::new(uid, shape)),
            };
            levels.insert(name, level);
        }
        let mut schemas: Vec<Schema> =
            snapshot.list(SCHEMAS).filter_map(|record| Schema::read(&decode(record.value_bytes())?)).collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Rules { schemas, levels }
    }
}

fn has_changed(watchers: &mut Option<[Watcher; 2]>) -> bool {
    let Some(watchers) = watchers else { return true };
    watchers.iter_mut().any(|watcher| watcher.pending().map_or(true, |events| !events.is_empty()))
}
