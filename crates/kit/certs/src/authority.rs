//! A certificate authority that lives in two files.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};

use crate::{
    Error,
    leaf::{Identity, LeafRequest, Usage},
};

const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// Leaves begin a little in the past, so that a peer whose clock is behind accepts them.
pub(crate) const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// An authority that signs leaves.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads `NAME.crt` and `NAME.key` in `dir`, or makes them the first time.
    pub fn load_or_create(dir: &Path, name: &str, clock: &dyn Clock) -> Result<Self, Error> {
        let (certificate_path, key_path) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        if !certificate_path.exists() {
            let (certificate_pem, key_pem) = generate(name, clock.now())?;
            write(&key_path, &key_pem, 0o600)?;
            write(&certificate_path, &certificate_pem, 0o644)?;
        }
        Self::from_pem(name, read(&certificate_path)?, &read(&key_path)?)
    }

    /// An authority that is kept nowhere.
    pub fn ephemeral(name: &str, clock: &dyn Clock) -> Result<Self, Error> {
        let (certificate_pem, key_pem) = generate(name, clock.now())?;
        Self::from_pem(name, certificate_pem, &key_pem)
    }

    fn from_pem(name: &str, certificate_pem: String, key_pem: &str) -> Result<Self, Error> {
        let named = |source| Error::Certificate { subject: name.to_owned(), source };
        let key = KeyPair::from_pem(key_pem).map_err(named)?;
        let issuer = Issuer::from_ca_cert_pem(&certificate_pem, key).map_err(named)?;
        Ok(Self { certificate_pem, issuer })
    }

    /// The authority's own certificate.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Issues a leaf with a fresh key.
    pub fn issue(&self, request: &LeafRequest, clock: &dyn Clock) -> Result<Identity, Error> {
        let named = |source| Error::Certificate { subject: request.common_name.clone(), source };
        let (not_before, not_after) = (clock.now() - BACKDATE, clock.now() + request.valid_for);
        let mut params = CertificateParams::new(request.alternative_names.clone()).map_err(named)?;
        params.distinguished_name = distinguished_name(&request.common_name, &request.organizations);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = extended_usages(request.usage);
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, not_before, not_after);
        let key = KeyPair::generate().map_err(named)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(named)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem(), not_before, not_after })
    }

    pub(crate) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }
}

fn generate(name: &str, now: Timestamp) -> Result<(String, String), Error> {
    let named = |source| Error::Certificate { subject: name.to_owned(), source };
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished_name(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, now - BACKDATE, now + AUTHORITY_LIFE);
    let key = KeyPair::generate().map_err(named)?;
    let certificate = params.self_signed(&key).map_err(named)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn distinguished_name(common_name: &str, organizations: &[String]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, organization.as_str());
    }
    name.push(DnType::CommonName, common_name);
    name
}

fn extended_usages(usage: Usage) -> Vec<ExtendedKeyUsagePurpose> {
    match usage {
        Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    }
}

fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    params.not_before = std::time::SystemTime::from(not_before).into();
    params.not_after = std::time::SystemTime::from(not_after).into();
    let mut serial: [u8; 16] = rand::random();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| file_error(path, source))
}

/// Writes a file so that it is there whole, with `mode`, or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let failed = |source| file_error(path, source);
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(failed)?;
    }
    let temporary = path.with_extension("new");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: PathBuf::from(path), source }
}
