//! kubectl, unmodified, over TLS on loopback.

use std::{io::Write, process::Stdio};

use coracle_apiserver::Server;
use expect_test::{Expect, expect};
use tokio::process::Command;

use crate::{
    support::{Listening, listen, server},
    versions::with_another,
};

struct Shell {
    listening: Listening,
}

impl Shell {
    async fn start() -> Option<Self> {
        Self::over(server()).await
    }

    async fn over(server: impl Future<Output = Server>) -> Option<Self> {
        // Machines without kubectl have nothing to test here.
        std::process::Command::new("kubectl").arg("help").output().ok()?;
        Some(Self { listening: listen(server.await).await })
    }

    /// Runs kubectl with `input`; what it prints, both streams, error first.
    async fn run(&self, line: &str, input: &str) -> String {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(input.as_bytes()).unwrap();
        let arguments =
            line.split_whitespace().map(|word| if word == "-" { file.path().to_str().unwrap() } else { word });
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", &self.listening.kubeconfig)
            .env("HOME", self.listening.kubeconfig.parent().unwrap())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        // Newer ones say where something was deleted from.
        let text = text.replace(file.path().to_str().unwrap(), "FILE").replace(" from default namespace", "");
        // Some of kubectl's texts end their lines in blanks, which editors eat.
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    async fn check(&self, line: &str, input: &str, expected: Expect) {
        expected.assert_eq(&self.run(line, input).await);
    }
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: nginx:1}
";

#[tokio::test(flavor = "multi_thread")]
async fn writes() {
    let Some(shell) = Shell::start().await else { return };
    shell.check("create configmap a --from-literal=k=v", "", expect![["configmap/a created\n"]]).await;
    shell
        .check(
            "create configmap a --from-literal=k=v",
            "",
            expect![[r#"
        error: failed to create configmap: configmaps "a" already exists
    "#]],
        )
        .await;
    shell.check("apply -f -", DEPLOYMENT, expect![["deployment.apps/web created\n"]]).await;
    shell.check("apply -f -", DEPLOYMENT, expect![["deployment.apps/web unchanged\n"]]).await;
    let changed = DEPLOYMENT.replace("nginx:1", "nginx:2");
    shell.check("apply -f -", &changed, expect![["deployment.apps/web configured\n"]]).await;
    shell
        .check(
            "get deploy web -o jsonpath={.spec.template.spec.containers[0].image}/{.metadata.generation}",
            "",
            expect![[r#"
                nginx:2/2
            "#]],
        )
        .await;
    shell.check("apply --server-side --field-manager=x -f -", DEPLOYMENT, expect![[r#"
        error: Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.template.spec.containers[name="c"].image
        Please review the fields above--they currently have other managers. Here
        are the ways you can resolve this warning:
        * If you intend to manage all of these fields, please re-run the apply
          command with the `--force-conflicts` flag.
        * If you do not intend to manage all of the fields, please edit your
          manifest to remove references to the fields that should keep their
          current managers.
        * You may co-own fields by updating your manifest to match the existing
          value; in this case, you'll become the manager if the other manager(s)
          stop managing the field (remove it from their configuration).
        See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
    "#]]).await;
    shell.check("scale deploy web --replicas=4", "", expect![["deployment.apps/web scaled\n"]]).await;
    shell.check("label deploy web tier=front", "", expect![["deployment.apps/web labeled\n"]]).await;
    shell.check("set image deploy/web c=nginx:3", "", expect![["deployment.apps/web image updated\n"]]).await;
    shell
        .check(
            "delete deploy web",
            "",
            expect![[r#"
        deployment.apps "web" deleted
    "#]],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes() {
    let Some(shell) = Shell::start().await else { return };
    let unknown = DEPLOYMENT.replace("replicas: 2", "replica: 2");
    shell.check("create -f -", &unknown, expect![[r#"
        Error from server (BadRequest): error when creating "FILE": Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replica"
    "#]]).await;
    shell
        .check(
            "get deploy nowhere",
            "",
            expect![[r#"
        Error from server (NotFound): deployments.apps "nowhere" not found
    "#]],
        )
        .await;
    shell.check("create deployment Web --image=x", "", expect![[r#"
        error: failed to create deployment: Deployment.apps "Web" is invalid: metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn questions() {
    let Some(shell) = Shell::start().await else { return };
    shell.check("auth can-i create pods", "", expect![["yes\n"]]).await;
    shell
        .check(
            "auth whoami -o jsonpath={.status.userInfo.username}",
            "",
            expect![[r#"
        admin
    "#]],
        )
        .await;
    shell
        .check(
            "get --raw /readyz",
            "",
            expect![[r#"
        ok
    "#]],
        )
        .await;
    shell
        .check(
            "api-resources --api-group=apps -o name",
            "",
            expect![[r#"
        controllerrevisions.apps
        daemonsets.apps
        deployments.apps
        replicasets.apps
        statefulsets.apps
    "#]],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading() {
    let Some(shell) = Shell::start().await else { return };
    shell.run("create -f -", DEPLOYMENT).await;
    shell
        .check(
            "get deploy --no-headers -o custom-columns=N:.metadata.name,R:.spec.replicas",
            "",
            expect![[r#"
        web   2
    "#]],
        )
        .await;
    shell
        .check(
            "get svc kubernetes --no-headers -o name",
            "",
            expect![[r#"
        service/kubernetes
    "#]],
        )
        .await;
    shell
        .check(
            "explain deployment.spec.replicas",
            "",
            expect![[r#"
                GROUP:      apps
                KIND:       Deployment
                VERSION:    v1

                FIELD: replicas <integer>


                DESCRIPTION:
                    Number of desired pods. This is a pointer to distinguish between explicit
                    zero and not specified. Defaults to 1.
    

            "#]],
        )
        .await;
    shell
        .check(
            "get deploy -l app=nothing",
            "",
            expect![[r#"
        No resources found in default namespace.
    "#]],
        )
        .await;
    let table = shell.run("get deploy", "").await;
    assert!(
        table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    0/2     0            0           "),
        "{table}"
    );
    shell
        .check(
            "auth can-i --list --no-headers",
            "",
            expect![[r#"
        *.*   []    []    [*]
              [*]   []    [*]
    "#]],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_lists() {
    let Some(shell) = Shell::start().await else { return };
    let map = |number: usize| {
        format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{number}}}\ndata: {{k: {}}}\n",
            "v".repeat(8000)
        )
    };
    let maps: String = (0..40).map(map).collect();
    shell.run("create -f -", &maps).await;
    // 320 KB: more than is sent uncompressed.
    let listed = shell.run("get configmaps -o name", "").await;
    assert_eq!(listed.lines().count(), 40, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_server_serves_is_explained() {
    let Some(shell) = Shell::over(with_another()).await else { return };
    shell
        .check(
            "explain figures.digits --output=plaintext-openapiv2",
            "",
            expect![[r#"
        KIND:     Figure
        VERSION:  metrics.example.org/v1

        FIELD:    digits <integer>

        DESCRIPTION:
             How many it has.
    "#]],
        )
        .await;
}
