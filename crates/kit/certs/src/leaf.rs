//! What a leaf certificate says, and the pair of PEM texts that it becomes.

use jiff::{SignedDuration, Timestamp};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::Error;

/// Who will show the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// A server.
    Server,
    /// A client.
    Client,
    /// One that is both, such as a node agent.
    Both,
}

/// What a leaf certificate is to say.
#[derive(Debug, Clone)]
pub struct LeafRequest {
    /// The common name: the user, for a client.
    pub common_name: String,
    /// The organizations: the groups, for a client.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses, for a server.
    pub alternative_names: Vec<String>,
    /// Who will show it.
    pub usage: Usage,
    /// How long it is good for.
    pub valid_for: SignedDuration,
}

/// A certificate with its key, both as PEM, and when it ends.
#[derive(Clone)]
pub struct Identity {
    /// The leaf, and what follows it up to the authority.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// The first moment of its validity.
    pub not_before: Timestamp,
    /// The last moment of its validity.
    pub not_after: Timestamp,
}

/// When the first certificate of a PEM text ends; `None` where there is none.
pub fn end_of_life(pem: &[u8]) -> Option<Timestamp> {
    let first = CertificateDer::from_pem_slice(pem).ok()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&first).ok()?;
    Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

impl Identity {
    /// Reads a pair somebody else made, such as a TLS secret's.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Error> {
        let first = CertificateDer::from_pem_slice(certificate_pem.as_bytes())
            .map_err(|e| Error::Pem(format!("no certificate in the PEM text: {e}")))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&first)
            .map_err(|e| Error::Pem(format!("the certificate cannot be parsed: {e}")))?;
        let moment = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|e| Error::Pem(format!("the certificate's dates: {e}")))
        };
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            not_before: moment(parsed.validity().not_before)?,
            not_after: moment(parsed.validity().not_after)?,
        })
    }

    /// When it should be replaced: after two thirds of its life.
    pub fn renew_at(&self) -> Timestamp {
        self.not_before + self.not_before.duration_until(self.not_after) * 2 / 3
    }

    /// The pair as rustls wants it.
    pub fn certified_key(&self) -> Result<CertifiedKey, Error> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::Pem(format!("the certificate chain cannot be read: {e}")))?;
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|e| Error::Pem(format!("no private key in the PEM text: {e}")))?;
        Ok(CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?)
    }
}
