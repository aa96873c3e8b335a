//! Pods reach each other and the node; the node finds them again.

use std::net::Ipv4Addr;

use crate::support::{Cluster, call, call_from, on_node};

#[test]
fn pods_and_node_reach_each_other() {
    let cluster = Cluster::start();
    let server = cluster.pod_serving("server", 80);
    let client = cluster.node.attach("client").unwrap();
    assert_eq!(call_from(&client, server.ip, 80), format!("server saw {}", client.ip));
    assert_eq!(call_from(&server, Ipv4Addr::LOCALHOST, 80), "server saw 127.0.0.1");
    assert_eq!(call_from(&server, server.ip, 80), format!("server saw {}", server.ip));
    let from_node = on_node(&cluster.node, || call((server.ip, 80).into()));
    assert_eq!(from_node, format!("server saw {}", cluster.node.ip()));
}

#[test]
fn what_nobody_has_is_refused_at_once() {
    let cluster = Cluster::start();
    let client = cluster.node.attach("client").unwrap();
    assert_eq!(call_from(&client, client.ip, 81), "connection refused", "a port nobody listens on");
    assert_eq!(call_from(&client, Ipv4Addr::new(10, 42, 9, 9), 80), "host unreachable", "no such pod");
    assert_eq!(call_from(&client, Ipv4Addr::new(10, 43, 9, 9), 80), "connection refused", "no such service");
    let from_node = on_node(&cluster.node, || call(([10, 43, 9, 9], 80).into()));
    assert_eq!(from_node, "connection refused", "no such service, from the node");
}

#[test]
fn an_engine_that_starts_again_finds_its_pods() {
    let cluster = Cluster::start();
    let server = cluster.pod_serving("server", 80);
    let gone = cluster.node.attach("gone").unwrap();
    cluster.node.detach("gone").unwrap();
    cluster.node.detach("gone").unwrap();
    let again = cluster.open_again();
    assert_eq!(again.list(), std::slice::from_ref(&server));
    assert_eq!(again.attach("server").unwrap(), server);
    let client = again.attach("client").unwrap();
    assert_ne!(client.ip, gone.ip, "an address rests before it is given out again");
    assert_eq!(call_from(&client, server.ip, 80), format!("server saw {}", client.ip));
}

#[test]
fn a_machine_that_was_switched_off_forgets_its_pods() {
    let cluster = Cluster::start();
    let before = cluster.node.attach("pod").unwrap();
    for path in [cluster.node.netns_path(), &before.netns] {
        coracle_kernel::netns::remove(path).unwrap();
        std::fs::File::create(path).unwrap();
    }
    let again = cluster.open_again();
    assert_eq!((again.list(), before.netns.exists()), (Vec::new(), false));
    let after = again.attach("pod").unwrap();
    assert_ne!(after.ip, before.ip);
    assert_eq!(again.list(), [after]);
}

#[test]
fn a_name_that_is_no_uid_is_refused() {
    let cluster = Cluster::start();
    let errors: Vec<_> =
        ["", "node", "../node", ".."].map(|uid| cluster.node.attach(uid).unwrap_err().to_string()).into();
    expect_test::expect![[r#"
        [
            "\"\" is no pod UID",
            "\"node\" is no pod UID",
            "\"../node\" is no pod UID",
            "\"..\" is no pod UID",
        ]
    "#]]
    .assert_debug_eq(&errors);
}

#[test]
fn a_purge_leaves_no_mount_and_no_file() {
    let cluster = Cluster::start();
    let pod = cluster.node.attach("pod").unwrap();
    let directory = pod.netns.parent().unwrap().to_owned();
    drop(cluster);
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(directory.to_str().unwrap()), "mounts left: {mounts}");
    assert!(!directory.exists());
}
