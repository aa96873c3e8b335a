//! Watches, in all the ways clients start them.

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use crate::support::{client, server};

fn config(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}

fn shown(event: WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(map) => format!("added {}", map.name_any()),
        WatchEvent::Modified(map) => format!("modified {}", map.name_any()),
        WatchEvent::Deleted(map) => format!("deleted {}", map.name_any()),
        WatchEvent::Bookmark(mark) => format!("bookmark {:?}", mark.metadata.annotations),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

#[tokio::test]
async fn from_anywhere_starts_with_what_there_is() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server().await));
    maps.create(&PostParams::default(), &config("a")).await.unwrap();
    let mut events = std::pin::pin!(maps.watch(&WatchParams::default(), "0").await.unwrap());
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "added a");
    maps.create(&PostParams::default(), &config("b")).await.unwrap();
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "added b");
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server().await));
    maps.create(&PostParams::default(), &config("a")).await.unwrap();
    let params = WatchParams::default().initial_events();
    let mut events = std::pin::pin!(maps.watch(&params, "0").await.unwrap());
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "added a");
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "bookmark {\"k8s.io/initial-events-end\": \"true\"}");
    maps.create(&PostParams::default(), &config("b")).await.unwrap();
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "added b");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_up() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server().await));
    let mut events = std::pin::pin!(maps.watch(&WatchParams::default().timeout(1), "1").await.unwrap());
    if let Some(event) = events.try_next().await.unwrap() {
        panic!("{}", shown(event));
    }
}

#[tokio::test]
async fn watchers_of_both_strategies_follow() {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server().await));
    maps.create(&PostParams::default(), &config("a")).await.unwrap();
    for (config_of_watcher, fresh) in
        [(watcher::Config::default(), "b"), (watcher::Config::default().streaming_lists(), "c")]
    {
        let mut objects = std::pin::pin!(watcher(maps.clone(), config_of_watcher).applied_objects());
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "a");
        if fresh == "c" {
            assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), "b");
        }
        maps.create(&PostParams::default(), &config(fresh)).await.unwrap();
        assert_eq!(objects.try_next().await.unwrap().unwrap().name_any(), fresh);
    }
}

#[tokio::test]
async fn what_is_forgotten_is_told_to_be_gone() {
    let options = coracle_store::Options { history_events: 2, ..coracle_store::Options::default() };
    let directory = tempfile::tempdir().unwrap();
    let store = coracle_store::Store::open(directory.path(), options).unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&crate::support::server_over(store).await));
    for name in ["a", "b", "c", "d", "e"] {
        maps.create(&PostParams::default(), &config(name)).await.unwrap();
    }
    let mut events = std::pin::pin!(maps.watch(&WatchParams::default(), "1").await.unwrap());
    assert_eq!(shown(events.try_next().await.unwrap().unwrap()), "error 410 Expired");
    assert!(events.try_next().await.unwrap().is_none());
}
