//! From the files of a commit to the objects to deploy.
//!
//! [`plan`] finds out what a repository holds, without building anything; [`Plan::finish`] gives the objects once the
//! image is there, where one is wanted.

mod chart;
mod directory;
mod generated;
mod image;
mod kustomization;
mod preview;
mod settings;

use crate::application::HelmSource;
use crate::builder::Image;
use crate::manifest::Manifest;
use crate::names::Environment;
use crate::source::{SourceError, Sources, Tree};

pub(crate) use image::images;
pub use settings::{FILE as SETTINGS_FILE, Settings};

/// The file that says how to build the app.
pub const DOCKERFILE: &str = "Dockerfile";
/// Where manifests lie when they are not at the root, in the order they are looked for.
const DIRECTORIES: [&str; 4] = ["deploy", "k8s", "kubernetes", "manifests"];

/// Why files are not objects. `file` is empty when it is no single file's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct RenderError {
    pub file: String,
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl RenderError {
    fn whole(message: impl Into<String>) -> Self {
        RenderError { file: String::new(), line: 0, column: 0, message: message.into() }
    }

    fn text(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => self.message.clone(),
            (file, 0) => format!("{file}: {}", self.message),
            (file, line) => format!("{file}:{line}:{}: {}", self.column, self.message),
        }
    }
}

impl From<SourceError> for RenderError {
    fn from(error: SourceError) -> Self {
        RenderError::whole(error.to_string())
    }
}

/// What the objects of a repository are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    Helm,
    Kustomize,
    Directory,
    /// Made up from the Dockerfile and the settings file.
    Generated,
}

/// Where to look in the tree.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The directory; empty or `.` for the root, where the usual directories are looked through as well.
    pub path: String,
    pub recurse: bool,
    /// What the Application says of a chart.
    pub helm: Option<HelmSource>,
    /// The app: a chart's release, and the name whose image manifests mean the one built here by.
    pub app: String,
    /// Where a chart is told it is deployed to.
    pub namespace: String,
    /// What a chart is told the time is, in seconds and nanoseconds since 1970.
    pub now: (i64, u32),
}

/// What a commit holds.
#[derive(Debug)]
pub struct Plan {
    pub source_type: SourceType,
    /// Whether an image has to be there before the objects can be.
    pub wants_image: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Manifests(Vec<Manifest>),
    Settings(Settings),
}

/// Reads what is there to deploy. Bases of kustomizations in other repositories come from `sources`.
pub fn plan(tree: &dyn Tree, place: &Place, sources: Option<&dyn Sources>) -> Result<Plan, RenderError> {
    let looking = Looking { tree, paths: tree.paths()?, place, sources };
    let paths = &looking.paths;
    let has_dockerfile = paths.iter().any(|path| path == DOCKERFILE);
    let root = place.path.trim_matches('/').trim_start_matches("./");
    let at_root = root.is_empty() || root == ".";
    let found = if at_root {
        looking
            .within("", place.recurse, true)?
            .map_or_else(|| looking.in_usual_directories(), |found| Ok(Some(found)))?
    } else {
        looking.within(root, place.recurse, false)?
    };
    if let Some((source_type, manifests)) = found {
        let wants_image =
            has_dockerfile && manifests.iter().any(|manifest| image::is_used(&manifest.object, &place.app));
        return Ok(Plan { source_type, wants_image, content: Content::Manifests(manifests) });
    }
    if !at_root {
        return Err(RenderError::whole(format!("there are no manifests in {root}")));
    }
    if !has_dockerfile {
        let places = DIRECTORIES.join("/, ");
        let message = format!(
            "nothing to deploy: no Dockerfile, no kustomization.yaml and no manifests, neither at the root nor in {places}/"
        );
        return Err(RenderError::whole(message));
    }
    let settings = settings::read(tree)?;
    Ok(Plan { source_type: SourceType::Generated, wants_image: true, content: Content::Settings(settings) })
}

type Found = Option<(SourceType, Vec<Manifest>)>;

/// A search through a tree.
struct Looking<'l> {
    tree: &'l dyn Tree,
    paths: Vec<String>,
    place: &'l Place,
    sources: Option<&'l dyn Sources>,
}

impl Looking<'_> {
    fn in_usual_directories(&self) -> Result<Found, RenderError> {
        for directory in DIRECTORIES {
            let found = self.within(directory, true, false)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn within(&self, directory: &str, recurse: bool, only_objects: bool) -> Result<Found, RenderError> {
        let is_here = |name: &str| self.paths.iter().any(|path| *path == join(directory, name));
        if is_here(chart::FILE) {
            let manifests = chart::rendered(self.tree, &self.paths, directory, self.place)?;
            return Ok(Some((SourceType::Helm, manifests)));
        }
        if coracle_kustomize::FILE_NAMES.iter().any(|name| is_here(name)) {
            let manifests = kustomization::built(self.tree, directory, self.place, self.sources)?;
            return Ok(Some((SourceType::Kustomize, manifests)));
        }
        let manifests = directory::read(self.tree, &self.paths, directory, recurse, only_objects)?;
        Ok((!manifests.is_empty()).then_some((SourceType::Directory, manifests)))
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The files that stand for what is generated from a Dockerfile and the settings, as path and content. In a repository
/// they deploy the same, and can be changed at will. `exposed_ports` are the image's, the first one for requests.
pub fn eject(tree: &dyn Tree, app: &str, exposed_ports: &[u16]) -> Result<Vec<(String, String)>, RenderError> {
    Ok(generated::files(app, &settings::read(tree)?, exposed_ports))
}

impl Plan {
    /// The objects of this environment, with the built image in its place.
    pub fn finish(self, environment: &Environment, image: Option<&Image>) -> Vec<Manifest> {
        let mut manifests = match self.content {
            Content::Manifests(manifests) => manifests,
            Content::Settings(settings) => {
                let ports = image.map(|image| image.exposed_ports.as_slice()).unwrap_or_default();
                let objects = generated::objects(environment, &settings, ports);
                objects.into_iter().map(Manifest::generated).collect()
            }
        };
        for manifest in &mut manifests {
            if let Some(image) = image {
                image::replace(&mut manifest.object, &environment.app, &image.reference);
            }
            if self.source_type != SourceType::Generated {
                preview::adapt(&mut manifest.object, environment);
            }
        }
        manifests
    }
}

#[cfg(test)]
mod tests {
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
        let chart = "-- Chart.yaml --\napiVersion: v2\nname: web\nversion: 1.0.0\n-- templates/a.yaml --\n\n{{ .Values.a.b }}\n";
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
}
