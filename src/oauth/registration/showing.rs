//! A document as metadata.

use serde_json::{Map, Value, json};

use crate::oauth::document::{ClientDocument, KeyDocument};

/// The response types that these grant types have (RFC 7591 section 2.1).
#[must_use]
pub fn response_types(grants: &[String]) -> Vec<&'static str> {
    let has = |name: &str| grants.iter().any(|grant| grant == name);
    let mut types = Vec::new();
    if has("implicit") {
        types.extend(["token", "id_token"]);
    }
    if has("authorization_code") {
        types.push("code");
    }
    types
}

/// The metadata of a client: no secret, and no digest of one.
#[must_use]
pub fn show(document: &ClientDocument) -> Map<String, Value> {
    let is_public = matches!(document.kind.as_str(), "native" | "browser");
    let usual = if is_public { "none" } else { "client_secret_basic" };
    let mut shown = document.extra.clone();
    let mut put = |name: &str, value: Value| drop(shown.insert(name.to_owned(), value));
    put("client_name", json!(document.name));
    put("application_type", json!(document.kind));
    put("grant_types", json!(document.grants));
    put("response_types", json!(response_types(&document.grants)));
    put("redirect_uris", json!(document.redirect_uris));
    put("post_logout_redirect_uris", json!(document.post_logout_redirect_uris));
    put(
        "token_endpoint_auth_method",
        json!(document.authentication.as_deref().unwrap_or(usual)),
    );
    put("dpop_bound_access_tokens", json!(document.dpop_bound_access_tokens));
    put(
        "tls_client_certificate_bound_access_tokens",
        json!(document.certificate_bound_access_tokens),
    );
    put(
        "consent_method",
        json!(if document.asks_consent { "REQUIRED" } else { "TRUSTED" }),
    );
    put("wildcard_redirect", json!("DISABLED"));
    if is_public {
        put("pkce_required", json!(true));
    }
    let rotation = if document.refresh.rotates { "ROTATE" } else { "STATIC" };
    put(
        "refresh_token",
        json!({"rotation_type": rotation, "leeway": document.refresh.grace_seconds}),
    );
    if let Some(uri) = &document.jwks_uri {
        put("jwks_uri", json!(uri));
    }
    if !document.keys.is_empty() {
        let keys: Vec<Value> = document.keys.iter().map(public_key).collect();
        put("jwks", json!({ "keys": keys }));
    }
    if let Some((field, value)) = &document.tls_subject {
        put(field, json!(value));
    }
    if !document.audiences.is_empty() {
        put("audiences", json!(document.audiences));
    }
    shown
}

fn public_key(key: &KeyDocument) -> Value {
    let mut members = key.jwk.clone();
    members.insert("status".to_owned(), json!(key.status));
    Value::Object(members)
}
