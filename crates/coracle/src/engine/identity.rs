//! Who the engine is, and how its owner gets in: the authority, the server's certificate, the kubeconfig, the push token.

use std::{fs, net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use coracle_certs::{Authority, LeafRequest, ReloadingIdentity, Usage};
use coracle_clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::{paths::DataDir, state::write_whole};

const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// A renewal that failed is tried again after so long.
const RENEW_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// The file that holds the key service account tokens are signed with.
const SERVICE_ACCOUNT_KEY: &str = "service-account.key";

/// The keys and certificates of one engine.
pub struct Identity {
    pub authority: Arc<Authority>,
    pub server: Arc<ReloadingIdentity>,
    /// PKCS#8.
    pub service_account_key: Vec<u8>,
    /// What `git push` and registry pushes show.
    pub push_token: String,
    names: Vec<String>,
    /// When what the server shows should be replaced.
    renew_at: Timestamp,
}

impl Identity {
    /// Reads what an earlier start left, makes what is missing, and issues fresh leaves.
    pub fn load_or_create(dir: &DataDir, node_name: &str, addresses: &[Ipv4Addr]) -> anyhow::Result<Self> {
        let authority = Authority::load_or_create(&dir.pki(), "ca", &SystemClock)?;
        let names = server_names(node_name, addresses);
        let leaf = authority.issue(&server_leaf(&names), &SystemClock)?;
        Ok(Self {
            server: ReloadingIdentity::new(&leaf)?,
            renew_at: leaf.renew_at(),
            names,
            service_account_key: service_account_key(dir)?,
            push_token: push_token(dir)?,
            authority: Arc::new(authority),
        })
    }

    /// TLS for the API: shows the server's certificate, takes client certificates of the authority, demands none.
    pub fn api_tls(&self) -> anyhow::Result<Arc<rustls::ServerConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(self.authority.certificate_pem().as_bytes()) {
            roots.add(certificate.context("the authority's certificate")?)?;
        }
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).allow_unauthenticated().build()?;
        let mut config =
            rustls::ServerConfig::builder().with_client_cert_verifier(clients).with_cert_resolver(self.server.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What the gateway shows for names it has no certificate for.
    pub fn gateway_fallback(&self) -> anyhow::Result<coracle_certs::Identity> {
        let names = ["localhost".to_owned(), "*.localhost".to_owned()];
        Ok(self.authority.issue(&server_leaf(&names), &SystemClock)?)
    }

    /// Writes the kubeconfig of the engine's owner.
    pub fn write_kubeconfig(&self, dir: &DataDir, server: &str) -> anyhow::Result<()> {
        let leaf = self.authority.issue(
            &LeafRequest {
                common_name: "coracle-admin".to_owned(),
                organizations: vec!["system:masters".to_owned()],
                alternative_names: vec![],
                usage: Usage::Client,
                valid_for: LEAF_LIFE,
            },
            &SystemClock,
        )?;
        let kubeconfig = coracle_client::admin_kubeconfig(
            "coracle",
            server,
            self.authority.certificate_pem(),
            &leaf.certificate_pem,
            &leaf.key_pem,
        );
        write_whole(&dir.kubeconfig(), &serde_json::to_vec_pretty(&kubeconfig)?, 0o600)
    }

    /// Renews the server's certificate and the kubeconfig at two thirds of their life, for as long as the engine runs.
    pub async fn keep_fresh(self: Arc<Self>, dir: DataDir, server_url: String) {
        let mut renew_at = self.renew_at;
        loop {
            let wait = SystemClock.now().duration_until(renew_at);
            tokio::time::sleep(wait.try_into().unwrap_or_default()).await;
            renew_at = match self.renew(&dir, &server_url) {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!("renewing certificates: {error:#}");
                    SystemClock.now() + RENEW_AGAIN
                }
            };
        }
    }

    /// Shows a fresh leaf and writes a fresh kubeconfig; when that is to be done again.
    fn renew(&self, dir: &DataDir, server_url: &str) -> anyhow::Result<Timestamp> {
        let leaf = self.authority.issue(&server_leaf(&self.names), &SystemClock)?;
        self.server.replace(&leaf)?;
        self.write_kubeconfig(dir, server_url)?;
        Ok(leaf.renew_at())
    }
}

fn server_names(node_name: &str, addresses: &[Ipv4Addr]) -> Vec<String> {
    let names = [
        "localhost",
        "127.0.0.1",
        "::1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        node_name,
    ];
    names.into_iter().map(str::to_owned).chain(addresses.iter().map(Ipv4Addr::to_string)).collect()
}

fn server_leaf(names: &[String]) -> LeafRequest {
    LeafRequest {
        common_name: "coracle".to_owned(),
        organizations: vec![],
        alternative_names: names.to_vec(),
        usage: Usage::Server,
        valid_for: LEAF_LIFE,
    }
}

fn service_account_key(dir: &DataDir) -> anyhow::Result<Vec<u8>> {
    let path = dir.pki().join(SERVICE_ACCOUNT_KEY);
    if !path.exists() {
        let key =
            coracle_apiserver::authn::service_account::generate_key().context("a key for service account tokens")?;
        write_whole(&path, &key, 0o600)?;
    }
    fs::read(&path).with_context(|| format!("key {}", path.display()))
}

fn push_token(dir: &DataDir) -> anyhow::Result<String> {
    let path = dir.token();
    if !path.exists() {
        let bytes: [u8; 24] = rand::random();
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(&path, format!("{token}\n").as_bytes(), 0o600)?;
    }
    let token = fs::read_to_string(&path).with_context(|| format!("token {}", path.display()))?;
    Ok(token.trim().to_owned())
}
