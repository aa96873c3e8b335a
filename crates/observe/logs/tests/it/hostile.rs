//! What nobody should send, and files that nobody wrote: refused or told, never believed, never the end.

use std::sync::Arc;

use axum::http::StatusCode;
use coracle_disk::{Disk, MemoryDisk};
use coracle_logs::{Options, Store, http::router};
use proptest::prelude::*;

use crate::{
    clock,
    http::{field, number, send},
    lines, small, stream,
};

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Messages that are right, to be bent.
fn push() -> Vec<u8> {
    let entry = [field(1, &[number(1, 995), number(2, 5)].concat()), field(2, b"a line")].concat();
    field(1, &[field(1, br#"{app="proto"}"#), field(2, &entry)].concat())
}

const JSON: &str = r#"{"streams":[{"stream":{"app":"a"},"values":[["990000000000","x",{"k":"v"}]]}]}"#;
const OTLP: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"s"}}]},"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"kvlistValue":{"values":[]}}}]}]}]}"#;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn bent_messages_are_refused_or_taken(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), garbage in prop::collection::vec(any::<u8>(), 0..60)) {
        block_on(async {
            let store = Store::open_on(Arc::new(MemoryDisk::new()), Options::default(), Arc::new(clock())).unwrap();
            let app = router(store.clone());
            let bend = |mut message: Vec<u8>| {
                let place = at.index(message.len());
                message[place] = byte;
                message.truncate(cut.index(message.len()) + 1);
                message
            };
            let snappy = |message: &[u8]| snap::raw::Encoder::new().compress_vec(message).unwrap();
            for (path, kind, body) in [
                ("/loki/api/v1/push", "application/x-protobuf", snappy(&bend(push()))),
                ("/loki/api/v1/push", "application/x-protobuf", bend(snappy(&push()))),
                ("/loki/api/v1/push", "application/x-protobuf", garbage.clone()),
                ("/loki/api/v1/push", "application/json", bend(JSON.into())),
                ("/otlp/v1/logs", "application/json", bend(OTLP.into())),
                ("/otlp/v1/logs", "application/x-protobuf", bend(push())),
                ("/otlp/v1/logs", "application/x-protobuf", garbage.clone()),
            ] {
                let (status, told) = send(&app, "POST", path, Some((kind, body))).await;
                let fine = status == StatusCode::NO_CONTENT || (status.is_client_error() && !told.is_empty());
                assert!(fine, "{path} {kind}: {status} {told}");
            }
            store.close().await;
        });
    }

    #[test]
    fn files_that_are_cut_or_made_up_are_told_and_the_rest_is_read(which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        block_on(async {
            let disk = MemoryDisk::new();
            let open = || Store::open_on(Arc::new(disk.clone()), small(), Arc::new(clock())).unwrap();
            let store = open();
            let texts: Vec<String> = (0..80).map(|number| format!("entry {number} {}", "z".repeat(40))).collect();
            for (text, at) in texts.iter().zip(0..) {
                store.push("fake", vec![stream(r#"{app="a"}"#, &[(at, text)])]).await.unwrap();
            }
            store.close().await;
            disk.create("segment-0000000000000999-0").unwrap().write_at(0, &garbage).unwrap();
            disk.create("journal-0000000000000999").unwrap().write_at(0, &garbage).unwrap();
            let mut names: Vec<String> = disk.list().unwrap().into_iter().filter(|name| name.starts_with("segment") && !name.contains("999")).collect();
            names.sort();
            let name = &names[which.index(names.len())];
            let mut file = disk.open(name).unwrap();
            let len = cut.index(file.size().unwrap() as usize);
            file.truncate(len as u64).unwrap();
            drop(file);
            let store = open();
            let found: Vec<String> = lines(&store, r#"{app="a"}"#).into_iter().map(|(_, _, line)| line).collect();
            assert!(found.iter().all(|line| texts.contains(line)) && found.len() < texts.len());
            let told = store.damage();
            assert!(told.iter().any(|what| what.contains(name)) && told.iter().any(|what| what.contains("999-0")), "{told:?}");
            // Writing goes on.
            store.push("fake", vec![stream(r#"{app="b"}"#, &[(1, "after")])]).await.unwrap();
            store.close().await;
            assert_eq!(lines(&open(), r#"{app="b"}"#).len(), 1);
        });
    }
}
