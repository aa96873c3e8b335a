//! Certificate signing requests: read, checked, and signed by an authority just as they stand.

use std::net::IpAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_clock::Clock;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{PKCS_ECDSA_P256_SHA256, SigningKey};
use x509_parser::{
    certification_request::X509CertificationRequest,
    cri_attributes::ParsedCriAttribute,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    prelude::FromDer,
};
use yasna::{DERWriter, Tag, models::ObjectIdentifier};

use crate::{Authority, Error, authority::BACKDATE};

const REQUEST_BLOCK: &str = "CERTIFICATE REQUEST";
/// Certificates that live shorter than this are not cut short for having begun a little in the past.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

/// A signing request whose signature fits its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    der: Vec<u8>,
    /// The subject's common name: the user, for a client.
    pub common_name: String,
    /// Its organizations: the groups, for a client.
    pub organizations: Vec<String>,
    /// Other names it asks for.
    pub dns_names: Vec<String>,
    /// Addresses it asks for.
    pub addresses: Vec<IpAddr>,
    /// Mail addresses it asks for.
    pub emails: Vec<String>,
    /// URIs it asks for.
    pub uris: Vec<String>,
}

impl SigningRequest {
    /// Reads PEM text, and checks that who asks has the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Pem(why.to_owned());
        let (_, block) =
            x509_parser::pem::parse_x509_pem(pem).map_err(|_| wrong("PEM block type must be CERTIFICATE REQUEST"))?;
        if block.label != REQUEST_BLOCK {
            return Err(wrong("PEM block type must be CERTIFICATE REQUEST"));
        }
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| Error::Pem(format!("the certificate request cannot be parsed: {error}")))?;
        parsed.verify_signature().map_err(|_| wrong("the request's signature does not fit its key"))?;
        let subject = &parsed.certification_request_info.subject;
        let mut request = Self {
            common_name: subject
                .iter_common_name()
                .last()
                .and_then(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            organizations: subject
                .iter_organization()
                .filter_map(|name| name.as_str().ok())
                .map(str::to_owned)
                .collect(),
            der: Vec::new(),
            dns_names: Vec::new(),
            addresses: Vec::new(),
            emails: Vec::new(),
            uris: Vec::new(),
        };
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| request.take_name(name));
            }
        }
        request.der = block.contents;
        Ok(request)
    }

    fn take_name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(name) => self.uris.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => {
                let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                self.addresses.extend(address);
            }
            _ => {}
        }
    }
}

/// The names Kubernetes has for what a key may be used for; with the bit of the key usage extension.
const KEY_USAGES: [(&str, u16); 10] = [
    ("signing", 0),
    ("digital signature", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// The names of extended usages, with their object identifiers.
const EXTENDED_USAGES: [(&str, &[u64]); 13] = [
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];
const ECDSA_WITH_SHA256: [u64; 7] = [1, 2, 840, 10045, 4, 3, 2];
const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
const EXTENDED_KEY_USAGE: [u64; 4] = [2, 5, 29, 37];
const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
const AUTHORITY_KEY: [u64; 4] = [2, 5, 29, 35];
const ALTERNATIVE_NAMES: [u64; 4] = [2, 5, 29, 17];

/// Whether Kubernetes knows a key usage by this name.
pub fn is_key_usage(name: &str) -> bool {
    KEY_USAGES.iter().any(|(known, _)| *known == name) || EXTENDED_USAGES.iter().any(|(known, _)| *known == name)
}

impl Authority {
    /// Signs a request: its subject and alternative names as they stand, for `usages` by Kubernetes' names, for
    /// `valid_for` or as long as the authority itself lives. The PEM of the certificate.
    pub fn sign(
        &self,
        request: &SigningRequest,
        usages: &[impl AsRef<str>],
        valid_for: SignedDuration,
        clock: &dyn Clock,
    ) -> Result<String, Error> {
        let named = |source| Error::Certificate { subject: request.common_name.clone(), source };
        let unreadable = |what: &str| Error::Pem(format!("{what} cannot be parsed"));
        if !self.key().is_compatible(&PKCS_ECDSA_P256_SHA256) {
            return Err(Error::Pem("the authority's key is not on P-256".to_owned()));
        }
        let (_, parsed) =
            X509CertificationRequest::from_der(&request.der).map_err(|_| unreadable("the certificate request"))?;
        let (_, block) = x509_parser::pem::parse_x509_pem(self.certificate_pem().as_bytes())
            .map_err(|_| unreadable("the authority's certificate"))?;
        let own = block.parse_x509().map_err(|_| unreadable("the authority's certificate"))?;
        let now = clock.now();
        let life = if valid_for < SHORT { valid_for } else { valid_for - BACKDATE };
        let last = Timestamp::from_second(own.validity().not_after.timestamp()).unwrap_or(Timestamp::MAX);
        let (not_before, not_after) = (now - BACKDATE, (now + life).min(last));

        let info = &parsed.certification_request_info;
        let names = info.iter_attributes().find_map(|attribute| match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(asked) => {
                asked.extensions.iter().find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)
            }
            _ => None,
        });
        let own_key = own.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        });
        let body = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_tagged(Tag::context(0), |writer| writer.write_u8(2));
                writer.next().write_bigint_bytes(&serial(), true);
                write_algorithm(writer.next());
                writer.next().write_der(own.subject().as_raw());
                writer.next().write_sequence(|writer| {
                    write_time(writer.next(), not_before);
                    write_time(writer.next(), not_after);
                });
                writer.next().write_der(info.subject.as_raw());
                writer.next().write_der(info.subject_pki.raw);
                writer.next().write_tagged(Tag::context(3), |writer| {
                    writer.write_sequence(|writer| {
                        let mut add = |oid: &[u64], critical: bool, value: &[u8]| {
                            write_extension(writer.next(), oid, critical, value);
                        };
                        if let Some(bits) = key_usage(usages) {
                            add(&KEY_USAGE, true, &bits);
                        }
                        if let Some(list) = extended_key_usage(usages) {
                            add(&EXTENDED_KEY_USAGE, false, &list);
                        }
                        // Whoever this is, it is no authority.
                        add(&BASIC_CONSTRAINTS, true, &yasna::construct_der(|writer| writer.write_sequence(|_| {})));
                        if let Some(id) = own_key {
                            let value = yasna::construct_der(|writer| {
                                writer.write_sequence(|writer| {
                                    writer
                                        .next()
                                        .write_tagged_implicit(Tag::context(0), |writer| writer.write_bytes(id));
                                });
                            });
                            add(&AUTHORITY_KEY, false, &value);
                        }
                        if let Some(names) = names {
                            add(&ALTERNATIVE_NAMES, names.critical, names.value);
                        }
                    });
                });
            });
        });
        let signature = self.key().sign(&body).map_err(named)?;
        let certificate = yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&body);
                write_algorithm(writer.next());
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
            });
        });
        Ok(pem("CERTIFICATE", &certificate))
    }
}

fn serial() -> [u8; 16] {
    let mut serial: [u8; 16] = rand::random();
    serial[0] &= 0x7f;
    serial[0] |= 0x40;
    serial
}

fn write_algorithm(writer: DERWriter<'_>) {
    writer.write_sequence(|writer| writer.next().write_oid(&ObjectIdentifier::from_slice(&ECDSA_WITH_SHA256)));
}

fn write_extension(writer: DERWriter<'_>, oid: &[u64], critical: bool, value: &[u8]) {
    writer.write_sequence(|writer| {
        writer.next().write_oid(&ObjectIdentifier::from_slice(oid));
        if critical {
            writer.next().write_bool(true);
        }
        writer.next().write_bytes(value);
    });
}

/// UTCTime up to 2049, GeneralizedTime from then on, as RFC 5280 wants it.
fn write_time(writer: DERWriter<'_>, moment: Timestamp) {
    let moment = moment.to_zoned(TimeZone::UTC);
    let (tag, text) = match moment.year() {
        ..2050 => (0x17, moment.strftime("%y%m%d%H%M%SZ").to_string()),
        _ => (0x18, moment.strftime("%Y%m%d%H%M%SZ").to_string()),
    };
    let mut der = vec![tag, text.len() as u8];
    der.extend_from_slice(text.as_bytes());
    writer.write_der(&der);
}

fn key_usage(usages: &[impl AsRef<str>]) -> Option<Vec<u8>> {
    let mut bits = 0u16;
    for (name, bit) in KEY_USAGES {
        if usages.iter().any(|usage| usage.as_ref() == name) {
            bits |= 0x8000 >> bit;
        }
    }
    let used = 16 - bits.trailing_zeros() as usize;
    let bytes = &bits.to_be_bytes()[..used.div_ceil(8)];
    (bits != 0).then(|| yasna::construct_der(|writer| writer.write_bitvec_bytes(bytes, used)))
}

fn extended_key_usage(usages: &[impl AsRef<str>]) -> Option<Vec<u8>> {
    let asked: Vec<&[u64]> = EXTENDED_USAGES
        .iter()
        .filter(|(name, _)| usages.iter().any(|usage| usage.as_ref() == *name))
        .map(|(_, oid)| *oid)
        .collect();
    let write = || {
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| {
                asked.iter().for_each(|oid| writer.next().write_oid(&ObjectIdentifier::from_slice(oid)));
            });
        })
    };
    (!asked.is_empty()).then(write)
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64 is ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use coracle_clock::SystemClock;
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn request(organization: &str, names: &[&str]) -> String {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, "kim");
        params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
    }

    #[test]
    fn a_request_is_signed_as_it_stands() {
        let authority = Authority::ephemeral("ca", &SystemClock).unwrap();
        let request = SigningRequest::from_pem(request("devs", &["a.example.com", "10.0.0.1"]).as_bytes()).unwrap();
        assert_eq!((request.common_name.as_str(), request.organizations.join(",").as_str()), ("kim", "devs"));
        assert_eq!((request.dns_names.len(), request.addresses.len()), (1, 1));
        let usages = ["digital signature", "key encipherment", "client auth"];
        let text = authority.sign(&request, &usages, SignedDuration::from_hours(1), &SystemClock).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let made = block.parse_x509().unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(authority.certificate_pem().as_bytes()).unwrap();
        let own = block.parse_x509().unwrap();
        made.verify_signature(Some(own.public_key())).unwrap();
        assert_eq!(made.subject().to_string(), "O=devs, CN=kim");
        assert_eq!(made.issuer(), own.subject());
        let usage = made.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        assert!(made.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert!(!made.is_ca());
        assert_eq!(made.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
        let life = made.validity().not_after.timestamp() - made.validity().not_before.timestamp();
        assert_eq!(life, 65 * 60);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let authority = Authority::ephemeral("ca", &SystemClock).unwrap();
        for text in ["", "no PEM", authority.certificate_pem()] {
            let problem = SigningRequest::from_pem(text.as_bytes()).unwrap_err().to_string();
            assert_eq!(problem, "PEM block type must be CERTIFICATE REQUEST");
        }
    }
}
