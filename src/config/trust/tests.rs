//! Servers that are managed over the API, as the file names them.

use std::path::Path;
use std::time::Duration;

use crate::config::source::Memory;
use crate::config::{Report, Settings, load};

fn checked(text: &str) -> Result<Settings, Report> {
    let path = Path::new("/etc/scopegate/scopegate.yaml");
    load(path, &Memory::of(path, text))
}

/// A file whose one authorization server is managed and has these further keys.
fn managed(keys: &str) -> String {
    format!(
        "public_url: https://id.example
listeners: {{ issuer: {{ tls: {{ certificate_file: a, key_file: b }} }} }}
authorization_servers:
  - {{ id: payments, {keys} }}
apis:
  - name: payments
    hosts: [api.example]
    authorization_server: payments
    routes:
      - path: /payments
        GET: \"payments:read\"
"
    )
}

#[test]
fn a_managed_server_is_named_and_nothing_else_is_known_of_it() {
    use crate::trust::settings::ManagedReference;
    let reference = |keys: &str| {
        let settings = checked(&managed(keys)).unwrap_or_else(|report| panic!("{keys}: {report}"));
        assert!(settings.issuer.is_some(), "it mints here");
        assert!(settings.trust.is_empty());
        assert_eq!(settings.report.findings(), [], "its scopes and clients come and go");
        let [server] = settings.managed.as_slice() else {
            panic!("one")
        };
        assert_eq!(server.id.as_str(), "payments");
        (server.reference.clone(), server.leeway)
    };
    let named = |name: &str| (ManagedReference::Name(name.to_owned()), Duration::ZERO);
    assert_eq!(reference("managed: true"), named("payments"));
    assert_eq!(reference("managed: true, name: Money out"), named("Money out"));
    let (by_id, leeway) = reference("managed: true, server_id: aus1, leeway: 5s");
    assert!(matches!(by_id, ManagedReference::Id(id) if id.as_str() == "aus1"));
    assert_eq!(leeway, Duration::from_secs(5));
}

#[test]
fn what_a_managed_server_cannot_say_in_the_file_is_an_error() {
    let codes = |text: &str| -> Vec<&str> {
        let report = checked(text).expect_err("an error");
        report.findings().iter().map(|finding| finding.code).collect()
    };
    for (keys, code) in [
        ("managed: false", "invalid_managed"),
        ("managed: true, name: a, server_id: b", "several_references"),
        ("managed: true, server_id: \"\"", "invalid_identifier"),
        ("managed: true, audience: a", "unknown_key"),
        ("managed: true, issuer: \"https://elsewhere.example\"", "unknown_key"),
        ("managed: true, leeway: 61s", "leeway_too_long"),
    ] {
        assert_eq!(codes(&managed(keys)), [code], "{keys}");
    }
    let nowhere = managed("managed: true").replace("public_url: https://id.example\n", "");
    assert!(codes(&nowhere).contains(&"missing_public_url"), "{:?}", codes(&nowhere));
    let twice = managed("managed: true").replace("apis:", "  - { id: payments, managed: true, name: b }\napis:");
    assert_eq!(codes(&twice), ["duplicate_authorization_server"]);
}
