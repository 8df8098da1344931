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

use serde_json::Value;

use crate::issuer::{Endpoint, Issuer, TokenAnswer};
use crate::jose::unverified::Unverified;
use crate::model::id::{ClientId, Jti, Kid, Subject};
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
        match self.is_dead_on_arrival(endpoint, answer.access_token.expose_secret(), began) {
            Some(fact) => {
                tracing::info!(authorization_server.id = %endpoint.server.id, "a token was dead on arrival: {fact}");
                Err(OAuthError::Overtaken)
            }
            None => Ok(answer),
        }
    }

    fn is_dead_on_arrival(&self, endpoint: &Endpoint, token: &str, began: Timestamp) -> Option<&'static str> {
        // What is too large to be read is refused by the gate for that.
        let token = Unverified::parse(token).ok()?;
        let claims = token.claims_unverified();
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let jti = text("jti").and_then(|text| Jti::parse(text).ok());
        let subject = text("sub").and_then(|text| Subject::parse(text).ok());
        let client = text("cid").and_then(|text| ClientId::parse(text).ok());
        let kid = token.kid().and_then(|text| Kid::parse(text).ok());
        // A successor that is told again has the `iat` of the first time.
        let issued_at = claims
            .get("iat")
            .and_then(Value::as_i64)
            .map(Timestamp::from_unix_seconds);
        self.services.revocations.dead(&Life {
            server: &endpoint.server.id,
            jti: jti.as_ref(),
            session: text("sid"),
            subject: subject.as_ref(),
            client: client.as_ref(),
            kid: kid.as_ref(),
            issued_at: issued_at.map(|issued_at| issued_at.min(began)),
        })
    }
}
