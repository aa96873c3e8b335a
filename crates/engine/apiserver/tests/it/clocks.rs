//! A clock that jumps by a year, and a disk that is full: what the server says, and that it goes on afterwards.

use std::sync::Arc;

use coracle_apiserver::{Options, Server};
use coracle_clock::{Clock, ManualClock};
use coracle_store::{
    Store,
    disk::{Fault, MemoryDisk},
};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use crate::support::{Listening, TOKEN, client, listen, options};

const CORE: &str = "/api/v1/namespaces/default";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

async fn send(listening: &Listening, method: &str, path: &str, body: Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, value) = listening.ask(Some(TOKEN), method, path, &body).await;
    assert!((200..300).contains(&status), "{method} {path}: {value}");
    value
}

async fn new_token(listening: &Listening) -> String {
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let made = send(listening, "POST", &format!("{CORE}/serviceaccounts/robot/token"), request).await;
    made["status"]["token"].as_str().unwrap().to_owned()
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

/// Renews a lease as a leader does, with the time it has.
async fn renew(listening: &Listening, clock: &ManualClock) -> Value {
    let mut lease = send(listening, "GET", &format!("{LEASES}/leader"), Value::Null).await;
    let now = clock.now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string();
    lease["spec"]["renewTime"] = json!(now);
    let renewed = send(listening, "PUT", &format!("{LEASES}/leader"), lease.clone()).await;
    assert_eq!(renewed["spec"]["renewTime"], now.as_str());
    renewed
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_by_a_year_either_way_ends_tokens_and_nothing_else() {
    let clock = ManualClock::new("2026-06-01T00:00:00Z".parse().unwrap());
    let store = Store::in_memory();
    let options = Options { clock: Arc::new(clock.clone()), ..options() };
    let listening = listen(Server::start(store, options).await.unwrap()).await;
    let account = json!({"metadata": {"name": "robot"}});
    send(&listening, "POST", &format!("{CORE}/serviceaccounts"), account).await;
    let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-06-01T00:00:00.000000Z"});
    send(&listening, "POST", LEASES, json!({"metadata": {"name": "leader"}, "spec": spec})).await;
    for name in ["a", "b", "c"] {
        send(&listening, "POST", &format!("{CORE}/configmaps"), json!({"metadata": {"name": name}})).await;
    }
    let first = new_token(&listening).await;
    let page = send(&listening, "GET", &format!("{CORE}/configmaps?limit=1"), Value::Null).await;
    let page = page["metadata"]["continue"].as_str().unwrap().to_owned();
    let next_page = format!("{CORE}/configmaps?limit=1&continue={page}");

    let mut last = version(&renew(&listening, &clock).await);
    for (step, years) in [1, -2, 1].into_iter().enumerate() {
        clock.advance(YEAR * years);
        let is_back = step == 2;
        // Tokens are good from when to when they say, and once the clock is right again.
        let known = listening.whois(&first).await;
        assert_eq!(known.starts_with("system:serviceaccount:"), is_back, "{known}");
        let fresh = new_token(&listening).await;
        assert!(listening.whois(&fresh).await.starts_with("system:serviceaccount:default:robot"));
        // Versions go on by one, whatever the clock says, and leases hold whatever their holder wrote.
        let renewed = renew(&listening, &clock).await;
        assert!(version(&renewed) > last);
        let made =
            send(&listening, "POST", &format!("{CORE}/configmaps"), json!({"metadata": {"name": format!("m{step}")}}))
                .await;
        assert!(version(&made) > version(&renewed));
        last = version(&made);
        let created: Timestamp = made["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
        assert_eq!(created, clock.now());
        // A page of a list that was begun too long ago is refused with a token to go on, and is served when it lies ahead.
        let (status, answer) = listening.ask(Some(TOKEN), "GET", &next_page, "").await;
        assert_eq!(status, if step == 0 { 410 } else { 200 }, "{answer}");
        // What is to go goes at once: nothing waits for the clock.
        send(&listening, "DELETE", &format!("{CORE}/configmaps/m{step}"), Value::Null).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_writes_are_refused_and_reads_and_watches_go_on() {
    let disk = MemoryDisk::new();
    let small = coracle_store::Options { reserve_bytes: 0, ..coracle_store::Options::default() };
    let store = Store::open_on(Arc::new(disk.clone()), small).unwrap();
    let listening = listen(Server::start(store.clone(), options()).await.unwrap()).await;
    let path = format!("{CORE}/configmaps");
    let map = |name: &str, bytes: usize| json!({"metadata": {"name": name}, "data": {"k": "x".repeat(bytes)}});
    let before = send(&listening, "POST", &path, map("before", 10)).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&listening.server));
    let since = before["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = std::pin::pin!(maps.watch(&WatchParams::default(), since).await.unwrap());

    disk.fault(Fault::FullAt(0));
    let body = map("during", 2000).to_string();
    for _ in 0..3 {
        let (status, refusal) = listening.ask(Some(TOKEN), "POST", &path, &body).await;
        assert_eq!((status, &refusal["reason"]), (507, &json!("InsufficientStorage")), "{refusal}");
        let said = refusal["message"].as_str().unwrap();
        assert!(said.starts_with("no space left on the disk that holds the store"), "{said}");
    }
    let update = format!("{path}/before");
    assert_eq!(listening.ask(Some(TOKEN), "PUT", &update, &map("before", 3000).to_string()).await.0, 507);
    assert_eq!(listening.ask(Some(TOKEN), "DELETE", &update, "").await.0, 507);
    let same = send(&listening, "GET", &update, Value::Null).await;
    assert_eq!(same, before, "what is not written is not shown");
    assert_eq!(listening.ask(Some(TOKEN), "GET", &format!("{path}/during"), "").await.0, 404);

    disk.lift_faults();
    let made = send(&listening, "POST", &path, map("during", 2000)).await;
    assert!(version(&made) > version(&before));
    let Some(WatchEvent::Added(seen)) = events.try_next().await.unwrap() else { panic!("no event") };
    assert_eq!(seen.metadata.name.as_deref(), Some("during"), "nobody saw what was refused");
    listening.server.stop();
    store.close().await;
    let store = Store::open_on(Arc::new(disk), coracle_store::Options::default()).unwrap();
    assert_eq!(store.snapshot().count("/core/configmaps/default/"), 2);
}
