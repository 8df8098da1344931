//! What `explain` and `test` share: a request and a token on the operator's word, a decision in JSON.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::config::cases::{CaseToken, RequestLine};
use crate::jose::json::{Limits, object};
use crate::model::time::Timestamp;
use crate::oauth::declared::TokenProfile;
use crate::policy::decision::Decision;
use crate::policy::facts::{Header, RequestFacts};
use crate::trust::settings::TrustedServerSettings;

/// The facts of a request as Envoy would send them.
pub(crate) fn facts<'a>(line: &'a RequestLine, headers: &'a [(String, String)]) -> RequestFacts<'a> {
    let mut facts = RequestFacts {
        method: &line.method,
        scheme: &line.scheme,
        host: &line.host,
        target: &line.target,
        request_id: "explain",
        ..RequestFacts::default()
    };
    let header = |(name, value): &'a (String, String)| Header {
        name,
        value: value.as_bytes(),
    };
    facts.headers.extend(headers.iter().map(header));
    facts
}

/// The claims of a compact token, without verifying it.
pub(crate) fn claims_of(token: &str) -> anyhow::Result<Map<String, Value>> {
    let mut parts = token.trim().split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        bail!("it is no compact JWS of three parts; for an opaque token say its claims with --claims");
    };
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .context("its second part is not base64url")?;
    object(&payload, Limits::TOKEN).context("its second part")
}

/// A case's token as its authorization server would mint it.
pub(crate) fn minted(
    token: &CaseToken,
    server: &TrustedServerSettings,
    profile: Option<TokenProfile>,
    now: Timestamp,
) -> Map<String, Value> {
    let mut claims = token.claims.clone();
    let mut say = |name: &str, value: Value| {
        claims.entry(name).or_insert(value);
    };
    say("iss", server.issuer.as_str().into());
    if let Some(audience) = server.audiences.first() {
        say("aud", audience.as_str().into());
    }
    let from_now = |seconds: i64| now.unix_seconds().saturating_add(seconds);
    say("exp", from_now(token.expires.unwrap_or(300)).into());
    if let Some(subject) = token.subject.as_ref().or(token.client.as_ref()) {
        say("sub", subject.as_str().into());
    }
    // A token that speaks for somebody says when that somebody signed in: just now, if the case does not say.
    if let Some(auth_time) = token.auth_time.or(token.subject.as_ref().map(|_| 0)) {
        say("auth_time", from_now(auth_time).into());
    }
    if let Some(client) = &token.client {
        let names: Vec<&str> = match profile {
            Some(TokenProfile::Okta) => vec!["cid"],
            Some(TokenProfile::Rfc9068) => vec!["client_id", "cid"],
            None => server
                .claim_names
                .client
                .first()
                .map(String::as_str)
                .into_iter()
                .collect(),
        };
        for name in names {
            say(name, client.as_str().into());
        }
    }
    if let Some(scope) = &token.scope {
        let list: Vec<&str> = scope.split(' ').filter(|part| !part.is_empty()).collect();
        match profile {
            Some(TokenProfile::Okta) => say("scp", json!(list)),
            Some(TokenProfile::Rfc9068) => say("scope", scope.as_str().into()),
            None => match server.claim_names.scope.first().map(String::as_str) {
                Some("scp") => say("scp", json!(list)),
                Some(name) => say(name, scope.as_str().into()),
                None => {}
            },
        }
    }
    claims
}

/// A decision as JSON.
pub(crate) fn told(decision: &Decision) -> Map<String, Value> {
    let told = match decision {
        Decision::Allow(permit) => json!({
            "allow": true,
            "status": 200,
            "api": permit.route().api.as_str(),
            "route": permit.route().name.as_str(),
            "headers": permit.headers().iter().map(|(name, value)| (name.to_string(), Value::from(value.as_str())))
                .collect::<Map<_, _>>(),
            "headers_to_remove": permit.headers_to_remove().collect::<Vec<_>>(),
        }),
        Decision::Deny(denial) => json!({
            "allow": false,
            "status": denial.status(),
            "reason": denial.reason().as_str(),
            "detail": denial.detail,
            "api": denial.route.as_ref().map(|route| route.api.as_str()),
            "route": denial.route.as_ref().map(|route| route.name.as_str()),
            "missing": denial.missing.iter().map(super::super::model::scope::Scope::as_str).collect::<Vec<_>>(),
            "www_authenticate": denial.challenges,
        }),
    };
    match told {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
