//! What a push to the Git server sets off: an environment for each branch, and the voyage back on the terminal.

use coracle_git::{Outcome, Progress, Push, PushHandler, RefUpdate};
use futures::future::BoxFuture;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::application::{Application, FINALIZER, HELD_AT, MANAGER, repository_url};
use crate::controller::Controller;
use crate::follow::Update;
use crate::names::{Environment, MAIN};

/// A deployment says something at least this often; one that does not is not being worked on.
const SILENCE_LIMIT: std::time::Duration = std::time::Duration::from_secs(1800);
/// How long the objects of a deleted branch may take to go before the push stops waiting for them.
const TEAR_DOWN_LIMIT: std::time::Duration = std::time::Duration::from_secs(90);
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

impl PushHandler for Controller {
    fn admit<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.refuse_clashes(push).await })
    }

    fn pushed(&self, push: Push, progress: Progress) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            let mut failures = Vec::new();
            for update in &push.updates {
                if let Err(failure) = self.branch_moved(&push, update, &progress).await {
                    failures.push(failure);
                }
            }
            if failures.is_empty() { Outcome::Done } else { Outcome::Failed(failures.join("; ")) }
        })
    }
}

impl Controller {
    /// `hello` with a branch `b` and an app `hello-b` would be one environment.
    async fn refuse_clashes(&self, push: &Push) -> Result<(), String> {
        for update in &push.updates {
            let Some(branch) = update.branch() else { continue };
            let environment = Environment::new(&push.app, branch);
            if !environment.fits() {
                return Err(format!("the name {} is too long for previews; only {MAIN} can be deployed", push.app));
            }
            let url = repository_url(&push.app);
            match self.shared.applications().get_opt(&environment.name()).await {
                Ok(Some(application)) if application.spec.source.repo_url != url => {
                    let (name, other) = (environment.name(), application.spec.source.repo_url);
                    return Err(format!("the environment {name} belongs to {other}; call the branch otherwise"));
                }
                Ok(_) => {}
                Err(error) => return Err(format!("the Kubernetes API does not answer: {error}")),
            }
        }
        Ok(())
    }

    async fn branch_moved(&self, push: &Push, update: &RefUpdate, progress: &Progress) -> Result<(), String> {
        let Some(branch) = update.branch() else {
            progress.line(format!("{} is stored; only branches are deployed", update.name));
            return Ok(());
        };
        let environment = Environment::new(&push.app, branch);
        let done = match update.new {
            Some(commit) => self.deploy_branch(push, branch, &environment, &commit.to_string(), progress).await,
            None => self.remove_environment(&environment, progress).await,
        };
        done.inspect_err(|message| {
            if !progress.is_watched() {
                tracing::info!(app = push.app, branch, message, "a push failed after its client went away");
            }
        })
    }

    async fn deploy_branch(
        &self,
        push: &Push,
        branch: &str,
        environment: &Environment,
        commit: &str,
        progress: &Progress,
    ) -> Result<(), String> {
        let name = environment.name();
        let mut updates = self.shared.followers.follow(&name, commit);
        let asked = self.ask_for(&push.app, branch, environment, commit, &push.pusher).await;
        if let Err(error) = asked {
            let message = format!("the deployment could not be asked for: {error}");
            self.shared.followers.end(&name, commit, &Update::Failed(message.clone()));
            progress.line(format!("failed: {message}"));
            return Err(message);
        }
        loop {
            match tokio::time::timeout(SILENCE_LIMIT, updates.recv()).await {
                Ok(Some(Update::Line(line))) => progress.line(line),
                Ok(Some(Update::Done)) => return Ok(()),
                Ok(Some(Update::Failed(message))) => return Err(message),
                Ok(None) => return Err("the deployment was given up".to_owned()),
                Err(_) => {
                    let message = "nothing was heard of the deployment for half an hour".to_owned();
                    progress.line(message.clone());
                    return Err(message);
                }
            }
        }
    }

    /// Makes the Application, or finds it, and asks it to deploy the commit.
    async fn ask_for(
        &self,
        app: &str,
        branch: &str,
        environment: &Environment,
        commit: &str,
        pusher: &str,
    ) -> Result<(), kube::Error> {
        let name = environment.name();
        let applications = self.shared.raw_applications();
        let operation = json!({"sync": {"revision": commit}, "initiatedBy": {"username": pusher}});
        if self.shared.applications().get_opt(&name).await?.is_none() {
            let mut application = application(app, branch, environment);
            application["operation"] = operation;
            let object = serde_json::from_value(application).map_err(kube::Error::SerdeError)?;
            match applications.create(&Default::default(), &object).await {
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                created => return created.map(drop),
            }
            return self.ask_existing(commit, &name, pusher).await;
        }
        self.ask_existing(commit, &name, pusher).await
    }

    async fn ask_existing(&self, commit: &str, name: &str, pusher: &str) -> Result<(), kube::Error> {
        let operation = json!({"sync": {"revision": commit}, "initiatedBy": {"username": pusher}});
        // A push is news: what was held back for going to an earlier commit is over.
        let patch = json!({"metadata": {"annotations": {HELD_AT: null}}, "operation": operation});
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        self.shared.raw_applications().patch(name, &parameters, &Patch::Merge(patch)).await.map(drop)
    }

    async fn remove_environment(&self, environment: &Environment, progress: &Progress) -> Result<(), String> {
        let name = environment.name();
        let applications: Api<Application> = self.shared.applications();
        match applications.delete(&name, &Default::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            Err(error) => return Err(format!("removing the environment {name}: {error}")),
            Ok(_) => progress.line(format!("removing the environment {name}")),
        }
        let gone = async {
            while !matches!(applications.get_opt(&name).await, Ok(None)) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(TEAR_DOWN_LIMIT, gone).await {
            Ok(()) => progress.line(format!("{name} is gone, with everything in it")),
            Err(_) => progress.line(format!("{name} is going; some of its objects take their time")),
        }
        Ok(())
    }
}

/// The Application of a branch's environment, as a push makes it.
fn application(app: &str, branch: &str, environment: &Environment) -> Value {
    let name = environment.name();
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": name,
            "namespace": crate::application::NAMESPACE,
            "labels": {"coracle.dev/app": app, "coracle.dev/preview": (branch != MAIN).to_string()},
            "annotations": {"coracle.dev/branch": branch},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "project": "default",
            "source": {"repoURL": repository_url(app), "path": ".", "targetRevision": branch},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": name},
            "syncPolicy": {
                "automated": {"prune": true, "selfHeal": true},
                "syncOptions": ["CreateNamespace=true"],
            },
        },
    })
}
