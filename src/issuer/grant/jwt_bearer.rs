//! RFC 7523 section 2.1: an issuer that this server trusts says who the user is.
//!
//! The assertion takes the place of a sign-in, and of nothing else: the user must be there, active and assigned to
//! the client, a rule must grant, and what needs the consent of a person is refused, as with every other grant
//! (attack F33). It is good once (its `jti`), for us alone (`aud`), and for an hour at most.
//!
//! An Identity Assertion Authorization Grant (`typ: oauth-id-jag+jwt`, case 135) says more, and is held to it: it lives
//! for five minutes at most, is for the client that shows it, and bounds scopes and resources.

use std::time::Duration;

use serde_json::{Value, json};

use crate::issuer::grant::person::Opening;
use crate::issuer::grant::{GrantAnswer, GrantContext, requested_scopes};
use crate::issuer::people::{self, Person};
use crate::issuer::{Note, TokenAnswer};
use crate::jose::object::{Object, ValueRef};
use crate::jose::unverified::Unverified;
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::access::TrustedIssuer;
use crate::oauth::assertion::{Accepted, AssertionProblem, LIFETIME_MAX, Rules, judge};
use crate::oauth::error::{AssertionFailure as F, OAuthError};
use crate::oauth::grant::GrantType;
use crate::oauth::resource::InvalidTarget;
use crate::store::grants::ReplayPurpose;

/// The `typ` of an Identity Assertion Authorization Grant (draft-ietf-oauth-identity-assertion-authz-grant section 3).
const ID_JAG_TYPE: &str = "oauth-id-jag+jwt";

/// How long one may live (case 135).
const ID_JAG_LIFETIME_MAX: Duration = Duration::from_secs(300);

pub(super) fn answer<'a>(context: &'a GrantContext<'_>, note: &'a mut Note) -> GrantAnswer<'a> {
    Box::pin(async move {
        context.admit(GrantType::JwtBearer)?;
        let now = context.issuer.services.clock.now();
        let assertion = Assertion::verify(context, now, note).await?;
        let person = assertion.person(context).await?;
        let scopes = assertion.scopes(context)?;
        assertion.check_resources(context)?;
        let amr = assertion.amr();
        let opening = Opening {
            grant: GrantType::JwtBearer,
            person: &person,
            scopes: scopes.as_ref(),
            resources: None,
            auth_time: assertion.auth_time(),
            amr: &amr,
            acr: assertion.text("acr"),
            nonce: None,
            now,
        };
        let opened = opening.decide(context, note)?;
        context.ask_nobody(&opened.granted)?;
        let answer: TokenAnswer = opening.answer(context, &opened)?;
        assertion.use_up(context).await?;
        Ok(answer)
    })
}

/// An assertion of an issuer that the server trusts, whose claims and signature are good.
struct Assertion<'a> {
    issuer: &'a TrustedIssuer,
    claims: Object,
    accepted: Accepted,
    is_id_jag: bool,
}

impl<'a> Assertion<'a> {
    async fn verify(context: &GrantContext<'a>, now: Timestamp, note: &mut Note) -> Result<Self, OAuthError> {
        let text = context.form.value("assertion");
        let text = text.ok_or(OAuthError::MissingParameter("assertion"))?;
        let token = Unverified::parse(text.expose_secret()).map_err(|_| F::Problem(AssertionProblem::Malformed))?;
        let named = token.issuer().ok_or(F::Problem(AssertionProblem::Issuer))?;
        let trusted = &context.endpoint.server.trusted_issuers;
        let issuer = trusted
            .iter()
            .find(|trusted| trusted.issuer == named)
            .ok_or(F::Untrusted)?;
        note.set("assertion_issuer", json!(issuer.issuer));
        let is_id_jag = match token.typ() {
            None => false,
            Some(typ) if typ.eq_ignore_ascii_case("JWT") => false,
            Some(typ) if typ.eq_ignore_ascii_case(ID_JAG_TYPE) => true,
            // SECURITY: what was signed for another purpose (an access token, a logout token) signs nobody in.
            Some(_) => return Err(F::Type.into()),
        };
        // An ID-JAG names the issuer; a plain assertion may name the token endpoint too.
        let audiences = &context.endpoint.assertion_audiences;
        let rules = Rules {
            issuer: &issuer.issuer,
            subject: None,
            audiences: if is_id_jag { &audiences[..1] } else { audiences },
            lifetime_max: if is_id_jag { ID_JAG_LIFETIME_MAX } else { LIFETIME_MAX },
            now,
        };
        let signing_input = token.signing_input().as_bytes();
        let accepted = judge(token.claims_unverified(), signing_input, &rules).map_err(F::Problem)?;
        let (peers, services) = (&context.issuer.peers, &context.issuer.services);
        peers.verify(services, &issuer.keys, &token).await.map_err(F::Problem)?;
        let assertion = Self {
            issuer,
            claims: token.claims_unverified().clone(),
            accepted,
            is_id_jag,
        };
        if is_id_jag {
            assertion.check_id_jag(context, now)?;
        }
        Ok(assertion)
    }

    fn check_id_jag(&self, context: &GrantContext<'_>, now: Timestamp) -> Result<(), OAuthError> {
        if self.text("client_id") != Some(context.client.client().id.as_str()) {
            return Err(F::ClientMismatch.into());
        }
        if self.text("jti").is_none() {
            return Err(F::Problem(AssertionProblem::Jti).into());
        }
        let issued_at = self.seconds("iat").ok_or(F::Problem(AssertionProblem::Time))?;
        // It lives five minutes from when it was made, not from when it is shown.
        if self.accepted.expires_at > issued_at.plus(ID_JAG_LIFETIME_MAX) || issued_at > now.plus(ID_JAG_LIFETIME_MAX) {
            return Err(F::Problem(AssertionProblem::TooLong).into());
        }
        Ok(())
    }

    /// Whom it speaks of. That there is no such user is told like everything else that is wrong with it.
    async fn person(&self, context: &GrantContext<'_>) -> Result<Person, OAuthError> {
        let login = self.text(&self.issuer.subject_claim).ok_or(F::NoSubject)?;
        let person = people::by_login(context.issuer, context.snapshot, login).await?;
        person
            .filter(|person| person.active)
            .ok_or_else(|| F::UnknownUser.into())
    }

    /// The scopes of the request; an ID-JAG that names scopes bounds them.
    fn scopes(&self, context: &GrantContext<'_>) -> Result<Option<ScopeSet>, OAuthError> {
        let requested = requested_scopes(context.form)?;
        let Some(text) = self.text("scope").filter(|_| self.is_id_jag) else {
            return Ok(requested);
        };
        let bound = ScopeSet::parse(text).map_err(|_| F::Scope)?;
        match requested {
            None => Ok(Some(bound)),
            Some(requested) if bound.is_superset(&requested) => Ok(Some(requested)),
            Some(_) => Err(F::Scope.into()),
        }
    }

    /// An ID-JAG that names resources is for no other ones.
    fn check_resources(&self, context: &GrantContext<'_>) -> Result<(), OAuthError> {
        let bound: Vec<&str> = match self.claims.get("resource").filter(|_| self.is_id_jag) {
            None => return Ok(()),
            Some(ValueRef::Text(one)) => vec![one],
            Some(ValueRef::Json(Value::Array(several))) => several.iter().filter_map(Value::as_str).collect(),
            Some(_) => Vec::new(),
        };
        let server = &context.endpoint.server;
        if !bound.iter().any(|resource| server.serves(resource)) {
            return Err(F::Resource.into());
        }
        let asked: Vec<&str> = context.form.texts("resource").collect();
        let implied = [server.audience.as_str()];
        let asked = if asked.is_empty() { &implied[..] } else { &asked[..] };
        if asked.iter().all(|resource| bound.contains(resource)) {
            Ok(())
        } else {
            Err(InvalidTarget::NotGranted.into())
        }
    }

    /// When the user signed in at the issuer. Who does not say so has signed nobody in lately: a route that asks for a
    /// fresh sign-in (RFC 9470) must not take the assertion for one.
    fn auth_time(&self) -> Timestamp {
        self.seconds("auth_time").unwrap_or(Timestamp::from_unix_seconds(0))
    }

    fn amr(&self) -> Vec<String> {
        let methods = self.claims.get("amr").and_then(ValueRef::as_array);
        let texts = methods.unwrap_or_default().iter().filter_map(Value::as_str);
        texts.take(16).map(str::to_owned).collect()
    }

    /// Used once, on whatever node: the last thing before the token is given.
    async fn use_up(&self, context: &GrantContext<'_>) -> Result<(), OAuthError> {
        let first = context.issuer.services.store.store.first_use(
            ReplayPurpose::GrantAssertion,
            &self.accepted.replay,
            self.accepted.expires_at,
        );
        if first.await.map_err(OAuthError::internal)? {
            Ok(())
        } else {
            Err(F::Problem(AssertionProblem::Replayed).into())
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.text(name).filter(|text| !text.is_empty())
    }

    fn seconds(&self, name: &str) -> Option<Timestamp> {
        let number = self.claims.get(name).and_then(ValueRef::whole_number)?;
        (number >= 0).then(|| Timestamp::from_unix_seconds(number))
    }
}
