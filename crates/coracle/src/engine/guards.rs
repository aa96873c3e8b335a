//! From settings to what the API server is told about who comes in, what is written down of it, and what is encrypted.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context, bail};
use coracle_apiserver::{
    Guards, OWNER_REFERENCES, PodSecurityConfiguration,
    audit::{AuditSettings, Policy},
    authn::config::{Authentication, ClaimRule, Issuer, IssuerPlace, Mapping, Mappings, WebhookSettings},
    encryption::Encryption,
};
use coracle_clock::SystemClock;
use jiff::SignedDuration;

use crate::{cli::ApiFlags, settings::Settings};

const WEBHOOK_CACHE: &str = "2m";
const AUDIT_MAX_SIZE_MIB: u64 = 100;
const AUDIT_MAX_BACKUPS: usize = 10;

/// What the store seals with.
pub struct Encrypted {
    pub encryption: Arc<Encryption>,
    /// Whether there was no key before.
    pub is_new: bool,
}

impl Encrypted {
    /// By the owner's file, or one of the engine's own in the data directory.
    pub fn load(settings: &Settings) -> anyhow::Result<Self> {
        let own = settings.data_dir.encryption();
        let clock = Arc::new(SystemClock);
        let (encryption, is_new) = match &settings.api_server.encryption_provider_config {
            Some(path) => (Encryption::load(path, clock)?, false),
            None => {
                let is_new = !own.exists();
                (Encryption::load_or_create(&own, clock)?, is_new)
            }
        };
        Ok(Self { encryption: Arc::new(encryption), is_new })
    }

    pub fn store_options(&self) -> coracle_store::Options {
        coracle_store::Options {
            sealer: Some(self.encryption.clone()),
            clock: Some(Arc::new(SystemClock)),
            ..coracle_store::Options::default()
        }
    }
}

pub fn guards(settings: &Settings, encrypted: &Encrypted) -> anyhow::Result<Guards> {
    Ok(Guards {
        authentication: authentication(&settings.api_server)?,
        audit: audit(settings)?,
        checks_owners: checks_owners(&settings.api_server)?,
        pod_security: pod_security(&settings.api_server)?,
        encryption: Some(encrypted.encryption.clone()),
    })
}

fn pod_security(flags: &ApiFlags) -> anyhow::Result<PodSecurityConfiguration> {
    let Some(path) = &flags.admission_control_config_file else { return Ok(PodSecurityConfiguration::default()) };
    let beside = |named: &Path| {
        let named = path.parent().unwrap_or(Path::new("")).join(named);
        fs::read_to_string(&named).map_err(|error| format!("{}: {error}", named.display()))
    };
    let read = PodSecurityConfiguration::from_yaml(&self::read(path, "admission configuration")?, beside);
    read.map_err(anyhow::Error::msg).with_context(|| format!("admission configuration {}", path.display()))
}

/// The admission plugins that upstream has switched off unless they are named.
fn checks_owners(flags: &ApiFlags) -> anyhow::Result<bool> {
    if let Some(other) = flags.enable_admission_plugins.iter().find(|name| *name != OWNER_REFERENCES) {
        bail!(
            "--enable-admission-plugins knows {OWNER_REFERENCES} only, and not {other:?}: what else there is, is always on"
        );
    }
    Ok(!flags.enable_admission_plugins.is_empty())
}

fn read(path: &Path, what: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("{what} {}", path.display()))
}

fn authentication(flags: &ApiFlags) -> anyhow::Result<Authentication> {
    let mut authentication = match (&flags.authentication_config, &flags.oidc_issuer_url) {
        (Some(_), Some(_)) => bail!("--authentication-config and --oidc-issuer-url exclude each other"),
        (Some(path), None) => {
            let text = read(path, "authentication configuration")?;
            let read = Authentication::from_yaml(&text).map_err(anyhow::Error::msg);
            read.with_context(|| format!("authentication configuration {}", path.display()))?
        }
        (None, Some(url)) => Authentication { issuers: vec![issuer(flags, url)?], ..Authentication::default() },
        (None, None) => Authentication::default(),
    };
    if let Some(path) = &flags.authentication_token_webhook_config_file {
        let ttl = flags.authentication_token_webhook_cache_ttl.as_deref().unwrap_or(WEBHOOK_CACHE);
        let ttl: SignedDuration = ttl.parse().with_context(|| format!("duration {ttl:?}"))?;
        authentication.webhook = Some(WebhookSettings {
            kubeconfig: read(path, "token webhook configuration")?,
            cache_seconds: ttl.as_secs().try_into().context("a duration that is not negative")?,
        });
    }
    Ok(authentication)
}

/// What upstream's flags for one issuer mean.
fn issuer(flags: &ApiFlags, url: &str) -> anyhow::Result<Issuer> {
    let authority = flags.oidc_ca_file.as_deref().map(|path| read(path, "authority")).transpose()?;
    let claim = flags.oidc_username_claim.clone().unwrap_or_else(|| "sub".to_owned());
    let prefix = match flags.oidc_username_prefix.as_deref() {
        Some("-") => String::new(),
        Some(prefix) => prefix.to_owned(),
        None if claim == "email" => String::new(),
        None => format!("{url}#"),
    };
    let groups = flags.oidc_groups_claim.clone().unwrap_or_default();
    let mut rules = Vec::new();
    for required in &flags.oidc_required_claim {
        let (claim, value) =
            required.split_once('=').with_context(|| format!("required claim {required:?} is not KEY=VALUE"))?;
        rules.push(ClaimRule { claim: claim.to_owned(), required_value: value.to_owned(), ..ClaimRule::default() });
    }
    let algorithms = match flags.oidc_signing_algs.as_slice() {
        [] => vec!["RS256".to_owned()],
        some => some.to_vec(),
    };
    Ok(Issuer {
        issuer: IssuerPlace {
            url: url.to_owned(),
            certificate_authority: authority.unwrap_or_default(),
            audiences: flags.oidc_client_id.iter().cloned().collect(),
            ..IssuerPlace::default()
        },
        claim_validation_rules: rules,
        claim_mappings: Mappings {
            username: Mapping { claim, prefix: Some(prefix), ..Mapping::default() },
            groups: Mapping {
                claim: groups,
                prefix: Some(flags.oidc_groups_prefix.clone().unwrap_or_default()),
                ..Mapping::default()
            },
            ..Mappings::default()
        },
        user_validation_rules: Vec::new(),
        algorithms,
    })
}

fn audit(settings: &Settings) -> anyhow::Result<Option<AuditSettings>> {
    let flags = &settings.api_server;
    let Some(path) = &flags.audit_policy_file else {
        if flags.audit_log_path.is_some() {
            bail!("--audit-log-path needs --audit-policy-file: without a policy nothing is written");
        }
        return Ok(None);
    };
    let policy = Policy::from_yaml(&read(path, "audit policy")?).map_err(anyhow::Error::msg);
    Ok(Some(AuditSettings {
        policy: policy.with_context(|| format!("audit policy {}", path.display()))?,
        path: flags.audit_log_path.clone().unwrap_or_else(|| settings.data_dir.audit_log()),
        max_size_mib: flags.audit_log_maxsize.unwrap_or(AUDIT_MAX_SIZE_MIB),
        max_backups: flags.audit_log_maxbackup.unwrap_or(AUDIT_MAX_BACKUPS),
        max_age_days: flags.audit_log_maxage.unwrap_or(0),
    }))
}
