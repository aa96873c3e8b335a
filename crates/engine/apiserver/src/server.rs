//! The server: what it is made of, and the way of a request through it.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use coracle_clock::Clock;
use coracle_store::{CommitError, Store};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{self, Admission, PodSecurityConfiguration, webhook::Webhooks},
    aggregate::{Aggregate, FrontProxy},
    audit::{Audit, AuditSettings},
    authn::{
        Authenticator, StaticTokens, TokenAuthenticator,
        bootstrap::BootstrapTokens,
        config::Authentication,
        legacy::LegacyTokens,
        oidc::Oidc,
        service_account::{BoundObjects, KeyError, ServiceAccountTokens, Signer},
        webhook::WebhookTokens,
    },
    authz::Authorizer,
    discovery,
    encryption::Encryption,
    metrics::Metrics,
    object, openapi,
    priority::Priority,
    reach::Reach,
    registry::Registry,
    status::Failure,
    strategy::service::{Allocator, Cidr},
    verbs::frames::Frames,
};

/// How the server reaches pods: their addresses exist only inside the node's network namespace.
pub trait Dialer: Send + Sync {
    /// Connects to an address of the pod network.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>>;
}

/// What a server needs to be told.
pub struct Options {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Bearer tokens known beforehand.
    pub tokens: Arc<StaticTokens>,
    /// The key service account tokens are signed with, as PKCS#8 on P-256.
    pub service_account_key: Vec<u8>,
    /// What these tokens name as their issuer and audience.
    pub issuer: String,
    /// The authority that signed the server's certificate, in PEM; what `kube-root-ca.crt` will hold.
    pub authority_pem: String,
    /// The node agent's socket.
    pub node_socket: PathBuf,
    /// The way to pods.
    pub dialer: Option<Arc<dyn Dialer>>,
    /// Virtual addresses of services.
    pub service_range: Cidr,
    /// Ports of NodePort services.
    pub node_ports: std::ops::RangeInclusive<u16>,
    /// Where clients of the cluster's own `kubernetes` service end up.
    pub advertise: Option<SocketAddr>,
    /// Who else may come in, and what is kept of what they do.
    pub guards: Guards,
}

/// What an owner may set about who comes in, and what is kept of what they do.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    /// Tokens that others vouch for.
    pub authentication: Authentication,
    /// Whether it is checked who may make whom an object's owner.
    pub checks_owners: bool,
    /// What pods are held to where their namespace does not say, and which are not.
    pub pod_security: PodSecurityConfiguration,
    /// What is written down of requests.
    pub audit: Option<AuditSettings>,
    /// What the store seals with, to be rotated.
    pub encryption: Option<Arc<Encryption>>,
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

/// What the clones share.
pub struct Inner {
    /// The object log.
    pub store: Store,
    /// What is served.
    pub registry: Registry,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who asks.
    pub authenticator: Authenticator,
    /// Who may.
    pub authorizer: Arc<dyn Authorizer>,
    /// What is checked before writes.
    pub admission: Vec<Box<dyn Admission>>,
    /// Policies, which are asked before them.
    pub policies: admission::policy::Policies,
    /// Servers of others that are asked before writes.
    pub webhooks: Webhooks,
    /// Makes service account tokens.
    pub signer: Arc<Signer>,
    /// Addresses and ports of services.
    pub services: Arc<Allocator>,
    /// Writes where quotas are to be kept take turns.
    pub quota_turn: Arc<tokio::sync::Mutex<()>>,
    /// Figures.
    pub metrics: Metrics,
    /// Events encoded a moment ago.
    pub frames: Frames,
    /// Versions that others answer for.
    pub aggregate: Aggregate,
    /// How they know this server.
    pub front_proxy: FrontProxy,
    /// Discovery documents.
    pub discovery: discovery::Cache,
    /// OpenAPI documents.
    pub openapi: openapi::Cache,
    /// Ends watches and connections.
    pub shutdown: CancellationToken,
    /// The node agent's socket.
    pub node_socket: PathBuf,
    /// The way to pods and services.
    pub reach: Reach,
    /// Where the `kubernetes` service leads.
    pub advertise: Option<SocketAddr>,
    /// The first address of the service range, which is the server's own.
    pub own_address: std::net::Ipv4Addr,
    /// The authority's certificate.
    pub authority_pem: String,
    /// What the store seals with.
    pub encryption: Option<Arc<Encryption>>,
    /// What is written down of requests.
    pub audit: Option<Arc<Audit>>,
    /// Whether it is checked who may make whom an object's owner.
    pub checks_owners: bool,
    /// Who waits.
    pub priority: Priority,
}

impl std::ops::Deref for Server {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// Why a server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate that other API servers know this one by.
    #[error("cannot make the front proxy's certificate: {0}")]
    FrontProxy(#[from] coracle_certs::Error),
    /// The audit log cannot be opened.
    #[error("cannot open the audit log: {0}")]
    Audit(#[source] std::io::Error),
    /// Somebody who is to vouch for tokens is not described well.
    #[error("authentication: {0}")]
    Authentication(String),
    /// What every cluster has could not be written.
    #[error("cannot write the objects every cluster has: {0}")]
    Bootstrap(Failure),
}

impl Server {
    /// A server over `store`: makes sure of the objects every cluster has, and serves the custom resources defined so
    /// far. Runs background tasks on the current runtime until [`Server::stop`]. Boxed, so that it is compiled with this crate and not with whoever runs it.
    pub fn start(store: Store, options: Options) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(Self::begin(store, options))
    }

    async fn begin(store: Store, options: Options) -> Result<Self, StartError> {
        let signer = Arc::new(Signer::new(&options.service_account_key, options.issuer)?);
        let objects = Arc::new(StoredObjects { store: store.clone(), clock: options.clock.clone() });
        let service_accounts = Arc::new(ServiceAccountTokens::new(signer.clone(), objects, options.clock.clone()));
        let services = Arc::new(Allocator::new(options.service_range, options.node_ports));
        for record in store.snapshot().list("/core/services/") {
            if let Ok(service) = object::decode(record) {
                services.adopt(&service);
            }
        }
        let front_proxy = FrontProxy::new(&*options.clock)?;
        let reach = Reach::new(store.clone(), options.dialer);
        let mut others: Vec<Arc<dyn TokenAuthenticator>> = vec![
            service_accounts.clone(),
            Arc::new(LegacyTokens::new(signer.clone(), store.clone())),
            Arc::new(BootstrapTokens::new(store.clone(), options.clock.clone())),
        ];
        let Authentication { issuers, webhook, anonymous } = options.guards.authentication;
        for issuer in issuers {
            let oidc = Oidc::new(issuer, &reach, options.clock.clone()).map_err(StartError::Authentication)?;
            others.push(Arc::new(oidc));
        }
        if let Some(webhook) = webhook {
            let asked = WebhookTokens::new(&webhook, &reach).map_err(StartError::Authentication)?;
            others.push(Arc::new(asked));
        }
        let audit = options.guards.audit.map(|settings| Audit::start(settings, options.clock.clone()));
        let audit = audit.transpose().map_err(StartError::Audit)?.map(Arc::new);
        let priority = Priority::new(store.clone());
        let own_audiences = service_accounts.own_audience();
        let authenticator = Authenticator { tokens: options.tokens, others, own_audiences, anonymous };
        let server = Self(Arc::new(Inner {
            store,
            registry: Registry::new(),
            clock: options.clock,
            authenticator,
            authorizer: options.authorizer,
            admission: admission::chain(options.guards.pod_security),
            webhooks: Webhooks::new(&reach),
            policies: admission::policy::Policies::default(),
            signer,
            services,
            quota_turn: Arc::default(),
            metrics: Metrics::default(),
            frames: Frames::default(),
            aggregate: Aggregate::default(),
            front_proxy,
            discovery: discovery::Cache::default(),
            openapi: openapi::Cache::default(),
            shutdown: CancellationToken::new(),
            node_socket: options.node_socket,
            reach,
            advertise: options.advertise,
            own_address: std::net::Ipv4Addr::from(u32::from(options.service_range.network) + 1),
            authority_pem: options.authority_pem,
            encryption: options.guards.encryption,
            audit,
            checks_owners: options.guards.checks_owners,
            priority,
        }));
        crate::bootstrap::ensure(&server).await.map_err(StartError::Bootstrap)?;
        crate::crd::start(&server).await;
        crate::expiry::start(&server);
        crate::authn::legacy::start(&server);
        crate::aggregate::start(&server);
        admission::quota::status::start(&server);
        admission::policy::start(&server);
        Ok(server)
    }

    /// Ends all watches and lets connections finish what they are at.
    pub fn stop(&self) {
        self.shutdown.cancel();
    }
}

/// Bound objects, looked up in the store.
struct StoredObjects {
    store: Store,
    clock: Arc<dyn Clock>,
}

/// What is on its way out may still say good-bye for so long.
const LAST_WORDS: SignedDuration = SignedDuration::from_secs(60);

impl BoundObjects for StoredObjects {
    fn uid(&self, resource: &str, namespace: &str, name: &str) -> Option<String> {
        let in_namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
        let record = self.store.get(&format!("/core/{resource}/{in_namespace}{name}"))?;
        if object::may_be_deleting(&record) {
            let value = object::decode(&record).ok()?;
            let deleted: Option<Timestamp> = object::meta_text(&value, "deletionTimestamp").parse().ok();
            if deleted.is_some_and(|deleted| self.clock.now().duration_since(deleted) > LAST_WORDS) {
                return None;
            }
        }
        Some(record.uid().to_owned())
    }
}

/// A commit's failure that is not about its conditions.
pub fn commit_failure(error: &CommitError) -> Failure {
    match error {
        CommitError::Conflict(conflict) => Failure::plain(409, "Conflict", conflict.to_string()),
        CommitError::Closed => Failure::unavailable("the server is shutting down"),
        CommitError::Full { .. } => Failure::plain(507, "InsufficientStorage", error.to_string()),
        CommitError::Invalid { .. } | CommitError::Disk { .. } => Failure::internal(error),
    }
}
