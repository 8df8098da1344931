//! No token is given out that is dead on arrival.
//!
//! A "dead since" fact speaks in whole seconds: it kills what was issued in its second or before
//! ([`crate::revocation`]). Two requests end up on the wrong side of that, and neither may get a token
//! that the gate refuses, or one that outlives its revocation:
//!
//! - A request that was under way when its client, user or server was revoked. It began with what was true
//!   then; its token is as old as its beginning, and the fact is newer.
//! - A request in the very second of the revocation, after which all is well again: the client was activated
//!   anew, the password was changed. The gate cannot tell its token from the ones that must die.
//!
//! Both are told to come back in a second (503, `Retry-After: 1`). What the first one finds then is the truth;
//! the second one gets its token. Rejected: an `iat` of the next second, which verifiers without leeway refuse,
//! and which would let a request that was under way outlive the revocation.

use crate::issuer::{Endpoint, Issuer, TokenAnswer};
use crate::model::time::Timestamp;
use crate::oauth::error::OAuthError;
use crate::revocation::Life;

impl Issuer {
    /// The answer, if its token is alive. `began` is the time before anything was looked at.
    pub(super) fn alive(
        &self,
        endpoint: &Endpoint,
        answer: TokenAnswer,
        began: Timestamp,
    ) -> Result<TokenAnswer, OAuthError> {
        let token = &answer.minted;
        let dead = self.services.revocations.dead(&Life {
            server: &endpoint.server.id,
            jti: Some(&token.id),
            session: token.session.as_ref().map(crate::model::id::GrantId::as_str),
            subject: Some(&token.subject),
            client: Some(&token.client),
            kid: Some(&token.kid),
            // A successor that is told again has the `iat` of the first time.
            issued_at: Some(token.issued_at.min(began)),
        });
        match dead {
            Some(fact) => {
                tracing::info!(authorization_server.id = %endpoint.server.id, "a token was dead on arrival: {fact}");
                Err(OAuthError::Overtaken)
            }
            None => Ok(answer),
        }
    }
}
