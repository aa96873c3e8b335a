//! Virtual addresses: balanced, followed, refused, kept.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use coracle_network::PodNetwork;
use serde_json::json;

use crate::support::{Cluster, Engine, PATIENCE, call, call_from, eventually, inside, on_node};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 7);

fn http() -> serde_json::Value {
    json!({"clusterIP": VIP, "ports": [{"name": "main", "port": 80, "nodePort": 30080}]})
}

/// How many of `calls` each pod answered.
fn tally(client: &PodNetwork, calls: usize) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    inside(client, || {
        for _ in 0..calls {
            let answer = call(SocketAddr::from((VIP, 80)));
            *tally.entry(answer.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
    });
    tally
}

#[test]
fn a_service_is_balanced_and_followed() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let pods = ["one", "two", "three"].map(|name| cluster.pod_serving(name, 8080));
    let client = cluster.node.attach("client").unwrap();
    assert_eq!(call_from(&client, VIP, 80), "connection refused", "no such service");

    engine.put_service("web", http());
    assert_eq!(call_from(&client, VIP, 80), "connection refused", "no endpoints yet");

    engine.put_endpoints("web", "TCP", 8080, &pods.clone().map(|pod| pod.ip));
    eventually("the service answers", || call_from(&client, VIP, 80).contains("saw"));
    let spread = tally(&client, 300);
    assert!(spread.len() == 3 && spread.values().all(|count| (60..=140).contains(count)), "{spread:?}");
    let answer = call_from(&client, VIP, 80);
    assert!(answer.ends_with(&format!("saw {}", client.ip)), "clients keep their address: {answer}");

    engine.put_endpoints("web", "TCP", 8080, &[pods[0].ip]);
    let followed = eventually("the endpoints are followed", || tally(&client, 20).keys().eq(["one"]));
    assert!(followed < Duration::from_secs(1), "endpoints were followed after {followed:?}");
    assert_eq!(call_from(&pods[0], VIP, 80), format!("one saw {}", cluster.node.ip()), "a pod reaches itself");
    assert_eq!(on_node(&cluster.node, || call((VIP, 80).into())), format!("one saw {}", cluster.node.ip()));
    let node_port = SocketAddr::from((cluster.node.ip(), 30080));
    assert_eq!(inside(&client, || call(node_port)), format!("one saw {}", client.ip));
    assert_eq!(on_node(&cluster.node, || call(node_port)), format!("one saw {}", cluster.node.ip()));

    engine.api.delete("/api/v1/services", "shop", "web");
    eventually("the service is gone", || call_from(&client, VIP, 80) == "connection refused");
    assert_eq!(inside(&client, || call(node_port)), "connection refused");
}

#[test]
fn a_sticky_service_keeps_its_clients() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let pods = ["one", "two", "three", "four"].map(|name| cluster.pod_serving(name, 8080));
    let mut spec = http();
    spec["sessionAffinity"] = json!("ClientIP");
    engine.put_service("web", spec);
    engine.put_endpoints("web", "TCP", 8080, &pods.map(|pod| pod.ip));
    let clients: Vec<_> = (0..12).map(|n| cluster.node.attach(&format!("client-{n}")).unwrap()).collect();
    eventually("the service answers", || call_from(&clients[0], VIP, 80).contains("saw"));
    let mut met = BTreeMap::new();
    for client in &clients {
        let tally = tally(client, 10);
        assert_eq!(tally.len(), 1, "one client, one pod: {tally:?}");
        met.extend(tally);
    }
    assert!(met.len() > 1, "all clients met the same pod");
}

#[test]
fn a_connection_outlives_the_endpoint_it_was_given() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let (old, new) = (cluster.node.attach("old").unwrap(), cluster.pod_serving("new", 8080));
    let client = cluster.node.attach("client").unwrap();
    let listener = inside(&old, || TcpListener::bind("0.0.0.0:8080").unwrap());
    engine.put_service("web", http());
    engine.put_endpoints("web", "TCP", 8080, &[old.ip]);
    let connect = || TcpStream::connect_timeout(&(VIP, 80).into(), PATIENCE);
    eventually("the service answers", || inside(&client, || connect().is_ok()));
    let mut theirs = inside(&client, || connect().unwrap());
    let wanted = theirs.local_addr().unwrap();
    let mut ours = loop {
        let (stream, peer) = listener.accept().unwrap();
        if peer == wanted {
            break stream;
        }
    };
    drop(listener);
    engine.put_endpoints("web", "TCP", 8080, &[new.ip]);
    eventually("new connections go elsewhere", || tally(&client, 20).keys().eq(["new"]));
    theirs.write_all(b"still there?").unwrap();
    let mut question = [0; 12];
    ours.read_exact(&mut question).unwrap();
    ours.write_all(b"yes").unwrap();
    drop(ours);
    let mut answer = String::new();
    theirs.read_to_string(&mut answer).unwrap();
    assert_eq!((question.as_slice(), answer.as_str()), (b"still there?".as_slice(), "yes"));
}

#[test]
fn rules_go_on_without_the_engine_and_are_taken_over_without_a_gap() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let mut engine = Engine::start(&cluster.node, &host.node);
    let pods = ["one", "two"].map(|name| cluster.pod_serving(name, 8080));
    let client = cluster.node.attach("client").unwrap();
    engine.put_service("web", http());
    engine.put_service("gone", json!({"clusterIP": "10.43.0.8", "ports": [{"name": "main", "port": 80}]}));
    engine.put_endpoints("web", "TCP", 8080, &[pods[0].ip]);
    engine.put_endpoints("gone", "TCP", 8080, &[pods[0].ip]);
    let gone = Ipv4Addr::new(10, 43, 0, 8);
    eventually("both answer", || {
        call_from(&client, gone, 80).contains("saw") && call_from(&client, VIP, 80).contains("saw")
    });

    engine.crash();
    engine.api.delete("/api/v1/services", "shop", "gone");
    engine.put_endpoints("web", "TCP", 8080, &[pods[1].ip]);
    assert!(tally(&client, 20).keys().eq(["one"]), "the last known endpoints serve");

    let (stop, done) = std::sync::mpsc::sync_channel::<()>(0);
    let load = {
        let client = client.clone();
        std::thread::spawn(move || {
            let mut failed = Vec::new();
            while done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                failed.extend(Some(call_from(&client, VIP, 80)).filter(|answer| !answer.contains("saw")));
            }
            failed
        })
    };
    let again = cluster.open_again();
    engine.resume(&again);
    eventually("what changed meanwhile is followed", || tally(&client, 20).keys().eq(["two"]));
    drop(stop);
    assert_eq!(load.join().unwrap(), Vec::<String>::new(), "no call failed meanwhile");
    assert_eq!(call_from(&client, gone, 80), "connection refused", "what was deleted meanwhile is gone");
}

#[test]
fn a_udp_client_reaches_the_endpoint_that_took_over() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let [one, two] = ["one", "two"].map(|name| {
        let pod = cluster.node.attach(name).unwrap();
        let socket = inside(&pod, || UdpSocket::bind("0.0.0.0:5353").unwrap());
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), from);
            }
        });
        pod
    });
    let client = cluster.node.attach("client").unwrap();
    let socket = inside(&client, || UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    socket.connect((VIP, 53)).unwrap();
    let ask = || {
        let mut buffer = [0; 64];
        let answered = socket.send(b"who?").and_then(|_| socket.recv(&mut buffer));
        answered.map(|length| String::from_utf8_lossy(&buffer[..length]).into_owned()).unwrap_or_default()
    };
    engine.put_service("names", json!({"clusterIP": VIP, "ports": [{"name": "main", "port": 53, "protocol": "UDP"}]}));
    engine.put_endpoints("names", "UDP", 5353, &[one.ip]);
    eventually("the first endpoint answers", || ask() == "one");
    engine.put_endpoints("names", "UDP", 5353, &[two.ip]);
    eventually("the same socket reaches the second", || ask() == "two");
}
