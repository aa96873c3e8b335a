//! Repositories as text, and the objects they come to.

use std::any::Any;
use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::{HelmSource, Place, eject, plan};
use crate::builder::Image;
use crate::names::Environment;
use crate::source::{SourceError, Tree};

pub(in crate::render) struct Files(BTreeMap<String, String>);

impl Tree for Files {
    fn id(&self) -> String {
        "files".to_owned()
    }

    fn paths(&self) -> Result<Vec<String>, SourceError> {
        Ok(self.0.keys().cloned().collect())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.0.get(path).map(|text| text.clone().into_bytes()))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Files after lines of the form `-- path --`.
pub(in crate::render) fn files(text: &str) -> Files {
    let parts = text.split("-- ").skip(1).map(|part| part.split_once(" --\n").unwrap());
    Files(parts.map(|(path, content)| (path.to_owned(), content.to_owned())).collect())
}

fn check(text: &str, branch: &str, path: &str, expected: Expect) {
    let place =
        Place { path: path.to_owned(), app: "hello".to_owned(), namespace: "hello".to_owned(), ..Place::default() };
    let shown = match plan(&files(text), &place, None) {
        Err(error) => error.to_string(),
        Ok(plan) => {
            let reference = "registry/hello@sha256:1".to_owned();
            let image = Image { reference, exposed_ports: vec![9000, 9100], was_built: false };
            let image = plan.wants_image.then_some(&image);
            let head = format!("# {:?}, wants image: {}\n", plan.source_type, plan.wants_image);
            let manifests = plan.finish(&Environment::new("hello", branch), image);
            head + &coracle_yaml::emit_documents(manifests.iter().map(|manifest| &manifest.object))
        }
    };
    expected.assert_eq(&shown);
}

const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: hello}\nspec: {containers: [{name: a, image: 'hello:dev'}, {name: b, image: other/hello}]}\n";
const INGRESS: &str = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i}\nspec: {rules: [{host: hello.localhost}], tls: [{hosts: [hello.localhost]}]}\n";

const CHART: &str = "-- deploy/Chart.yaml --\napiVersion: v2\nname: web\nversion: 1.0.0\n-- deploy/values.yaml --\nkept: chart\nfrom: chart\nset: chart\n-- deploy/prod.yaml --\nfrom: file\nset: file\n-- deploy/.helmignore --\n*.bak\n-- deploy/templates/x.bak --\n{{ fail \"never\" }}\n-- deploy/crds/c.yaml --\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: c}\n-- deploy/templates/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}', namespace: {{ .Release.Namespace }}}\ndata: {kept: {{ .Values.kept }}, from: {{ .Values.from }}, set: {{ .Values.set | quote }}, dice: {{ randAlphaNum 4 | len | quote }}}\n-- deploy/templates/test.yaml --\napiVersion: v1\nkind: Pod\nmetadata: {name: t, annotations: {helm.sh/hook: test}}\n";

#[test]
fn a_chart_is_rendered_with_what_the_application_says() {
    check(
        CHART,
        "main",
        ".",
        expect![[r#"
            # Helm, wants image: false
            apiVersion: apiextensions.k8s.io/v1
            kind: CustomResourceDefinition
            metadata:
              name: c
            ---
            apiVersion: v1
            data:
              dice: "4"
              from: chart
              kept: chart
              set: chart
            kind: ConfigMap
            metadata:
              name: hello
              namespace: hello
        "#]],
    );
    let helm: HelmSource = serde_json::from_value(serde_json::json!({
        "releaseName": "named", "valueFiles": ["prod.yaml"], "values": "from: text", "skipCrds": true,
        "parameters": [{"name": "set", "value": "1,2", "forceString": true}],
    }))
    .unwrap();
    let place = Place {
        path: "deploy".to_owned(),
        helm: Some(helm),
        app: "hello".to_owned(),
        namespace: "there".to_owned(),
        ..Place::default()
    };
    let manifests = plan(&files(CHART), &place, None).unwrap().finish(&Environment::new("hello", "main"), None);
    let object = &manifests[0].object;
    assert_eq!(manifests.len(), 1);
    assert_eq!(object["metadata"]["name"], "named");
    assert_eq!(object["data"]["from"], "text");
    assert_eq!(object["data"]["set"], "1,2");
}

#[test]
fn a_charts_error_is_told_at_its_place() {
    let chart =
        "-- Chart.yaml --\napiVersion: v2\nname: web\nversion: 1.0.0\n-- templates/a.yaml --\n\n{{ .Values.a.b }}\n";
    check(
        chart,
        "main",
        ".",
        expect![[r#"
        templates/a.yaml:2:10: web/templates/a.yaml:2:10
          executing "web/templates/a.yaml" at <.Values.a.b>:
            nil pointer evaluating interface {}.b"#]],
    );
}

#[test]
fn a_dockerfile_alone_stands_for_everything() {
    check(
        "-- Dockerfile --\nFROM scratch\n",
        "main",
        ".",
        expect![[r##"
        # Generated, wants image: true
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          labels:
            app.kubernetes.io/name: hello
          name: hello
        spec:
          progressDeadlineSeconds: 120
          replicas: 3
          selector:
            matchLabels:
              app.kubernetes.io/name: hello
          strategy:
            rollingUpdate:
              maxSurge: 1
              maxUnavailable: 0
            type: RollingUpdate
          template:
            metadata:
              labels:
                app.kubernetes.io/name: hello
            spec:
              automountServiceAccountToken: false
              containers:
              - env:
                - name: PORT
                  value: "9000"
                image: registry/hello@sha256:1
                name: hello
                ports:
                - containerPort: 9000
                  name: http
                  protocol: TCP
                - containerPort: 9100
                  name: port-9100
                  protocol: TCP
                readinessProbe:
                  failureThreshold: 3
                  periodSeconds: 1
                  tcpSocket:
                    port: http
                resources:
                  limits:
                    cpu: "1"
                    memory: 256Mi
                  requests:
                    cpu: 50m
                    memory: 32Mi
              topologySpreadConstraints:
              - labelSelector:
                  matchLabels:
                    app.kubernetes.io/name: hello
                maxSkew: 1
                topologyKey: kubernetes.io/hostname
                whenUnsatisfiable: ScheduleAnyway
        ---
        apiVersion: v1
        kind: Service
        metadata:
          labels:
            app.kubernetes.io/name: hello
          name: hello
        spec:
          ports:
          - name: http
            port: 80
            protocol: TCP
            targetPort: http
          - name: port-9100
            port: 9100
            protocol: TCP
            targetPort: 9100
          selector:
            app.kubernetes.io/name: hello
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata:
          labels:
            app.kubernetes.io/name: hello
          name: hello
        spec:
          rules:
          - host: hello.localhost
            http:
              paths:
              - backend:
                  service:
                    name: hello
                    port:
                      name: http
                path: /
                pathType: Prefix
    "##]],
    );
    check(
        "-- Dockerfile --\nFROM scratch\n-- coracle.yaml --\nreplicas: 1\nport: 9100\nhealth: /ok\nenv: {PORT: 1, K: {secret: s, key: k}}\nresources: {limits: {memory: 1Gi}}\nhosts: [a.example]\n",
        "red",
        ".",
        expect![[r##"
            # Generated, wants image: true
            apiVersion: apps/v1
            kind: Deployment
            metadata:
              labels:
                app.kubernetes.io/name: hello
              name: hello
            spec:
              progressDeadlineSeconds: 120
              replicas: 1
              selector:
                matchLabels:
                  app.kubernetes.io/name: hello
              strategy:
                rollingUpdate:
                  maxSurge: 1
                  maxUnavailable: 0
                type: RollingUpdate
              template:
                metadata:
                  labels:
                    app.kubernetes.io/name: hello
                spec:
                  automountServiceAccountToken: false
                  containers:
                  - env:
                    - name: PORT
                      value: "1"
                    - name: K
                      valueFrom:
                        secretKeyRef:
                          key: k
                          name: s
                    image: registry/hello@sha256:1
                    name: hello
                    ports:
                    - containerPort: 9100
                      name: http
                      protocol: TCP
                    - containerPort: 9000
                      name: port-9000
                      protocol: TCP
                    readinessProbe:
                      failureThreshold: 3
                      httpGet:
                        path: /ok
                        port: http
                      periodSeconds: 1
                    resources:
                      limits:
                        cpu: "1"
                        memory: 1Gi
                      requests:
                        cpu: 50m
                        memory: 32Mi
                  topologySpreadConstraints:
                  - labelSelector:
                      matchLabels:
                        app.kubernetes.io/name: hello
                    maxSkew: 1
                    topologyKey: kubernetes.io/hostname
                    whenUnsatisfiable: ScheduleAnyway
            ---
            apiVersion: v1
            kind: Service
            metadata:
              labels:
                app.kubernetes.io/name: hello
              name: hello
            spec:
              ports:
              - name: http
                port: 80
                protocol: TCP
                targetPort: http
              - name: port-9000
                port: 9000
                protocol: TCP
                targetPort: 9000
              selector:
                app.kubernetes.io/name: hello
            ---
            apiVersion: networking.k8s.io/v1
            kind: Ingress
            metadata:
              labels:
                app.kubernetes.io/name: hello
              name: hello
            spec:
              rules:
              - host: red.hello.localhost
                http:
                  paths:
                  - backend:
                      service:
                        name: hello
                        port:
                          name: http
                    path: /
                    pathType: Prefix
              - host: red.a.example
                http:
                  paths:
                  - backend:
                      service:
                        name: hello
                        port:
                          name: http
                    path: /
                    pathType: Prefix
        "##]],
    );
}

#[test]
fn manifests_are_found_where_people_put_them() {
    check(
        &format!("-- Dockerfile --\n-- deploy/p.yaml --\n{POD}-- deploy/sub/i.yml --\n{INGRESS}"),
        "main",
        ".",
        expect![[r#"
            # Directory, wants image: true
            apiVersion: v1
            kind: Pod
            metadata:
              name: p
              namespace: hello
            spec:
              containers:
              - image: registry/hello@sha256:1
                name: a
              - image: other/hello
                name: b
            ---
            apiVersion: networking.k8s.io/v1
            kind: Ingress
            metadata:
              name: i
            spec:
              rules:
              - host: hello.localhost
              tls:
              - hosts:
                - hello.localhost
        "#]],
    );
    check(
        &format!("-- compose.yaml --\nservices: {{}}\n-- bad.yaml --\n{{{{ x }}}}\n-- p.yaml --\n{POD}"),
        "main",
        "",
        expect![[r#"
            # Directory, wants image: false
            apiVersion: v1
            kind: Pod
            metadata:
              name: p
              namespace: hello
            spec:
              containers:
              - image: hello:dev
                name: a
              - image: other/hello
                name: b
        "#]],
    );
    check(
        &format!(
            "-- Dockerfile --\n-- kustomization.yaml --\nresources: [x/p.yaml]\nnamePrefix: a-\n-- x/p.yaml --\n{POD}"
        ),
        "main",
        ".",
        expect![[r#"
            # Kustomize, wants image: true
            apiVersion: v1
            kind: Pod
            metadata:
              name: a-p
              namespace: hello
            spec:
              containers:
              - image: registry/hello@sha256:1
                name: a
              - image: other/hello
                name: b
        "#]],
    );
    check(
        &format!("-- apps/one/p.yaml --\n{POD}-- apps/two/i.yaml --\n{INGRESS}"),
        "main",
        "apps/two",
        expect![[r#"
            # Directory, wants image: false
            apiVersion: networking.k8s.io/v1
            kind: Ingress
            metadata:
              name: i
            spec:
              rules:
              - host: hello.localhost
              tls:
              - hosts:
                - hello.localhost
        "#]],
    );
}

#[test]
fn a_preview_keeps_out_of_the_way_of_the_main_environment() {
    check(
        &format!(
            "-- deploy/p.yaml --\n{POD}---\n{INGRESS}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: hello}}\n"
        ),
        "red",
        ".",
        expect![[r#"
            # Directory, wants image: false
            apiVersion: v1
            kind: Pod
            metadata:
              name: p
              namespace: hello-red
            spec:
              containers:
              - image: hello:dev
                name: a
              - image: other/hello
                name: b
            ---
            apiVersion: networking.k8s.io/v1
            kind: Ingress
            metadata:
              name: i
            spec:
              rules:
              - host: red.hello.localhost
              tls:
              - hosts:
                - red.hello.localhost
            ---
            apiVersion: v1
            kind: Namespace
            metadata:
              name: hello-red
        "#]],
    );
}

#[test]
fn what_cannot_be_rendered_is_said_with_its_place() {
    check(
        "-- README.md --\n",
        "main",
        ".",
        expect![
            "nothing to deploy: no Dockerfile, no kustomization.yaml and no manifests, neither at the root nor in deploy/, k8s/, kubernetes/, manifests/"
        ],
    );
    check("-- README.md --\n", "main", "deploy", expect!["there are no manifests in deploy"]);
    check("-- deploy/a.yaml --\na: b\n", "main", ".", expect!["deploy/a.yaml:1:1: the object has no kind"]);
    check(
        "-- deploy/a.yaml --\nkind: A\napiVersion: v1\n",
        "main",
        ".",
        expect!["deploy/a.yaml:1:1: the object has no metadata.name"],
    );
    check(
        "-- deploy/kustomization.yaml --\nresources: [a.yaml]\n",
        "main",
        ".",
        expect![[r#"deploy/kustomization.yaml:1:13: there is no file or directory "deploy/a.yaml""#]],
    );
    check(
        "-- Dockerfile --\n-- coracle.yaml --\nreplicas: many\n",
        "main",
        ".",
        expect![[r#"coracle.yaml:1:11: replicas: expected a whole number, found the string "many""#]],
    );
}

#[test]
fn ejected_files_deploy_the_same() {
    let settings = "-- Dockerfile --\nFROM scratch\n-- coracle.yaml --\nreplicas: 2\n";
    let ejected = eject(&files(settings), "hello", &[9000, 9100]).unwrap();
    let paths: Vec<&str> = ejected.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        ["deploy/deployment.yaml", "deploy/service.yaml", "deploy/ingress.yaml", "deploy/kustomization.yaml"]
    );
    let mut after: String = "-- Dockerfile --\nFROM scratch\n".to_owned();
    for (path, content) in &ejected {
        after += &format!("-- {path} --\n{content}");
    }
    let objects = |text: &str| {
        let image = Image {
            reference: "registry/hello@sha256:1".to_owned(),
            exposed_ports: vec![9000, 9100],
            was_built: false,
        };
        let plan = plan(&files(text), &Place { app: "hello".to_owned(), ..Place::default() }, None).unwrap();
        let manifests = plan.finish(&Environment::new("hello", "main"), Some(&image));
        manifests.into_iter().map(|manifest| manifest.object).collect::<Vec<_>>()
    };
    assert_eq!(objects(settings), objects(&after));
}
