//! RFC 6749 section 4.1.3: a code is redeemed, once.
//!
//! - What the code is bound to is compared first ([`Approved::redeem`]); then user, client, assignment
//!   and policies are looked at again, as of now.
//! - The store uses the code and keeps the grant in one transaction: one winner, however many callers
//!   and nodes. Only then the answer is given; it was made before.
//! - A code that was shown by the wrong client, or with the wrong proof, is burnt: whoever has it is
//!   not who it was given to (attack F05).
//! - A code that is shown again ends what came of it (RFC 6749 section 4.1.2, attack F04).

use serde_json::json;

use crate::audit::AuditKind;
use crate::entropy;
use crate::issuer::grant::person::{Opening, grant_id};
use crate::issuer::grant::{GrantAnswer, GrantContext};
use crate::issuer::revoke::{GrantEnd, end_grant};
use crate::issuer::{Issuer, Note, TokenAnswer, people};
use crate::model::digest::Digest;
use crate::model::id::GrantId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::authorization::{Approved, CODE_BYTES, Code, Pending, Redeemed, Redemption};
use crate::oauth::error::{CodeFailure, GrantFailure, OAuthError};
use crate::oauth::grant::GrantType;
use crate::oauth::held::denied;
use crate::oauth::pkce::Verifier;
use crate::store::grants::{OneTime, OneTimeKind, Used};

const KIND: OneTimeKind = OneTimeKind::AuthorizationCode;

impl Issuer {
    /// Gives a code for what a person agreed to: for the authorization response.
    ///
    /// # Errors
    /// When it could not be kept.
    pub async fn give_code(&self, approved: &Approved) -> Result<Secret<String>, OAuthError> {
        let code = Code::new(entropy::random_text::<CODE_BYTES>());
        let thing = OneTime {
            kind: KIND,
            digest: code.digest(),
            expires_at: approved.expires_at(),
            payload: approved.to_payload(),
            used_by: None,
        };
        let kept = self.services.store.store.put_one_time(&thing).await;
        kept.map_err(OAuthError::internal)?;
        Ok(code.text().clone())
    }
}

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::AuthorizationCode)?;
        let now = context.issuer.services.clock.now();
        let form = context.form;
        let text = form.value("code").ok_or(OAuthError::MissingParameter("code"))?;
        let verifier = form.value("code_verifier").map(Verifier::read).transpose()?;
        let digest = Code::shown(text).ok_or(CodeFailure::Unknown)?.digest();
        let store = &context.issuer.services.store.store;
        let thing = store.one_time(KIND, &digest).await.map_err(OAuthError::internal)?;
        let thing = thing.ok_or(CodeFailure::Unknown)?;
        let approved = Approved::read(&thing.payload)
            .ok_or_else(|| OAuthError::internal("the store holds a code that cannot be read"))?;
        if let Some(by) = &thing.used_by {
            return replayed(context, approved.request(), by).await;
        }
        let request = approved.request().clone();
        let redemption = Redemption {
            server: &context.endpoint.server.id,
            client: &context.client.client().id,
            redirect_uri: form.text("redirect_uri"),
            verifier,
            binding: context.binding,
            now,
        };
        let outcome = match approved.redeem(&redemption) {
            Ok(redeemed) => redeem(context, &digest, &request, &redeemed, now, note).await,
            Err(failure) => Err(failure.into()),
        };
        if let Err(OAuthError::Grant(_)) = &outcome {
            let by = grant_id(GrantType::AuthorizationCode);
            // Whether this is the first use or not: it is used now.
            let _used = store
                .use_one_time(KIND, &digest, &by, None)
                .await
                .map_err(OAuthError::internal)?;
        }
        outcome
    })
}

/// The code fits: the tokens are made, the code is used, the tokens are given.
async fn redeem(
    context: &GrantContext<'_>,
    digest: &Digest,
    request: &Pending,
    redeemed: &Redeemed,
    now: Timestamp,
    note: &mut Note,
) -> Result<TokenAnswer, OAuthError> {
    let approval = &redeemed.approval;
    let person = people::by_id(context.issuer, context.snapshot, &approval.user).await?;
    let person = person.ok_or(GrantFailure::UserGone)?;
    let opening = Opening {
        grant: GrantType::AuthorizationCode,
        person: &person,
        // The `scope` of a token request is not looked at: what was agreed to is known (case 059).
        scopes: Some(&approval.scopes),
        resources: Some(&redeemed.resources),
        auth_time: approval.auth_time,
        amr: &approval.amr,
        acr: approval.acr.as_deref(),
        nonce: redeemed.nonce.as_deref(),
        now,
    };
    let opened = opening.decide(context, note).map_err(denied)?;
    note.set("grant_id", json!(opened.id.as_str()));
    let answer = opening.answer(context, &opened)?;
    let store = &context.issuer.services.store.store;
    let used = store
        .use_one_time(KIND, digest, &opened.id, opened.record.as_ref())
        .await;
    match used.map_err(OAuthError::internal)? {
        Used::First(_) => Ok(answer),
        Used::Again(by) => replayed(context, request, &by).await,
        Used::Unknown => Err(CodeFailure::Unknown.into()),
    }
}

/// The code was used before: whoever used it first may have stolen it, so what came of it ends.
async fn replayed(context: &GrantContext<'_>, request: &Pending, by: &GrantId) -> Result<TokenAnswer, OAuthError> {
    let end = GrantEnd {
        server: &request.server,
        client: &request.client,
        id: by,
        kind: AuditKind::CodeReplayed,
        detail: json!({ "shown_by": context.client.client().id.as_str() }),
    };
    end_grant(context.issuer, end).await?;
    Err(CodeFailure::Replayed.into())
}
