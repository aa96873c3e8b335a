//! X.509 certificates, laid out as Go lays them out.

use std::{any::Any, fmt, net::IpAddr};

use coracle_gotemplate::{Context, FunctionError, Member, Object, Value};
use ring::digest;
use x509_parser::{extensions::ParsedExtension, parse_x509_certificate, prelude::FromDer};

use super::{
    der::{self, GENERALIZED_TIME, OCTET_STRING, SET, TRUE, UTC_TIME},
    key::{self, Key},
    pem,
};
use crate::{
    args::{Result, elements, fail, int, text},
    date::Time,
    encoding::BASE64,
};

pub(super) const TYPE_NAME: &str = "sprig.certificate";

const COMMON_NAME: &[u32] = &[2, 5, 4, 3];
const SUBJECT_KEY: &[u32] = &[2, 5, 29, 14];
const KEY_USAGE: &[u32] = &[2, 5, 29, 15];
const ALTERNATIVE_NAMES: &[u32] = &[2, 5, 29, 17];
const BASIC_CONSTRAINTS: &[u32] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u32] = &[2, 5, 29, 35];
const EXTENDED_USAGE: &[u32] = &[2, 5, 29, 37];
const SERVER: &[u32] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
const CLIENT: &[u32] = &[1, 3, 6, 1, 5, 5, 7, 3, 2];
const DAY_SECONDS: i64 = 86_400;
/// Later years take four digits.
const LAST_SHORT_YEAR: &str = "2050";

/// A certificate with its key, both in PEM: what templates read `.Cert` and `.Key` of.
struct Certificate {
    cert: String,
    key: String,
}

impl Object for Certificate {
    fn type_name(&self) -> &str {
        TYPE_NAME
    }

    fn member(&self, name: &str) -> Member {
        match name {
            "Cert" => Member::Field(self.cert.as_str().into()),
            "Key" => Member::Field(self.key.as_str().into()),
            _ => Member::Absent,
        }
    }

    fn json(&self) -> Option<Value> {
        Some(Value::dict([("Cert", Value::from(self.cert.as_str())), ("Key", self.key.as_str().into())]))
    }

    fn format(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{} {}}}", self.cert, self.key)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl From<Certificate> for Value {
    fn from(certificate: Certificate) -> Value {
        Value::Object(std::rc::Rc::new(certificate))
    }
}

/// What a certificate shall say.
pub(super) struct Wanted {
    common_name: String,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
    days: i64,
    is_authority: bool,
}

impl Wanted {
    /// From the arguments every signed certificate has: name, addresses, DNS names, days.
    pub(super) fn read(arguments: &[Value]) -> Result<Wanted> {
        let addresses = elements(&arguments[1]).unwrap_or_default();
        let names = elements(&arguments[2]).unwrap_or_default();
        Ok(Wanted {
            common_name: text(&arguments[0]).into_owned(),
            addresses: addresses.iter().map(address).collect::<Result<_>>()?,
            names: names.iter().map(dns_name).collect::<Result<_>>()?,
            days: int(&arguments[3]),
            is_authority: false,
        })
    }
}

fn address(value: &Value) -> Result<IpAddr> {
    let Some(written) = value.as_str() else { return fail(format!("error parsing ip: {value} is not a string")) };
    written.parse().or_else(|_| fail(format!("error parsing ip: {written}")))
}

fn dns_name(value: &Value) -> Result<String> {
    match value.as_str() {
        Some(name) => Ok(name.to_owned()),
        None => fail(format!("error processing alternate dns name: {value} is not a string")),
    }
}

pub(super) fn custom(cert: &str, key: &str) -> Result {
    let decoded = |encoded: &str, what: &str| match BASE64.decode(encoded.as_bytes()) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(_) => fail(format!("unable to decode base64 {what}")),
    };
    let cert = decoded(cert, "certificate")?;
    let key = decoded(key, "private key")?;
    parsed(&cert)?;
    Key::from_pem(&key).map_err(|error| format!("error parsing private key: {error}"))?;
    Ok(Certificate { cert, key }.into())
}

/// The bytes of a certificate in PEM that is one.
fn parsed(cert: &str) -> Result<Vec<u8>> {
    let Some((_, der)) = pem::decode(cert) else { return fail("unable to decode certificate") };
    match parse_x509_certificate(&der) {
        Ok(_) => Ok(der),
        Err(_) => fail("error parsing certificate: decodedCert.Bytes: x509: malformed certificate"),
    }
}

/// The key given in PEM, or a new one.
fn key_for(context: &mut Context<'_>, given: Option<&Value>) -> Result<Key> {
    match given {
        Some(pem) => Key::from_pem(&text(pem)).map_err(|error| format!("parsing private key: {error}").into()),
        None => Key::rsa(context, key::RSA_BITS).map_err(|error| format!("error generating rsa key: {error}").into()),
    }
}

pub(super) fn authority(context: &mut Context<'_>, name: &str, days: i64, given_key: Option<&Value>) -> Result {
    let key = key_for(context, given_key)?;
    let wanted =
        Wanted { common_name: name.to_owned(), addresses: Vec::new(), names: Vec::new(), days, is_authority: true };
    issue(context, &wanted, &key, &Issuer::Itself)
}

pub(super) fn self_signed(context: &mut Context<'_>, wanted: &Wanted, given_key: Option<&Value>) -> Result {
    let key = key_for(context, given_key)?;
    issue(context, wanted, &key, &Issuer::Itself)
}

pub(super) fn signed(
    context: &mut Context<'_>,
    wanted: &Wanted,
    authority: &Value,
    given_key: Option<&Value>,
) -> Result {
    let key = key_for(context, given_key)?;
    let Some(authority) = authority.as_object::<Certificate>() else { return fail("unable to decode certificate") };
    let der = parsed(&authority.cert)?;
    let (_, certificate) = parse_x509_certificate(&der).map_err(|error| error.to_string())?;
    let key_id = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    });
    let issuer = Issuer::Authority {
        name: certificate.subject().as_raw().to_vec(),
        key_id,
        key: Key::from_pem(&authority.key).map_err(|error| format!("error parsing private key: {error}"))?,
    };
    issue(context, wanted, &key, &issuer)
}

enum Issuer {
    Itself,
    Authority { name: Vec<u8>, key_id: Option<Vec<u8>>, key: Key },
}

fn issue(context: &mut Context<'_>, wanted: &Wanted, key: &Key, issuer: &Issuer) -> Result {
    let cannot = |error: String| FunctionError::new(format!("error creating certificate: {error}"));
    let signer = match issuer {
        Issuer::Itself => key,
        Issuer::Authority { key, .. } => key,
    };
    let mut serial = [0; 16];
    context.host.random(&mut serial);
    let (now, _) = context.host.now();
    let public = key.public_info().map_err(cannot)?;
    let algorithm = signer.signature_algorithm().map_err(cannot)?;
    let subject = subject(&wanted.common_name);
    let issuer_name = match issuer {
        Issuer::Itself => &subject,
        Issuer::Authority { name, .. } => name,
    };
    let until = now.saturating_add(wanted.days.saturating_mul(DAY_SECONDS));
    let body = der::sequence(&[
        &der::tagged(0xA0, &der::integer(&[2])),
        &der::integer(&serial),
        &algorithm,
        issuer_name,
        &der::sequence(&[&moment(now), &moment(until)]),
        &subject,
        &public,
        &der::tagged(0xA3, &der::tagged(der::SEQUENCE, &extensions(wanted, &public, issuer, &subject))),
    ]);
    let signature = signer.sign(&body).map_err(cannot)?;
    let whole = der::sequence(&[&body, &algorithm, &der::bits(&signature)]);
    Ok(Certificate { cert: pem::encode("CERTIFICATE", &whole), key: key.to_pem() }.into())
}

fn subject(common_name: &str) -> Vec<u8> {
    if common_name.is_empty() {
        return der::sequence(&[]);
    }
    let attribute = der::sequence(&[&der::object_id(COMMON_NAME), &der::text(common_name)]);
    der::sequence(&[&der::tagged(SET, &attribute)])
}

fn moment(seconds: i64) -> Vec<u8> {
    let time = Time::utc(seconds, 0);
    let long = time.format("20060102150405Z");
    if ("1950"..LAST_SHORT_YEAR).contains(&&long[..4]) {
        der::tagged(UTC_TIME, &long.as_bytes()[2..])
    } else {
        der::tagged(GENERALIZED_TIME, long.as_bytes())
    }
}

/// A key's identifier: the first 20 bytes of a hash of its bits.
fn key_id(public: &[u8]) -> Vec<u8> {
    let bits = x509_parser::x509::SubjectPublicKeyInfo::from_der(public)
        .map(|(_, info)| info.subject_public_key.data.to_vec())
        .unwrap_or_default();
    digest::digest(&digest::SHA256, &bits).as_ref()[..20].to_vec()
}

fn extensions(wanted: &Wanted, public: &[u8], issuer: &Issuer, subject: &[u8]) -> Vec<u8> {
    // Digital signature and key encipherment; an authority signs certificates too.
    let usage: &[u8] = if wanted.is_authority { &[0x02, 0xA4] } else { &[0x05, 0xA0] };
    let constraints = der::sequence(&[if wanted.is_authority { TRUE } else { &[] }]);
    let mut all = vec![
        extension(KEY_USAGE, true, &der::tagged(der::BIT_STRING, usage)),
        extension(EXTENDED_USAGE, false, &der::sequence(&[&der::object_id(SERVER), &der::object_id(CLIENT)])),
        extension(BASIC_CONSTRAINTS, true, &constraints),
    ];
    if wanted.is_authority {
        all.push(extension(SUBJECT_KEY, false, &der::tagged(OCTET_STRING, &key_id(public))));
    }
    if let Issuer::Authority { name, key_id: Some(id), .. } = issuer
        && name != subject
    {
        all.push(extension(AUTHORITY_KEY, false, &der::sequence(&[&der::tagged(0x80, id)])));
    }
    if !wanted.names.is_empty() || !wanted.addresses.is_empty() {
        let names = wanted.names.iter().map(|name| der::tagged(0x82, name.as_bytes()));
        let addresses = wanted.addresses.iter().map(|address| match address {
            IpAddr::V4(address) => der::tagged(0x87, &address.octets()),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(short) => der::tagged(0x87, &short.octets()),
                None => der::tagged(0x87, &address.octets()),
            },
        });
        let alternatives: Vec<u8> = names.chain(addresses).flatten().collect();
        let is_critical = wanted.common_name.is_empty();
        all.push(extension(ALTERNATIVE_NAMES, is_critical, &der::tagged(der::SEQUENCE, &alternatives)));
    }
    all.concat()
}

fn extension(id: &[u32], is_critical: bool, body: &[u8]) -> Vec<u8> {
    let critical = if is_critical { TRUE } else { &[] };
    der::sequence(&[&der::object_id(id), critical, &der::tagged(OCTET_STRING, body)])
}
