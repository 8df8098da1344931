//! What is said about credentials, bindings, resources and trusted issuers that cannot be meant.

use serde_json::json;

use super::findings::codes;
use crate::jose::alg::Algorithm;
use crate::jose::sign::SigningKey;
use crate::model::finding::{Finding, Severity};
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::oauth::access::compile;
use crate::oauth::declared::{
    AuthenticationMethod as Method, ClientDeclaration, ClientKind, IssuerDeclaration, KeysDeclaration, TlsSubject,
    TrustedIssuerDeclaration,
};
use crate::oauth::sample::{client, server, text, texts};

const AT: Location = Location { line: 7, column: 3 };

fn findings(clients: Vec<ClientDeclaration>) -> Vec<Finding> {
    let declaration = IssuerDeclaration {
        servers: vec![server("transfers", vec![], vec![])],
        clients,
        ..IssuerDeclaration::default()
    };
    compile(&declaration).1
}

fn service(method: Option<Method>, change: impl FnOnce(&mut ClientDeclaration)) -> ClientDeclaration {
    let mut service = client("svc", ClientKind::Service, &["client_credentials"]);
    service.options.authentication = method.map(|method| Located::new(method, AT));
    if method.is_some() {
        service.secrets.clear();
    }
    change(&mut service);
    service
}

fn jwks(kids: &[&str]) -> serde_json::Value {
    let key = |kid: &&str| {
        let mut jwk = SigningKey::generate(Algorithm::Es256).expect("a key").public_jwk();
        jwk["kid"] = json!(kid);
        jwk
    };
    json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() })
}

#[expect(clippy::unnecessary_wraps, reason = "the field that it is for is optional")]
fn set(document: serde_json::Value) -> Option<KeysDeclaration> {
    Some(KeysDeclaration::Jwks(Located::new(document, AT)))
}

#[expect(clippy::unnecessary_wraps, reason = "the field that it is for is optional")]
fn uri(url: &str) -> Option<KeysDeclaration> {
    Some(KeysDeclaration::JwksUri(Located::new(url.parse().expect("a URL"), AT)))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of every method")]
fn case_064_a_client_has_all_that_its_method_needs_or_the_file_is_refused() {
    let key = Method::PrivateKeyJwt;
    let mac = Method::ClientSecretJwt;
    let shared = |length: usize| vec![Located::new(Secret::new("s".repeat(length)), AT)];
    let mut private = jwks(&["a"]);
    private["keys"][0]["d"] = json!("AAAA");
    let rows: Vec<(&str, ClientDeclaration, Vec<&str>)> = vec![
        ("a secret", service(None, |_| {}), vec![]),
        (
            "no secret",
            service(None, |client| client.secrets.clear()),
            vec!["missing_secret"],
        ),
        (
            "basic without one",
            service(Some(Method::ClientSecretBasic), |_| {}),
            vec!["missing_secret"],
        ),
        (
            "a key",
            service(Some(key), |client| client.options.keys = set(jwks(&["a"]))),
            vec![],
        ),
        (
            "a URL",
            service(Some(key), |client| client.options.keys = uri("https://c.example/jwks")),
            vec![],
        ),
        ("no key", service(Some(key), |_| {}), vec!["missing_keys"]),
        (
            "an empty set",
            service(Some(key), |client| client.options.keys = set(jwks(&[]))),
            vec!["no_usable_key"],
        ),
        (
            "case 071: two keys with one kid",
            service(Some(key), |client| client.options.keys = set(jwks(&["a", "a"]))),
            vec!["invalid_jwks"],
        ),
        (
            "a private key",
            service(Some(key), |client| client.options.keys = set(private)),
            vec!["invalid_jwks"],
        ),
        (
            "no set",
            service(Some(key), |client| client.options.keys = set(json!({}))),
            vec!["invalid_jwks"],
        ),
        (
            "attack F18: plain http",
            service(Some(key), |client| client.options.keys = uri("http://c.example/jwks")),
            vec!["invalid_jwks_uri"],
        ),
        (
            "attack F18: a file",
            service(Some(key), |client| client.options.keys = uri("file:///etc/passwd")),
            vec!["invalid_jwks_uri"],
        ),
        (
            "32 bytes",
            service(Some(mac), |client| client.options.shared_secrets = shared(32)),
            vec![],
        ),
        (
            "case 073: 31 bytes",
            service(Some(mac), |client| client.options.shared_secrets = shared(31)),
            vec!["weak_secret"],
        ),
        ("a digest alone", service(Some(mac), |_| {}), vec!["missing_secret"]),
        (
            "three secrets",
            service(Some(mac), |client| {
                client.options.shared_secrets = [shared(32), shared(33), shared(34)].concat();
            }),
            vec!["too_many_secrets"],
        ),
        (
            "a subject",
            service(Some(Method::TlsClientAuth), |client| {
                client.options.tls_subject = Some(TlsSubject::Dn("CN=a,C=DE".to_owned()));
            }),
            vec![],
        ),
        (
            "no subject",
            service(Some(Method::TlsClientAuth), |_| {}),
            vec!["missing_tls_subject"],
        ),
        (
            "a subject that is none",
            service(Some(Method::TlsClientAuth), |client| {
                client.options.tls_subject = Some(TlsSubject::Dn("batch".to_owned()));
            }),
            vec!["invalid_tls_subject"],
        ),
        (
            "a set without certificates",
            service(Some(Method::SelfSignedTlsClientAuth), |client| {
                client.options.keys = set(jwks(&["a"]));
            }),
            vec!["missing_certificate"],
        ),
        (
            "a service that proves nothing",
            service(Some(Method::None), |_| {}),
            vec!["public_service"],
        ),
        (
            "two bindings",
            service(None, |client| {
                client.options.dpop_bound_access_tokens = true;
                client.options.certificate_bound_access_tokens = true;
            }),
            vec!["two_bindings"],
        ),
        (
            "an audience of nobody",
            service(None, |client| {
                client.options.audiences = texts(&["https://api.bank.example/transfer"]);
            }),
            vec!["unknown_audience"],
        ),
        (
            "every audience",
            service(None, |client| {
                client.options.audiences = texts(&["*", "https://api.bank.example/transfers"]);
            }),
            vec![],
        ),
        (
            "a grace of more than a minute",
            service(None, |client| {
                client.options.refresh.grace = std::time::Duration::from_secs(61);
            }),
            vec!["refresh_grace_too_long"],
        ),
    ];
    for (what, client, expected) in rows {
        let findings = findings(vec![client]);
        assert_eq!(codes(&findings, Severity::Error), expected, "{what}: {findings:?}");
        assert!(findings.iter().all(|finding| finding.hint.is_some()), "{what}");
    }
}

#[test]
fn a_public_client_has_no_credentials_and_introspects_nothing() {
    let native = |change: fn(&mut ClientDeclaration)| {
        let mut native = client("app", ClientKind::Native, &["authorization_code"]);
        change(&mut native);
        findings(vec![native])
    };
    let with_method = native(|client| {
        client.options.authentication = Some(Located::new(Method::PrivateKeyJwt, AT));
    });
    let errors: Vec<_> = with_method
        .iter()
        .filter(|finding| finding.code == "authentication_of_public_client")
        .map(|finding| finding.location)
        .collect();
    assert_eq!(errors, [AT]);
    let resource_server = native(|client| client.options.audiences = texts(&["*"]));
    assert!(codes(&resource_server, Severity::Error).contains(&"audiences_of_public_client"));
}

#[test]
fn credentials_that_are_never_used_are_pointed_out() {
    let mut both = service(Some(Method::PrivateKeyJwt), |client| {
        client.options.keys = uri("https://c.example/jwks");
    });
    both.secrets = client("x", ClientKind::Service, &["client_credentials"]).secrets;
    let findings = findings(vec![both]);
    assert_eq!(codes(&findings, Severity::Error), [""; 0]);
    assert_eq!(codes(&findings, Severity::Warning), ["unused_credentials"]);
}

#[test]
fn case_139_resources_servers_and_issuers_are_checked_with_their_places() {
    let trusted = |issuer: &str, keys: Option<KeysDeclaration>| TrustedIssuerDeclaration {
        issuer: Located::new(issuer.to_owned(), AT),
        keys: keys.expect("keys"),
        subject_claim: None,
        allow_private_addresses: false,
    };
    let mut transfers = server("transfers", vec![], vec![]);
    let options = &mut transfers.options;
    options.resources = texts(&[
        "https://mcp.bank.example",
        "https://mcp.bank.example",
        "https://api.bank.example/transfers",
        "relative",
        "https://a.example/#x",
    ]);
    options.associated_servers = vec![Located::nowhere(crate::oauth::sample::server_id("transfer"))];
    options.actors_max = Some(17);
    options.trusted_issuers = vec![
        trusted("https://idp.example", uri("https://idp.example/jwks")),
        trusted("https://idp.example", set(jwks(&["a"]))),
        trusted("https://other.example", uri("http://other.example/jwks")),
    ];
    let declaration = IssuerDeclaration {
        servers: vec![transfers],
        groups: vec![text("g")],
        ..IssuerDeclaration::default()
    };
    let (model, findings) = compile(&declaration);
    assert!(model.is_none());
    assert_eq!(
        codes(&findings, Severity::Error),
        [
            "duplicate_issuer",
            "duplicate_resource",
            "duplicate_resource",
            "invalid_jwks_uri",
            "invalid_resource",
            "invalid_resource",
            "too_many_actors",
            "unknown_authorization_server",
        ]
    );
}
