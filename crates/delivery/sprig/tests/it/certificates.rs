//! Certificates by what is in them: the real ones are new each time.

use expect_test::{Expect, expect};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{parse_x509_certificate, pem::parse_x509_pem, prelude::X509Certificate};

use crate::run;

/// Shows the certificates that a template prints, and checks each one's signature with the key of the last.
fn check(template: &str, algorithm: &'static dyn VerificationAlgorithm, expected: Expect) {
    let printed = run(template, "common.Values").expect("the template renders");
    let blocks: Vec<Vec<u8>> = printed
        .split_inclusive("-----END CERTIFICATE-----\n")
        .filter_map(|text| Some(parse_x509_pem(text.as_bytes()).ok()?.1.contents))
        .collect();
    let certificates: Vec<X509Certificate<'_>> =
        blocks.iter().map(|der| parse_x509_certificate(der).expect("a certificate").1).collect();
    let signer = certificates.last().expect("a certificate").public_key().subject_public_key.data.to_vec();
    let mut shown = String::new();
    for certificate in &certificates {
        UnparsedPublicKey::new(algorithm, &signer)
            .verify(certificate.tbs_certificate.as_ref(), &certificate.signature_value.data)
            .expect("signed by the last");
        shown.push_str(&format!(
            "{} by {}, authority {}, {} to {}\n",
            certificate.subject(),
            certificate.issuer(),
            certificate.is_ca(),
            certificate.validity().not_before,
            certificate.validity().not_after,
        ));
        for extension in certificate.extensions() {
            shown.push_str(&format!("  {} critical {}\n", extension.oid, extension.critical));
        }
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            names.value.general_names.iter().for_each(|name| shown.push_str(&format!("  {name}\n")));
        }
    }
    expected.assert_eq(&shown);
}

#[test]
fn an_authority_signs() {
    check(
        r#"{{ $ca := genCAWithKey "my-ca" 365 (genPrivateKey "ecdsa") -}}
        {{ $key := genPrivateKey "ecdsa" -}}
        {{ (genSignedCertWithKey "web" (list "10.0.0.1" "::1") (list "web.example" "*.web") 30 $ca $key).Cert }}{{ $ca.Cert }}"#,
        &ECDSA_P256_SHA256_ASN1,
        expect![[r#""#]],
    );
}

#[test]
fn a_certificate_signs_itself() {
    check(
        r#"{{ (genSelfSignedCertWithKey "me" nil (list "a.b") 36500 (genPrivateKey "ed25519")).Cert }}"#,
        &ED25519,
        expect![[r#""#]],
    );
}
