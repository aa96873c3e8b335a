//! Cluster DNS as a pod's resolver meets it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
};

use coracle_network::PodNetwork;
use expect_test::expect;
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RecordType},
};
use serde_json::json;

use crate::support::{Cluster, Engine, PATIENCE, eventually, inside};

const DNS: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn ask(pod: &PodNetwork, name: &str, kind: RecordType) -> Message {
    inside(pod, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send_to(&question(name, kind), SocketAddr::from((DNS, 53))).unwrap();
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, SocketAddr::from((DNS, 53)), "resolvers ignore answers from elsewhere");
        Message::from_vec(&buffer[..length]).unwrap()
    })
}

fn ask_over_tcp(pod: &PodNetwork, name: &str, kind: RecordType) -> Message {
    inside(pod, || {
        let mut stream = TcpStream::connect_timeout(&(DNS, 53).into(), PATIENCE).unwrap();
        let question = question(name, kind);
        stream.write_all(&(question.len() as u16).to_be_bytes()).unwrap();
        stream.write_all(&question).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut answer).unwrap();
        Message::from_vec(&answer).unwrap()
    })
}

fn lines(message: &Message) -> String {
    let aa = if message.metadata.authoritative { ", authoritative" } else { "" };
    let tc = if message.metadata.truncation { ", truncated" } else { "" };
    let head = format!("{:?}{aa}{tc}\n", message.metadata.response_code);
    let sections =
        [("", &message.answers), ("authority ", &message.authorities), ("additional ", &message.additionals)];
    let records =
        sections.iter().flat_map(|(section, records)| records.iter().map(move |it| format!("{section}{it}\n")));
    head + &records.collect::<String>()
}

#[test]
fn a_pod_finds_services_by_name() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let pod = cluster.node.attach("pod").unwrap();
    engine.put_service("web", json!({"clusterIP": "10.43.0.7", "ports": [{"name": "main", "port": 80}]}));
    let name = "web.shop.svc.cluster.local.";
    eventually("the name is known", || !ask(&pod, name, RecordType::A).answers.is_empty());
    expect![[r#"
        NoError, authoritative
        web.shop.svc.cluster.local. 5 IN A 10.43.0.7
    "#]]
    .assert_eq(&lines(&ask(&pod, name, RecordType::A)));
    expect![[r#"
        NoError, authoritative
        authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]]
    .assert_eq(&lines(&ask(&pod, name, RecordType::AAAA)));
    expect![[r#"
        NXDomain, authoritative
        authority cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 5
    "#]]
    .assert_eq(&lines(&ask(&pod, "web.shop.svc.cluster.local.shop.svc.cluster.local.", RecordType::A)));
    assert_eq!(ask_over_tcp(&pod, name, RecordType::A).answers, ask(&pod, name, RecordType::A).answers);
}

#[test]
fn many_addresses_come_whole_over_tcp() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start(&cluster.node, &host.node);
    let pod = cluster.node.attach("pod").unwrap();
    engine.put_service("db", json!({"clusterIP": "None", "ports": [{"name": "main", "port": 80}]}));
    let ips: Vec<_> = (2..102).map(|last| Ipv4Addr::new(10, 42, 7, last)).collect();
    engine.put_endpoints("db", "TCP", 80, &ips);
    let name = "db.shop.svc.cluster.local.";
    eventually("the name is known", || ask_over_tcp(&pod, name, RecordType::A).answers.len() == 100);
    assert_eq!(lines(&ask(&pod, name, RecordType::A)), "NoError, authoritative, truncated\n");
}

#[test]
fn other_names_are_asked_of_the_hosts_resolver() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let _engine = Engine::start_with_names(&cluster.node, &host.node);
    let pod = cluster.node.attach("pod").unwrap();
    let answer = ask(&pod, "known.example.org.", RecordType::A);
    expect![[r#"
        NoError
        known.example.org. 20 IN A 192.0.2.7
    "#]]
    .assert_eq(&lines(&answer));
    expect![[r#"
        ServFail
    "#]]
    .assert_eq(&lines(&ask(&pod, "other.example.org.", RecordType::A)));
}

#[test]
fn an_external_name_leads_outside_and_back() {
    let (cluster, host) = (Cluster::start(), Cluster::start());
    let engine = Engine::start_with_names(&cluster.node, &host.node);
    let pod = cluster.node.attach("pod").unwrap();
    engine.put_service("web", json!({"clusterIP": "10.43.0.7", "ports": [{"name": "main", "port": 80}]}));
    engine.put_service("in", json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}));
    engine.put_service("out", json!({"type": "ExternalName", "externalName": "known.example.org"}));
    let (out, back) = ("out.shop.svc.cluster.local.", "in.shop.svc.cluster.local.");
    eventually("the names are known", || ask(&pod, out, RecordType::A).answers.len() == 2);
    expect![[r#"
        NoError
        out.shop.svc.cluster.local. 5 IN CNAME known.example.org.
        known.example.org. 20 IN A 192.0.2.7
    "#]]
    .assert_eq(&lines(&ask(&pod, out, RecordType::A)));
    expect![[r#"
        NoError, authoritative
        in.shop.svc.cluster.local. 5 IN CNAME web.shop.svc.cluster.local.
        web.shop.svc.cluster.local. 5 IN A 10.43.0.7
    "#]]
    .assert_eq(&lines(&ask(&pod, back, RecordType::A)));
}
