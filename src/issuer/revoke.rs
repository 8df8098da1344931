//! RFC 7009: a client gives a token back. And how a grant ends, for whatever reason.
//!
//! - A refresh token ends its grant: the access tokens that came of it are dead at the gate and at
//!   introspection (case 115). An access token dies alone, and the refresh token lives (case 116).
//! - Only a token that this server gave, and gave to this very client, has an effect (attack F13).
//!   Everything else is answered alike: who does not hold the token's client credentials learns nothing
//!   about it.
//! - `token_type_hint` is not looked at: what a token is can be seen (case 117).

use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::issuer::authenticate::authenticate;
use crate::issuer::grants::ends_of;
use crate::issuer::{Endpoint, FormRequest, Issuer, Note, Snapshot};
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Claims, Expectations, LEEWAY_MAX, TokenTypes, verify};
use crate::model::event::Event;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Jti};
use crate::model::time::Timestamp;
use crate::oauth::error::OAuthError;
use crate::oauth::refresh::{GrantRecord, RefreshToken};
use crate::oauth::token::ACCESS_TOKEN_TYPE;
use crate::revocation::{Life, Revocation};
use crate::store::grants::GrantSelector;

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
    let token = form.text("token").ok_or(OAuthError::MissingParameter("token"))?;
    let now = issuer.services.clock.now();
    if let Some(refresh) = RefreshToken::parse(token) {
        return refresh_token(issuer, endpoint, &client.client().id, &refresh).await;
    }
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

/// A refresh token, whichever of its grant: the grant ends.
async fn refresh_token(
    issuer: &Issuer,
    endpoint: &Endpoint,
    client: &ClientId,
    token: &RefreshToken,
) -> Result<(), OAuthError> {
    let store = &issuer.services.store;
    let message = RefreshToken::message(token.grant(), token.shown());
    if !token.matches(&store.sealing.mac(RefreshToken::PURPOSE, &message)) {
        return Ok(());
    }
    let record = store.store.grant(token.grant()).await.map_err(OAuthError::internal)?;
    let is_own = |record: &GrantRecord| record.server == endpoint.server.id && record.client == *client;
    let Some(record) = record.filter(is_own) else {
        return Ok(());
    };
    let end = GrantEnd {
        server: &record.server,
        client: &record.client,
        id: &record.id,
        kind: AuditKind::TokenRevoked,
        detail: json!({ "token": "refresh_token" }),
    };
    end_grant(issuer, end).await
}

/// A grant that ends.
pub(super) struct GrantEnd<'a> {
    pub(super) server: &'a AuthorizationServerId,
    pub(super) client: &'a ClientId,
    pub(super) id: &'a GrantId,
    pub(super) kind: AuditKind,
    pub(super) detail: Value,
}

/// Ends a grant with every token of it: durable, then in force. It may have no record: then its access
/// tokens end. What has ended already ends again without a trace.
pub(super) async fn end_grant(issuer: &Issuer, end: GrantEnd<'_>) -> Result<(), OAuthError> {
    let services = &issuer.services;
    let now = services.clock.now();
    let store = &services.store.store;
    let record = store.grant(end.id).await.map_err(OAuthError::internal)?;
    let is_alive = record.is_some_and(|record| record.revoked_at.is_none());
    // Whoever shows a used code in a loop must not fill the disk.
    if !is_alive && services.revocations.dead(&life_of(end.server, end.id, now)).is_some() {
        return Ok(());
    }
    let revocations = ends_of(&issuer.snapshot.load(), end.server, end.id, now);
    let mut event = AuditEvent {
        at: now,
        kind: end.kind,
        server: Some(end.server.clone()),
        client: Some(end.client.clone()),
        error_id: None,
        actor: None,
        target: Some(AuditTarget {
            kind: "Grant".to_owned(),
            id: end.id.to_string(),
        }),
        detail: end.detail,
    };
    event.detail["grant_id"] = json!(end.id.as_str());
    let which = GrantSelector::One(end.id.clone());
    let stored = store
        .revoke_grants(&which, now, &revocations, std::slice::from_ref(&event))
        .await;
    stored.map_err(OAuthError::internal)?;
    for fact in revocations {
        issuer.put_in_force(fact);
    }
    crate::audit::log(&event);
    Ok(())
}

fn life_of<'a>(server: &'a AuthorizationServerId, id: &'a GrantId, now: Timestamp) -> Life<'a> {
    Life {
        server,
        jti: None,
        session: Some(id.as_str()),
        subject: None,
        client: None,
        kid: None,
        issued_at: Some(now),
    }
}

/// The identifier and the end of a token, if it is alive, ours, and this client's.
fn own_token(endpoint: &Endpoint, client: &ClientId, token: &str, now: Timestamp) -> Option<(Jti, Timestamp)> {
    let mut unverified = Unverified::parse(token).ok()?;
    let expectations = Expectations {
        issuer: &endpoint.issuer,
        audiences: &endpoint.server.audiences(),
        algorithms: &SigningKey::ALGORITHMS,
        token_types: &TokenTypes::Only(vec![ACCESS_TOKEN_TYPE.to_owned()]),
        // The gate may still accept it for so long.
        leeway: LEEWAY_MAX,
        now,
    };
    let claims = verify(&mut unverified, &endpoint.keys.live().load(), &expectations).ok()?;
    let claims: &Claims = claims.get();
    let is_own = claims.members.text("cid") == Some(client.as_str());
    is_own
        .then(|| claims.jti().map(|jti| (jti, claims.expires_at)))
        .flatten()
}
