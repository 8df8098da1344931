//! The same pipeline before an assumed caller: what `explain`, `test` and the token preview run.
//!
//! The operator says which claims the token has. What a server would put into each token and the
//! operator left out (`iss`, `aud`, `iat`, `exp`) is filled in; what is said is judged as on the wire,
//! so that an assumed token of the wrong issuer or audience, or one that has expired, is refused.
//! The caller is taken to hold whatever key the token is bound to.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::authz::binding::{Asked, Bindings, Unproven};
use crate::authz::credential::Credential;
use crate::authz::token;
use crate::authz::vouch::{Vouch, Vouched, leeway};
use crate::authz::{Outcome, check};
use crate::jose::json::whole_number;
use crate::jose::verify::VerifyError;
use crate::model::event::CacheOutcome;
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::policy::caller::VerifiedToken;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decision::{Decision, Denial};
use crate::policy::facts::{Header, RequestFacts};
use crate::policy::select::Selected;
use crate::policy::trace::Tracer;
use crate::trust::settings::TrustedServerSettings;

/// How long an assumed token lives that does not say.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Who asks, by the operator's word.
#[derive(Debug, Clone, Default)]
pub enum Assumed {
    /// Nobody in particular: the request's headers are judged as they are, and no token is believed.
    #[default]
    Nobody,
    /// The holder of a token with these claims, whatever the request's Authorization header says.
    Token(Map<String, Value>),
}

/// Decides on a request by an assumed caller.
pub fn explain(
    policy: &CompiledPolicy,
    servers: &[TrustedServerSettings],
    facts: &RequestFacts<'_>,
    assumed: &Assumed,
    now: Timestamp,
    tracer: &mut impl Tracer,
) -> Decision {
    let world = Assuming { servers, assumed, now };
    let mut facts = facts.clone();
    if let Assumed::Token(claims) = assumed {
        let bound = claims.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
        let value: &[u8] = if bound { b"DPoP assumed" } else { b"Bearer assumed" };
        facts
            .headers
            .retain(|header| !header.name.eq_ignore_ascii_case("authorization"));
        facts.headers.push(Header {
            name: "authorization",
            value,
        });
    }
    match check(policy, &facts, &world, now, tracer) {
        Outcome::Decided(decision, _) => decision,
        Outcome::Wait(_) => Decision::Deny(Denial::because(Reason::Unavailable, "an assumed caller cannot wait")),
    }
}

struct Assuming<'a> {
    servers: &'a [TrustedServerSettings],
    assumed: &'a Assumed,
    now: Timestamp,
}

impl Vouch for Assuming<'_> {
    fn vouch(&self, credential: &Credential<'_>, selected: &Selected<'_>) -> Vouched {
        if let Err(detail) = credential.check_grammar() {
            return Vouched::Malformed(detail);
        }
        let refused = |detail| Vouched::Refused(detail, CacheOutcome::Unused);
        let Assumed::Token(claims) = self.assumed else {
            return refused("no token is assumed, and none is verified here");
        };
        let mut refusal = "the token is of no authorization server of the api";
        for id in &selected.api().servers {
            let Some(server) = self.servers.iter().find(|server| server.id == *id) else {
                continue;
            };
            match self.believe(server, claims.clone()) {
                Ok(token) => return Vouched::Token(Arc::new(token), CacheOutcome::Unused),
                Err(detail) => refusal = detail,
            }
        }
        refused(refusal)
    }

    fn bindings(&self, asked: &Asked<'_, '_>) -> Result<Bindings, Unproven> {
        let confirmation = asked.token.confirmation();
        Ok(Bindings {
            proof: confirmation.dpop_key,
            certificate: confirmation.certificate,
            next_nonce: None,
        })
    }
}

impl Assuming<'_> {
    fn believe(
        &self,
        server: &TrustedServerSettings,
        mut claims: Map<String, Value>,
    ) -> Result<VerifiedToken, &'static str> {
        let now = self.now.unix_seconds();
        claims.entry("iss").or_insert_with(|| server.issuer.as_str().into());
        claims.entry("iat").or_insert_with(|| now.into());
        claims
            .entry("exp")
            .or_insert_with(|| self.now.plus(LIFETIME).unix_seconds().into());
        if let Some(audience) = server.audiences.first() {
            claims.entry("aud").or_insert_with(|| audience.as_str().into());
        }
        if claims.get("iss").and_then(Value::as_str) != Some(server.issuer.as_str()) {
            return Err(VerifyError::Issuer.detail());
        }
        if !names_one_of(claims.get("aud"), &server.audiences) {
            return Err(VerifyError::Audience.detail());
        }
        let moment = |name: &str| match claims.get(name) {
            None => Ok(None),
            Some(value) => whole_number(value)
                .map(|seconds| Some(Timestamp::from_unix_seconds(seconds)))
                .ok_or(VerifyError::Time.detail()),
        };
        let leeway = leeway(server);
        let expires_at = moment("exp")?.ok_or(VerifyError::ExpiryAbsent.detail())?;
        if self.now >= expires_at.plus(leeway) {
            return Err(VerifyError::Expired.detail());
        }
        if moment("nbf")?.is_some_and(|begin| begin > self.now.plus(leeway)) {
            return Err(VerifyError::NotYetValid.detail());
        }
        if moment("iat")?.is_some_and(|issued| issued > self.now.plus(leeway)) {
            return Err(VerifyError::IssuedInFuture.detail());
        }
        let facts = token::statement(server, &claims.into(), None, expires_at)?.lay_out()?;
        Ok(VerifiedToken::assertion_by_authz(facts))
    }
}

fn names_one_of(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|text| ours.iter().any(|one| one == text));
    match audience {
        Some(Value::Array(several)) => several.iter().any(is_ours),
        Some(one) => is_ours(one),
        None => false,
    }
}
