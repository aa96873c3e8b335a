//! A cluster in one process: API server, controllers, scheduler, and a node that only pretends to run pods.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use coracle_apiserver::{AllowAll, Cidr, Guards, Options, Server, StaticTokens, User, generate_key};
use coracle_client::{AbortOnDrop, Cache, Caches, Key};
use coracle_clock::SystemClock;
use coracle_controllers::Context;
use coracle_store::Store;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Event, Namespace, Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);
const NAMESPACE: &str = "shop";

pub struct Cluster {
    pub client: Client,
    _server: Server,
    _node: AbortOnDrop,
    controllers: Vec<AbortOnDrop>,
}

impl Cluster {
    /// A cluster with a node of two processors, and a namespace `shop`.
    pub async fn start() -> Self {
        let server = Server::start(Store::in_memory(), options()).await.unwrap();
        let client = Client::new(server.client_service(User::engine()), "default");
        let node = json!({"metadata": {"name": "node"}, "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let nodes: Api<Node> = Api::all(client.clone());
        nodes.create(&PostParams::default(), &node).await.unwrap();
        nodes
            .patch_status("node", &PatchParams::default(), &Patch::Merge(json!({"status": node.status})))
            .await
            .unwrap();
        let node = AbortOnDrop(coracle_tasks::spawn("node", pretend_to_run(Caches::new(client.clone()))));
        let controllers = start_controllers(&client);
        let cluster = Self { client, _server: server, _node: node, controllers };
        let namespace = json!({"metadata": {"name": NAMESPACE}});
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
        // Without it no pod is taken.
        let accounts = cluster.api::<ServiceAccount>();
        eventually("the account", || async { accounts.get_opt("default").await.unwrap().is_some() }).await;
        cluster
    }

    /// Ends controllers and scheduler in the middle of whatever they do, and starts others that know nothing.
    pub fn restart_controllers(&mut self) {
        self.controllers.clear();
        self.controllers = start_controllers(&self.client);
    }

    /// Objects of the test's namespace.
    pub fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Serialize
            + std::fmt::Debug,
    {
        self.api::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await.unwrap()
    }

    pub async fn list<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    /// Pods that are neither finished nor going.
    pub async fn running_pods(&self) -> Vec<Pod> {
        let pods = self.list::<Pod>().await;
        pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    /// Reasons and messages of an object's events, in the order they came, names cut to what is the same in each run.
    pub async fn events(&self, about: &str) -> Vec<String> {
        let mut events = self.list::<Event>().await;
        events.retain(|event| event.involved_object.name.as_deref() == Some(about));
        events.sort_by_key(|event| (event.first_timestamp.clone(), event.name_any()));
        let line = |event: Event| format!("{} {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
        events.into_iter().map(line).collect()
    }
}

/// What a server is told unless a test tells it otherwise.
pub fn options() -> Options {
    Options {
        clock: Arc::new(SystemClock),
        authorizer: Arc::new(AllowAll),
        tokens: Arc::new(StaticTokens::new([])),
        service_account_key: generate_key().unwrap(),
        issuer: "https://kubernetes.default.svc.cluster.local".into(),
        authority_pem: String::new(),
        node_socket: PathBuf::from("/nonexistent/node.sock"),
        dialer: None,
        service_range: Cidr { network: [10, 43, 0, 0].into(), prefix: 16 },
        node_ports: 30000..=32767,
        advertise: None,
        guards: Guards::default(),
    }
}

fn start_controllers(client: &Client) -> Vec<AbortOnDrop> {
    let context = Context::new(client.clone(), Arc::new(SystemClock));
    let scheduler = coracle_scheduler::Context {
        caches: context.caches.clone(),
        events: context.events.clone(),
        clock: Arc::clone(&context.clock),
    };
    let running = [
        coracle_tasks::spawn("controllers", coracle_controllers::run(context, "the certificate".to_owned())),
        coracle_tasks::spawn("scheduler", coracle_scheduler::run(scheduler)),
    ];
    running.map(AbortOnDrop).into()
}

/// Waits until a condition holds, looking again and again.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come about"));
}

/// Makes every bound pod ready at once, and lets every deleted one end at once. A pod labelled `broken` never gets ready.
async fn pretend_to_run(caches: Caches) {
    let pods: Cache<Pod> = caches.of();
    let mut changes = pods.changes();
    pods.filled().await;
    let mut next_address = 1;
    loop {
        let Ok(change) = changes.next().await else { panic!("the pretended node cannot keep up") };
        let Some(pod) = change.current else { continue };
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_none() {
            continue;
        }
        let key = Key::of(&*pod);
        let api: Api<Pod> = Api::namespaced(caches.client().clone(), &key.namespace);
        let is_new = pod.status.as_ref().is_none_or(|status| status.pod_ip.is_none());
        if pod.metadata.deletion_timestamp.is_some() {
            // Gone already is as good.
            let _gone = api.delete(&key.name, &DeleteParams::default().grace_period(0)).await;
        } else if is_new {
            next_address += 1;
            let ready = if pod.labels().contains_key("broken") { "False" } else { "True" };
            let address = format!("10.42.0.{next_address}");
            let status = json!({"status": {
                "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": k8s_openapi::jiff::Timestamp::UNIX_EPOCH}],
            }});
            // The pod may have been deleted meanwhile.
            let _written = api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(status)).await;
        }
    }
}
