//! Certificates: an authority on disk, the leaves it issues, and a server side that takes a new leaf without a restart.

mod anyone;
mod authority;
mod leaf;
mod reload;
mod request;

pub use anyone::Anyone;
pub use authority::Authority;
pub use leaf::{Identity, LeafRequest, Usage, end_of_life};
pub use reload::ReloadingIdentity;
pub use request::{SigningRequest, is_key_usage};

use std::path::PathBuf;

/// Why a certificate could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or key could not be generated or parsed.
    #[error("certificate for {subject:?}")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// What the generator said.
        source: rcgen::Error,
    },
    /// PEM text that holds no usable certificate and key.
    #[error("{0}")]
    Pem(String),
    /// The TLS library refused the pair.
    #[error("certificate and key do not go together")]
    Tls(#[from] rustls::Error),
}

#[cfg(test)]
mod tests {
    use coracle_clock::SystemClock;
    use jiff::SignedDuration;

    use super::{Authority, Identity, LeafRequest, ReloadingIdentity, Usage};

    fn request(common_name: &str) -> LeafRequest {
        LeafRequest {
            common_name: common_name.to_owned(),
            organizations: vec!["system:masters".to_owned()],
            alternative_names: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            usage: Usage::Both,
            valid_for: SignedDuration::from_hours(24),
        }
    }

    #[test]
    fn an_authority_outlives_the_process_and_its_leaves_verify() {
        let dir = tempfile::tempdir().unwrap();
        let first = Authority::load_or_create(dir.path(), "ca", &SystemClock).unwrap();
        let second = Authority::load_or_create(dir.path(), "ca", &SystemClock).unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());

        let leaf = second.issue(&request("admin"), &SystemClock).unwrap();
        let ca = x509_parser::pem::parse_x509_pem(first.certificate_pem().as_bytes()).unwrap().1;
        let ca = ca.parse_x509().unwrap();
        let pem = x509_parser::pem::parse_x509_pem(leaf.certificate_pem.as_bytes()).unwrap().1;
        let parsed = pem.parse_x509().unwrap();
        assert_eq!(parsed.issuer(), ca.subject());
        assert_eq!(parsed.subject().to_string(), "O=system:masters, CN=admin");
    }

    #[test]
    fn a_leaf_is_renewed_after_two_thirds_of_its_life() {
        let authority = Authority::ephemeral("ca", &SystemClock).unwrap();
        let leaf = authority.issue(&request("server"), &SystemClock).unwrap();
        let read = Identity::from_pem(&leaf.certificate_pem, &leaf.key_pem).unwrap();
        let life = read.not_before.duration_until(read.not_after);
        assert_eq!(read.not_before.duration_until(read.renew_at()), life * 2 / 3);
    }

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let authority = Authority::ephemeral("ca", &SystemClock).unwrap();
        let mut leaf = authority.issue(&request("server"), &SystemClock).unwrap();
        leaf.key_pem = authority.issue(&request("server"), &SystemClock).unwrap().key_pem;
        assert!(ReloadingIdentity::new(&leaf).is_err());
    }
}
