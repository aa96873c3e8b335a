//! The words of the command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueHint};
use serde::{Deserialize, Serialize};

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
    Up(Box<Up>),
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
    /// Check and test recording and alerting rules, as promtool does
    Rules(crate::commands::rules::Rules),
    /// Ask for metrics or logs
    #[command(subcommand)]
    Query(Query),
    /// Take metrics in, give them out, or serve them
    #[command(subcommand)]
    Metrics(Metrics),
    /// Take log lines in, or serve them
    #[command(subcommand)]
    LogsStore(LogsStore),
    /// Write everything the API server holds to one file, while it runs
    Backup(Backup),
    /// Make a data directory from a backup
    Restore(Restore),
    /// Encrypt all secrets anew with a fresh key
    RotateKeys,
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
    /// Leave parts to somebody else, such as another scheduler
    #[arg(long, env = "CORACLE_WITHOUT", value_name = "PART", value_delimiter = ',')]
    pub without: Vec<Part>,
    /// The name of this node [default: the machine's]
    #[arg(long, env = "CORACLE_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// What to log, as tracing filters say it
    #[arg(long, env = "CORACLE_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    #[command(flatten)]
    pub api: ApiFlags,
}

/// Who may come in, and what is kept of what they do; in the settings file these stand in the table `[api]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "API server")]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApiFlags {
    /// The OpenID Connect issuer whose tokens are taken
    #[arg(long, env = "CORACLE_OIDC_ISSUER_URL", value_name = "URL", requires = "oidc_client_id")]
    pub oidc_issuer_url: Option<String>,
    /// Whom its tokens must be for
    #[arg(long, env = "CORACLE_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,
    /// The claim that is the user's name [default: sub]
    #[arg(long, env = "CORACLE_OIDC_USERNAME_CLAIM", value_name = "CLAIM")]
    pub oidc_username_claim: Option<String>,
    /// What is put before it; '-' for nothing [default: the issuer and '#', but for the claim email]
    #[arg(long, env = "CORACLE_OIDC_USERNAME_PREFIX", value_name = "TEXT")]
    pub oidc_username_prefix: Option<String>,
    /// The claim that is the user's groups
    #[arg(long, env = "CORACLE_OIDC_GROUPS_CLAIM", value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,
    /// What is put before each of them
    #[arg(long, env = "CORACLE_OIDC_GROUPS_PREFIX", value_name = "TEXT")]
    pub oidc_groups_prefix: Option<String>,
    /// A claim that must be there, and what it must say
    #[arg(long, env = "CORACLE_OIDC_REQUIRED_CLAIM", value_name = "KEY=VALUE", value_delimiter = ',')]
    pub oidc_required_claim: Vec<String>,
    /// How its tokens may be signed [default: RS256]
    #[arg(long, env = "CORACLE_OIDC_SIGNING_ALGS", value_name = "ALGORITHMS", value_delimiter = ',')]
    pub oidc_signing_algs: Vec<String>,
    /// The authority it is trusted by, in PEM [default: those of the public web]
    #[arg(long, env = "CORACLE_OIDC_CA_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub oidc_ca_file: Option<PathBuf>,
    /// An AuthenticationConfiguration, in place of the flags for OpenID Connect
    #[arg(long, env = "CORACLE_AUTHENTICATION_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub authentication_config: Option<PathBuf>,
    /// A kubeconfig of a server that is asked about tokens nobody else knows
    #[arg(long, env = "CORACLE_AUTHENTICATION_TOKEN_WEBHOOK_CONFIG_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub authentication_token_webhook_config_file: Option<PathBuf>,
    /// How long its answers are good for [default: 2m]
    #[arg(long, env = "CORACLE_AUTHENTICATION_TOKEN_WEBHOOK_CACHE_TTL", value_name = "DURATION")]
    pub authentication_token_webhook_cache_ttl: Option<String>,
    /// What goes into the audit log: a Policy of audit.k8s.io/v1
    #[arg(long, env = "CORACLE_AUDIT_POLICY_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub audit_policy_file: Option<PathBuf>,
    /// The audit log [default: logs/audit.log in the data directory, where there is a policy]
    #[arg(long, env = "CORACLE_AUDIT_LOG_PATH", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub audit_log_path: Option<PathBuf>,
    /// MiB after which the audit log goes on in a new file [default: 100]
    #[arg(long, env = "CORACLE_AUDIT_LOG_MAXSIZE", value_name = "MIB")]
    pub audit_log_maxsize: Option<u64>,
    /// Old audit logs to keep; 0 for all [default: 10]
    #[arg(long, env = "CORACLE_AUDIT_LOG_MAXBACKUP", value_name = "COUNT")]
    pub audit_log_maxbackup: Option<usize>,
    /// Days to keep them for; 0 for ever [default: 0]
    #[arg(long, env = "CORACLE_AUDIT_LOG_MAXAGE", value_name = "DAYS")]
    pub audit_log_maxage: Option<u64>,
    /// What pods are held to by default, and which are exempt: an AdmissionConfiguration of the plugin PodSecurity
    #[arg(long, env = "CORACLE_ADMISSION_CONTROL_CONFIG_FILE", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub admission_control_config_file: Option<PathBuf>,
    /// Admission that is off otherwise: OwnerReferencesPermissionEnforcement
    #[arg(long, env = "CORACLE_ENABLE_ADMISSION_PLUGINS", value_name = "NAMES", value_delimiter = ',')]
    pub enable_admission_plugins: Vec<String>,
    /// What is encrypted at rest: an EncryptionConfiguration [default: secrets, with a key of the engine's own]
    #[arg(long, env = "CORACLE_ENCRYPTION_PROVIDER_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub encryption_provider_config: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct Backup {
    /// The file to make
    pub file: PathBuf,
    /// Put the keys that secrets are encrypted with into it too
    #[arg(long)]
    pub with_keys: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// A backup
    pub file: PathBuf,
    /// Up to a revision, or a moment such as 2026-11-28T05:00:00Z [default: all of it]
    #[arg(long, value_name = "REVISION|TIME")]
    pub to: Option<String>,
    /// The keys that secrets in it are encrypted with [default: those in the backup, or in the data directory]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub keys: Option<PathBuf>,
}

/// A part of the engine that others can do the work of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Deployments to pods, Endpoints, garbage collection and the rest
    Controllers,
    /// Which node a pod goes to
    Scheduler,
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

#[derive(Debug, Clone, Subcommand)]
pub enum Query {
    /// Evaluate a PromQL expression, at one time or over a range of time
    Promql(QueryPromql),
    /// Show log lines, or numbers made of them, by a LogQL expression
    Logql(QueryLogql),
}

#[derive(Debug, Clone, Args)]
pub struct QueryLogql {
    /// The expression
    pub expression: String,
    /// Where Loki's interface is served [default: the logs in the data directory]
    #[arg(long, env = "CORACLE_LOGS_URL", value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    /// How many lines
    #[arg(long, value_name = "LINES", default_value_t = 100)]
    pub limit: usize,
    /// Which lines come first
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    pub order: Order,
    #[command(flatten)]
    pub evaluation: Evaluation,
}

/// When a query is evaluated, and how its answer is shown.
#[derive(Debug, Clone, Default, Args)]
pub struct Evaluation {
    /// The time of evaluation: seconds since 1970, or a date and time [default: now]
    #[arg(long, value_name = "TIME", conflicts_with_all = ["start", "end", "step", "plot"])]
    pub time: Option<String>,
    /// The start of a range: a time, or how long ago, as in 1h [default: an hour before the end]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// The end of a range [default: now]
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
    /// The time between two evaluations of a range [default: a 250th of it]
    #[arg(long, value_name = "DURATION")]
    pub step: Option<String>,
    /// Draw the numbers of a range
    #[arg(long, conflicts_with = "json")]
    pub plot: bool,
    #[command(flatten)]
    pub output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Order {
    Newest,
    Oldest,
}

#[derive(Debug, Clone, Subcommand)]
pub enum LogsStore {
    /// Serve the logs of the data directory over Loki's interface
    Serve(LogsServe),
    /// Take in lines of text, or lines of JSON with their times and labels
    Import(LogsImport),
    /// Write lines as JSON, in the form that import takes
    Export(LogsExport),
}

#[derive(Debug, Clone, Args)]
pub struct LogsServe {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3100")]
    pub listen: SocketAddr,
    /// How long lines are kept, as in 30d [default: for ever]
    #[arg(long, value_name = "DURATION")]
    pub retention: Option<String>,
    /// Keep lines as they come: no service_name for streams and no detected_level for lines that have none
    #[arg(long)]
    pub no_discovery: bool,
}

#[derive(Debug, Clone, Args)]
pub struct LogsImport {
    /// Labels for all lines, as in {app="shop"}; lines of JSON may have their own
    #[arg(long, value_name = "LABELS", default_value = "{}")]
    pub labels: String,
    /// What each line of the file is
    #[arg(long, value_enum, default_value_t = LineFormat::Text)]
    pub format: LineFormat,
    /// The file to read [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LineFormat {
    /// A line, which gets the present time
    Text,
    /// A JSON object: {"timestamp": …, "labels": {…}, "line": "…"}, or one that is itself the line and has a timestamp
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct LogsExport {
    /// Which streams, as in {app="shop"} [default: all]
    pub selector: Option<String>,
    /// From when: a time, or how long ago, as in 1h [default: the beginning]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Until when [default: the end]
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct QueryPromql {
    /// The expression
    pub expression: String,
    /// Where a Prometheus API is served [default: the metrics in the data directory]
    #[arg(long, env = "CORACLE_METRICS_URL", value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,
    #[command(flatten)]
    pub evaluation: Evaluation,
}

#[derive(Debug, Clone, Subcommand)]
pub enum Metrics {
    /// Serve the metrics of the data directory over the Prometheus API
    Serve(MetricsServe),
    /// Take in samples with their times, beside what is there: OpenMetrics text, or Prometheus' own blocks
    Import(MetricsImport),
    /// Print series as OpenMetrics text
    Export(MetricsExport),
}

#[derive(Debug, Clone, Args)]
pub struct MetricsServe {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub listen: SocketAddr,
    /// Allow series to be deleted and snapshots to be made
    #[arg(long)]
    pub admin: bool,
    /// How long samples are kept, as in 15d
    #[arg(long, value_name = "DURATION", default_value = "15d")]
    pub retention: String,
    /// How much room blocks may take on disk, in MiB
    #[arg(long, value_name = "MIB")]
    pub retention_size: Option<u64>,
    /// How far behind the newest sample one may come in, as in 30m
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    pub out_of_order: String,
    /// What recent series may take in memory, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub memory: usize,
    /// How many series may be written to at one time
    #[arg(long, value_name = "SERIES", default_value_t = 2_000_000)]
    pub max_series: usize,
    /// Switch on everything experimental in the query language
    #[arg(long)]
    pub experimental: bool,
}

#[derive(Debug, Clone, Args)]
pub struct MetricsImport {
    /// The file of OpenMetrics text to read [default: standard input]
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// Read Prometheus' own blocks instead: its data directory, a snapshot, or one block
    #[arg(long, value_name = "DIRECTORY", value_hint = ValueHint::DirPath, conflicts_with = "file")]
    pub blocks: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
pub struct MetricsExport {
    /// Which series, as a PromQL selector
    #[arg(default_value = "{__name__!=\"\"}")]
    pub selector: String,
    /// From when on: a time, or how long ago, as in 1h [default: everything]
    #[arg(long, value_name = "TIME")]
    pub start: Option<String>,
    /// Up to when
    #[arg(long, value_name = "TIME")]
    pub end: Option<String>,
}
