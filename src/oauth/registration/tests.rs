use serde_json::{Map, Value, json};

use super::*;
use crate::jose::alg::Algorithm;
use crate::jose::sign::SigningKey;
use crate::model::time::Timestamp;

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn read_as(
    speaker: Speaker,
    metadata: &Value,
    previous: Option<&ClientDocument>,
) -> Result<ClientDocument, Vec<Mistake>> {
    let reading = Reading {
        speaker,
        previous,
        now: Timestamp::from_unix_seconds(1_000),
        key_id: || "pks1".to_owned(),
    };
    read(&object(metadata), &reading)
}

fn of_itself(metadata: &Value) -> Result<ClientDocument, Vec<Mistake>> {
    read_as(Speaker::Itself, metadata, None)
}

fn fields(mistakes: &[Mistake]) -> Vec<&str> {
    mistakes.iter().map(|mistake| mistake.field.as_str()).collect()
}

#[test]
fn case_141_a_minimal_registration_gets_the_defaults_of_the_rfc() {
    let document = of_itself(&json!({"redirect_uris": ["https://app.example/cb"]})).expect("accepted");
    let shown = show(&document);
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(shown["grant_types"], json!(["authorization_code"]));
    assert_eq!(shown["response_types"], json!(["code"]));
    assert_eq!(shown["application_type"], "web");
    assert_eq!(shown["consent_method"], "REQUIRED");
}

#[test]
fn case_141_a_bad_redirect_uri_is_told_apart_from_other_metadata() {
    for uri in [
        "https://app.example/cb#x",
        "http://app.example/cb",
        "javascript:alert(1)",
        "/cb",
        "https://*.example/",
    ] {
        let mistakes = of_itself(&json!({"redirect_uris": [uri]})).expect_err(uri);
        assert!(mistakes.iter().any(|mistake| mistake.is_redirect), "{uri}");
    }
    for metadata in [
        json!({"grant_types": ["authorization_code"], "response_types": ["token"], "redirect_uris": ["https://a.example/"]}),
        json!({"grant_types": ["client_credentials"], "response_types": ["code"]}),
        json!({"grant_types": ["nonsense"]}),
        json!({"grant_types": []}),
        json!({"grant_types": "authorization_code"}),
        json!({"response_types": [""], "redirect_uris": ["https://a.example/"]}),
    ] {
        let mistakes = of_itself(&metadata).expect_err("refused");
        assert!(mistakes.iter().all(|mistake| !mistake.is_redirect), "{metadata}");
    }
}

#[test]
fn the_type_of_an_application_follows_from_what_it_says() {
    for (metadata, kind) in [
        (json!({"redirect_uris": ["https://a.example/"]}), "web"),
        (
            json!({"token_endpoint_auth_method": "none", "redirect_uris": ["https://a.example/"]}),
            "browser",
        ),
        (
            json!({"token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"]}),
            "native",
        ),
        (
            json!({"token_endpoint_auth_method": "none", "redirect_uris": ["com.bank.app:/cb"]}),
            "native",
        ),
        (
            json!({"token_endpoint_auth_method": "none", "redirect_uris": ["http://localhost/", "https://a.example/"]}),
            "browser",
        ),
        (json!({"grant_types": ["client_credentials"]}), "service"),
    ] {
        let document = of_itself(&metadata);
        // A private-use scheme is for native clients alone, so a wrong guess would be refused too.
        assert_eq!(document.expect("accepted").kind, kind, "{metadata}");
    }
}

#[test]
fn attack_f19_who_registers_itself_is_neither_trusted_nor_a_resource_server() {
    let metadata = json!({
        "grant_types": ["client_credentials"], "consent_method": "TRUSTED", "audiences": ["*"],
        "status": "ACTIVE", "client_id": "chosen", "roles": ["SUPER_ADMIN"],
    });
    let document = of_itself(&metadata).expect("unknown members are ignored");
    assert!(document.asks_consent);
    assert_eq!(document.audiences, [""; 0]);
    assert!(!show(&document).contains_key("roles"));
    let by_administrator = read_as(Speaker::Administrator, &metadata, None).expect("accepted");
    assert!(!by_administrator.asks_consent);
    assert_eq!(by_administrator.audiences, ["*"]);
}

#[test]
fn attack_f19_disabled_stays_disabled_and_assignments_stay_whatever_metadata_says() {
    let mut previous = of_itself(&json!({"grant_types": ["client_credentials"]})).expect("accepted");
    previous.status = crate::oauth::document::Status::Inactive;
    let changed = read_as(
        Speaker::Itself,
        &json!({"grant_types": ["client_credentials"], "status": "ACTIVE"}),
        Some(&previous),
    );
    assert_eq!(changed.expect("accepted").status, previous.status);
}

#[test]
fn attack_f20_urls_for_people_are_https_and_names_cannot_turn_the_text_around() {
    for url in [
        "javascript:alert(1)",
        "data:text/html,x",
        "http://a.example/",
        "https://u:p@a.example/",
        "//a.example",
        "https://a.example/\u{a0}",
    ] {
        for field in [
            "logo_uri",
            "tos_uri",
            "policy_uri",
            "client_uri",
            "initiate_login_uri",
            "frontchannel_logout_uri",
        ] {
            let metadata = json!({"redirect_uris": ["https://a.example/"], field: url});
            assert_eq!(fields(&of_itself(&metadata).expect_err(url)), [field]);
        }
    }
    for name in ["", " ", "a\nb", "pay\u{202e}lap", &"x".repeat(101)] {
        let metadata = json!({"redirect_uris": ["https://a.example/"], "client_name": name});
        assert_eq!(fields(&of_itself(&metadata).expect_err(name))[0], "client_name");
    }
    // Kept as it is: whoever shows it escapes it.
    let metadata = json!({"redirect_uris": ["https://a.example/"], "client_name": "<svg onload=x>"});
    assert_eq!(
        show(&of_itself(&metadata).expect("a text"))["client_name"],
        "<svg onload=x>"
    );
}

#[test]
fn attack_f48_what_would_weaken_or_is_not_honoured_is_refused() {
    for (field, value) in [
        ("id_token_signed_response_alg", json!("none")),
        ("id_token_signed_response_alg", json!("HS256")),
        ("request_object_signing_alg", json!("none")),
        ("userinfo_signed_response_alg", json!("none")),
        ("id_token_encrypted_response_alg", json!("RSA-OAEP")),
        ("subject_type", json!("pairwise")),
        ("sector_identifier_uri", json!("https://169.254.169.254/")),
        ("wildcard_redirect", json!("SUBDOMAIN")),
        ("require_signed_request_object", json!(true)),
        ("network", json!({"connection": "ZONE", "include": ["z1"]})),
        ("token_endpoint_auth_signing_alg", json!("none")),
        ("refresh_token", json!({"leeway": 61})),
        ("jwks_uri", json!("http://a.example/keys")),
        ("jwks_uri", json!("file:///etc/passwd")),
    ] {
        let metadata = json!({"redirect_uris": ["https://a.example/"], field: value});
        assert_eq!(fields(&of_itself(&metadata).expect_err(field)), [field], "{value}");
    }
    let public =
        json!({"application_type": "browser", "redirect_uris": ["https://a.example/"], "pkce_required": false});
    assert_eq!(fields(&of_itself(&public).expect_err("refused")), ["pkce_required"]);
    let said = json!({"redirect_uris": ["https://a.example/"], "request_object_signing_alg": null, "subject_type": "public",
        "id_token_signed_response_alg": "RS256", "network": {"connection": "ANYWHERE"}});
    assert!(of_itself(&said).is_ok());
}

#[test]
fn keys_are_public_unique_and_keep_their_identifiers() {
    let key = SigningKey::generate(Algorithm::Es256).expect("a key").public_jwk();
    let metadata = json!({"grant_types": ["client_credentials"], "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [key]}});
    let document = of_itself(&metadata).expect("accepted");
    assert_eq!(document.keys.len(), 1);
    // What was read is sent back: the key is the same one.
    let mut back = Value::Object(show(&document));
    back["jwks"]["keys"][0]["created"] = json!("2026-01-01T00:00:00Z");
    let mut previous = document.clone();
    previous.keys[0].id = "pks-old".to_owned();
    let again = read_as(Speaker::Itself, &back, Some(&previous)).expect("accepted");
    assert_eq!(again.keys, previous.keys);

    let pair = SigningKey::generate(Algorithm::Es256).expect("a key");
    let private = pair.private_jwk().expect("told");
    let private: Value = serde_json::from_str(private.expose_secret()).expect("JSON");
    for (name, keys) in [
        ("a private key", json!([private])),
        ("a secret", json!([{"kty": "oct", "k": "c2VjcmV0"}])),
        ("one twice", json!([key, key])),
        (
            "for encryption",
            json!([{"kty": key["kty"], "crv": key["crv"], "x": key["x"], "y": key["y"], "use": "enc"}]),
        ),
        ("no keys", json!("keys")),
        ("too many", json!(vec![key.clone(); KEYS_MAX + 1])),
    ] {
        let metadata = json!({"grant_types": ["client_credentials"], "jwks": {"keys": keys}});
        assert_eq!(fields(&of_itself(&metadata).expect_err(name)), ["jwks"], "{name}");
    }
    let both =
        json!({"grant_types": ["client_credentials"], "jwks": {"keys": [key]}, "jwks_uri": "https://a.example/keys"});
    assert_eq!(fields(&of_itself(&both).expect_err("refused")), ["jwks_uri"]);
}

#[test]
fn case_143_members_that_are_left_out_have_their_defaults_again() {
    let full = json!({"redirect_uris": ["https://a.example/"], "logo_uri": "https://a.example/logo",
        "grant_types": ["authorization_code", "refresh_token"], "dpop_bound_access_tokens": true});
    let previous = of_itself(&full).expect("accepted");
    let changed = read_as(
        Speaker::Itself,
        &json!({"redirect_uris": ["https://a.example/"]}),
        Some(&previous),
    );
    let shown = show(&changed.expect("accepted"));
    assert_eq!(shown["grant_types"], json!(["authorization_code"]));
    assert_eq!(shown["dpop_bound_access_tokens"], json!(false));
    assert!(!shown.contains_key("logo_uri"));
}
