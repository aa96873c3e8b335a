//! The registry against an unmodified client, where one is at hand.

use std::{io::Write as _, path::Path, process::Command, sync::Arc};

use coracle_registry::{Access, OCI_MANIFEST, Reference, Registry, Store, router};
use serde_json::json;

struct Token;

impl Access for Token {
    fn knows(&self, _user: &str, token: &str) -> bool {
        token == "s3cret"
    }

    fn anonymous_pull(&self) -> bool {
        false
    }
}

fn crane(home: &Path, arguments: &[&str]) -> String {
    let program = std::env::var("CRANE").expect("CRANE names the binary");
    let output = Command::new(program).args(arguments).env("HOME", home).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "crane {arguments:?}: {text}");
    text.trim().to_owned()
}

#[test]
#[ignore = "needs crane: CRANE=/path/to/crane cargo test -p coracle-registry -- --ignored"]
fn crane_pushes_pulls_copies_lists_and_deletes() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let app = router(Registry { store: store.clone(), access: Arc::new(Token) });
    let _entered = runtime.enter();
    coracle_tasks::spawn("test registry", async move { axum::serve(listener, app).await });

    let (config, config_size) = store.put_blob("hello", &mut br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"]}}"#.as_slice()).unwrap();
    // An archive of nothing is two blocks of zeros. It is packed, because this client checks layers only then.
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&[0; 1024]).unwrap();
    let (layer, size) = store.put_blob("hello", &mut packer.finish().unwrap().as_slice()).unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": size}],
    });
    let digest =
        store.put_manifest("hello", Some("v1"), OCI_MANIFEST, manifest.to_string().as_bytes()).unwrap().to_string();

    let home = directory.path();
    let image = |name: &str| format!("{host}/{name}");
    crane(home, &["auth", "login", &host, "-u", "me", "-p", "s3cret"]);
    assert_eq!(crane(home, &["digest", &image("hello:v1")]), digest);
    crane(home, &["validate", "--remote", &image("hello:v1")]);
    let archive = home.join("image.tar");
    crane(home, &["pull", &image("hello:v1"), archive.to_str().unwrap()]);
    crane(home, &["push", archive.to_str().unwrap(), &image("other/pushed:v2")]);
    crane(home, &["validate", "--remote", &image("other/pushed:v2")]);
    crane(home, &["copy", &image("hello:v1"), &image("third:v3")]);
    crane(
        home,
        &[
            "append",
            "--base",
            &image("third:v3"),
            "--new_tag",
            &image("third:v4"),
            "--new_layer",
            archive.to_str().unwrap(),
        ],
    );
    crane(home, &["validate", "--remote", &image("third:v4")]);
    assert_eq!(crane(home, &["ls", &image("third")]), "v3\nv4");
    assert_eq!(crane(home, &["catalog", &host]), "hello\nother/pushed\nthird");
    crane(home, &["delete", &image(&format!("third@{digest}"))]);
    assert_eq!(crane(home, &["ls", &image("third")]), "v4");
    assert!(store.manifest("third", &Reference::Tag("v4".into())).unwrap().is_some());
}
