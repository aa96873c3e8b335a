//! Which certificate a client sees: by server name from the ingresses' TLS secrets, else the fallback.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use coracle_certs::Identity;
use k8s_openapi::api::{core::v1::Secret, networking::v1::Ingress};
use kube::ResourceExt;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::routes::ObjectName;

/// The certificates in use; replaced whole when ingresses or secrets change.
#[derive(Debug)]
pub(crate) struct Certificates {
    by_name: ArcSwap<HashMap<String, Arc<CertifiedKey>>>,
    fallback: Option<Arc<CertifiedKey>>,
}

impl Certificates {
    pub(crate) fn new(fallback: Option<&Identity>) -> Result<Arc<Self>, coracle_certs::Error> {
        let fallback = fallback.map(Identity::certified_key).transpose()?.map(Arc::new);
        Ok(Arc::new(Self { by_name: ArcSwap::default(), fallback }))
    }

    pub(crate) fn replace(&self, by_name: HashMap<String, Arc<CertifiedKey>>) {
        self.by_name.store(Arc::new(by_name));
    }

    fn of(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let by_name = self.by_name.load();
        let wildcard = || by_name.get(&format!("*.{}", name.split_once('.')?.1));
        by_name.get(name).or_else(wildcard).cloned()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.of(&name.to_ascii_lowercase()));
        named.or_else(|| self.fallback.clone())
    }
}

/// A listener's settings that show `certificates`.
pub(crate) fn server_config(certificates: Arc<Certificates>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has the default protocol versions");
    let mut config = builder.with_no_client_auth().with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// Parsed secrets, so that an unrelated change does not parse them all again.
#[derive(Default)]
pub(crate) struct Parsed(BTreeMap<ObjectName, (Option<String>, Option<Arc<CertifiedKey>>)>);

impl Parsed {
    /// The certificates that `ingresses` ask for, by host name.
    pub(crate) fn collect(
        &mut self,
        ingresses: &[&Ingress],
        secrets: &BTreeMap<ObjectName, Secret>,
    ) -> HashMap<String, Arc<CertifiedKey>> {
        self.0.retain(|name, _| secrets.contains_key(name));
        let mut by_name = HashMap::new();
        for ingress in ingresses {
            let Some(spec) = &ingress.spec else { continue };
            let all_hosts = || spec.rules.iter().flatten().filter_map(|rule| rule.host.clone()).collect();
            for tls in spec.tls.iter().flatten() {
                let Some(secret) = &tls.secret_name else { continue };
                let secret = ObjectName { namespace: ingress.namespace().unwrap_or_default(), name: secret.clone() };
                let Some(key) = self.parse(&secret, secrets.get(&secret)) else { continue };
                let hosts = tls.hosts.clone().filter(|hosts| !hosts.is_empty()).unwrap_or_else(all_hosts);
                by_name.extend(hosts.into_iter().map(|host| (host.to_ascii_lowercase(), Arc::clone(&key))));
            }
        }
        by_name
    }

    fn parse(&mut self, name: &ObjectName, secret: Option<&Secret>) -> Option<Arc<CertifiedKey>> {
        let secret = secret?;
        let version = secret.resource_version();
        if let Some((_, known)) = self.0.get(name).filter(|(parsed, _)| *parsed == version) {
            return known.clone();
        }
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or_else(|| format!("has no {key}"))?;
            std::str::from_utf8(&bytes.0).map_err(|_| format!("{key} is not text"))
        };
        let parsed = text("tls.crt").and_then(|certificate| Ok((certificate, text("tls.key")?))).and_then(
            |(certificate, key)| {
                let identity = Identity::from_pem(certificate, key).map_err(|error| error.to_string())?;
                identity.certified_key().map_err(|error| error.to_string())
            },
        );
        let key = match parsed {
            Ok(key) => Some(Arc::new(key)),
            Err(why) => {
                tracing::warn!(secret = %name, why, "certificate cannot be used; the fallback is shown");
                None
            }
        };
        self.0.insert(name.clone(), (version, key.clone()));
        key
    }
}
