use std::path::Path;

use crate::config::load_text;
use crate::config::source::Memory;
use crate::model::finding::Severity;
use crate::oauth::declared::{AuthenticationMethod, KeysDeclaration, TlsSubject};

const HEAD: &str = "dev: true
public_url: https://127.0.0.1:8443
authorization_servers:
  - id: transfers
    audience: https://api.bank.example/transfers
";

fn load(text: &str) -> Result<crate::config::Settings, crate::config::Report> {
    load_text(
        Path::new("/etc/scopegate/scopegate.yaml"),
        &format!("{HEAD}{text}"),
        &Memory::default(),
    )
}

/// The errors of a text, as codes with lines counted from the end of the head.
fn errors(text: &str) -> Vec<(&'static str, u32)> {
    let report = load(text).map_or_else(|report| report, |settings| settings.report);
    let errors = report
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors
        .map(|finding| (finding.code, finding.location.line - 5))
        .collect()
}

#[test]
fn every_key_of_a_client_and_of_a_server_arrives() {
    let text = "    name: Transfers
    description: Moves money
    active: false
    resources: [https://mcp.bank.example]
    actors_max: 2
    dpop_nonce_required: true
    associated_servers: [transfers]
    trusted_issuers:
      - { issuer: https://idp.example, jwks_uri: \"https://idp.example/jwks\", subject_claim: email, allow_private_addresses: true }
clients:
  - id: batch
    type: service
    name: The batch
    active: false
    grants: [client_credentials]
    authentication: private_key_jwt
    jwks_uri: https://batch.example/jwks
    allow_private_addresses: true
    dpop_bound_access_tokens: true
    refresh: { rotation: static, grace: 5s }
    audiences: [\"*\"]
    asks_consent: true
  - id: by-name
    type: service
    grants: [client_credentials]
    authentication: self_signed_tls_client_auth
    tls_client_certificate_bound_access_tokens: true
    jwks:
      keys: [{ kty: EC, crv: P-256, x: l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs, y: 9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA, x5c: [\"AAAA\"] }]
";
    let settings = load(text).unwrap_or_else(|report| panic!("{:?}", report.findings()));
    let declared = &settings.issuer.as_ref().expect("an issuer").declared;
    let server = &declared.servers[0].options;
    assert_eq!(
        (server.name.as_deref(), server.description.as_deref()),
        (Some("Transfers"), Some("Moves money"))
    );
    assert!(server.inactive && server.dpop_nonce_required);
    assert_eq!((server.resources.len(), server.actors_max), (1, Some(2)));
    assert_eq!(server.associated_servers[0].value.as_str(), "transfers");
    let trusted = &server.trusted_issuers[0];
    assert_eq!(trusted.issuer.value, "https://idp.example");
    assert_eq!(trusted.subject_claim.as_deref(), Some("email"));
    assert!(trusted.allow_private_addresses);
    assert!(matches!(&trusted.keys, KeysDeclaration::JwksUri(url) if url.value.path() == "/jwks"));

    let [batch, by_name] = declared.clients.as_slice() else {
        panic!("two clients")
    };
    let batch = &batch.options;
    assert_eq!(batch.name.as_deref(), Some("The batch"));
    assert!(batch.inactive && batch.allow_private_addresses && batch.dpop_bound_access_tokens && batch.asks_consent);
    let method = batch.authentication.as_ref().expect("a method");
    assert_eq!(
        (method.value, method.location.line),
        (AuthenticationMethod::PrivateKeyJwt, 21)
    );
    assert!(!batch.refresh.rotates);
    assert_eq!(batch.refresh.grace.as_secs(), 5);
    assert_eq!(batch.audiences[0].value, "*");
    let by_name = &by_name.options;
    assert!(by_name.certificate_bound_access_tokens && by_name.refresh.rotates && !by_name.inactive);
    assert_eq!(by_name.refresh.grace.as_secs(), 30);
    assert!(matches!(&by_name.keys, Some(KeysDeclaration::Jwks(_))));
}

#[test]
fn each_way_to_name_a_certificate_is_read_and_two_at_once_are_refused() {
    let client = |keys: &str| {
        format!(
            "clients:\n  - id: batch\n    type: service\n    grants: [client_credentials]\n    authentication: tls_client_auth\n{keys}"
        )
    };
    let rows = [
        (
            "subject_dn",
            "CN=batch,C=DE",
            TlsSubject::Dn("CN=batch,C=DE".to_owned()),
        ),
        ("san_dns", "a.example", TlsSubject::SanDns("a.example".to_owned())),
        (
            "san_uri",
            "https://a.example/",
            TlsSubject::SanUri("https://a.example/".to_owned()),
        ),
        ("san_ip", "192.0.2.7", TlsSubject::SanIp("192.0.2.7".to_owned())),
        (
            "san_email",
            "a@b.example",
            TlsSubject::SanEmail("a@b.example".to_owned()),
        ),
    ];
    for (key, value, subject) in rows {
        let text = client(&format!("    tls_client_auth_{key}: \"{value}\"\n"));
        // Nobody vouches for certificates in dev: that is the one error.
        assert_eq!(errors(&text), [("missing_client_ca", 5)], "{key}");
        let with_authority = format!(
            "{text}listeners:\n  issuer: {{ address: \"127.0.0.1:8443\", tls: {{ certificate_file: a, key_file: b, client_ca_file: c, client_certificate: optional }} }}\n"
        );
        let settings = load(&with_authority).unwrap_or_else(|report| panic!("{key}: {:?}", report.findings()));
        let declared = settings.issuer.expect("an issuer").declared;
        assert_eq!(declared.clients[0].options.tls_subject, Some(subject), "{key}");
    }
    let two = client("    tls_client_auth_san_ip: \"192.0.2.7\"\n    tls_client_auth_san_dns: a.example\n");
    assert!(errors(&two).contains(&("two_tls_subjects", 6)));
}

#[test]
fn mistakes_of_the_file_have_their_places() {
    let client =
        |keys: &str| format!("clients:\n  - id: batch\n    type: service\n    grants: [client_credentials]\n{keys}");
    let secret = "    secrets: [{ sha256: \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }]\n";
    let rows = [
        (client("    authentication: private_key_jwt\n"), vec![("missing_keys", 2)]),
        (client("    authentication: private_key_jwk\n"), vec![("missing_secret", 2), ("unknown_word", 5)]),
        (
            client("    authentication: private_key_jwt\n    jwks: { keys: [] }\n    jwks_uri: https://a.example\n"),
            vec![("no_usable_key", 6), ("two_key_sources", 6)],
        ),
        (
            client("    authentication: private_key_jwt\n    jwks: nothing\n"),
            vec![("missing_keys", 2), ("wrong_type", 6)],
        ),
        (
            client(&format!("{secret}    refresh: {{ grace: 61s }}\n")),
            vec![("refresh_grace_too_long", 6)],
        ),
        (
            "    trusted_issuers: [{ issuer: https://idp.example }]\n".to_owned(),
            vec![("missing_keys", 1)],
        ),
        (
            "listeners:\n  ext_authz: { tls: { certificate_file: a, key_file: b, client_ca_file: c, client_certificate: optional } }\n"
                .to_owned(),
            vec![("optional_certificate", 2)],
        ),
        (
            "listeners:\n  issuer: { tls: { certificate_file: a, key_file: b, client_certificate: optional } }\n".to_owned(),
            vec![("optional_certificate", 2)],
        ),
    ];
    for (text, expected) in rows {
        let mut found = errors(&text);
        found.sort_unstable_by_key(|(code, line)| (*line, *code));
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn attack_e18_a_key_pair_that_was_pasted_into_the_file_is_not_shown() {
    let text = "clients:\n  - { id: batch, type: service, grants: [client_credentials], authentication: private_key_jwt, jwks: { keys: [{ kty: EC, d: CANARY }] } }\n";
    let report = load(text).expect_err("refused");
    let shown = report.to_string();
    assert!(shown.contains("invalid_jwks") && !shown.contains("CANARY"), "{shown}");
}
