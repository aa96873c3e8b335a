//! The store itself: what survives, and what is collected.

use std::time::{Duration, SystemTime};

use coracle_registry::{Digest, OCI_MANIFEST, Reference, Store, StoreError};
use serde_json::json;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fn later() -> SystemTime {
    // Far enough in the future that everything here is old.
    NOW + Duration::from_secs(10_000_000_000)
}

fn image(store: &Store, repository: &str, tag: &str, content: &str) -> (Digest, Digest) {
    let (config, config_size) = store.put_blob(repository, &mut b"{}".as_slice()).unwrap();
    let (layer, size) = store.put_blob(repository, &mut content.as_bytes()).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": size}],
    });
    (store.put_manifest(repository, Some(tag), OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap(), layer)
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let (digest, layer) = image(&Store::open(directory.path()).unwrap(), "hello", "v1", "layer");
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.tag("hello", "v1").unwrap(), Some(digest));
    assert_eq!(store.manifest("hello", &Reference::Tag("v1".into())).unwrap().unwrap().digest, digest);
    assert_eq!(std::fs::read(store.blob_path(&layer)).unwrap(), b"layer");
    assert!(store.has_blob("hello", &layer) && !store.has_blob("other", &layer));
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
}

#[test]
fn only_what_nothing_refers_to_is_collected() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let (first, first_layer) = image(&store, "hello", "v1", "one");
    let (_, second_layer) = image(&store, "hello", "v1", "two");
    let (kept, _) = store.put_blob("hello", &mut b"kept".as_slice()).unwrap();
    let (loose, _) = store.put_blob("hello", &mut b"loose".as_slice()).unwrap();
    let upload = store.begin("hello").unwrap();
    assert_eq!(store.collect(&|_| false, NOW).unwrap().blobs, 0, "what is young stays");
    let collected = store.collect(&|digest| *digest == kept, later()).unwrap();
    assert_eq!((collected.blobs, collected.bytes, collected.uploads), (1, 5, 1));
    assert!(!store.has_blob("hello", &loose) && store.has_blob("hello", &kept));
    assert!(store.upload_size_bytes(&upload).is_err());
    assert!(store.blob_size_bytes(&first_layer).is_some(), "an untagged manifest still holds its layers");
    assert!(store.delete_manifest("hello", &Reference::Digest(first)).unwrap());
    store.collect(&|_| false, later()).unwrap();
    assert!(store.blob_size_bytes(&first_layer).is_none() && store.blob_size_bytes(&second_layer).is_some());
    assert_eq!(store.tags("hello").unwrap(), ["v1"]);
}

#[test]
fn a_chunk_that_breaks_off_can_be_sent_again() {
    struct Broken(usize);
    impl std::io::Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if self.0 == 0 {
                return Err(std::io::ErrorKind::ConnectionReset.into());
            }
            self.0 -= 1;
            buffer[0] = b'x';
            Ok(1)
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let upload = store.begin("hello").unwrap();
    assert_eq!(store.append(&upload, Some(0), &mut b"abc".as_slice()).unwrap(), 3);
    assert!(matches!(store.append(&upload, Some(3), &mut Broken(2)), Err(StoreError::Input(_))));
    assert_eq!(store.append(&upload, Some(3), &mut b"def".as_slice()).unwrap(), 6);
    store.finish("hello", &upload, Digest::of(b"abcdef")).unwrap();
    assert!(store.put_blob("hello", &mut Broken(5)).is_err());
    assert_eq!(std::fs::read_dir(directory.path().join("uploads")).unwrap().count(), 0);
}

#[test]
fn names_cannot_leave_the_directory() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    for name in ["../x", "a/../../x", "/x", "a/_blobs"] {
        assert!(matches!(store.put_blob(name, &mut b"x".as_slice()), Err(StoreError::Name(_))), "{name}");
        assert!(store.tags(name).is_err());
    }
    for id in ["../../x", "", ".", "not-an-upload"] {
        assert!(matches!(store.append(id, None, &mut b"x".as_slice()), Err(StoreError::NoUpload(_))), "{id}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
