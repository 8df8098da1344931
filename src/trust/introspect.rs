//! Asking an authorization server about an opaque token (RFC 7662).
//!
//! Only an answer that says `"active": true`, as a JSON boolean, makes a token good. Everything
//! else (another type, another status, a broken document, a time-out) is no yes: a document that
//! says no is [`Introspection::Inactive`], an endpoint that does not answer in the protocol's form is
//! [`Introspection::Unavailable`]. Nothing is cached here; `authz` keeps answers.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::jose::json::{self, Limits};
use crate::jose::verify::LEEWAY_MAX;
use crate::model::time::Timestamp;
use crate::trust::fetch::Fetch;
use crate::trust::settings::{IntrospectionSettings, TrustedServerSettings};

/// What an introspection endpoint says of a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Introspection {
    /// The token is good, and this is what it says.
    Active(Map<String, Value>),
    /// The token is not good, or not for us.
    Inactive,
    /// There is no usable answer just now.
    Unavailable {
        /// When the endpoint asks to be asked again, where it says so (429, 503).
        retry_after: Option<Duration>,
    },
}

/// Asks about a token.
pub(crate) async fn introspect(
    server: &TrustedServerSettings,
    endpoint: &IntrospectionSettings,
    fetch: &dyn Fetch,
    token: &str,
    now: Timestamp,
) -> Introspection {
    let form = [("token", token), ("token_type_hint", "access_token")];
    let client = (endpoint.client_id.as_str(), &endpoint.client_secret);
    match fetch.post_form(&endpoint.url, &server.fetch, client, &form).await {
        Ok(answer) if answer.status == 200 => judge(server, &answer.body, now),
        Ok(answer) => Introspection::Unavailable {
            retry_after: answer.retry_after,
        },
        Err(_) => Introspection::Unavailable { retry_after: None },
    }
}

fn judge(server: &TrustedServerSettings, body: &[u8], now: Timestamp) -> Introspection {
    let Ok(answer) = json::map(body, Limits::DOCUMENT) else {
        return Introspection::Unavailable { retry_after: None };
    };
    match answer.get("active") {
        Some(Value::Bool(true)) if is_for_us(server, &answer, now) => Introspection::Active(answer),
        Some(Value::Bool(_)) => Introspection::Inactive,
        // SECURITY (attack C12): `"true"`, 1 or no member at all is an endpoint that does not speak
        // RFC 7662, and no yes.
        _ => Introspection::Unavailable { retry_after: None },
    }
}

/// The members that the answer has must fit; RFC 7662 section 2.2 makes all of them optional.
fn is_for_us(server: &TrustedServerSettings, answer: &Map<String, Value>, now: Timestamp) -> bool {
    let issuer = answer
        .get("iss")
        .is_none_or(|issuer| issuer.as_str() == Some(server.issuer.as_str()));
    let ours = |audience: &Value| {
        audience
            .as_str()
            .is_some_and(|text| server.audiences.iter().any(|one| one == text))
    };
    let audience = match answer.get("aud") {
        None => true,
        Some(Value::Array(audiences)) => audiences.iter().any(ours),
        Some(audience) => ours(audience),
    };
    let time = |name: &str| answer.get(name).map(json::whole_number);
    let leeway = server.leeway.min(LEEWAY_MAX);
    let alive = match time("exp") {
        None => true,
        Some(expiry) => expiry.is_some_and(|expiry| now < Timestamp::from_unix_seconds(expiry).plus(leeway)),
    };
    let begun = match time("nbf") {
        None => true,
        Some(begin) => begin.is_some_and(|begin| Timestamp::from_unix_seconds(begin) <= now.plus(leeway)),
    };
    issuer && audience && alive && begun
}
