//! Pulling from a registry on loopback that can be slow, secretive, wrong or gone.

use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use coracle_runtime::{Digest, Image, PullOptions, Reference, Runtime, registry::Credentials};
use serde_json::json;

use crate::rig::{base_layer, config, options, save, tarball};

#[derive(Default)]
struct Registry {
    /// Path below `/v2/` to content.
    content: BTreeMap<String, (String, Vec<u8>)>,
    /// What was asked for, in order.
    asked: Mutex<Vec<String>>,
    /// User and password; then a token is wanted.
    login: Option<(&'static str, &'static str)>,
}

impl Registry {
    fn blob(&mut self, name: &str, bytes: Vec<u8>) -> serde_json::Value {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        self.content.insert(format!("{name}/blobs/{digest}"), ("application/octet-stream".into(), bytes));
        json!({"digest": digest.to_string(), "size": size, "mediaType": "application/octet-stream"})
    }

    fn manifest(&mut self, name: &str, tag: &str, media_type: &str, body: &serde_json::Value) -> Digest {
        let bytes = serde_json::to_vec(body).unwrap();
        let digest = Digest::of(&bytes);
        for reference in [tag.to_owned(), digest.to_string()] {
            self.content.insert(format!("{name}/manifests/{reference}"), (media_type.into(), bytes.clone()));
        }
        digest
    }

    /// An image of two layers, one packed by gzip and one by zstd, behind an index.
    fn image(&mut self, name: &str, tag: &str) -> Digest {
        let (first, second) = (base_layer(), tarball(&[("hello", b"world", 0o644)]));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&first).unwrap();
        let layers =
            [self.blob(name, gzip.finish().unwrap()), self.blob(name, zstd::encode_all(&second[..], 1).unwrap())];
        let config = self.blob(name, config(&[&first, &second]));
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let manifest =
            self.manifest(name, "inner", oci, &json!({"schemaVersion": 2, "config": config, "layers": layers}));
        let index = json!({"schemaVersion": 2, "manifests": [
            {"digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "platform": {"os": "linux", "architecture": "s390x"}},
            {"digest": manifest.to_string(), "size": 1, "platform": {"os": "linux", "architecture": "amd64"}},
        ]});
        self.manifest(name, tag, "application/vnd.oci.image.index.v1+json", &index)
    }

    /// Serves until the test ends; returns the host.
    async fn serve(self) -> (Arc<Self>, String) {
        let registry = Arc::new(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state((registry.clone(), host.clone()));
        coracle_tasks::spawn("test-registry", async move { axum::serve(listener, router).await });
        (registry, host)
    }

    fn asked_for(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|path| path.contains(part)).count()
    }
}

async fn answer(
    State((registry, host)): State<(Arc<Registry>, String)>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    registry.asked.lock().unwrap().push(path.clone());
    if path == "/token" {
        let (user, password) = registry.login.unwrap();
        use base64::Engine;
        let right = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}")));
        if authorization != right {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        return json!({"token": "let-me-in"}).to_string().into_response();
    }
    if registry.login.is_some() && authorization != "Bearer let-me-in" {
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)]).into_response();
    }
    match registry.content.get(path.trim_start_matches("/v2/")) {
        Some((media_type, bytes)) => ([(header::CONTENT_TYPE, media_type.clone())], bytes.clone()).into_response(),
        None => (StatusCode::NOT_FOUND, json!({"errors": [{"code": "MANIFEST_UNKNOWN"}]}).to_string()).into_response(),
    }
}

async fn runtime(directory: &Path) -> Runtime {
    Runtime::open(options(directory.join("data"))).await.unwrap()
}

async fn pull(runtime: &Runtime, name: &str, credentials: Vec<Credentials>) -> Result<Image, String> {
    let reference: Reference = name.parse().unwrap();
    let options = PullOptions { credentials, on_progress: None };
    runtime.images().pull(&reference, options).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_image_is_pulled_once() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path()).await;
    let mut registry = Registry::default();
    let index = registry.image("team/app", "v1");
    let (registry, host) = registry.serve().await;
    let name = format!("{host}/team/app:v1");
    let progress = Arc::new(Mutex::new(Vec::new()));
    let seen = progress.clone();
    let options = PullOptions {
        credentials: Vec::new(),
        on_progress: Some(Arc::new(move |progress| seen.lock().unwrap().push(progress))),
    };
    let image = runtime.images().pull(&name.parse().unwrap(), options).await.unwrap();
    assert_eq!(image.digest, format!("{host}/team/app@{index}"));
    assert_eq!(image.config.entrypoint, ["/bin/tool"]);
    assert_eq!((image.config.user.as_str(), image.config.working_dir.as_str()), ("app", "/work"));
    let last = *progress.lock().unwrap().last().unwrap();
    assert_eq!((last.layers_done, last.layers, last.bytes_done), (2, 2, last.bytes));
    let layer = |n: usize, path: &str| {
        let hex = image.layers[n].trim_start_matches("sha256:");
        directory.path().join("data/images/layers").join(hex).join(path)
    };
    assert!(layer(0, "bin/tool").exists());
    assert_eq!(std::fs::read_to_string(layer(1, "hello")).unwrap(), "world");
    let user = runtime.images().resolve_user(&image, None).unwrap();
    assert_eq!((user.uid, user.gid, user.groups), (1000, 1000, vec![4]));

    // A tag is asked for again, but no blob other than the configuration is fetched twice.
    pull(&runtime, &name, Vec::new()).await.unwrap();
    let config_digest = &image.id;
    assert_eq!(registry.asked_for("/blobs/") - registry.asked_for(config_digest), 2);
    // By digest nobody is asked.
    let before = registry.asked.lock().unwrap().len();
    let again = pull(&runtime, &format!("{host}/team/app@{index}"), Vec::new()).await.unwrap();
    assert_eq!((again.id, registry.asked.lock().unwrap().len()), (image.id, before));
    runtime.purge().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_fetch_each_layer_once() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path()).await;
    let mut registry = Registry::default();
    registry.image("app", "v1");
    registry.image("other", "v1");
    let (registry, host) = registry.serve().await;
    let names = [format!("{host}/app:v1"), format!("{host}/other:v1")];
    let pulls = (0..8).map(|n| pull(&runtime, &names[n % 2], Vec::new()));
    for pulled in futures::future::join_all(pulls).await {
        pulled.unwrap();
    }
    let image = &runtime.images().list()[0];
    assert_eq!(registry.asked_for("/blobs/") - registry.asked_for(&image.id), 2);
    assert_eq!(image.references.len(), 4);
    runtime.purge().await.unwrap();
}

#[tokio::test]
async fn secrets() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path()).await;
    let mut registry = Registry { login: Some(("robot", "pw")), ..Registry::default() };
    registry.image("app", "v1");
    let (_, host) = registry.serve().await;
    let name = format!("{host}/app:v1");
    let denied = format!(
        "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": \
         pull access denied, repository {host}/app does not exist or may require authorization"
    );
    assert_eq!(pull(&runtime, &name, Vec::new()).await.unwrap_err(), denied);
    let who = |password: &str| Credentials { username: "robot".into(), password: password.into() };
    assert_eq!(pull(&runtime, &name, vec![who("wrong")]).await.unwrap_err(), denied);
    assert!(pull(&runtime, &name, vec![who("wrong"), who("pw")]).await.is_ok());
    runtime.purge().await.unwrap();
}

#[tokio::test]
async fn what_can_go_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path()).await;
    let mut registry = Registry::default();
    registry.image("app", "v1");
    let broken = registry
        .content
        .iter()
        .find(|(path, (_, bytes))| path.contains("app/blobs") && bytes[0] == 0x28)
        .unwrap()
        .0
        .clone();
    registry.content.get_mut(&broken).unwrap().1.extend_from_slice(&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    let (_, host) = registry.serve().await;
    let name = format!("{host}/nosuch:v1");
    let missing = pull(&runtime, &name, Vec::new()).await.unwrap_err();
    assert_eq!(
        missing,
        format!(
            "failed to pull and unpack image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
        )
    );
    let tampered = pull(&runtime, &format!("{host}/app:v1"), Vec::new()).await.unwrap_err();
    assert!(tampered.contains("blob has digest"), "{tampered}");
    let (nobody, _) = (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), ());
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let unreachable = pull(&runtime, &format!("127.0.0.1:{port}/app"), Vec::new()).await.unwrap_err();
    assert!(unreachable.contains("failed to do request") && unreachable.contains("refused"), "{unreachable}");
    assert!(runtime.images().list().is_empty());
    runtime.purge().await.unwrap();
}

#[tokio::test]
async fn a_mirror_stands_in() {
    let directory = tempfile::tempdir().unwrap();
    let mut registry = Registry::default();
    registry.image("hello", "v1");
    let (_, host) = registry.serve().await;
    let mut options = options(directory.path().join("data"));
    options.mirrors.insert("registry.coracle.internal".into(), format!("http://{host}"));
    let runtime = Runtime::open(options).await.unwrap();
    let image = pull(&runtime, "registry.coracle.internal/hello:v1", Vec::new()).await.unwrap();
    assert!(image.digest.starts_with("registry.coracle.internal/hello@sha256:"));
    runtime.purge().await.unwrap();
}

#[tokio::test]
async fn garbage_is_collected_and_images_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path().join("data"));
    let runtime = Runtime::open(options.clone()).await.unwrap();
    save(&directory.path().join("one"), "localhost/one:1", &[&base_layer()]);
    save(&directory.path().join("two"), "localhost/two:1", &[&base_layer(), &tarball(&[("extra", b"x", 0o644)])]);
    let one = runtime.images().load(&directory.path().join("one")).await.unwrap().remove(0);
    let two = runtime.images().load(&directory.path().join("two")).await.unwrap().remove(0);
    drop(runtime);
    let runtime = Runtime::open(options).await.unwrap();
    assert_eq!(runtime.images().list().len(), 2);
    assert_eq!(runtime.images().find(&"localhost/two:1".parse().unwrap()).unwrap().layers, two.layers);
    let collected = runtime.collect_garbage(|image| image.id == one.id).await.unwrap();
    assert_eq!((collected.images, collected.layers), (1, 1));
    assert!(runtime.images().find(&"localhost/two:1".parse().unwrap()).is_none());
    assert!(runtime.images().find(&"localhost/one:1".parse().unwrap()).is_some());
    runtime.purge().await.unwrap();
}

#[tokio::test]
async fn an_oci_layout_in_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let layer = base_layer();
    let config = config(&[&layer]);
    let describe =
        |bytes: &[u8]| json!({"digest": Digest::of(bytes).to_string(), "size": bytes.len(), "mediaType": "x"});
    let manifest = json!({"schemaVersion": 2, "config": describe(&config), "layers": [describe(&layer)]}).to_string();
    let mut described = describe(manifest.as_bytes());
    described["annotations"] = json!({"org.opencontainers.image.ref.name": "localhost/layout:v2"});
    let index = json!({"schemaVersion": 2, "manifests": [described]}).to_string();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let (config_path, layer_path, manifest_path) = (blob(&config), blob(&layer), blob(manifest.as_bytes()));
    let archive = tarball(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644),
        ("index.json", index.as_bytes(), 0o644),
        (&config_path, &config, 0o644),
        (&layer_path, &layer, 0o644),
        (&manifest_path, manifest.as_bytes(), 0o644),
    ]);
    let file = directory.path().join("layout.tar");
    std::fs::write(&file, archive).unwrap();
    let runtime = runtime(directory.path()).await;
    let images = runtime.images().load(&file).await.unwrap();
    assert_eq!(images[0].references, ["localhost/layout:v2"]);
    runtime.purge().await.unwrap();
}
