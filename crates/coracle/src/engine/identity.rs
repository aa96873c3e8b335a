//! Who the engine is, and how its owner gets in: the authority, the server's certificate, the kubeconfig, the push token.

use std::{fs, net::Ipv4Addr, ops::Range, sync::Arc, time::Duration};

use anyhow::Context;
use coracle_certs::{Authority, LeafRequest, ReloadingIdentity, Usage};
use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    pki_types::{CertificateDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::{paths::DataDir, state::write_whole};

const LEAF_LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// How often the clock is asked whether certificates are due. One long sleep would miss a clock that was set, and a
/// machine that slept.
const LOOK_EVERY: Duration = Duration::from_secs(60);
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
    /// While what the server shows need not be replaced.
    fresh: Range<Timestamp>,
    clock: Arc<dyn Clock>,
}

impl Identity {
    /// Reads what an earlier start left, makes what is missing, and issues fresh leaves.
    pub fn load_or_create(
        dir: &DataDir,
        node_name: &str,
        addresses: &[Ipv4Addr],
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let authority = Authority::load_or_create(&dir.pki(), "ca", &*clock)?;
        let names = server_names(node_name, addresses);
        let leaf = authority.issue(&server_leaf(&names), &*clock)?;
        Ok(Self {
            server: ReloadingIdentity::new(&leaf)?,
            fresh: leaf.not_before..leaf.renew_at(),
            names,
            clock,
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
        Ok(self.authority.issue(&server_leaf(&names), &*self.clock)?)
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
            &*self.clock,
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
        let mut fresh = self.fresh.clone();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if fresh.contains(&self.clock.now()) {
                continue;
            }
            match self.renew(&dir, &server_url) {
                Ok(next) => fresh = next,
                Err(error) => tracing::error!("renewing certificates: {error:#}"),
            }
        }
    }

    /// Shows a fresh leaf and writes a fresh kubeconfig; while that holds.
    fn renew(&self, dir: &DataDir, server_url: &str) -> anyhow::Result<Range<Timestamp>> {
        let leaf = self.authority.issue(&server_leaf(&self.names), &*self.clock)?;
        self.server.replace(&leaf)?;
        self.write_kubeconfig(dir, server_url)?;
        Ok(leaf.not_before..leaf.renew_at())
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

#[cfg(test)]
mod tests {
    use coracle_clock::ManualClock;

    use super::*;

    #[test]
    fn certificates_are_renewed_before_they_end_and_when_the_clock_went_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::new(root.path()).unwrap();
        dir.create().unwrap();
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        let identity = Identity::load_or_create(&dir, "node", &[], Arc::new(clock.clone())).unwrap();
        let mut fresh = identity.fresh.clone();
        identity.write_kubeconfig(&dir, "https://127.0.0.1:6443").unwrap();
        // A year forward in steps of a month, then back at once.
        let steps = [730i64; 12].into_iter().chain([-12 * 730]);
        let renewals: Vec<i64> = steps
            .map(|hours| {
                clock.advance(SignedDuration::from_hours(hours));
                let due = !fresh.contains(&clock.now());
                if due {
                    let before = fs::read(dir.kubeconfig()).unwrap();
                    fresh = identity.renew(&dir, "https://127.0.0.1:6443").unwrap();
                    assert_ne!(fs::read(dir.kubeconfig()).unwrap(), before, "the kubeconfig is the old one");
                    assert!(fresh.contains(&clock.now()));
                }
                i64::from(due)
            })
            .collect();
        assert_eq!(renewals, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
    }
}
