//! A stage for the delivery pipeline: a real API server in this process, real Git repositories on disk, the real
//! controllers, a builder that names images by their content, and a stand-in for the node.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use coracle_apiserver::{AllowAll, Cidr, Guards, Options, Server, StaticTokens, User, generate_key};
use coracle_clock::SystemClock;
use coracle_git::{Outcome, Progress, Push, PushHandler, RefUpdate, Repositories};
use coracle_store::Store;
use coracle_sync::application::{Application, NAMESPACE};
use coracle_sync::builder::{BuildError, Builder, Image, Lines};
use coracle_sync::source::Tree;
use coracle_sync::{Controller, GitSources, GitTree, Parts};
use futures::future::BoxFuture;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

pub struct Stage {
    pub client: kube::Client,
    pub controller: Controller,
    pub work: PathBuf,
    repositories: Arc<Repositories>,
    server: Server,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        self.server.stop();
    }
}

impl Stage {
    pub async fn set() -> Stage {
        let directory = tempfile::tempdir().unwrap();
        let options = Options {
            clock: Arc::new(SystemClock),
            authorizer: Arc::new(AllowAll),
            tokens: Arc::new(StaticTokens::new([])),
            service_account_key: generate_key().unwrap(),
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            authority_pem: String::new(),
            node_socket: directory.path().join("node.sock"),
            dialer: None,
            service_range: Cidr { network: [10, 43, 0, 0].into(), prefix: 16 },
            node_ports: 30000..=32767,
            advertise: None,
            guards: Guards::default(),
        };
        let server = Server::start(Store::in_memory(), options).await.unwrap();
        let client = coracle_client::in_process(server.client_service(User::engine()));
        let repositories = Arc::new(Repositories::open(directory.path().join("git")).unwrap());
        let controller = controller(&client, &repositories);
        controller.install().await.unwrap();
        let work = directory.path().join("work");
        std::fs::create_dir(&work).unwrap();
        let workloads = coracle_controllers::Context::new(client.clone(), Arc::new(SystemClock));
        let stage = Stage {
            tasks: vec![
                coracle_tasks::spawn("test-controller", controller.clone().run()),
                coracle_tasks::spawn("test-node", crate::node::run(client.clone())),
                coracle_tasks::spawn("test-controllers", coracle_controllers::run(workloads, String::new())),
            ],
            client,
            controller,
            work,
            repositories,
            server,
            _directory: directory,
        };
        stage.git(&["init", "--quiet", "--initial-branch=main"]);
        stage
    }

    pub fn write(&self, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = self.work.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    pub fn remove(&self, path: &str) {
        std::fs::remove_file(self.work.join(path)).unwrap();
    }

    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.work, arguments)
    }

    /// Commits what is in the working copy, pushes it, and gives what the terminal shows and how it ended.
    pub async fn push(&self, app: &str, branch: &str, subject: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", subject]);
        self.push_head(app, branch).await
    }

    /// Pushes what is checked out, by force.
    pub async fn push_head(&self, app: &str, branch: &str) -> String {
        let repository = match self.repositories.get(app).unwrap() {
            Some(repository) => repository,
            None => self.repositories.create(app).unwrap(),
        };
        let old = repository.branch(branch).unwrap();
        let address = repository.path().to_str().unwrap().to_owned();
        self.git(&["push", "--quiet", "--force", &address, &format!("HEAD:refs/heads/{branch}")]);
        let new = repository.branch(branch).unwrap();
        self.pushed(app, RefUpdate { name: format!("refs/heads/{branch}"), old, new }).await
    }

    /// Commits and moves the branch with nobody telling the controller, as when the engine went away in between.
    pub async fn move_branch(&self, app: &str, branch: &str, subject: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", subject]);
        let repository = self.repositories.get(app).unwrap().unwrap();
        let address = repository.path().to_str().unwrap().to_owned();
        self.git(&["push", "--quiet", &address, &format!("HEAD:refs/heads/{branch}")]);
        let patch = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}});
        self.applications().patch(app, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete_branch(&self, app: &str, branch: &str) -> String {
        let repository = self.repositories.get(app).unwrap().unwrap();
        let old = repository.branch(branch).unwrap();
        let address = repository.path().to_str().unwrap().to_owned();
        self.git(&["push", "--quiet", &address, &format!(":refs/heads/{branch}")]);
        self.pushed(app, RefUpdate { name: format!("refs/heads/{branch}"), old, new: None }).await
    }

    async fn pushed(&self, app: &str, update: RefUpdate) -> String {
        let repository = self.repositories.get(app).unwrap().unwrap();
        let push = Push {
            app: app.to_owned(),
            pusher: "ada".to_owned(),
            updates: vec![update],
            options: Vec::new(),
            repository,
        };
        let (progress, mut lines) = Progress::channel();
        let outcome = tokio::time::timeout(PATIENCE, self.controller.pushed(push, progress)).await;
        let mut text = String::new();
        while let Ok(line) = lines.try_recv() {
            text.push_str(&line);
            text.push('\n');
        }
        match outcome {
            Err(_) => panic!("the push did not end:\n{text}\n{:#?}", self.application(app).await.status),
            Ok(Outcome::Done) => {}
            Ok(Outcome::Failed(message)) => text.push_str(&format!("=> failed: {message}\n")),
        }
        without_times(&text)
    }

    pub fn applications(&self) -> Api<Application> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub async fn application(&self, name: &str) -> Application {
        self.applications().get(name).await.unwrap()
    }

    /// An object by its path in the API, null when it is not there.
    pub async fn object(&self, path: &str) -> Value {
        let request = http_get(path);
        match self.client.request::<Value>(request).await {
            Ok(object) => object,
            Err(kube::Error::Api(status)) if status.code == 404 => Value::Null,
            Err(error) => panic!("{path}: {error}"),
        }
    }

    /// Waits until the Application satisfies a condition.
    pub async fn until(&self, name: &str, what: &str, fits: impl Fn(&Application) -> bool) -> Application {
        let wait = async {
            loop {
                let application = self.application(name).await;
                if fits(&application) {
                    return application;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(application) => application,
            Err(_) => panic!("never came true: {what}\n{:#?}", self.application(name).await.status),
        }
    }

    /// Waits until an object satisfies a condition.
    pub async fn until_object(&self, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let object = self.object(path).await;
                if fits(&object) {
                    return object;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(object) => object,
            Err(_) => panic!("never came true: {what}\n{:#}", self.object(path).await),
        }
    }

    /// Changes the replica count as `kubectl scale` does.
    pub async fn scale(&self, namespace: &str, name: &str, replicas: i64) {
        let deployments: Api<k8s_openapi::api::apps::v1::Deployment> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PatchParams { field_manager: Some("kubectl".to_owned()), ..PatchParams::default() };
        let patch = json!({"spec": {"replicas": replicas}});
        deployments.patch_scale(name, &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn set_self_heal(&self, name: &str, on: bool) {
        let patch = json!({"spec": {"syncPolicy": {"automated": {"selfHeal": on}}}});
        self.applications().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// A second engine takes over, as after a crash.
    pub async fn restart(&mut self) {
        self.tasks[0].abort();
        self.controller = controller(&self.client, &self.repositories);
        self.tasks[0] = coracle_tasks::spawn("test-controller", self.controller.clone().run());
    }
}

fn controller(client: &kube::Client, repositories: &Arc<Repositories>) -> Controller {
    Controller::new(Parts {
        client: client.clone(),
        sources: Arc::new(GitSources::new(repositories.clone())),
        builder: Arc::new(ContentBuilder::default()),
        clock: Arc::new(SystemClock),
        gateway_http_port: 8080,
    })
}

fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.com");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What differs from run to run: times, the names of pods, and how many replicas somebody saw on the way.
fn without_times(text: &str) -> String {
    let mut result = String::new();
    for line in text.lines() {
        let counts = line.strip_suffix(" ready").and_then(|counts| counts.split_once('/'));
        if counts.is_some_and(|(ready, wanted)| ready != wanted) {
            continue;
        }
        let line = match line.split_once("(pod ") {
            Some((before, _)) => format!("{before}(pod NAME)"),
            None => line.to_owned(),
        };
        let words: Vec<&str> = line.split(' ').collect();
        let masked: Vec<&str> = words
            .iter()
            .enumerate()
            .map(|(index, word)| {
                let is_time =
                    word.parse::<f64>().is_ok() && words.get(index + 1).is_some_and(|next| next.starts_with('s'));
                if is_time { "N" } else { word }
            })
            .collect();
        result.push_str(&masked.join(" "));
        result.push('\n');
    }
    result
}

/// Images named by the content of the whole tree; a Dockerfile that says BROKEN does not build.
#[derive(Default)]
struct ContentBuilder(parking_lot::Mutex<HashSet<String>>);

impl Builder for ContentBuilder {
    fn ensure(
        &self,
        app: String,
        tree: Arc<dyn Tree>,
        progress: Lines,
    ) -> BoxFuture<'static, Result<Image, BuildError>> {
        let git_tree = GitTree::of(&*tree).expect("the stage's sources are Git repositories");
        assert_eq!(git_tree.id().to_string(), tree.id());
        let was_built = self.0.lock().insert(tree.id());
        let dockerfile = tree.read("Dockerfile").unwrap().unwrap();
        Box::pin(async move {
            if dockerfile.starts_with(b"BROKEN") {
                return Err(BuildError("Dockerfile:1:1: unknown instruction BROKEN\n  1 | BROKEN".to_owned()));
            }
            if was_built {
                progress("  COPY . /".to_owned());
            }
            let digest = tree.id().repeat(2);
            let reference = format!("registry.coracle.internal/{app}@sha256:{}", &digest[..64]);
            Ok(Image { reference, exposed_ports: vec![9000], was_built })
        })
    }
}
