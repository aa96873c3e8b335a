//! The words of the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};

/// A whole GitOps platform in one binary: push a commit, and the environment follows.
#[derive(Debug, Parser)]
#[command(name = "coracle", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where everything is kept [default: /var/lib/coracle]
    #[arg(long, global = true, env = "CORACLE_DATA_DIR", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub data_dir: Option<PathBuf>,
    /// A settings file [default: /etc/coracle/coracle.toml, if there is one]
    #[arg(long, global = true, env = "CORACLE_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the platform
    Up(Up),
    /// Stop it and its containers; with --purge, leave nothing behind
    Down(Down),
    /// Tell the whole story on this machine, and check every step of it
    Demo(Demo),
    /// What runs, where, and how it is
    Status(Output),
    /// What this machine lacks, and what to do about it
    Doctor(Output),
    /// The revisions an app has had
    History(History),
    /// Put an app back to an earlier revision
    Rollback(Rollback),
    /// What an app prints
    Logs(Logs),
    /// Write out the manifests that a repository with only a Dockerfile stands for
    Eject(Eject),
    /// Render a chart or a kustomization to manifests
    Render(crate::commands::render::Render),
    /// Measure this machine: start, idle, push, rollback, crash, pod start
    Bench(Output),
    /// Print a completion script for a shell
    Completion {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version(Output),
    /// The parent of one container. Not for people
    #[command(name = "__shim", hide = true)]
    Shim {
        /// The container's directory
        dir: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Output {
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct Up {
    /// Return as soon as it is ready, and leave it running
    #[arg(long, short)]
    pub detach: bool,
    /// Where the console, Git and the registry listen [default: 127.0.0.1:7070]
    #[arg(long, env = "CORACLE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the Kubernetes API listens [default: 127.0.0.1:6443]
    #[arg(long, env = "CORACLE_API_LISTEN", value_name = "ADDRESS")]
    pub api_listen: Option<SocketAddr>,
    /// Where the gateway listens for HTTP [default: 127.0.0.1:8080]
    #[arg(long, env = "CORACLE_GATEWAY_LISTEN", value_name = "ADDRESS")]
    pub gateway_listen: Option<SocketAddr>,
    /// Where the gateway listens for HTTPS [default: 127.0.0.1:8443]
    #[arg(long, env = "CORACLE_GATEWAY_TLS_LISTEN", value_name = "ADDRESS")]
    pub gateway_tls_listen: Option<SocketAddr>,
    /// The name of this node [default: the machine's]
    #[arg(long, env = "CORACLE_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// What to log, as tracing filters say it
    #[arg(long, env = "CORACLE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Down {
    /// Also delete the data directory and every trace on this machine
    #[arg(long)]
    pub purge: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Demo {
    /// Take everything down again at the end
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Clone, Args)]
pub struct History {
    /// The app
    pub app: String,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Clone, Args)]
pub struct Rollback {
    /// The app
    pub app: String,
    /// A commit in the app's history [default: the one before the present one]
    #[arg(long, value_name = "COMMIT")]
    pub to: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct Logs {
    /// The app
    pub app: String,
    /// Go on printing as lines come
    #[arg(long, short)]
    pub follow: bool,
    /// How many of the last lines of each pod
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub tail: i64,
}

#[derive(Debug, Clone, Args)]
pub struct Eject {
    /// The repository's directory
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// The app's name [default: the directory's]
    #[arg(long)]
    pub app: Option<String>,
}
