//! The way out of the cluster and the way in: the host's network is played by another node's namespace.

use coracle_network::Config;
use serde_json::json;

use crate::support::{Cluster, Engine, call, call_from, eventually, on_node};

/// A "host" whose network has a machine at 198.51.100.2 or so.
fn host() -> Cluster {
    Cluster::start_with(Config {
        pod_cidr: "198.51.100.0/24".parse().unwrap(),
        service_cidr: "203.0.113.0/24".parse().unwrap(),
        dns_ip: [203, 0, 113, 10].into(),
        node_port_bind: None,
        ..Config::default()
    })
}

#[test]
fn pods_reach_the_outside_but_not_the_host() {
    let (cluster, host) = (Cluster::start(), host());
    let far = host.pod_serving("far", 80);
    let near = host.node.ip();
    let listener = on_node(&host.node, || std::net::TcpListener::bind((near, 80)).unwrap());
    let _engine = Engine::start(&cluster.node, &host.node);
    let pod = cluster.node.attach("pod").unwrap();
    eventually("the outside answers", || call_from(&pod, far.ip, 80) == format!("far saw {near}"));
    assert_eq!(
        on_node(&cluster.node, || call((far.ip, 80).into())),
        format!("far saw {near}"),
        "as pods on the node do"
    );
    assert_eq!(call_from(&pod, near, 80), "connection reset", "an address of the host itself");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "something reached the host");
    assert_eq!(call_from(&pod, far.ip, 81), "connection reset", "a port nobody listens on");
}

#[test]
fn node_ports_are_open_on_the_host() {
    let config = Config { node_port_bind: Some([127, 0, 0, 1].into()), ..Config::default() };
    let (cluster, host) = (Cluster::start_with(config), host());
    let engine = Engine::start(&cluster.node, &host.node);
    let web = cluster.pod_serving("web", 8080);
    let taken = on_node(&host.node, || std::net::TcpListener::bind("127.0.0.1:30081").unwrap());
    let ports =
        json!([{"name": "main", "port": 80, "nodePort": 30080}, {"name": "taken", "port": 81, "nodePort": 30081}]);
    engine.put_service("web", json!({"clusterIP": "10.43.0.7", "ports": ports}));
    engine.put_endpoints("web", "TCP", 8080, &[web.ip]);
    let call_host = || on_node(&host.node, || call(([127, 0, 0, 1], 30080).into()));
    eventually("the port answers", || call_host() == format!("web saw {}", cluster.node.ip()));
    eventually("the taken port is told", || engine.api.objects("/api/v1/events").len() == 1);
    let event = engine.api.objects("/api/v1/events").remove(0);
    assert_eq!((&event["reason"], &event["involvedObject"]["name"]), (&json!("NodePortUnavailable"), &json!("web")));
    drop(taken);
    engine.api.delete("/api/v1/services", "shop", "web");
    eventually("the port is closed", || call_host() == "connection refused");
}
