//! An unmodified kubectl at work.

use std::process::Stdio;

use anyhow::Context;
use coracle_harness::{Engine, Kubectl, wait_until};

fn says(output: &str, words: &[&str]) {
    for word in words {
        assert!(output.contains(word), "{word:?} is not in:\n{output}");
    }
}

#[test]
fn a_session_of_everyday_commands() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    super::deploy_hello(&engine, "shop")?;
    let shop = |arguments: &[&str]| kubectl.run(&[&["--namespace=shop"], arguments].concat());

    says(&kubectl.run(&["get", "nodes"])?, &["Ready"]);
    says(&kubectl.run(&["api-resources"])?, &["deployments", "deploy", "applications"]);
    says(&kubectl.run(&["explain", "deployment.spec.strategy"])?, &["RollingUpdate"]);
    says(&kubectl.run(&["auth", "can-i", "delete", "pods"])?, &["yes"]);
    let denied = kubectl.try_run(&["auth", "can-i", "delete", "pods", "--as=system:serviceaccount:shop:default"])?;
    says(&String::from_utf8_lossy(&denied.stdout), &["no"]);
    says(
        &shop(&["get", "deployments,replicasets,pods,services,endpointslices,ingresses", "--output=wide"])?,
        &["3/3", "ClusterIP"],
    );
    says(&shop(&["describe", "deployment", "shop"])?, &["ScalingReplicaSet", "RollingUpdateStrategy"]);
    let pod = shop(&["get", "pods", "--output=jsonpath={.items[0].metadata.name}"])?;
    says(&shop(&["describe", "pod", &pod])?, &["Started", "Successfully assigned"]);
    says(&shop(&["logs", &pod])?, &["ready"]);

    shop(&["scale", "deployment/shop", "--replicas=2"])?;
    shop(&["wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/shop", "--timeout=30s"])?;
    says(&shop(&["rollout", "status", "deployment/shop", "--timeout=30s"])?, &["successfully rolled out"]);
    Ok(())
}

#[test]
fn objects_are_applied_changed_and_deleted() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    let manifest = engine.dir().join("map.yaml");
    let write = |value: &str| {
        std::fs::write(
            &manifest,
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map\ndata:\n  key: {value}\n"),
        )
    };
    let file = manifest.to_str().context("a path")?;
    write("one")?;
    says(&kubectl.run(&["apply", "--filename", file])?, &["configmap/map created"]);
    says(&kubectl.run(&["apply", "--filename", file])?, &["configmap/map unchanged"]);
    write("two")?;
    let difference = kubectl.try_run(&["diff", "--filename", file])?;
    assert_eq!(difference.status.code(), Some(1));
    says(&String::from_utf8_lossy(&difference.stdout), &["-  key: one", "+  key: two"]);
    says(
        &kubectl.run(&["apply", "--server-side", "--force-conflicts", "--filename", file])?,
        &["configmap/map serverside-applied"],
    );
    says(&kubectl.run(&["get", "configmap", "map", "--output=jsonpath={.data.key}"])?, &["two"]);
    let edit = kubectl.command(&["edit", "configmap", "map"]).env("KUBE_EDITOR", "sed -i s/two/three/").output()?;
    assert!(edit.status.success(), "{}", String::from_utf8_lossy(&edit.stderr));
    says(&kubectl.run(&["get", "configmap", "map", "--output=jsonpath={.data.key}"])?, &["three"]);
    says(&kubectl.run(&["delete", "--filename", file])?, &["configmap \"map\" deleted"]);
    let gone = kubectl.try_run(&["get", "configmap", "map"])?;
    says(&String::from_utf8_lossy(&gone.stderr), &["configmaps \"map\" not found"]);
    Ok(())
}

#[test]
fn connections_into_a_pod() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    super::deploy_hello(&engine, "shop")?;
    let pod = kubectl.run(&["--namespace=shop", "get", "pods", "--output=jsonpath={.items[0].metadata.name}"])?;

    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let forward = format!("{}:8080", free.port());
    let mut forwarding =
        kubectl.command(&["--namespace=shop", "port-forward", &pod, &forward]).stdout(Stdio::null()).spawn()?;
    let forwarded = wait_until("the forwarded port answers", || {
        use std::io::{Read, Write};
        let mut answer = String::new();
        std::net::TcpStream::connect(free).is_ok_and(|mut stream| {
            stream.write_all(b"GET /api HTTP/1.1\r\nConnection: close\r\n\r\n").is_ok()
                && stream.read_to_string(&mut answer).is_ok()
                && answer.contains(&pod)
        })
    });
    forwarding.kill()?;
    forwarding.wait()?;
    forwarded?;

    let version = kubectl.run(&["--namespace=shop", "exec", &pod, "--", "/hello", "version"])?;
    assert_eq!(version.trim(), "1");
    let missing = kubectl.try_run(&["--namespace=shop", "exec", &pod, "--", "/nothing"])?;
    assert!(!missing.status.success());
    Ok(())
}

#[test]
fn a_deployment_of_ones_own_is_rolled_out_and_undone() -> anyhow::Result<()> {
    if !Engine::is_possible() {
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let Some(kubectl) = Kubectl::find(&engine) else { return Ok(()) };
    super::deploy_hello(&engine, "shop")?;
    let image_path = "--output=jsonpath={.spec.template.spec.containers[0].image}";
    let image = kubectl.run(&["--namespace=shop", "get", "deployment", "shop", image_path])?;

    kubectl.run(&["create", "namespace", "lab"])?;
    let lab = |arguments: &[&str]| kubectl.run(&[&["--namespace=lab"], arguments].concat());
    lab(&["create", "deployment", "web", &format!("--image={image}"), "--replicas=2"])?;
    lab(&["rollout", "status", "deployment/web", "--timeout=30s"])?;
    lab(&["set", "env", "deployment/web", "COLOUR=red"])?;
    lab(&["rollout", "status", "deployment/web", "--timeout=30s"])?;
    says(&lab(&["rollout", "history", "deployment/web"])?, &["1", "2"]);
    lab(&["rollout", "undo", "deployment/web"])?;
    says(&lab(&["rollout", "status", "deployment/web", "--timeout=30s"])?, &["successfully rolled out"]);
    assert!(!lab(&["get", "deployment", "web", "--output=json"])?.contains("COLOUR"));
    kubectl.run(&["delete", "namespace", "lab", "--timeout=60s"])?;
    let gone = kubectl.try_run(&["get", "namespace", "lab"])?;
    says(&String::from_utf8_lossy(&gone.stderr), &["not found"]);
    Ok(())
}
