//! The flags of `helm template`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueHint};

/// Charts come from directories and archives; flags that are about fetching them, or about a cluster, are taken so that
/// scripts go on working, and do nothing or are refused with a word.
#[derive(Debug, Clone, Args)]
pub struct Helm {
    /// The release's name (or not), and the chart: its directory or archive
    #[arg(value_name = "[NAME] CHART")]
    pub arguments: Vec<String>,
    /// Values files; later ones win, `-` is standard input
    #[arg(long, short = 'f', value_name = "FILE", value_delimiter = ',', value_hint = ValueHint::FilePath)]
    pub values: Vec<String>,
    /// Values: key1=val1,key2=val2
    #[arg(long, value_name = "VALUES")]
    pub set: Vec<String>,
    /// Values that are strings whatever they look like
    #[arg(long, value_name = "VALUES")]
    pub set_string: Vec<String>,
    /// Values from files: key1=path1,key2=path2
    #[arg(long, value_name = "VALUES")]
    pub set_file: Vec<String>,
    /// Values in JSON: key1=json1,key2=json2, or one object
    #[arg(long, value_name = "VALUES")]
    pub set_json: Vec<String>,
    /// One string, as it is
    #[arg(long, value_name = "VALUE")]
    pub set_literal: Vec<String>,
    /// The namespace of the release
    #[arg(long, short, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Only the manifests of these templates
    #[arg(long, short, value_name = "TEMPLATE")]
    pub show_only: Vec<String>,
    /// Write a file a template into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub output_dir: Option<PathBuf>,
    /// Put the release's name into the path below --output-dir
    #[arg(long)]
    pub release_name: bool,
    /// Put custom resource definitions first
    #[arg(long)]
    pub include_crds: bool,
    /// Leave tests out
    #[arg(long)]
    pub skip_tests: bool,
    /// Leave hooks out
    #[arg(long)]
    pub no_hooks: bool,
    /// Tell templates that this is an upgrade
    #[arg(long)]
    pub is_upgrade: bool,
    /// The version of Kubernetes that templates are told
    #[arg(long, value_name = "VERSION")]
    pub kube_version: Option<String>,
    /// API versions that templates are told besides the usual ones
    #[arg(long, short, value_name = "VERSIONS", value_delimiter = ',')]
    pub api_versions: Vec<String>,
    /// Leave the release's name to Helm's default
    #[arg(long, short)]
    pub generate_name: bool,
    /// A template for the release's name
    #[arg(long, value_name = "TEMPLATE")]
    pub name_template: Option<String>,
    /// Do not check values against values.schema.json
    #[arg(long)]
    pub skip_schema_validation: bool,
    /// Behave as Helm 3 does
    #[arg(long)]
    pub helm3: bool,
    /// Instead of the manifests, print how they differ from those in OTHER (`-` is standard input)
    #[arg(long, value_name = "OTHER", value_hint = ValueHint::FilePath)]
    pub diff: Option<PathBuf>,
    /// Refused: it needs a cluster
    #[arg(long, hide = true)]
    pub validate: bool,
    /// `client`, the only way there is
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "client")]
    pub dry_run: Option<String>,
    /// Refused: charts are taken as they are
    #[arg(long, hide = true)]
    pub dependency_update: bool,
    /// Refused: charts are not fetched
    #[arg(long, hide = true)]
    pub repo: Option<String>,
    /// Refused: no other program is run
    #[arg(long, hide = true)]
    pub post_renderer: Option<String>,
    #[command(flatten)]
    pub ignored: Ignored,
}

/// Taken, and of no consequence here.
#[derive(Debug, Clone, Args)]
pub struct Ignored {
    #[arg(long, hide = true)]
    ca_file: Option<String>,
    #[arg(long, hide = true)]
    cert_file: Option<String>,
    #[arg(long, hide = true, visible_alias = "colour")]
    color: Option<String>,
    #[arg(long, hide = true)]
    create_namespace: bool,
    #[arg(long, hide = true)]
    debug: bool,
    #[arg(long, hide = true)]
    description: Option<String>,
    #[arg(long, hide = true)]
    devel: bool,
    #[arg(long, hide = true)]
    disable_openapi_validation: bool,
    #[arg(long, hide = true)]
    enable_dns: bool,
    #[arg(long, hide = true, alias = "force")]
    force_replace: bool,
    #[arg(long, hide = true)]
    force_conflicts: bool,
    #[arg(long, hide = true, alias = "atomic")]
    rollback_on_failure: bool,
    #[arg(long, hide = true)]
    hide_notes: bool,
    #[arg(long, hide = true)]
    insecure_skip_tls_verify: bool,
    #[arg(long, hide = true)]
    key_file: Option<String>,
    #[arg(long, hide = true)]
    keyring: Option<String>,
    #[arg(long, hide = true)]
    pass_credentials: bool,
    #[arg(long, hide = true)]
    password: Option<String>,
    #[arg(long, hide = true)]
    plain_http: bool,
    #[arg(long, hide = true)]
    render_subchart_notes: bool,
    #[arg(long, hide = true)]
    replace: bool,
    #[arg(long, hide = true)]
    server_side: bool,
    #[arg(long, hide = true)]
    skip_crds: bool,
    #[arg(long, hide = true)]
    take_ownership: bool,
    #[arg(long, hide = true)]
    timeout: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, action = ArgAction::Append)]
    wait: Vec<String>,
    #[arg(long, hide = true)]
    wait_for_jobs: bool,
    #[arg(long, hide = true)]
    username: Option<String>,
    #[arg(long, hide = true)]
    verify: bool,
    /// A chart on the disk has the version it has.
    #[arg(long, hide = true)]
    version: Option<String>,
    #[arg(long, hide = true)]
    kubeconfig: Option<String>,
    #[arg(long, hide = true)]
    kube_context: Option<String>,
    #[arg(long = "labels", short = 'l', hide = true)]
    labels: Vec<String>,
}

impl Helm {
    /// What `helm template` can and this cannot.
    pub fn refuse_what_needs_a_cluster(&self) -> Result<(), String> {
        let server = self.dry_run.as_deref() == Some("server");
        if self.validate || server {
            return Err("--validate and --dry-run=server need a cluster, and rendering here asks none".to_owned());
        }
        if self.dependency_update {
            return Err("--dependency-update: charts are taken as they are; fetch what is missing before".to_owned());
        }
        if let Some(repo) = &self.repo {
            return Err(format!("--repo {repo}: charts are not fetched; fetch what is missing before"));
        }
        if self.post_renderer.is_some() {
            return Err("--post-renderer: no other program is run; pipe the output instead".to_owned());
        }
        Ok(())
    }
}
