use serde_json::json;

use super::*;
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::trust::settings::{FetchPolicy, KeySource, TokenTypes};

const EXPIRY: Timestamp = Timestamp::from_unix_seconds(1_800_000_300);

fn read(claims: &Value) -> Result<TokenFacts, Unreadable> {
    let server = TrustedServerSettings {
        id: AuthorizationServerId::parse("bank").unwrap(),
        issued_as: None,
        is_ours: false,
        issuer: Issuer::parse("https://bank.example").unwrap(),
        audiences: Vec::new(),
        algorithms: Vec::new(),
        token_types: TokenTypes::Usual,
        claim_names: ClaimNames::default(),
        leeway: std::time::Duration::ZERO,
        keys: KeySource::Local,
        introspection: None,
        fetch: FetchPolicy::default(),
        keys_stale_max: std::time::Duration::ZERO,
        keys_cooldown: std::time::Duration::ZERO,
    };
    lay_out(&server, claims.as_object().unwrap().clone(), None, EXPIRY)
}

#[test]
fn edge_j16_edge_j17_attack_a41_scopes_are_exact_tokens_of_the_first_claim() {
    let cases = [
        (json!({"scope": "a  b"}), Some("a b")),
        (json!({"scope": " b a a"}), Some("a b")),
        (json!({"scp": ["b", "a"]}), Some("a b")),
        (json!({"scope": "a", "scp": ["b"]}), Some("a")),
        (json!({"scope": ""}), Some("")),
        (json!({"scope": null}), Some("")),
        (json!({"scope": {}}), Some("")),
        (json!({}), Some("")),
        (json!({"scp": ["a b"]}), None),
        (json!({"scp": ["a", 1]}), None),
        (json!({"scope": "a\tb"}), None),
        (json!({"scope": "a\u{a0}b"}), None),
        (json!({"scope": 7}), None),
    ];
    for (claims, expected) in cases {
        let scopes = read(&claims).ok().map(|facts| facts.scopes().to_string());
        assert_eq!(scopes.as_deref(), expected, "{claims}");
    }
}

#[test]
fn edge_j13_the_client_is_the_first_of_the_names_that_is_present() {
    let client = |claims: Value| read(&claims).map(|facts| facts.client().map(ToString::to_string));
    assert_eq!(client(json!({"cid": "b", "azp": "c"})), Ok(Some("b".to_owned())));
    assert_eq!(client(json!({"client_id": "a", "cid": "b"})), Ok(Some("a".to_owned())));
    assert_eq!(client(json!({})), Ok(None));
    for bad in [json!(1), json!([]), json!(""), json!("a\nb"), Value::Null] {
        assert!(client(json!({"client_id": bad, "cid": "b"})).is_err(), "{bad}");
    }
}

#[test]
fn edge_x15_a_confirmation_that_cannot_be_checked_refuses_the_token() {
    let print = Digest::of(b"key").to_base64url();
    let both = read(&json!({"cnf": {"jkt": print, "x5t#S256": print}})).unwrap();
    assert_eq!(both.confirmation().dpop_key, Some(Digest::of(b"key")));
    assert_eq!(both.confirmation().certificate, Some(Digest::of(b"key")));
    for cnf in [
        json!({"kid": "1"}),
        json!({"jkt": print, "jwk": {}}),
        json!({"jkt": "short"}),
        json!({"jkt": format!("{print}=")}),
        json!({"jkt": 1}),
        json!({}),
        json!([]),
        json!("x"),
        Value::Null,
    ] {
        assert!(read(&json!({"cnf": cnf})).is_err(), "{cnf}");
    }
}

#[test]
fn the_claims_read_the_same_whatever_the_issuer_calls_them() {
    let facts = read(&json!({"sub": "alice", "cid": "mobile", "scp": ["b", "a"], "sid": "s", "acr": "1"})).unwrap();
    assert_eq!(facts.claims().text("client_id"), Some("mobile"));
    assert_eq!(facts.claims().text("scope"), Some("a b"));
    assert_eq!((facts.session(), facts.acr()), (Some("s"), Some("1")));
    for claims in [
        json!({"sub": 1}),
        json!({"sid": 1}),
        json!({"acr": 1}),
        json!({"auth_time": "x"}),
        json!({"iat": 1.5}),
    ] {
        assert!(read(&claims).is_err(), "{claims}");
    }
}
