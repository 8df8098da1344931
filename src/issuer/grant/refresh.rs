//! RFC 6749 section 6, RFC 9700 section 4.14: a grant goes on.
//!
//! 1. The token is ours and names a living grant of this server and client, and the key that the grant
//!    is bound to was proven. A stranger who shows it is refused and learns nothing, and the grant of
//!    its owner stays (case 091).
//! 2. A token that has a successor ends the grant, with every token of it; within the grace it is
//!    answered with the *same* successor, and an access token of the same identifier and life.
//! 3. User, client, assignment and policies are looked at again, with the scopes of the new access
//!    token; what is refused is `invalid_grant`. A grant never becomes wider, nor longer.
//! 4. The answer is made first; then the store moves the generation on, one winner for all nodes; then
//!    the answer is given. So a failure on our side costs nobody the grant.

use serde_json::json;

use crate::audit::AuditKind;
use crate::issuer::Note;
use crate::issuer::grant::person::{audiences_of_grant, idle_end, outcome, refresh_token};
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::mint::{MintRequest, TokenAnswer, mint};
use crate::issuer::people::{self, Person};
use crate::issuer::revoke::{GrantEnd, end_grant};
use crate::model::id::Jti;
use crate::model::time::Timestamp;
use crate::oauth::access::{Granted, TokenRequestFacts};
use crate::oauth::error::{GrantFailure, OAuthError, RefreshFailure};
use crate::oauth::grant::GrantType;
use crate::oauth::held::{Held, renewed};
use crate::oauth::refresh::{GrantRecord, Presented, RefreshToken, Shown, began_by, present};
use crate::oauth::token::{TokenSession, access_token_id};
use crate::store::grants::{Rotated, Rotation};

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::RefreshToken)?;
        let now = context.issuer.services.clock.now();
        let (token, record) = find(context, note).await?;
        let presented = accept(context, &record, &token, now, note).await?;
        let renewal = Renewal::decide(context, record, token.shown(), now, note).await?;
        match presented {
            Presented::Grace => renewal.answer(context, &renewal.record),
            _ => renewal.rotate(context).await,
        }
    })
}

/// The refresh token of the request, and the grant that it belongs to.
async fn find(context: &GrantContext<'_>, note: &mut Note) -> Result<(RefreshToken, GrantRecord), OAuthError> {
    let text = context.form.value("refresh_token");
    let text = text.ok_or(OAuthError::MissingParameter("refresh_token"))?;
    let store = &context.issuer.services.store;
    let token = RefreshToken::parse(text.expose_secret()).ok_or(RefreshFailure::Unknown)?;
    let message = RefreshToken::message(token.grant(), token.shown());
    if !token.matches(&store.sealing.mac(RefreshToken::PURPOSE, &message)) {
        return Err(RefreshFailure::Unknown.into());
    }
    note.set("grant_id", json!(token.grant().as_str()));
    let record = store.store.grant(token.grant()).await.map_err(OAuthError::internal)?;
    let record = record.ok_or(RefreshFailure::Unknown)?;
    if record.server != context.endpoint.server.id {
        return Err(RefreshFailure::OtherServer.into());
    }
    if record.client != context.client.client().id {
        return Err(RefreshFailure::OtherClient.into());
    }
    // SECURITY: before reuse is looked for. Who does not hold the key of the grant cannot end it.
    if record.binding.is_some() && record.binding != context.binding {
        return Err(GrantFailure::KeyMismatch.into());
    }
    Ok((token, record))
}

/// What the token is now; only a current one, or the last one within the grace, goes on.
async fn accept(
    context: &GrantContext<'_>,
    record: &GrantRecord,
    token: &RefreshToken,
    now: Timestamp,
    note: &mut Note,
) -> Result<Presented, OAuthError> {
    let presented = present(record, token.shown(), now, context.client.client().options.refresh);
    let failure = match presented {
        Presented::Current | Presented::Grace => return Ok(presented),
        Presented::Reused => {
            note.set("generation_shown", json!(token.shown().to_string()));
            note.set("generation", json!(record.generation));
            reuse(context, record, token.shown()).await?;
            RefreshFailure::Reused
        }
        Presented::FromTheFuture => {
            tracing::error!(
                grant.id = %record.id,
                "a refresh token was shown that this store has not given yet: was an older backup restored?"
            );
            RefreshFailure::FromTheFuture
        }
        Presented::Expired => RefreshFailure::Expired,
        Presented::IdleExpired => RefreshFailure::IdleExpired,
        Presented::Revoked => RefreshFailure::Revoked,
        Presented::NotRotating => RefreshFailure::NotRotating,
    };
    Err(failure.into())
}

/// Somebody has a copy of a refresh token: the grant ends, and everything that came of it.
async fn reuse(context: &GrantContext<'_>, record: &GrantRecord, shown: Shown) -> Result<(), OAuthError> {
    let detail = json!({ "generation_shown": shown.to_string(), "generation": record.generation });
    let end = GrantEnd {
        server: &record.server,
        client: &record.client,
        id: &record.id,
        kind: AuditKind::RefreshReuseDetected,
        detail,
    };
    end_grant(context.issuer, end).await
}

/// A refresh that was decided.
struct Renewal {
    record: GrantRecord,
    shown: Shown,
    person: Person,
    granted: Granted,
    audiences: Vec<String>,
    idle_expires_at: Timestamp,
    ends_at: Timestamp,
    now: Timestamp,
}

impl Renewal {
    /// Looks at everything again: user, client, assignment, policies, scopes, resources.
    async fn decide(
        context: &GrantContext<'_>,
        record: GrantRecord,
        shown: Shown,
        now: Timestamp,
        note: &mut Note,
    ) -> Result<Self, OAuthError> {
        let user = record.user.as_ref().ok_or(GrantFailure::UserGone)?;
        note.set("user", json!(user.as_str()));
        let person = people::by_id(context.issuer, context.snapshot, user).await?;
        let person = person.ok_or(GrantFailure::UserGone)?;
        let held = Held {
            began_by: began_by(&record.id),
            scopes: Some(&record.scopes),
        };
        let scopes = held.refreshed_scopes(requested_scopes(context.form)?)?;
        let audiences = audiences_of_grant(context, &record.resources)?;
        let facts = TokenRequestFacts {
            server: &record.server,
            client: &record.client,
            grant: GrantType::RefreshToken,
            user: Some(person.facts()),
            scopes: scopes.as_ref(),
        };
        let decision = held.decide_refresh(&context.snapshot.model, &facts);
        let (granted, lifetimes) = renewed(outcome(decision, note))?;
        // The rule that holds now may give a shorter life than the one that granted, never a longer one.
        let ends_at = record.expires_at.min(record.auth_time.plus(lifetimes.lifetime));
        if now >= ends_at {
            return Err(RefreshFailure::Expired.into());
        }
        Ok(Self {
            idle_expires_at: idle_end(now, lifetimes, ends_at),
            ends_at,
            record,
            shown,
            person,
            granted,
            audiences,
            now,
        })
    }

    /// The store moves the generation on; who comes second is told the same successor.
    async fn rotate(&self, context: &GrantContext<'_>) -> Result<TokenAnswer, OAuthError> {
        let next = GrantRecord {
            generation: self.record.generation.saturating_add(1),
            rotated_at: self.now,
            idle_expires_at: self.idle_expires_at,
            ..self.record.clone()
        };
        let answer = self.answer(context, &next)?;
        let rotation = Rotation {
            id: &self.record.id,
            from: self.record.generation,
            at: self.now,
            idle_expires_at: self.idle_expires_at,
        };
        let rotated = context.issuer.services.store.store.rotate_grant(&rotation).await;
        let overtaken = match rotated.map_err(OAuthError::internal)? {
            Rotated::Done(_) => return Ok(answer),
            Rotated::Overtaken(record) => record,
            Rotated::Unknown => return Err(RefreshFailure::Unknown.into()),
        };
        let rotation = context.client.client().options.refresh;
        match present(&overtaken, self.shown, self.now, rotation) {
            // A static token: somebody else has used it too.
            Presented::Current if self.shown == Shown::Static => Ok(answer),
            Presented::Grace => self.answer(context, &overtaken),
            Presented::Reused => {
                reuse(context, &overtaken, self.shown).await?;
                Err(RefreshFailure::Reused.into())
            }
            Presented::Revoked => Err(RefreshFailure::Revoked.into()),
            Presented::Expired => Err(RefreshFailure::Expired.into()),
            Presented::IdleExpired => Err(RefreshFailure::IdleExpired.into()),
            Presented::NotRotating => Err(RefreshFailure::NotRotating.into()),
            Presented::Current | Presented::FromTheFuture => {
                Err(OAuthError::internal("the store did not rotate a grant that is current"))
            }
        }
    }

    /// The answer that comes with this state of the grant: the same for all who are told of it.
    fn answer(&self, context: &GrantContext<'_>, record: &GrantRecord) -> Result<TokenAnswer, OAuthError> {
        let rotates = context.client.client().options.refresh.rotates;
        let (id, issued_at) = if rotates {
            (Some(self.token_id(context, record)), self.issued_at(record))
        } else {
            (None, self.now)
        };
        let request = MintRequest {
            client: context.client.client(),
            grant: GrantType::RefreshToken,
            granted: &self.granted,
            person: Some(&self.person),
            session: Some(TokenSession {
                id: &record.id,
                auth_time: record.auth_time,
                amr: &record.amr,
                acr: record.acr.as_deref(),
            }),
            // OIDC Core section 12.2: an ID token of a refresh needs none.
            nonce: None,
            audiences: &self.audiences,
            binding: context.binding,
            actor: None,
            issued_at,
            not_after: Some(self.ends_at),
            id,
        };
        let mut answer = mint(context.issuer, context.endpoint, &request)?;
        answer.refresh_token = Some(refresh_token(context, record));
        Ok(answer)
    }

    /// When the access token of a generation is issued: when its refresh token was; now, if a token of
    /// then would be dead.
    fn issued_at(&self, record: &GrantRecord) -> Timestamp {
        let then = record.rotated_at.min(self.now);
        if then.plus(self.granted.access_token()) > self.now {
            then
        } else {
            self.now
        }
    }

    /// The identifier of the access token of a generation: the same for the same request.
    fn token_id(&self, context: &GrantContext<'_>, record: &GrantRecord) -> Jti {
        let key = context.binding.map(|binding| binding.confirmation().to_string());
        let message = json!([
            record.id.as_str(),
            record.generation,
            self.granted.scopes().to_string(),
            self.audiences,
            key
        ]);
        let sealing = &context.issuer.services.store.sealing;
        let digest = sealing.mac("access token id", message.to_string().as_bytes());
        access_token_id(&crate::model::digest::Digest::from_bytes(digest).to_base64url())
    }
}
