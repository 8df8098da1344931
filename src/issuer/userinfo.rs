//! OpenID Connect Core section 5.3: who the access token speaks for, told to its bearer.
//!
//! The token is one of this server's own, verified as the gate verifies it: signature, time, revocation, and the
//! key that it is bound to. It comes in the Authorization header, or in the body of a POST; a query is not looked
//! at (case 119). The person is looked up anew: who is disabled or gone is told about no more.

use serde_json::{Map, Value, json};

use crate::issuer::{Endpoint, Failure, FormRequest, Issuer, Note, Snapshot, dpop, living, people};
use crate::jose::object::ValueRef;
use crate::jose::verify::Claims;
use crate::model::digest::Digest;
use crate::model::id::{GrantId, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::access::AccessDenial;
use crate::oauth::claims::{self, ClaimFacts, ClaimUser};
use crate::oauth::declared::ClaimPlace;
use crate::oauth::error::{BearerProblem, OAuthError};
use crate::oauth::grant::GrantType;
use crate::oauth::metadata;
use crate::oauth::refresh::{KeyBinding, began_by};
use crate::oauth::standard_claims::standard_claims;

/// How the access token was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Dpop,
}

impl Issuer {
    /// Answers a userinfo request. `method` is that of the request, which a DPoP proof names.
    ///
    /// # Errors
    /// [`Failure`]; [`OAuthError::Bearer`] wants a challenge (RFC 6750 section 3).
    pub async fn userinfo(
        &self,
        server: &str,
        method: &str,
        request: &FormRequest<'_>,
    ) -> Result<Map<String, Value>, Failure> {
        let snapshot = self.snapshot.load_full();
        let mut note = Note::new(server);
        let outcome = match snapshot.endpoint(server) {
            Some(endpoint) => answer(self, &snapshot, &endpoint, method, request, &mut note).await,
            None => Err(AccessDenial::UnknownServer.into()),
        };
        outcome.map_err(|error| self.fail(error, request, note))
    }
}

async fn answer(
    issuer: &Issuer,
    snapshot: &Snapshot,
    endpoint: &Endpoint,
    method: &str,
    request: &FormRequest<'_>,
    note: &mut Note,
) -> Result<Map<String, Value>, OAuthError> {
    let now = issuer.services.clock.now();
    let (scheme, token) = shown(request)?;
    let living = living::access_token(issuer, snapshot, endpoint, &token).ok_or(BearerProblem::Invalid)?;
    let claims = living.claims();
    let text = |name: &str| claims.members.text(name);
    let client = snapshot.model.clients.get(living.client());
    let client = client.ok_or(BearerProblem::Invalid)?;
    note.client = Some(client.id.clone());
    prove(issuer, endpoint, method, request, scheme, &token, claims, now).await?;
    let scopes = ScopeSet::parse(&living.scope()).map_err(|_| BearerProblem::Invalid)?;
    if !scopes.iter().any(|scope| scope.as_str() == "openid") {
        return Err(BearerProblem::Scope("openid").into());
    }
    let user = text("uid").and_then(|id| UserId::parse(id).ok());
    let user = user.ok_or(BearerProblem::Invalid)?;
    let person = people::by_id(issuer, snapshot, &user).await?;
    let person = person.filter(|person| person.active).ok_or(BearerProblem::Invalid)?;
    let began = text("sid").and_then(|sid| GrantId::parse(sid).ok());
    let facts = ClaimFacts {
        client,
        grant: began
            .and_then(|id| began_by(&id))
            .unwrap_or(GrantType::AuthorizationCode),
        scopes: &scopes,
        user: Some(ClaimUser {
            login: &person.login,
            groups: &person.groups,
            profile: &person.profile,
        }),
    };
    let mut told = standard_claims(&scopes, &person.login, &person.groups, &person.profile);
    told.extend(claims::overflowing(&endpoint.server.claims, &facts)?);
    told.extend(claims::evaluate(&endpoint.server.claims, ClaimPlace::Userinfo, &facts)?);
    // OIDC Core section 5.3.2: the `sub` of the ID token.
    told.insert("sub".to_owned(), json!(person.id.as_str()));
    Ok(told)
}

/// The access token, from the header or from the body, and from one of them alone.
fn shown(request: &FormRequest<'_>) -> Result<(Scheme, String), OAuthError> {
    let has_form = !request.body.is_empty();
    let in_body = if has_form && request.content_type.is_some_and(is_form) {
        // The query is not looked at, whatever it holds.
        let form = crate::oauth::request::Form::parse(request.content_type, request.body)?;
        form.text("access_token").map(str::to_owned)
    } else {
        None
    };
    match (request.authorization, in_body) {
        ([], None) => Err(BearerProblem::Missing.into()),
        ([], Some(token)) => Ok((Scheme::Bearer, token)),
        ([header], None) => {
            let header = std::str::from_utf8(header).map_err(|_| BearerProblem::Invalid)?;
            let (scheme, token) = header.split_once(' ').ok_or(BearerProblem::Missing)?;
            let token = token.trim_matches(' ').to_owned();
            if scheme.eq_ignore_ascii_case("bearer") {
                Ok((Scheme::Bearer, token))
            } else if scheme.eq_ignore_ascii_case("dpop") {
                Ok((Scheme::Dpop, token))
            } else {
                Err(BearerProblem::Missing.into())
            }
        }
        _ => Err(BearerProblem::Several.into()),
    }
}

fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A token that is bound to a key comes with the proof of it; one that is not comes as what it is.
#[expect(
    clippy::too_many_arguments,
    reason = "one call, and each of them is a different thing"
)]
async fn prove(
    issuer: &Issuer,
    endpoint: &Endpoint,
    method: &str,
    request: &FormRequest<'_>,
    scheme: Scheme,
    token: &str,
    claims: &Claims,
    now: Timestamp,
) -> Result<(), OAuthError> {
    let bound = claims.members.get("cnf");
    match (scheme, bound) {
        (Scheme::Bearer, None) => return Ok(()),
        (Scheme::Dpop, None) => return Err(BearerProblem::Invalid.into()),
        _ => {}
    }
    let held = match (scheme, request.certificate) {
        (Scheme::Dpop, _) => {
            let url = metadata::endpoint(&endpoint.issuer, &endpoint.server.id, "userinfo");
            let digest = Digest::of(token.as_bytes());
            dpop::prove_resource(issuer, method, &url, &digest, request.dpop, now).await?
        }
        (Scheme::Bearer, Some(certificate)) => KeyBinding::Certificate(Digest::of(&certificate.der)),
        (Scheme::Bearer, None) => return Err(BearerProblem::Unproven.into()),
    };
    if bound == Some(ValueRef::from(&held.confirmation())) {
        Ok(())
    } else {
        Err(BearerProblem::Unproven.into())
    }
}
