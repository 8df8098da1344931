use proptest::prelude::*;

use super::*;
use crate::config::source::Memory;
use crate::model::finding::Severity;
use crate::net::settings::{ListenAddress, TlsSettings};
use crate::telemetry::settings::DecisionLogTarget;
use crate::trust::settings::{KeySource, TokenTypes};

const BANK: &str = include_str!("../../tests/examples/bank/scopegate.yaml");
const BROKEN: &str = include_str!("../../tests/examples/broken/scopegate.yaml");
const EXTERNAL: &str = include_str!("../../tests/examples/external/scopegate.yaml");

fn path() -> &'static Path {
    Path::new("/etc/scopegate/scopegate.yaml")
}

fn checked(text: &str) -> Result<Settings, Report> {
    load_text(path(), text, &Memory::default())
}

/// The errors of a text, as codes with lines.
fn errors(text: &str) -> Vec<(&'static str, u32)> {
    let report = checked(text).map_or_else(|report| report, |settings| settings.report);
    let errors = report
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.code, finding.location.line)).collect()
}

#[test]
fn the_bank_example_gives_settings_for_every_room() {
    let settings = checked(BANK).expect("no error");
    assert!(settings.dev);
    assert_eq!(
        settings.public_url.map(String::from).as_deref(),
        Some("https://127.0.0.1:8443/")
    );
    let issuer = settings.listeners.issuer.expect("declared");
    assert_eq!(
        issuer.address,
        ListenAddress::Tcp("127.0.0.1:8443".parse().expect("address"))
    );
    assert_eq!(
        issuer.tls,
        TlsSettings::Dev {
            folder: "data/dev-ca".into()
        }
    );
    assert_eq!(settings.listeners.ext_authz.expect("declared").tls, TlsSettings::Plain);
    assert!(matches!(settings.store, Some(StoreSettings::Sqlite(path)) if path == Path::new("data/scopegate.db")));
    let otlp = settings.telemetry.otlp.expect("declared");
    assert_eq!((otlp.endpoint.as_str(), otlp.sample), ("http://127.0.0.1:4317", 0.1));
    assert_eq!(settings.telemetry.decision_log.to, DecisionLogTarget::Stdout);
    let [transfers, transactions] = settings.trust.as_slice() else {
        panic!("two servers")
    };
    assert_eq!(transfers.issuer.as_str(), "https://127.0.0.1:8443/oauth2/transfers");
    assert_eq!(transfers.audiences, ["https://api.bank.example/transfers"]);
    assert!(matches!(transfers.keys, KeySource::Local));
    assert_eq!(transfers.algorithms, [crate::jose::alg::Algorithm::Es256]);
    for server in [transfers, transactions] {
        // an ID token of the same server is never an access token (J14)
        assert_eq!(server.token_types, TokenTypes::Only(vec!["at+jwt".to_owned()]));
        assert_eq!(server.leeway, Duration::ZERO);
    }
    let issuer = settings.issuer.expect("local servers");
    assert_eq!((issuer.declared.clients.len(), issuer.declared.users.len()), (3, 2));
    assert_eq!(settings.policy.apis.len(), 2);
    assert_eq!(settings.version.len(), 12);
}

#[test]
fn the_external_example_gives_trust_without_an_issuer_or_a_store() {
    let settings = checked(EXTERNAL).expect("no error");
    assert!(settings.issuer.is_none() && settings.store.is_none() && !settings.dev);
    let [orders, keycloak, legacy] = settings.trust.as_slice() else {
        panic!("three servers")
    };
    assert!(matches!(orders.keys, KeySource::Discovery));
    assert_eq!(orders.claim_names.client, ["cid"]);
    assert_eq!(orders.claim_names.scope, ["scp"]);
    assert!(matches!(&keycloak.keys, KeySource::Uri(url) if url.as_str() == "https://sso.internal.example/certs"));
    assert_eq!(
        keycloak.token_types,
        TokenTypes::Only(vec!["JWT".to_owned(), "at+jwt".to_owned()])
    );
    assert!(matches!(legacy.keys, KeySource::None));
    assert_eq!(
        legacy.introspection.as_ref().map(|settings| settings.cache),
        Some(Duration::from_secs(60))
    );
    assert!(settings.policy.apis.first().is_some_and(|api| api.paths.merge_slashes));
}

#[test]
fn how_stale_revocations_may_be_is_said_in_seconds_at_least() {
    let with = |period: &str| {
        format!(
            "gate: {{ revocations: {{ stale_after: {period} }} }}\n{}",
            external("jwks_file: k")
        )
    };
    let settings = checked(&with("90s")).expect("no error");
    assert_eq!(settings.gate.revocations_stale_after, Some(Duration::from_secs(90)));
    let report = checked(&with("500ms")).expect_err("too short");
    assert_eq!(report.findings()[0].code, "invalid_period");
    assert_eq!(
        checked(&external("jwks_file: k"))
            .expect("no error")
            .gate
            .revocations_stale_after,
        None
    );
}

#[test]
fn a_thread_looks_for_checks_only_where_it_is_told_to_and_not_for_long() {
    let with = |period: &str| format!("gate: {{ busy_poll: {period} }}\n{}", external("jwks_file: k"));
    let settings = checked(&with("1ms")).expect("no error");
    assert_eq!(settings.gate.busy_poll, Duration::from_millis(1));
    let report = checked(&with("101ms")).expect_err("too long");
    assert_eq!(report.findings()[0].code, "invalid_period");
    let silent = checked(&external("jwks_file: k")).expect("no error");
    assert_eq!(silent.gate.busy_poll, Duration::ZERO);
}

#[test]
fn a_secret_that_cannot_be_read_is_a_warning_to_check_and_an_error_to_serve() {
    let mut source = Memory::of(path(), EXTERNAL);
    let settings = load(path(), &source).expect("a warning only");
    assert_eq!((settings.report.errors(), settings.report.warnings()), (0, 1));
    let report = load_for_serving(path(), &source).expect_err("the secret is missing");
    let [finding] = report.findings() else {
        panic!("{report}")
    };
    assert_eq!(
        (finding.code, finding.severity, finding.location.line),
        ("secret_file_unreadable", Severity::Error, 22)
    );
    source.files.insert("/run/secrets/legacy".into(), b"canary\n".to_vec());
    let settings = load_for_serving(path(), &source).expect("the secret is there");
    assert_eq!(settings.report.findings(), []);
    let secret = settings
        .trust
        .last()
        .and_then(|server| server.introspection.as_ref())
        .expect("declared");
    assert_eq!(secret.client_secret.expose_secret(), "canary");
    assert!(!format!("{settings:?}").contains("canary"));
}

/// A configuration with one external server that has these further keys.
fn external(keys: &str) -> String {
    format!("authorization_servers:\n  - {{ id: o, issuer: \"https://o.example\", audience: o, {keys} }}\n")
}

#[test]
fn attack_a15_a_short_hmac_secret_is_refused_at_load() {
    for (bytes, algorithm, refused) in [
        (1, "HS256", true),
        (8, "HS256", true),
        (31, "HS256", true),
        (32, "HS256", false),
        (47, "HS384", true),
        (48, "HS384", false),
        (63, "HS512", true),
        (64, "HS512", false),
    ] {
        let text = external(&format!("shared_secret_file: s, algorithms: [{algorithm}]"));
        let mut source = Memory::of(path(), &text);
        source.files.insert("/etc/scopegate/s".into(), vec![b'k'; bytes]);
        let outcome = load(path(), &source);
        assert_eq!(outcome.is_err(), refused, "{bytes} bytes for {algorithm}");
        if let Err(report) = outcome {
            assert_eq!(
                report.findings().first().map(|finding| finding.code),
                Some("weak_secret")
            );
        }
    }
    let mut source = Memory::of(path(), &external("shared_secret_file: s, algorithms: [HS256]"));
    source.files.insert("/etc/scopegate/s".into(), Vec::new());
    assert!(load(path(), &source).is_err(), "0 bytes");
}

#[test]
fn hmac_needs_a_secret_and_a_secret_needs_hmac() {
    let rows = [
        ("algorithms: [HS256]", "algorithm_without_secret"),
        ("algorithms: [RS256, HS256]", "algorithm_without_secret"),
        (
            "algorithms: [HS256, RS256], shared_secret_file: s",
            "algorithm_with_secret",
        ),
        ("shared_secret_file: s", "secret_without_algorithm"),
        ("algorithms: [none]", "unknown_algorithm"),
        ("algorithms: [rs256]", "unknown_algorithm"),
        ("algorithms: []", "empty_list"),
        ("jwks_uri: \"https://a.example\", jwks_file: k", "several_key_sources"),
    ];
    for (keys, code) in rows {
        assert_eq!(errors(&external(keys)), [(code, 2)], "{keys}");
    }
}

#[test]
fn edge_j10_leeway_is_at_most_a_minute_and_may_be_nothing() {
    for (leeway, sound) in [("0s", true), ("60s", true), ("1m", true), ("61s", false), ("5m", false)] {
        let expected: &[(&str, u32)] = if sound { &[] } else { &[("leeway_too_long", 2)] };
        assert_eq!(errors(&external(&format!("leeway: {leeway}"))), expected, "{leeway}");
    }
    let settings = checked(&external("scopes: []")).expect("no error");
    assert!(
        settings
            .trust
            .iter()
            .all(|server| server.leeway <= Duration::from_secs(60))
    );
}

#[test]
fn endpoints_are_https_outside_dev() {
    for keys in [
        "jwks_uri: \"http://o.example/keys\"",
        "introspection: { url: \"http://o.example/i\", client_id: g, client_secret_file: s }, algorithms: [RS256]",
    ] {
        assert_eq!(errors(&external(keys)), [("insecure_url", 2)], "{keys}");
        assert_eq!(errors(&format!("dev: true\n{}", external(keys))), [], "{keys}");
    }
    assert_eq!(
        errors("authorization_servers:\n  - { id: o, issuer: \"http://o.example\", audience: o }\n"),
        [("insecure_url", 2)]
    );
    assert_eq!(
        errors("authorization_servers:\n  - { id: o, issuer: joe, audience: o }\n"),
        [("invalid_issuer", 2)]
    );
    assert_eq!(
        errors("authorization_servers:\n  - { id: o, issuer: joe, audience: o, jwks_file: k }\n"),
        []
    );
}

/// A minimal issuer outside dev, to be made wrong.
const ISSUER: &str = "public_url: https://auth.example\nlisteners: { issuer: { address: \"10.0.0.1:443\", tls: { certificate_file: c, key_file: k } } }\nauthorization_servers:\n  - { id: shop, audience: shop }\n";

/// Name, what is replaced, by what, errors by code and line.
type Mistake<'r> = (&'r str, &'r str, &'r str, &'r [(&'r str, u32)]);

#[test]
fn attack_f50_what_is_insecure_is_refused_outside_dev() {
    assert_eq!(errors(ISSUER), []);
    let rows: [Mistake<'_>; 12] = [
        (
            "plain http",
            "https://auth.example",
            "http://auth.example",
            &[("insecure_public_url", 1)],
        ),
        (
            "plain http on loopback",
            "https://auth.example",
            "http://127.0.0.1",
            &[("insecure_public_url", 1)],
        ),
        (
            "no TLS",
            ", tls: { certificate_file: c, key_file: k }",
            "",
            &[("missing_tls", 2)],
        ),
        ("half of TLS", ", key_file: k", "", &[("missing_key", 2)]),
        (
            "no listeners",
            "listeners: { issuer: { address: \"10.0.0.1:443\", tls: { certificate_file: c, key_file: k } } }",
            "",
            &[("missing_tls", 1)],
        ),
        (
            "users with passwords",
            "public_url",
            "users: [{ login: a, password: b }]\npublic_url",
            &[("users_outside_dev", 1)],
        ),
        (
            "no public URL",
            "public_url: https://auth.example",
            "",
            &[("missing_public_url", 4)],
        ),
        (
            "dev on every interface",
            "public_url",
            "dev: true\npublic_url",
            &[("dev_not_loopback", 3)],
        ),
        (
            "a password in the store's URL",
            "public_url",
            "store: postgres://u:canary@h/d\npublic_url",
            &[("password_in_url", 1)],
        ),
        (
            "several nodes without a common key",
            "public_url",
            "store: postgres://u@h/d\npublic_url",
            &[("missing_sealing_key", 1)],
        ),
        (
            "a key from two places",
            "public_url",
            "store: { url: postgres://u@h/d, sealing_key: { file: a, env: B } }\npublic_url",
            &[("invalid_sealing_key", 1)],
        ),
        (
            "a key from a command without a program",
            "public_url",
            "store: { url: sqlite://a, sealing_key: { command: [] } }\npublic_url",
            &[("invalid_sealing_key", 1)],
        ),
    ];
    for (name, from, to, expected) in rows {
        let text = ISSUER.replacen(from, to, 1);
        assert_ne!(text, ISSUER, "{name}");
        assert_eq!(errors(&text), expected, "{name}");
        let report = checked(&text).expect_err(name);
        assert!(!report.to_string().contains("canary"), "{report}");
    }
}

#[test]
fn the_sealing_key_comes_from_a_file_a_variable_or_a_command() {
    let sealing_key = |store: &str, dev: bool| {
        let text = format!("dev: {dev}\nstore: {store}\n{ISSUER}");
        let text = if dev {
            text.replace("10.0.0.1", "127.0.0.1")
        } else {
            text
        };
        let mut source = Memory::default();
        source.variables.insert("KEY".to_owned(), "canary".to_owned());
        let settings = load_text(path(), &text, &source).expect("good");
        assert!(!format!("{settings:?}").contains("canary"));
        settings.sealing_key.map(|source| source.to_string())
    };
    let of_file = sealing_key("{ url: postgres://u@h/d, sealing_key: { file: seal.key } }", false);
    assert_eq!(of_file.as_deref(), Some("the file `/etc/scopegate/seal.key`"));
    let of_variable = sealing_key("{ url: postgres://u@h/d, sealing_key: { env: KEY } }", false);
    assert_eq!(of_variable.as_deref(), Some("the variable `KEY`"));
    let of_command = sealing_key("{ url: sqlite://a, sealing_key: { command: [vault, read] } }", false);
    assert_eq!(of_command.as_deref(), Some("the command `vault`"));
    assert_eq!(sealing_key("sqlite://a", false), None);
    let of_dev = sealing_key("postgres://u@127.0.0.1/d", true);
    assert_eq!(of_dev.as_deref(), Some("the file `data/scopegate.key`"));
}

#[test]
fn listeners_do_not_share_an_address() {
    let rows = [
        ("127.0.0.1:1", "127.0.0.1:1", true),
        ("0.0.0.0:1", "127.0.0.1:1", true),
        ("[::]:1", "127.0.0.1:1", true),
        ("127.0.0.1:0", "127.0.0.1:0", false),
        ("127.0.0.1:1", "127.0.0.2:1", false),
        ("127.0.0.1:1", "127.0.0.1:2", false),
        ("unix:/a", "unix:/a", true),
        ("unix:/a", "unix:/b", false),
    ];
    for (one, other, collide) in rows {
        let text =
            format!("listeners:\n  ext_authz: {{ address: \"{one}\" }}\n  telemetry: {{ address: \"{other}\" }}\n");
        let expected: &[(&str, u32)] = if collide { &[("duplicate_address", 3)] } else { &[] };
        assert_eq!(errors(&text), expected, "{one} and {other}");
    }
}

#[test]
fn attack_d30_reflection_is_off_unless_the_ext_authz_listener_turns_it_on() {
    let reflection = |listeners: &str| {
        let settings = checked(&format!("dev: true\n{listeners}")).expect("no error");
        settings.listeners.reflection
    };
    assert!(reflection("listeners: { ext_authz: { reflection: true } }\n"));
    for off in [
        "",
        "listeners: { telemetry: {} }\n",
        "listeners: { ext_authz: {} }\n",
        "listeners: { ext_authz: { address: \"127.0.0.1:0\" } }\n",
        "listeners: { ext_authz: { reflection: false } }\n",
    ] {
        assert!(!reflection(off), "{off}");
    }
    let vague = "listeners: { ext_authz: { reflection: on request } }\n";
    assert_eq!(errors(vague), [("wrong_type", 1)]);
    let elsewhere = "listeners:\n  ext_authz: {}\n  telemetry: { reflection: true }\n";
    assert_eq!(errors(elsewhere), [("unknown_key", 3)]);
}

#[test]
fn edge_d07_a_status_cannot_be_configured_at_all() {
    let text = "apis:\n  - { name: a, hosts: [a.example], routes: [{ path: /, GET: public }], status: 451 }\n";
    assert_eq!(errors(text), [("unknown_key", 2)]);
    let text = "apis:\n  - { name: a, hosts: [a.example], routes: [{ path: /, GET: { status: 418 } }] }\n";
    assert_eq!(errors(text), [("unknown_key", 2)]);
}

#[test]
fn edge_i11_identity_headers_with_a_meaning_of_their_own_are_refused() {
    for name in [
        "host",
        "authorization",
        "x-envoy-internal",
        "x-forwarded-client-cert",
        "\":path\"",
        "te",
        "X_A",
    ] {
        let text = format!("{EXTERNAL}    forward: {{ headers: {{ {name}: token.sub }} }}\n");
        let found = errors(&text);
        assert!(
            matches!(found.as_slice(), [("protected_header" | "bad_header_name", 44)]),
            "{name}: {found:?}"
        );
    }
    assert_eq!(
        errors(&format!(
            "{EXTERNAL}    forward: {{ headers: {{ x-sub: token.sub }} }}\n"
        )),
        []
    );
}

#[test]
fn one_server_has_one_name_and_an_api_names_its_servers_once() {
    let twice = format!("{ISSUER}  - {{ id: shop, issuer: \"https://o.example\", audience: o }}\n");
    assert_eq!(errors(&twice), [("duplicate_authorization_server", 5)]);
    let both = EXTERNAL.replacen(
        "authorization_server: orders",
        "authorization_server: orders\n    authorization_servers: [orders]",
        1,
    );
    assert_eq!(errors(&both), [("several_server_keys", 28)]);
    let none = EXTERNAL.replacen("    clients: any", "    #", 1);
    assert_eq!(errors(&none), [("missing_clients", 26)]);
}

#[test]
fn what_is_tolerated_in_paths_is_a_word_a_list_or_a_mapping() {
    let expected = crate::policy::declared::PathOptions {
        merge_slashes: true,
        ignore_trailing_slash: true,
        ..Default::default()
    };
    for paths in [
        "[merge_slashes, ignore_trailing_slash]",
        "{ merge_slashes: true, trailing_slash: ignore, dot_segments: refuse }",
    ] {
        let settings = checked(&EXTERNAL.replacen("paths: merge_slashes", &format!("paths: {paths}"), 1)).expect(paths);
        assert_eq!(
            settings.policy.apis.first().map(|api| api.paths),
            Some(expected),
            "{paths}"
        );
    }
    assert_eq!(
        errors(&EXTERNAL.replacen("paths: merge_slashes", "paths: merge_slash", 1)),
        [("unknown_word", 30)]
    );
}

/// Variables, endpoint with sampling, whether a variable was ignored.
type Environment<'r> = (&'r [(&'r str, &'r str)], Option<(String, f64)>, bool);

#[test]
fn variables_of_opentelemetry_win_over_the_file() {
    let load = |variables: &[(&str, &str)]| {
        let mut source = Memory::default();
        for (name, value) in variables {
            source.variables.insert((*name).to_owned(), (*value).to_owned());
        }
        let settings = load_text(path(), BANK, &source).expect("no error");
        let warned = settings
            .report
            .findings()
            .iter()
            .any(|finding| finding.code == "environment_ignored");
        (settings.telemetry.otlp.map(|otlp| (otlp.endpoint, otlp.sample)), warned)
    };
    let file = || "http://127.0.0.1:4317".to_owned();
    let rows: [Environment<'_>; 9] = [
        (&[], Some((file(), 0.1)), false),
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1")],
            Some(("http://c:1".to_owned(), 0.1)),
            false,
        ),
        (
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:1"),
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://d:1"),
            ],
            Some(("http://d:1".to_owned(), 0.1)),
            false,
        ),
        (&[("OTEL_TRACES_SAMPLER", "always_on")], Some((file(), 1.0)), false),
        (
            &[
                ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "0.5"),
            ],
            Some((file(), 0.5)),
            false,
        ),
        (
            &[
                ("OTEL_TRACES_SAMPLER", "traceidratio"),
                ("OTEL_TRACES_SAMPLER_ARG", "2"),
            ],
            Some((file(), 0.1)),
            true,
        ),
        (&[("OTEL_TRACES_SAMPLER", "xray")], Some((file(), 0.1)), true),
        (&[("OTEL_SDK_DISABLED", "true")], None, false),
        (&[("OTEL_TRACES_EXPORTER", "none")], None, false),
    ];
    for (variables, otlp, warned) in rows {
        assert_eq!(load(variables), (otlp, warned), "{variables:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_reported_like_any_other_mistake() {
    let report = load(Path::new("/nowhere.yaml"), &Memory::default()).expect_err("there is none");
    assert!(
        report
            .to_string()
            .starts_with("/nowhere.yaml: error[unreadable_file]: it cannot be read: "),
        "{report}"
    );
}

fn mutations() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        Just(String::new()),
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just(": ".to_owned()),
        Just("- ".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("}".to_owned()),
        Just("\"".to_owned()),
        Just("~".to_owned()),
        Just("7".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    let text = prop_oneof![Just(BANK), Just(BROKEN), Just(EXTERNAL)];
    (text, any::<prop::sample::Index>(), 0..12_usize, pieces).prop_map(|(text, at, length, piece)| {
        let characters: Vec<char> = text.chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        let mut mutated: String = characters[..start].iter().collect();
        mutated.push_str(&piece);
        mutated.extend(&characters[end..]);
        mutated
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_mutation_of_an_example_panics_and_every_error_has_a_place(text in mutations()) {
        if let Err(report) = checked(&text) {
            prop_assert!(report.errors() > 0);
            for finding in report.findings() {
                prop_assert!(finding.location.line >= 1 && finding.location.column >= 1, "{finding:?}");
                prop_assert!(!finding.message.is_empty());
            }
            prop_assert!(report.to_string().contains(" error"));
        }
    }
}
