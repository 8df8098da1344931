//! RFC 7009: a client gives a token back.
//!
//! Only a token that this server signed, that is alive, and that was issued to this very client has
//! an effect (attack F13). Everything else is answered alike: who does not hold the token's client
//! credentials learns nothing about it.

use serde_json::{Value, json};

use crate::audit::AuditKind;
use crate::issuer::authenticate::authenticate;
use crate::issuer::{Endpoint, FormRequest, Issuer, Note, Snapshot};
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Claims, Expectations, LEEWAY_MAX, TokenTypes, verify};
use crate::model::event::Event;
use crate::model::id::{ClientId, Jti};
use crate::model::time::Timestamp;
use crate::oauth::error::OAuthError;
use crate::oauth::token::ACCESS_TOKEN_TYPE;
use crate::revocation::Revocation;

/// Answers a revocation request: durable, then in force, then acknowledged.
pub(super) async fn answer(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    request: &FormRequest<'_>,
    note: &mut Note,
) -> Result<(), OAuthError> {
    let form = request.form()?;
    let client = authenticate(issuer, snapshot, endpoint, request, &form, note).await?;
    // `token_type_hint` only says where to look first, and there is one place (case 117).
    let token = form.text("token").ok_or(OAuthError::MissingParameter("token"))?;
    let now = issuer.services.clock.now();
    let Some((jti, until)) = own_token(endpoint, &client.client().id, token, now) else {
        return Ok(());
    };
    let mut told = Note::new(endpoint.server.id.as_str());
    told.client = Some(client.client().id.clone());
    told.set("jti", json!(jti.as_str()));
    let event = told.event(issuer, AuditKind::TokenRevoked, None);
    let revocation = Revocation::Token {
        server: endpoint.server.id.clone(),
        jti,
        until,
    };
    // INVARIANT: the store first. Were it the table, a crash in between would bring a token back to
    // life whose death the gate has shown already.
    let stored = issuer.services.store.store.revoke(&revocation, &event).await;
    stored.map_err(OAuthError::internal)?;
    issuer.services.revocations.revoke(revocation);
    crate::audit::log(&event);
    issuer.services.events.record(&Event::Revoked { kind: "token" });
    Ok(())
}

/// The identifier and the end of a token, if it is alive, ours, and this client's.
fn own_token(endpoint: &Endpoint, client: &ClientId, token: &str, now: Timestamp) -> Option<(Jti, Timestamp)> {
    let unverified = Unverified::parse(token).ok()?;
    let expectations = Expectations {
        issuer: &endpoint.issuer,
        audiences: &endpoint.server.audiences(),
        algorithms: &SigningKey::ALGORITHMS,
        token_types: &TokenTypes::Only(vec![ACCESS_TOKEN_TYPE.to_owned()]),
        // The gate may still accept it for so long.
        leeway: LEEWAY_MAX,
        now,
    };
    let claims = verify(&unverified, &endpoint.keys.live().load(), &expectations).ok()?;
    let claims: &Claims = claims.get();
    let is_own = claims.map.get("cid").and_then(Value::as_str) == Some(client.as_str());
    is_own
        .then(|| claims.jti.clone().map(|jti| (jti, claims.expires_at)))
        .flatten()
}
