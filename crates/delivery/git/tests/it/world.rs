//! A server on loopback, a handler that records, and the real `git` as its client.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use coracle_git::{Limits, Outcome, Progress, Push, PushHandler, Repositories, Server, Tokens, router};
use futures::future::BoxFuture;
use tokio::sync::{Semaphore, watch};

pub const TOKEN: &str = "s3cret";

/// Shows a line, waits to be released where the test wants that, shows another.
pub struct Recorder {
    pub seen: watch::Sender<Vec<String>>,
    pub finished: watch::Sender<usize>,
    /// A permit for each push that may end.
    pub release: Semaphore,
    pub holds: bool,
}

impl PushHandler for Recorder {
    fn admit<'a>(&'a self, push: &'a Push) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let refused = push.updates.iter().find(|update| update.branch() == Some("forbidden"));
            match refused {
                Some(update) => {
                    // What is refused can be read before it is decided on.
                    let subject = push.repository.commit(update.new.unwrap()).unwrap().subject;
                    Err(format!("branch forbidden is not deployed ({subject})"))
                }
                None => Ok(()),
            }
        })
    }

    fn pushed(&self, push: Push, progress: Progress) -> BoxFuture<'_, Outcome> {
        Box::pin(async move {
            for update in &push.updates {
                let kind = match (update.old, update.new) {
                    (None, _) => "created",
                    (_, None) => "deleted",
                    _ => "moved",
                };
                let line = format!("{} {kind} {} by {} {:?}", push.app, update.name, push.pusher, push.options);
                self.seen.send_modify(|seen| seen.push(line));
            }
            progress.line("building");
            if self.holds {
                self.release.acquire().await.unwrap().forget();
            }
            progress.line("healthy\nhttp://hello.localhost");
            self.finished.send_modify(|count| *count += 1);
            Outcome::Done
        })
    }
}

pub struct World {
    pub directory: tempfile::TempDir,
    pub recorder: Arc<Recorder>,
    pub repositories: Repositories,
    pub address: std::net::SocketAddr,
    runtime: tokio::runtime::Runtime,
}

pub struct Options {
    pub holds: bool,
    pub create_on_push: bool,
    pub private: bool,
    pub push_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { holds: false, create_on_push: true, private: false, push_bytes: 64 << 20 }
    }
}

impl World {
    pub fn new(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let repositories = Repositories::open(directory.path().join("server")).unwrap();
        let recorder = Arc::new(Recorder {
            seen: watch::Sender::default(),
            finished: watch::Sender::default(),
            release: Semaphore::new(0),
            holds: options.holds,
        });
        let server = Server {
            repositories: repositories.clone(),
            access: Arc::new(Tokens::shared(TOKEN)),
            handler: recorder.clone(),
            create_on_push: options.create_on_push,
            private: options.private,
            limits: Limits { push_bytes: options.push_bytes, ..Default::default() },
        };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let entered = runtime.enter();
        coracle_tasks::spawn("test server", async move { axum::serve(listener, router(server)).await });
        drop(entered);
        Self { directory, recorder, repositories, address, runtime }
    }

    pub fn url(&self, app: &str) -> String {
        format!("http://me:{TOKEN}@{}/{app}.git", self.address)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, at: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.current_dir(at).args(arguments).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", self.directory.path());
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ada").env(format!("GIT_{who}_EMAIL"), "ada@example.org");
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs git and expects it to work; what it printed on both streams.
    pub fn git(&self, at: &Path, arguments: &[&str]) -> String {
        let (ok, text) = self.try_git(at, arguments);
        assert!(ok, "git {arguments:?} failed:\n{text}");
        text
    }

    /// Runs git and expects it to fail.
    pub fn git_fails(&self, at: &Path, arguments: &[&str]) -> String {
        let (ok, text) = self.try_git(at, arguments);
        assert!(!ok, "git {arguments:?} did not fail:\n{text}");
        text
    }

    pub fn try_git(&self, at: &Path, arguments: &[&str]) -> (bool, String) {
        let Output { status, stdout, stderr } = self.command(at, arguments).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let plain: Vec<&str> = text.lines().map(str::trim_end).collect();
        (status.success(), plain.join("\n").replace(&self.address.to_string(), "ADDRESS"))
    }

    /// A work tree with one commit.
    pub fn work_tree(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        self.git(&path, &["init", "-q", "-b", "main"]);
        self.commit(&path, "file", "one\n", "First");
        path
    }

    pub fn commit(&self, at: &Path, file: &str, content: &str, subject: &str) {
        let path = at.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self.git(at, &["add", "-A"]);
        self.git(at, &["commit", "-q", "-m", subject]);
    }

    pub fn head(&self, at: &Path) -> String {
        self.git(at, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// What the handler has seen, without ids.
    pub fn seen(&self) -> String {
        self.recorder.seen.borrow().join("\n")
    }

    pub fn wait_finished(&self, count: usize) {
        let mut finished = self.recorder.finished.subscribe();
        self.block_on(async move {
            let waited = tokio::time::timeout(Duration::from_secs(20), finished.wait_for(|seen| *seen >= count)).await;
            waited.expect("the handler ends").unwrap();
        });
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The server's repository, checked by git itself.
    pub fn fsck(&self, app: &str) -> String {
        let path = self.path("server").join(format!("{app}.git"));
        self.git(&path, &["fsck", "--full", "--strict"])
    }
}
