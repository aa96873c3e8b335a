//! The pipeline from a push to a healthy app and back, against the real API server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod node;
mod stage;

use coracle_sync::application::{HealthCode, HistoryOutcome, SyncCode};
use coracle_sync::ask;
use expect_test::{Expect, expect};
use stage::Stage;

fn check(output: &str, expected: Expect) {
    expected.assert_eq(output);
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: hello
";

const CONFIG: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: extra}
data: {a: b}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_alone_becomes_a_running_app() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    check(
        &stage.push("hello", "main", "Say hello").await,
        expect![[r#"
        deploying d10bd07 Say hello, asked for by ada
          COPY . /
        image registry.coracle.internal/hello@sha256:5bc12f498aef (built in N s)
          namespace/hello created
          service/hello created
          deployment/hello created
          ingress/hello created
        applied: 4 created, 0 configured, 0 unchanged
        3/3 ready
        healthy after N s
          http://hello.localhost:8080/
    "#]],
    );
    let application =
        stage.until("hello", "synced", |app| app.status.as_ref().unwrap().sync.status == SyncCode::Synced).await;
    let status = application.status.unwrap();
    assert_eq!(status.health.status, HealthCode::Healthy);
    assert_eq!(status.summary.external_urls, ["http://hello.localhost:8080/"]);
    assert_eq!(status.history.len(), 1);
    let deployment = stage.object("/apis/apps/v1/namespaces/hello/deployments/hello").await;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["ports"][0]["containerPort"], 9000);
    assert!(container["image"].as_str().unwrap().starts_with("registry.coracle.internal/hello@sha256:"));

    // The settings file changes the objects; what was built is found again.
    stage.write(&[("coracle.yaml", "replicas: 5\nhealth: /healthz\n")]);
    check(
        &stage.push("hello", "main", "Five of them").await,
        expect![[r#"
            deploying a134df4 Five of them, asked for by ada
              COPY . /
            image registry.coracle.internal/hello@sha256:194e48db1c2d (built in N s)
              deployment/hello configured
            applied: 0 created, 1 configured, 3 unchanged
            5/5 ready
            healthy after N s
              http://hello.localhost:8080/
        "#]],
    );
    stage.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    check(
        &stage.push_head("hello", "main").await,
        expect![[r#"
            deploying d10bd07 Say hello, asked for by ada
            image registry.coracle.internal/hello@sha256:5bc12f498aef (found by its content, nothing to build)
              deployment/hello configured
            applied: 0 created, 1 configured, 3 unchanged
            3/3 ready
            healthy after N s
              http://hello.localhost:8080/
        "#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_does_not_become_healthy_gives_way_to_the_last_good_one() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "Good").await;
    let good = stage.git(&["rev-parse", "HEAD"]);
    stage.write(&[("coracle.yaml", "env: {CRASH: yes}\n")]);
    check(
        &stage.push("hello", "main", "Bad").await,
        expect![[r#"
            deploying 6b88a67 Bad, asked for by ada
              COPY . /
            image registry.coracle.internal/hello@sha256:d7aa011627b4 (built in N s)
              deployment/hello configured
            applied: 0 created, 1 configured, 3 unchanged
            failed: container hello exits at start with code 3 (pod NAME)
              it wrote nothing to its log
            still on 9be2bb6 Good: its replicas never stopped serving
            => failed: container hello exits at start with code 3 (pod NAME)
        "#]],
    );
    let status = stage.application("hello").await.status.unwrap();
    assert_eq!(status.deployed().unwrap().revision, good);
    let outcomes: Vec<HistoryOutcome> = status.history.iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [HistoryOutcome::Healthy, HistoryOutcome::Failed]);
    let deployment = stage.object("/apis/apps/v1/namespaces/hello/deployments/hello").await;
    assert!(!deployment.to_string().contains("CRASH"), "{deployment:#}");
    assert_eq!(status.conditions.len(), 1, "{:?}", status.conditions);

    // It is not tried again by itself, and the next good commit ends the matter.
    stage.remove("coracle.yaml");
    check(
        &stage.push("hello", "main", "Good again").await,
        expect![[r#"
            deploying 838de0e Good again, asked for by ada
            image registry.coracle.internal/hello@sha256:5bc12f498aef (found by its content, nothing to build)
            applied: 0 created, 0 configured, 4 unchanged
            3/3 ready
            healthy after N s
              http://hello.localhost:8080/
        "#]],
    );
    let status = stage.application("hello").await.status.unwrap();
    assert!(status.conditions.is_empty(), "{:?}", status.conditions);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_shown_where_they_were_made_and_change_nothing() {
    let stage = Stage::set().await;
    stage.write(&[("README.md", "nothing\n")]);
    check(
        &stage.push("hello", "main", "Nothing").await,
        expect![[r#"
        deploying 1a1ddbe Nothing, asked for by ada
        failed: nothing to deploy: no Dockerfile, no kustomization.yaml and no manifests, neither at the root nor in deploy/, k8s/, kubernetes/, manifests/
        nothing else was deployed before, so there is nothing to go back to
        => failed: nothing to deploy: no Dockerfile, no kustomization.yaml and no manifests, neither at the root nor in deploy/, k8s/, kubernetes/, manifests/
    "#]],
    );
    stage.write(&[("Dockerfile", "BROKEN\n")]);
    check(
        &stage.push("hello", "main", "Broken").await,
        expect![[r#"
        deploying 747913b Broken, asked for by ada
        failed: Dockerfile:1:1: unknown instruction BROKEN
          1 | BROKEN
        nothing else was deployed before, so there is nothing to go back to
        => failed: Dockerfile:1:1: unknown instruction BROKEN
    "#]],
    );
    stage.write(&[("Dockerfile", "FROM scratch\n"), ("deploy/a.yaml", DEPLOYMENT), ("deploy/b.yaml", CONFIG)]);
    stage.push("hello", "main", "Manifests").await;
    stage.write(&[
        ("deploy/a.yaml", &DEPLOYMENT.replace("image: hello", "imagee: hello")),
        ("deploy/b.yaml", &CONFIG.replace("a: b", "a: 1")),
    ]);
    check(
        &stage.push("hello", "main", "Unknown field").await,
        expect![[r#"
        deploying 859a107 Unknown field, asked for by ada
        failed: deploy/b.yaml:4:1: configmap/extra: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string
          4 | data: {a: 1}
            | ^
        deploy/a.yaml:13:9: deployment/hello: unknown field "spec.template.spec.containers[0].imagee"
          13 |         imagee: hello
             |         ^
        nothing was changed: 9f759d8 Manifests is still deployed
        => failed: deploy/b.yaml:4:1: configmap/extra: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string
    "#]],
    );
    stage.write(&[("deploy/a.yaml", DEPLOYMENT), ("deploy/b.yaml", &CONFIG.replace("data: {", "data: {{"))]);
    check(
        &stage.push("hello", "main", "No YAML").await,
        expect![[r#"
        deploying d42835b No YAML, asked for by ada
        failed: deploy/b.yaml:3:12: this is not YAML: a key has to be a word, not a collection
          3 | metadata: {{name: extra}
            |            ^
        nothing was changed: 9f759d8 Manifests is still deployed
        => failed: deploy/b.yaml:3:12: this is not YAML: a key has to be a word, not a collection
    "#]],
    );
    let status = stage.application("hello").await.status.unwrap();
    assert_eq!(status.deployed().unwrap().subject, "Manifests");
    assert_eq!(status.health.status, HealthCode::Healthy);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_no_longer_has_is_pruned() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n"), ("k8s/a.yaml", DEPLOYMENT), ("k8s/b.yaml", CONFIG)]);
    check(
        &stage.push("hello", "main", "Two objects").await,
        expect![[r#"
            deploying ac41f3c Two objects, asked for by ada
              COPY . /
            image registry.coracle.internal/hello@sha256:786240431fcb (built in N s)
              namespace/hello created
              configmap/extra created
              deployment/hello created
            applied: 3 created, 0 configured, 0 unchanged
            2/2 ready
            healthy after N s
        "#]],
    );
    assert_eq!(stage.object("/api/v1/namespaces/hello/configmaps/extra").await["data"]["a"], "b");
    stage.remove("k8s/b.yaml");
    check(
        &stage.push("hello", "main", "One object").await,
        expect![[r#"
            deploying 4ca7cff One object, asked for by ada
              COPY . /
            image registry.coracle.internal/hello@sha256:cc4f9f0f3603 (built in N s)
              deployment/hello configured
            applied: 0 created, 1 configured, 1 unchanged
            2/2 ready
              configmap/extra pruned
            healthy after N s
        "#]],
    );
    assert!(stage.object("/api/v1/namespaces/hello/configmaps/extra").await.is_null());
}

const DEFINITION: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  names: {kind: Thing, plural: things}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
";

const THING: &str = "apiVersion: example.com/v1
kind: Thing
metadata: {name: one}
spec: {size: 1}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_may_come_with_its_objects() {
    let stage = Stage::set().await;
    stage.write(&[("deploy/a.yaml", THING)]);
    check(
        &stage.push("hello", "main", "Thing alone").await,
        expect![[r#"
        deploying 2550355 Thing alone, asked for by ada
        failed: deploy/a.yaml:2:1: the cluster does not know the kind Thing in example.com/v1
          2 | kind: Thing
            | ^
        nothing else was deployed before, so there is nothing to go back to
        => failed: deploy/a.yaml:2:1: the cluster does not know the kind Thing in example.com/v1
    "#]],
    );
    stage.write(&[("deploy/b.yaml", DEFINITION)]);
    check(
        &stage.push("hello", "main", "Thing with its definition").await,
        expect![[r#"
        deploying 5ad923d Thing with its definition, asked for by ada
          namespace/hello created
          customresourcedefinition/things.example.com created
          thing/one created
        applied: 3 created, 0 configured, 0 unchanged
        healthy after N s
    "#]],
    );
    assert_eq!(stage.object("/apis/example.com/v1/namespaces/hello/things/one").await["spec"]["size"], 1);
    stage.write(&[("deploy/a.yaml", &THING.replace("size: 1", "size: 1, colour: red"))]);
    check(
        &stage.push("hello", "main", "Unknown colour").await,
        expect![[r#"
        deploying 0342b34 Unknown colour, asked for by ada
        failed: deploy/a.yaml:4:17: thing/one: unknown field "spec.colour"
          4 | spec: {size: 1, colour: red}
            |                 ^
        nothing was changed: 5ad923d Thing with its definition is still deployed
        => failed: deploy/a.yaml:4:17: thing/one: unknown field "spec.colour"
    "#]],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_put_right_or_shown() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "Hello").await;
    let path = "/apis/apps/v1/namespaces/hello/deployments/hello";
    stage.scale("hello", "hello", 7).await;
    stage.until_object(path, "three replicas again", |object| object["spec"]["replicas"] == 3).await;
    let healed = |app: &coracle_sync::application::Application| {
        app.status.as_ref().unwrap().conditions.iter().any(|condition| condition.kind == "SelfHealed")
    };
    let status = stage.until("hello", "the healing is recorded", healed).await.status.unwrap();
    let message = status.conditions.iter().find(|condition| condition.kind == "SelfHealed").unwrap().message.clone();
    check(
        message.split(" (").next().unwrap(),
        expect!["deployment/hello: spec.replicas was set to 7 by kubectl, put back to 3"],
    );

    // An object that is deleted comes back.
    let services: kube::Api<k8s_openapi::api::core::v1::Service> = kube::Api::namespaced(stage.client.clone(), "hello");
    services.delete("hello", &Default::default()).await.unwrap();
    stage
        .until_object("/api/v1/namespaces/hello/services/hello", "the service is back", |object| !object.is_null())
        .await;

    // Turned off, it is off at once, whatever is being looked at just then.
    let out_of_sync =
        |app: &coracle_sync::application::Application| app.status.as_ref().unwrap().sync.status == SyncCode::OutOfSync;
    for replicas in [4, 2, 6, 1, 4] {
        stage.set_self_heal("hello", false).await;
        stage.scale("hello", "hello", replicas).await;
        stage.until("hello", "out of sync", out_of_sync).await;
        assert_eq!(stage.object(path).await["spec"]["replicas"], replicas);
        stage.set_self_heal("hello", true).await;
        stage.until_object(path, "put back to 3", |object| object["spec"]["replicas"] == 3).await;
        stage.until("hello", "synced", |app| !out_of_sync(app)).await;
    }
    stage.set_self_heal("hello", false).await;
    stage.scale("hello", "hello", 5).await;
    let status = stage.until("hello", "out of sync", out_of_sync).await.status.unwrap();
    let message = status.conditions.iter().find(|condition| condition.kind == "DriftDetected").unwrap().message.clone();
    check(&message, expect!["deployment/hello: spec.replicas is 5 instead of 3, set by kubectl"]);
    assert_eq!(stage.object(path).await["spec"]["replicas"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_an_environment_of_its_own_and_goes_with_it() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "Hello").await;
    check(
        &stage.push("hello", "red", "Red").await,
        expect![[r#"
            deploying 1ef8f1f Red, asked for by ada
            image registry.coracle.internal/hello@sha256:5bc12f498aef (found by its content, nothing to build)
              namespace/hello-red created
              service/hello created
              deployment/hello created
              ingress/hello created
            applied: 4 created, 0 configured, 0 unchanged
            3/3 ready
            healthy after N s
              http://red.hello.localhost:8080/
        "#]],
    );
    assert!(!stage.object("/apis/apps/v1/namespaces/hello-red/deployments/hello").await.is_null());
    let names: Vec<String> = ask::overviews(&stage.client)
        .await
        .unwrap()
        .into_iter()
        .map(|one| format!("{} {}", one.name, one.branch))
        .collect();
    assert_eq!(names, ["hello main", "hello-red red"]);
    check(
        &stage.delete_branch("hello", "red").await,
        expect![[r#"
        removing the environment hello-red
        hello-red is gone, with everything in it
    "#]],
    );
    assert!(stage.object("/apis/apps/v1/namespaces/hello-red/deployments/hello").await.is_null());
    assert!(!stage.object("/apis/apps/v1/namespaces/hello/deployments/hello").await.is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_holds_until_the_next_push() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "One").await;
    stage.write(&[("coracle.yaml", "replicas: 4\n")]);
    stage.push("hello", "main", "Two").await;
    let target = ask::rollback(&stage.client, "hello", None).await.unwrap();
    assert_eq!(target.subject, "One");
    let on = |subject: &'static str| {
        move |app: &coracle_sync::application::Application| {
            let status = app.status.as_ref().unwrap();
            !status.is_running()
                && status.deployed().is_some_and(|entry| entry.subject == subject)
                && status.conditions.iter().any(|condition| condition.kind == "SyncHeld") == (subject == "One")
        }
    };
    let status = stage.until("hello", "back on One", on("One")).await.status.unwrap();
    check(
        &status.conditions[0].message.replace(&status.sync.revision[..7], "HEAD"),
        expect!["held at an earlier commit until the next push; HEAD is not deployed"],
    );
    assert_eq!(status.sync.status, SyncCode::OutOfSync);
    let replicas = &stage.object("/apis/apps/v1/namespaces/hello/deployments/hello").await["spec"]["replicas"];
    assert_eq!(*replicas, 3);
    assert!(ask::rollback(&stage.client, "nope", None).await.unwrap_err().to_string().contains("there is hello"));
    stage.push("hello", "main", "Three").await;
    stage.until("hello", "on Three", on("Three")).await;
    let history = ask::history(&stage.client, "hello").await.unwrap();
    let subjects: Vec<&str> = history.iter().map(|entry| entry.subject.as_str()).collect();
    assert_eq!(subjects, ["Three", "One", "Two", "One"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_nobody_asked_to_deploy_is_deployed_all_the_same() {
    let stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "One").await;
    stage.write(&[("coracle.yaml", "replicas: 4\n")]);
    stage.move_branch("hello", "main", "Two").await;
    let is_on_two = |app: &coracle_sync::application::Application| {
        app.status.as_ref().unwrap().deployed().is_some_and(|entry| entry.subject == "Two")
    };
    let status = stage.until("hello", "on Two", is_on_two).await.status.unwrap();
    assert!(status.history.last().unwrap().initiated_by.as_ref().unwrap().automated);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_comes_back_carries_on() {
    let mut stage = Stage::set().await;
    stage.write(&[("Dockerfile", "FROM scratch\n")]);
    stage.push("hello", "main", "Hello").await;
    stage.restart().await;
    stage.scale("hello", "hello", 9).await;
    let path = "/apis/apps/v1/namespaces/hello/deployments/hello";
    stage.until_object(path, "three replicas again", |object| object["spec"]["replicas"] == 3).await;
    assert_eq!(stage.application("hello").await.status.unwrap().history.len(), 1);
}
