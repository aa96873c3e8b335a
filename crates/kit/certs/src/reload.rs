//! A server identity that can be replaced while the server runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::{Error, Identity};

/// What a TLS listener shows; connections made after [`replace`](Self::replace) see the new one.
#[derive(Debug)]
pub struct ReloadingIdentity(ArcSwap<CertifiedKey>);

impl ReloadingIdentity {
    /// Starts with `identity`.
    pub fn new(identity: &Identity) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(identity.certified_key()?))))
    }

    /// Shows `identity` from now on.
    pub fn replace(&self, identity: &Identity) -> Result<(), Error> {
        self.0.store(Arc::new(identity.certified_key()?));
        Ok(())
    }
}

impl ResolvesServerCert for ReloadingIdentity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}
