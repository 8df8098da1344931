//! Mutual TLS: `tls_client_auth` and `self_signed_tls_client_auth`.

use std::sync::Arc;

use base64::Engine as _;
use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::oauth::declared::TlsSubject;

fn certificate(name: &str, is_vouched_for: bool) -> ClientCertificate {
    made(name, is_vouched_for, (2020, 2099))
}

fn made(name: &str, is_vouched_for: bool, years: (i32, i32)) -> ClientCertificate {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    let made = params
        .self_signed(&KeyPair::generate().expect("a key"))
        .expect("a certificate");
    ClientCertificate {
        der: Arc::from(made.der().as_ref()),
        is_vouched_for,
    }
}

fn with_certificate(key: &SigningKey, certificate: &ClientCertificate) -> Value {
    let mut jwk = key.public_jwk();
    jwk["x5c"] = json!([base64::engine::general_purpose::STANDARD.encode(&certificate.der)]);
    json!({ "keys": [jwk] })
}

#[tokio::test]
async fn case_076_a_certificate_of_an_authority_counts_for_its_subject_alone() {
    let mut batch = service("batch", AuthenticationMethod::TlsClientAuth);
    batch.options.tls_subject = Some(TlsSubject::SanDns("batch.bank.example".to_owned()));
    let test = TestIssuer::with(bank_with(vec![batch])).await;
    assert!(test.issuer.needs_certificates());
    let rows = [
        ("good", certificate("batch.bank.example", true), "granted"),
        (
            "another subject",
            certificate("other.bank.example", true),
            "client_certificate_mismatch",
        ),
        (
            "nobody vouches",
            certificate("batch.bank.example", false),
            "client_certificate_untrusted",
        ),
        (
            "expired",
            made("batch.bank.example", true, (2020, 2021)),
            "client_certificate_expired",
        ),
        (
            "not valid yet",
            made("batch.bank.example", true, (2098, 2099)),
            "client_certificate_expired",
        ),
        (
            "no certificate",
            ClientCertificate {
                der: Arc::from(&b"x"[..]),
                is_vouched_for: true,
            },
            "client_certificate_expired",
        ),
    ];
    for (what, certificate, expected) in rows {
        let asked = Asked::certificate("batch", &certificate);
        assert_eq!(asked.outcome(&test).await, expected, "{what}");
    }
    assert_eq!(
        Asked::body("client_id=batch").outcome(&test).await,
        "client_certificate_missing"
    );
    let secret = Asked::body("client_id=batch&client_secret=secret");
    assert_eq!(secret.outcome(&test).await, "invalid_token_endpoint_auth_method");
    // A certificate does not stand in for a secret.
    let good = certificate("batch.bank.example", true);
    assert_eq!(
        Asked::certificate("nightly-batch", &good).outcome(&test).await,
        "client_secret_missing"
    );
}

#[tokio::test]
async fn case_076_a_self_signed_certificate_is_compared_with_those_that_are_registered() {
    let (own, other) = (certificate("a.example", false), certificate("a.example", false));
    let mut here = service("here", AuthenticationMethod::SelfSignedTlsClientAuth);
    here.options.keys = Some(KeysDeclaration::Jwks(Located::nowhere(with_certificate(es256(), &own))));
    let mut there = service("there", AuthenticationMethod::SelfSignedTlsClientAuth);
    let url = "https://client.example/jwks";
    there.options.keys = Some(KeysDeclaration::JwksUri(Located::nowhere(url.parse().expect("a URL"))));
    let test = TestIssuer::with(bank_with(vec![here, there])).await;
    test.documents.serve(url, &with_certificate(es256(), &own));
    for id in ["here", "there"] {
        assert_eq!(Asked::certificate(id, &own).outcome(&test).await, "granted", "{id}");
        assert_eq!(
            Asked::certificate(id, &other).outcome(&test).await,
            "client_certificate_mismatch",
            "{id}"
        );
        assert_eq!(
            Asked::body(&format!("client_id={id}")).outcome(&test).await,
            "client_certificate_missing",
            "{id}"
        );
    }
    let expired = made("a.example", false, (2020, 2021));
    assert_eq!(
        Asked::certificate("here", &expired).outcome(&test).await,
        "client_certificate_expired"
    );
}

#[tokio::test]
async fn browsers_are_not_asked_for_certificates_that_nobody_needs() {
    assert!(!TestIssuer::start().await.issuer.needs_certificates());
    let mut bound = service("bound", AuthenticationMethod::ClientSecretBasic);
    bound.options.certificate_bound_access_tokens = true;
    assert!(
        TestIssuer::with(bank_with(vec![bound]))
            .await
            .issuer
            .needs_certificates()
    );
}
