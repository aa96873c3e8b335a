//! How long a pod waits for its network, and how long after a change of endpoints the kernel follows. Needs root;
//! everything happens inside namespaces of its own. `cargo bench -p coracle-network`

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use coracle_fake_api::FakeApi;
use coracle_kernel::{netns::NetworkNamespace, nftables::Ruleset};
use coracle_network::{Config, Node, Runtimes};
use serde_json::json;

const ROUNDS: usize = 50;

fn main() {
    let directory = tempfile::tempdir().expect("a directory");
    let node = Node::open(directory.path(), Config { node_port_bind: None, ..Config::default() }).expect("a node");
    print("attach a pod", (0..ROUNDS).map(|n| timed(|| drop(node.attach(&format!("pod-{n}")).expect("attached")))));
    print("attach again", (0..ROUNDS).map(|n| timed(|| drop(node.attach(&format!("pod-{n}")).expect("attached")))));
    follow(&node);
    print("detach a pod", (0..ROUNDS).map(|n| timed(|| node.detach(&format!("pod-{n}")).expect("detached"))));
    Node::purge(directory.path()).expect("purged");
}

/// From the write of an EndpointSlice to its rule in the kernel.
fn follow(node: &Node) {
    let (inside, outside) = (node.runtime(1).expect("a runtime"), node.runtime(1).expect("a runtime"));
    let context = outside.enter();
    let api = FakeApi::default();
    let spec = json!({"clusterIP": "10.43.0.7", "ports": [{"port": 80}]});
    api.put("/api/v1/services", json!({"metadata": {"namespace": "a", "name": "web"}, "spec": spec}));
    let running = node.start(api.client(), Runtimes { node: inside.handle().clone(), host: outside.handle().clone() });
    drop(context);
    outside.block_on(running.ready());
    let namespace = NetworkNamespace::open(node.netns_path()).expect("readable").expect("open");
    let mut ruleset = namespace.run(Ruleset::open).expect("entered").expect("opened");
    let mut marks = move || ruleset.rules("coracle").expect("listed").into_iter().map(|rule| rule.userdata).max();
    let times = (0..ROUNDS).map(|n| {
        let before = marks();
        timed(|| {
            let ips = [Ipv4Addr::new(10, 42, 1, n as u8), Ipv4Addr::new(10, 42, 2, n as u8)];
            let endpoints = ips.map(|ip| json!({"addresses": [ip]}));
            let metadata = json!({"namespace": "a", "name": "web", "labels": {"kubernetes.io/service-name": "web"}});
            let slice =
                json!({"metadata": metadata, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints});
            api.put("/apis/discovery.k8s.io/v1/endpointslices", slice);
            while marks() == before {}
        })
    });
    print("follow endpoints", times.collect::<Vec<_>>().into_iter());
    outside.block_on(running.stop());
    for runtime in [inside, outside] {
        runtime.shutdown_background();
    }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn print(what: &str, times: impl Iterator<Item = Duration>) {
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:18} p50 {:?} p99 {:?} ({} rounds)", at(50), at(99), times.len());
}
