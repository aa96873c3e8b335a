//! The distribution specification's requests and answers.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Router, body::Body};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use coracle_registry::{Access, Digest, OCI_INDEX, OCI_MANIFEST, Registry, Store, router};
use expect_test::{Expect, expect};
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

struct Token;

impl Access for Token {
    fn knows(&self, _user: &str, token: &str) -> bool {
        token == "s3cret"
    }

    fn anonymous_pull(&self) -> bool {
        true
    }
}

struct World {
    router: Router,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn error(&self) -> String {
        let error = &self.json()["errors"][0];
        format!("{} {} {}", self.status, error["code"].as_str().unwrap(), error["message"].as_str().unwrap())
    }
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        Self { router: router(Registry { store, access: Arc::new(Token) }), _directory: directory }
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        request = request.header("authorization", format!("Basic {}", STANDARD.encode("me:s3cret")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.answer(request.body(body.into()).unwrap()).await
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let headers =
            parts.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Answer { status: parts.status.as_u16(), headers, body: body.collect().await.unwrap().to_bytes().to_vec() }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], Body::empty()).await
    }

    async fn put_blob(&self, repository: &str, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let answer = self
            .send("POST", &format!("/v2/{repository}/blobs/uploads/?digest={digest}"), &[], content.to_owned())
            .await;
        assert_eq!(answer.status, 201);
        digest
    }

    async fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, manifest: &Value) -> Answer {
        let path = format!("/v2/{repository}/manifests/{reference}");
        self.send("PUT", &path, &[("content-type", media_type)], manifest.to_string()).await
    }
}

async fn image(world: &World, repository: &str, content: &str) -> Value {
    let config = world.put_blob(repository, "{}").await;
    let layer = world.put_blob(repository, content).await;
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": content.len()}],
    })
}

#[tokio::test]
async fn an_upload_in_chunks() {
    let world = World::new();
    let begun = world.send("POST", "/v2/a/b/blobs/uploads/", &[], Body::empty()).await;
    assert_eq!((begun.status, begun.header("range")), (202, "0-0"));
    let location = begun.header("location").to_owned();
    let first = world.send("PATCH", &location, &[("content-range", "0-4")], "hello").await;
    assert_eq!((first.status, first.header("range")), (202, "0-4"));
    let wrong = world.send("PATCH", &location, &[("content-range", "9-12")], "oops").await;
    assert_eq!((wrong.status, wrong.header("range")), (416, "0-4"));
    let standing = world.get(&location).await;
    assert_eq!((standing.status, standing.header("range")), (204, "0-4"));
    world.send("PATCH", &location, &[], " wor").await;
    let digest = Digest::of(b"hello world");
    let done = world.send("PUT", &format!("{location}?digest={digest}"), &[], "ld").await;
    assert_eq!((done.status, done.header("location")), (201, format!("/v2/a/b/blobs/{digest}").as_str()));
    let blob = world.get(&format!("/v2/a/b/blobs/{digest}")).await;
    assert_eq!((blob.status, blob.body.as_slice()), (200, b"hello world".as_slice()));
    assert_eq!(blob.header("docker-content-digest"), digest.to_string());
    let head = world.send("HEAD", &format!("/v2/a/b/blobs/{digest}"), &[], Body::empty()).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "11", 0));
    let part = world.send("GET", &format!("/v2/a/b/blobs/{digest}"), &[("range", "bytes=6-")], Body::empty()).await;
    assert_eq!(
        (part.status, part.header("content-range"), part.body.as_slice()),
        (206, "bytes 6-10/11", b"world".as_slice())
    );
    let gone = world.get(&location).await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn an_upload_can_be_cancelled_and_its_digest_is_checked() {
    let world = World::new();
    let begun = world.send("POST", "/v2/a/blobs/uploads/", &[], Body::empty()).await;
    let location = begun.header("location").to_owned();
    assert_eq!(world.send("DELETE", &location, &[], Body::empty()).await.status, 204);
    let digest = Digest::of(b"something else");
    let answer = world.send("POST", &format!("/v2/a/blobs/uploads/?digest={digest}"), &[], "content").await;
    assert!(answer.error().starts_with("400 DIGEST_INVALID the content's digest is sha256:"), "{}", answer.error());
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
}

#[tokio::test]
async fn blobs_are_mounted_and_deleted_by_repository() {
    let world = World::new();
    let digest = world.put_blob("a", "shared").await;
    let path = format!("/v2/b/blobs/{digest}");
    assert_eq!(world.get(&path).await.status, 404);
    let mounted = world.send("POST", &format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), &[], Body::empty()).await;
    assert_eq!((mounted.status, mounted.header("location")), (201, path.as_str()));
    assert_eq!(world.send("DELETE", &format!("/v2/a/blobs/{digest}"), &[], Body::empty()).await.status, 202);
    assert_eq!(world.get(&format!("/v2/a/blobs/{digest}")).await.status, 404);
    assert_eq!(world.get(&path).await.status, 200);
    let unknown = Digest::of(b"unknown");
    let begun = world.send("POST", &format!("/v2/b/blobs/uploads/?mount={unknown}&from=a"), &[], Body::empty()).await;
    assert_eq!(begun.status, 202, "a mount of what is not there begins an upload");
}

#[tokio::test]
async fn manifests_by_tag_and_digest() {
    let world = World::new();
    let manifest = image(&world, "hello", "layer").await;
    let put = world.put_manifest("hello", "v1", OCI_MANIFEST, &manifest).await;
    assert_eq!(put.status, 201);
    let digest = put.header("docker-content-digest").to_owned();
    for reference in ["v1", &digest] {
        let got = world.get(&format!("/v2/hello/manifests/{reference}")).await;
        assert_eq!(
            (got.status, got.header("content-type"), got.header("docker-content-digest")),
            (200, OCI_MANIFEST, digest.as_str())
        );
        assert_eq!(got.body, manifest.to_string().as_bytes());
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}]});
    assert_eq!(world.put_manifest("hello", "multi", OCI_INDEX, &index).await.status, 201);
    assert_eq!(world.send("DELETE", "/v2/hello/manifests/multi", &[], Body::empty()).await.status, 202);
    assert_eq!(world.send("DELETE", &format!("/v2/hello/manifests/{digest}"), &[], Body::empty()).await.status, 202);
    assert_eq!(world.get("/v2/hello/manifests/v1").await.error(), "404 MANIFEST_UNKNOWN hello has no manifest v1");
}

#[tokio::test]
async fn docker_manifests_are_kept_too() {
    let world = World::new();
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let mut manifest = image(&world, "hello", "layer").await;
    manifest["mediaType"] = media_type.into();
    assert_eq!(world.put_manifest("hello", "v1", media_type, &manifest).await.status, 201);
    assert_eq!(world.get("/v2/hello/manifests/v1").await.header("content-type"), media_type);
}

#[tokio::test]
async fn tags_and_repositories_come_in_pages() {
    let world = World::new();
    for tag in ["b", "a", "c"] {
        let manifest = image(&world, "x/hello", tag).await;
        world.put_manifest("x/hello", tag, OCI_MANIFEST, &manifest).await;
    }
    let manifest = image(&world, "other", "o").await;
    world.put_manifest("other", "latest", OCI_MANIFEST, &manifest).await;
    let all = world.get("/v2/x/hello/tags/list").await;
    assert_eq!(all.json(), json!({"name": "x/hello", "tags": ["a", "b", "c"]}));
    let first = world.get("/v2/x/hello/tags/list?n=2").await;
    assert_eq!(first.json()["tags"], json!(["a", "b"]));
    assert_eq!(first.header("link"), "</v2/x/hello/tags/list?n=2&last=b>; rel=\"next\"");
    let rest = world.get("/v2/x/hello/tags/list?n=2&last=b").await;
    assert_eq!((rest.json()["tags"].clone(), rest.header("link")), (json!(["c"]), ""));
    let repositories = world.get("/v2/_catalog?n=1").await;
    assert_eq!(
        (repositories.json(), repositories.header("link")),
        (json!({"repositories": ["other"]}), "</v2/_catalog?n=1&last=other>; rel=\"next\"")
    );
}

#[tokio::test]
async fn referrers_are_listed_and_filtered() {
    let world = World::new();
    let manifest = image(&world, "hello", "layer").await;
    let subject =
        world.put_manifest("hello", "v1", OCI_MANIFEST, &manifest).await.header("docker-content-digest").to_owned();
    let mut signature = image(&world, "hello", "signature").await;
    signature["artifactType"] = "application/x-signature".into();
    signature["annotations"] = json!({"by": "ada"});
    signature["subject"] = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 1});
    let put = world
        .put_manifest("hello", &Digest::of(signature.to_string().as_bytes()).to_string(), OCI_MANIFEST, &signature)
        .await;
    assert_eq!((put.status, put.header("oci-subject")), (201, subject.as_str()));
    let listed = world.get(&format!("/v2/hello/referrers/{subject}")).await;
    assert_eq!(listed.header("content-type"), OCI_INDEX);
    assert_eq!(listed.json()["manifests"][0]["artifactType"], "application/x-signature");
    assert_eq!(listed.json()["manifests"][0]["annotations"], json!({"by": "ada"}));
    let filtered = world.get(&format!("/v2/hello/referrers/{subject}?artifactType=application%2Fother")).await;
    assert_eq!(
        (filtered.json()["manifests"].clone(), filtered.header("oci-filters-applied")),
        (json!([]), "artifactType")
    );
}

async fn check(method: &str, path: &str, media_type: &str, body: Value, expected: Expect) {
    let world = World::new();
    let answer = world.send(method, path, &[("content-type", media_type)], body.to_string()).await;
    expected.assert_eq(&answer.error());
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let put = "/v2/hello/manifests/v1";
    let blob = json!({"digest": Digest::of(b"x")});
    let image = json!({"schemaVersion": 2, "config": blob, "layers": []});
    check("PUT", put, OCI_MANIFEST, image.clone(), expect!["404 MANIFEST_BLOB_UNKNOWN blob sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 is not in this repository: push it first"]).await;
    check(
        "PUT",
        put,
        "text/plain",
        image,
        expect![[r#"400 MANIFEST_INVALID manifests of type "text/plain" are not kept here"#]],
    )
    .await;
    check(
        "PUT",
        put,
        OCI_MANIFEST,
        json!({"schemaVersion": 1}),
        expect!["400 MANIFEST_INVALID schemaVersion is not 2"],
    )
    .await;
    check(
        "PUT",
        put,
        OCI_MANIFEST,
        json!({"schemaVersion": 2}),
        expect!["400 MANIFEST_INVALID an image manifest needs config and layers"],
    )
    .await;
    check("PUT", put, OCI_MANIFEST, json!({"schemaVersion": 2, "mediaType": OCI_INDEX}), expect![[r#"400 MANIFEST_INVALID mediaType is "application/vnd.oci.image.index.v1+json", but the content type says "application/vnd.oci.image.manifest.v1+json""#]]).await;
    check("GET", "/v2/Hello/manifests/v1", "", json!(null), expect![[r#"400 NAME_INVALID "Hello" cannot be a repository: lower-case letters and digits, joined by '.', '_', '-' and '/'"#]]).await;
    check(
        "GET",
        "/v2/hello/blobs/sha512:00",
        "",
        json!(null),
        expect![[
            r#"400 DIGEST_INVALID invalid digest "sha512:00": only sha256:<64 lower-case hex digits> is kept here"#
        ]],
    )
    .await;
    check("GET", "/v2/hello/tags/list", "", json!(null), expect!["404 NAME_UNKNOWN there is no repository hello"])
        .await;
    check("POST", "/v2/hello/tags/list", "", json!(null), expect!["405 UNSUPPORTED POST does nothing here"]).await;
    check("GET", "/v2/hello", "", json!(null), expect!["404 UNSUPPORTED no such end point"]).await;
    check(
        "PATCH",
        "/v2/hello/blobs/uploads/none",
        "",
        json!(null),
        expect![[r#"404 BLOB_UPLOAD_UNKNOWN there is no upload "none""#]],
    )
    .await;
}

#[tokio::test]
async fn pushing_needs_a_token_and_pulling_does_not() {
    let world = World::new();
    let anonymous = |method: &str, path: &str| Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
    assert_eq!(world.answer(anonymous("GET", "/v2/")).await.status, 200);
    let refused = world.answer(anonymous("POST", "/v2/a/blobs/uploads/")).await;
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, "Basic realm=\"coracle\""));
    let wrong = STANDARD.encode("me:wrong");
    let request =
        Request::builder().uri("/v2/").header("authorization", format!("Basic {wrong}")).body(Body::empty()).unwrap();
    assert_eq!(world.answer(request).await.error(), "401 UNAUTHORIZED this token is not valid here");
}
