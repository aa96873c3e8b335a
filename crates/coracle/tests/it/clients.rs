//! Other people's clients, unmodified: helm, the official Python client, and an operator written with client-go.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use coracle_harness::Engine;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

const CLIENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
/// What an operator says may wait to be heard.
const LINES: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(90);

/// A program that an environment variable names, pointed at an engine; `None`, with a word, where there is none.
fn tool(engine: &Engine, variable: &str, what: &str) -> Option<Command> {
    let Some(program) = env::var_os(variable) else {
        eprintln!("left out: no {what} ({variable} names one)");
        return None;
    };
    let mut command = Command::new(program);
    command.env("KUBECONFIG", engine.kubeconfig()).env("HOME", engine.dir()).stdin(Stdio::null());
    Some(command)
}

fn said(mut command: Command) -> anyhow::Result<String> {
    let output = command.output().context("starting the client")?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{command:?}: {}{}", said(&output.stdout), said(&output.stderr));
    Ok(said(&output.stdout))
}

/// The image of the sample app, which is pushed for it.
async fn image(engine: &Engine) -> anyhow::Result<String> {
    super::deploy_hello(engine, "base")?;
    let deployments = Api::<Deployment>::namespaced(engine.client().await?, "base");
    let spec = deployments.get("base").await?.spec.context("a spec")?;
    let pod = spec.template.spec.context("a template")?;
    pod.containers[0].image.clone().context("an image")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_of_helms_is_installed_upgraded_rolled_back_tested_and_uninstalled() -> anyhow::Result<()> {
    if !Engine::is_possible() || env::var_os("CORACLE_TEST_HELM").is_none() {
        eprintln!("left out: no helm (CORACLE_TEST_HELM names one), or no root");
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let image = format!("image={}", image(&engine).await?);
    let helm = |arguments: &[&str]| {
        let mut command = tool(&engine, "CORACLE_TEST_HELM", "helm").context("helm")?;
        command.args(arguments).args(["--namespace", "shop"]);
        said(command)
    };
    let chart = format!("{CLIENTS}/chart");
    let colour = async || -> anyhow::Result<String> {
        let maps = Api::<ConfigMap>::namespaced(engine.client().await?, "shop");
        Ok(maps.get("shop-settings").await?.data.unwrap_or_default().remove("colour").unwrap_or_default())
    };
    let installed =
        helm(&["install", "shop", &chart, "--create-namespace", "--set", &image, "--wait", "--timeout", "90s"])?;
    ensure!(installed.contains("STATUS: deployed"), "{installed}");
    assert_eq!(colour().await?, "teal");
    let deployments = Api::<Deployment>::namespaced(engine.client().await?, "shop");
    let ready = async || -> anyhow::Result<i32> {
        Ok(deployments.get("shop").await?.status.and_then(|status| status.ready_replicas).unwrap_or_default())
    };
    assert_eq!(ready().await?, 2, "helm waited for both replicas");

    helm(&[
        "upgrade",
        "shop",
        &chart,
        "--reuse-values",
        "--set",
        "colour=plum,replicas=1",
        "--wait",
        "--timeout",
        "90s",
    ])?;
    assert_eq!((colour().await?.as_str(), ready().await?), ("plum", 1));
    helm(&["rollback", "shop", "1", "--wait", "--timeout", "90s"])?;
    assert_eq!((colour().await?.as_str(), ready().await?), ("teal", 2));
    let history = helm(&["history", "shop"])?;
    ensure!(history.contains("Rollback to 1") && history.contains("superseded"), "{history}");

    let tested = helm(&["test", "shop", "--timeout", "90s"])?;
    ensure!(tested.contains("Phase:          Succeeded"), "{tested}");
    helm(&["uninstall", "shop", "--wait", "--timeout", "90s"])?;
    ensure!(deployments.get_opt("shop").await?.is_none(), "the deployment is still there");
    ensure!(!helm(&["list"])?.contains("shop"), "the release is still listed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_holds_a_session() -> anyhow::Result<()> {
    if !Engine::is_possible() || env::var_os("CORACLE_TEST_PYTHON").is_none() {
        eprintln!("left out: no Python with the kubernetes package (CORACLE_TEST_PYTHON names one), or no root");
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let image = image(&engine).await?;
    let mut python = tool(&engine, "CORACLE_TEST_PYTHON", "Python").context("Python")?;
    python.arg(format!("{CLIENTS}/session.py")).arg(image);
    let said = said(python)?;
    ensure!(said.contains("defined lamps"), "{said}");
    Ok(())
}

/// A copy of the operator, and what it says.
struct Operator {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Operator {
    fn start(engine: &Engine, name: &str) -> anyhow::Result<Self> {
        let mut command = tool(engine, "CORACLE_TEST_INFORMER", "operator").context("an operator")?;
        let mut child = command.args([name, "default"]).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let stdout = child.stdout.take().context("its output")?;
        let (sender, lines) = mpsc::sync_channel(LINES);
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Self { child, lines })
    }

    /// Waits until it says so.
    fn says(&self, wanted: &str) -> anyhow::Result<()> {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(wanted) => return Ok(()),
                Ok(line) => heard.push(line),
                Err(_) => bail!("it did not say {wanted:?}, but {heard:#?}"),
            }
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

async fn copied(client: &Client, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
    let secrets = Api::<Secret>::default_namespaced(client.clone());
    let data = secrets.get_opt(name).await?.and_then(|secret| secret.data);
    Ok(data.and_then(|mut data| data.remove("colour")).map(|bytes| bytes.0))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_client_go_is_elected_and_follows() -> anyhow::Result<()> {
    if !Engine::is_possible() || env::var_os("CORACLE_TEST_INFORMER").is_none() {
        eprintln!(
            "left out: the operator in tests/clients/informer is not built (CORACLE_TEST_INFORMER names it), or no root"
        );
        return Ok(());
    }
    let engine = Engine::start(super::binary())?;
    let client = engine.client().await?;
    let maps = Api::<ConfigMap>::default_namespaced(client.clone());
    let map = |name: &str| json!({"metadata": {"name": name, "labels": {"copy": "yes"}}, "data": {"colour": "teal"}});
    maps.create(&PostParams::default(), &serde_json::from_value(map("early"))?).await?;

    let first = Operator::start(&engine, "first")?;
    first.says("first leads")?;
    first.says("first synced 1")?;
    let second = Operator::start(&engine, "second")?;
    second.says("second sees first")?;
    first.says("put early")?;
    assert_eq!(copied(&client, "early").await?.as_deref(), Some(&b"teal"[..]));
    maps.patch("early", &PatchParams::default(), &Patch::Merge(json!({"data": {"colour": "plum"}}))).await?;
    first.says("put early")?;
    assert_eq!(copied(&client, "early").await?.as_deref(), Some(&b"plum"[..]));

    // Without a word of farewell: the lease has to run out.
    drop(first);
    maps.create(&PostParams::default(), &serde_json::from_value(map("late"))?).await?;
    second.says("second leads")?;
    second.says("second synced 2")?;
    second.says("put late")?;
    assert_eq!(copied(&client, "late").await?.as_deref(), Some(&b"teal"[..]));
    maps.delete("early", &DeleteParams::default()).await?;
    second.says("delete early")?;
    assert_eq!(copied(&client, "early").await?, None);
    Ok(())
}
