//! Follows what the API says of ingresses and what they name, and makes a new table of every change.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;

use crate::{
    proxy::Proxy,
    routes::{self, Kept, ObjectName, Sources},
    status::CONTROLLER,
    tls::{Certificates, Parsed},
    upstream::Upstream,
};

/// Changes that arrive together make one table.
const CHANGES_AT_ONCE: usize = 512;
/// How often unused connections to pods are looked at.
const TIDY_EVERY: Duration = Duration::from_secs(10);
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// From before IngressClass existed.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

#[expect(clippy::large_enum_variant, reason = "one is handled as soon as it is there")]
enum Change {
    Ingress(watcher::Result<Event<Ingress>>),
    Class(watcher::Result<Event<IngressClass>>),
    Service(watcher::Result<Event<Service>>),
    Slice(watcher::Result<Event<EndpointSlice>>),
    Secret(watcher::Result<Event<Secret>>),
}

/// One kind's objects.
struct Collection<K> {
    objects: BTreeMap<ObjectName, K>,
    arriving: BTreeMap<ObjectName, K>,
    is_complete: bool,
}

impl<K> Default for Collection<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), arriving: BTreeMap::new(), is_complete: false }
    }
}

impl<K: ResourceExt> Collection<K> {
    fn take(&mut self, event: watcher::Result<Event<K>>) {
        // Who set which field is half of an object's size, and nothing to a gateway.
        let event = event.map(|event| event.modify(|object| object.managed_fields_mut().clear()));
        match event {
            Ok(Event::Init) => self.arriving.clear(),
            Ok(Event::InitApply(object)) => drop(self.arriving.insert(ObjectName::of(&object), object)),
            Ok(Event::InitDone) => {
                self.objects = std::mem::take(&mut self.arriving);
                self.is_complete = true;
            }
            Ok(Event::Apply(object)) => drop(self.objects.insert(ObjectName::of(&object), object)),
            Ok(Event::Delete(object)) => drop(self.objects.remove(&ObjectName::of(&object))),
            // The watcher starts over by itself; until then the last known state holds.
            Err(error) => tracing::warn!(%error, kind = std::any::type_name::<K>(), "watching for the gateway"),
        }
    }
}

#[derive(Default)]
struct Cluster {
    ingresses: Collection<Ingress>,
    classes: Collection<IngressClass>,
    services: Collection<Service>,
    slices: Collection<EndpointSlice>,
    secrets: Collection<Secret>,
}

/// What [`run`] brings up to date.
pub(crate) struct Targets {
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) ready: watch::Sender<bool>,
    /// The ingresses that are this gateway's.
    pub(crate) ours: watch::Sender<Vec<Arc<Ingress>>>,
}

/// Follows until dropped.
pub(crate) async fn run(client: Client, targets: Targets) {
    let mut changes = std::pin::pin!(changes(client));
    let mut tidy = tokio::time::interval(TIDY_EVERY);
    let (mut cluster, mut kept, mut parsed) = (Cluster::default(), Kept::default(), Parsed::default());
    loop {
        let batch = tokio::select! {
            batch = changes.next() => batch.unwrap_or_default(),
            _ = tidy.tick() => {
                kept.upstreams.values().for_each(|upstream| upstream.tidy());
                continue;
            }
        };
        batch.into_iter().for_each(|change| cluster.take(change));
        if cluster.is_complete() {
            cluster.publish(&mut kept, &mut parsed, &targets);
        }
    }
}

fn changes(client: Client) -> impl Stream<Item = Vec<Change>> {
    let all = watcher::Config::default;
    let tls_only = all().fields("type=kubernetes.io/tls");
    let streams = [
        watcher(Api::<Ingress>::all(client.clone()), all()).default_backoff().map(Change::Ingress).boxed(),
        watcher(Api::<IngressClass>::all(client.clone()), all()).default_backoff().map(Change::Class).boxed(),
        watcher(Api::<Service>::all(client.clone()), all()).default_backoff().map(Change::Service).boxed(),
        watcher(Api::<EndpointSlice>::all(client.clone()), all()).default_backoff().map(Change::Slice).boxed(),
        watcher(Api::<Secret>::all(client), tls_only).default_backoff().map(Change::Secret).boxed(),
    ];
    stream::select_all(streams).ready_chunks(CHANGES_AT_ONCE)
}

impl Cluster {
    fn take(&mut self, change: Change) {
        match change {
            Change::Ingress(event) => self.ingresses.take(event),
            Change::Class(event) => self.classes.take(event),
            Change::Service(event) => self.services.take(event),
            Change::Slice(event) => self.slices.take(event),
            Change::Secret(event) => self.secrets.take(event),
        }
    }

    fn is_complete(&self) -> bool {
        let Self { ingresses, classes, services, slices, secrets } = self;
        [ingresses.is_complete, classes.is_complete, services.is_complete, slices.is_complete, secrets.is_complete]
            == [true; 5]
    }

    fn publish(&self, kept: &mut Kept, parsed: &mut Parsed, targets: &Targets) {
        let options = &targets.proxy.options;
        let classes: Vec<_> = self.classes.objects.values().collect();
        let ours = self.ingresses.objects.values().filter(|ingress| is_ours(ingress, &classes, &options.class));
        let ours: Vec<_> = ours.collect();
        let sources =
            Sources { ingresses: ours.clone(), services: &self.services.objects, slices: &self.slices.objects };
        let table = routes::build(&sources, kept, || Upstream::new(options.idle_timeout));
        targets.certificates.replace(parsed.collect(&ours, &self.secrets.objects));
        targets.proxy.table.store(Arc::new(table));
        targets.ready.send_replace(true);
        let ours: Vec<_> = ours.into_iter().cloned().map(Arc::new).collect();
        targets.ours.send_if_modified(|known| {
            let changed = *known != ours;
            *known = ours;
            changed
        });
    }
}

/// An ingress says whose it is by its class; one without is the default class's, or ours where there is no default.
fn is_ours(ingress: &Ingress, classes: &[&IngressClass], our_class: &str) -> bool {
    let is_our_class = |class: &IngressClass| {
        class.name_any() == our_class
            || class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER)
    };
    let field = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    match field.or(ingress.annotations().get(CLASS_ANNOTATION).map(String::as_str)) {
        Some(name) => name == our_class || classes.iter().any(|class| class.name_any() == name && is_our_class(class)),
        None => {
            let mut defaults = classes
                .iter()
                .filter(|it| it.annotations().get(DEFAULT_CLASS).is_some_and(|it| it == "true"))
                .peekable();
            defaults.peek().is_none() || defaults.any(|class| is_our_class(class))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(name: &str, controller: &str, is_default: bool) -> IngressClass {
        let annotations = if is_default { json!({DEFAULT_CLASS: "true"}) } else { json!({}) };
        let object =
            json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"controller": controller}});
        serde_json::from_value(object).unwrap()
    }

    fn check(class_name: Option<&str>, classes: &[IngressClass], expected: bool) {
        let object = json!({"metadata": {"name": "a"}, "spec": {"ingressClassName": class_name}});
        let ingress: Ingress = serde_json::from_value(object).unwrap();
        assert_eq!(is_ours(&ingress, &Vec::from_iter(classes), "coracle"), expected, "{class_name:?}");
    }

    #[test]
    fn an_ingress_belongs_to_its_class() {
        let foreign = || class("nginx", "k8s.io/ingress-nginx", false);
        check(Some("coracle"), &[], true);
        check(Some("nginx"), &[foreign()], false);
        check(Some("public"), &[class("public", CONTROLLER, false)], true);
        check(None, &[], true);
        check(None, &[foreign()], true);
        check(None, &[class("nginx", "k8s.io/ingress-nginx", true)], false);
        check(None, &[class("nginx", "k8s.io/ingress-nginx", true), class("coracle", CONTROLLER, true)], true);
    }

    #[test]
    fn the_old_annotation_counts_too() {
        let object = json!({"metadata": {"name": "a", "annotations": {CLASS_ANNOTATION: "nginx"}}});
        assert!(!is_ours(&serde_json::from_value(object).unwrap(), &[], "coracle"));
    }
}
