//! A grant with a person begins: the same checks for every way to it (attack F33).
//!
//! [`Opening::decide`] asks what has to hold (the user is there, active and assigned; the policies; the
//! resources), [`Opened`] is what came of it. A grant that gets a refresh token is a record; one that does
//! not leaves no row, and its tokens are revoked by their `sid` all the same.
//!
//! A refresh token is given where [`minting::refresh_lifetimes`] says so.

use serde_json::json;

use crate::entropy;
use crate::issuer::Note;
use crate::issuer::grant::GrantContext;
use crate::issuer::mint::{MintRequest, TokenAnswer, mint};
use crate::issuer::people::Person;
use crate::model::id::{GrantId, Subject};
use crate::model::scope::ScopeSet;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::access::{AccessDecision, Granted, RefreshLifetimes, TokenRequestFacts, decide};
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::minting;
use crate::oauth::refresh::{self, GrantRecord, RefreshToken, new_grant_id};
use crate::oauth::resource;
use crate::oauth::token::TokenSession;

/// The bytes of randomness in a grant's identifier.
const GRANT_ID_BYTES: usize = 18;

/// A sign-in from which tokens shall follow.
pub(in crate::issuer) struct Opening<'a> {
    /// The way to it.
    pub(in crate::issuer) grant: GrantType,
    /// Who signed in.
    pub(in crate::issuer) person: &'a Person,
    /// The scopes; the defaults if none.
    pub(in crate::issuer) scopes: Option<&'a ScopeSet>,
    /// The resources that were granted before (the server's audience if empty); whatever the server
    /// offers if nothing was granted before.
    pub(in crate::issuer) resources: Option<&'a [String]>,
    /// When the person signed in.
    pub(in crate::issuer) auth_time: Timestamp,
    /// How (RFC 8176).
    pub(in crate::issuer) amr: &'a [String],
    /// How surely.
    pub(in crate::issuer) acr: Option<&'a str>,
    /// The `nonce` of the authorization request.
    pub(in crate::issuer) nonce: Option<&'a str>,
    /// The reading of the clock that the request goes by.
    pub(in crate::issuer) now: Timestamp,
}

/// What came of a sign-in.
#[must_use]
pub(in crate::issuer) struct Opened {
    /// What was granted.
    pub(in crate::issuer) granted: Granted,
    /// The grant's identifier, which its tokens name.
    pub(in crate::issuer) id: GrantId,
    /// What is to be kept of it: only where a refresh token is given.
    pub(in crate::issuer) record: Option<GrantRecord>,
    audiences: Vec<String>,
}

/// A new grant's identifier.
pub(super) fn grant_id(grant: GrantType) -> GrantId {
    new_grant_id(grant, &entropy::random_text::<GRANT_ID_BYTES>())
}

/// Writes down how a decision came about, and gives its outcome.
pub(super) fn outcome(decision: AccessDecision, note: &mut Note) -> Result<Granted, OAuthError> {
    note.set("trace", decision.trace_json());
    let granted = decision.outcome?;
    note.set("policy", json!(granted.policy()));
    note.set("rule", json!(granted.rule()));
    note.set("scope", json!(granted.scopes().to_string()));
    Ok(granted)
}

impl Opening<'_> {
    /// Asks everything that has to hold. Nothing is kept or minted yet.
    pub(in crate::issuer) fn decide(&self, context: &GrantContext<'_>, note: &mut Note) -> Result<Opened, OAuthError> {
        let (server, client) = (&context.endpoint.server, context.client.client());
        note.set("user", json!(self.person.id.as_str()));
        let facts = TokenRequestFacts {
            server: &server.id,
            client: &client.id,
            grant: self.grant,
            user: Some(self.person.facts()),
            scopes: self.scopes,
        };
        let granted = outcome(decide(&context.snapshot.model, &facts), note)?;
        let audiences = match self.resources {
            None => resource::choose(server, &[], context.form.texts("resource"))?,
            Some(resources) => audiences_of_grant(context, resources)?,
        };
        let id = grant_id(self.grant);
        let record = match minting::refresh_lifetimes(client, self.grant, &granted) {
            Some(lifetimes) => Some(self.record(context, &granted, &id, &audiences, lifetimes)?),
            None => None,
        };
        // A sign-in that is older than a refresh token may get gets none.
        let record = record.filter(|record| record.expires_at > self.now);
        Ok(Opened {
            granted,
            id,
            record,
            audiences,
        })
    }

    fn record(
        &self,
        context: &GrantContext<'_>,
        granted: &Granted,
        id: &GrantId,
        audiences: &[String],
        lifetimes: RefreshLifetimes,
    ) -> Result<GrantRecord, OAuthError> {
        let expires_at = self.auth_time.plus(lifetimes.lifetime);
        // What was granted stays what the refresh token is for, also where this access token is for less.
        let asked = context.form.texts("resource").next().map_or(&[][..], |_| audiences);
        let resources = self.resources.unwrap_or(asked);
        Ok(GrantRecord {
            id: id.clone(),
            server: context.endpoint.server.id.clone(),
            client: context.client.client().id.clone(),
            user: Some(self.person.id.clone()),
            subject: Subject::parse(&self.person.login).map_err(OAuthError::internal)?,
            scopes: granted.scopes().clone(),
            resources: resources.to_vec(),
            auth_time: self.auth_time,
            amr: self.amr.to_vec(),
            acr: self.acr.map(str::to_owned),
            // A confidential client proves itself at each refresh: its key may change (RFC 9449 section 5).
            binding: context.binding.filter(|_| context.client.client().is_public()),
            created_at: self.now,
            expires_at,
            generation: 0,
            rotated_at: self.now,
            idle_expires_at: idle_end(self.now, lifetimes, expires_at),
            revoked_at: None,
        })
    }

    /// The answer, once what is to be kept is kept.
    pub(in crate::issuer) fn answer(
        &self,
        context: &GrantContext<'_>,
        opened: &Opened,
    ) -> Result<TokenAnswer, OAuthError> {
        let client = context.client.client();
        let request = MintRequest {
            client,
            grant: self.grant,
            granted: &opened.granted,
            person: Some(self.person),
            session: Some(TokenSession {
                id: &opened.id,
                auth_time: self.auth_time,
                amr: self.amr,
                acr: self.acr,
            }),
            nonce: self.nonce,
            audiences: &opened.audiences,
            binding: context.binding,
            actor: None,
            issued_at: self.now,
            not_after: None,
            id: None,
        };
        let mut answer = mint(context.issuer, context.endpoint, &request)?;
        answer.refresh_token = opened.record.as_ref().map(|record| refresh_token(context, record));
        Ok(answer)
    }
}

/// The refresh token of a grant's current generation.
pub(super) fn refresh_token(context: &GrantContext<'_>, record: &GrantRecord) -> Secret<String> {
    let shown = refresh::current(record, context.client.client().options.refresh);
    let message = RefreshToken::message(&record.id, shown);
    let digest = context
        .issuer
        .services
        .store
        .sealing
        .mac(RefreshToken::PURPOSE, &message);
    RefreshToken::text(&record.id, shown, &digest)
}

/// What a token of a grant is for: never more than the grant is.
pub(super) fn audiences_of_grant(context: &GrantContext<'_>, granted: &[String]) -> Result<Vec<String>, OAuthError> {
    let server = &context.endpoint.server;
    let own = std::slice::from_ref(&server.audience);
    let granted = if granted.is_empty() { own } else { granted };
    Ok(resource::choose(server, granted, context.form.texts("resource"))?)
}

/// When a refresh token ends that is not used: never after the grant.
pub(super) fn idle_end(now: Timestamp, lifetimes: RefreshLifetimes, expires_at: Timestamp) -> Timestamp {
    lifetimes.idle.map_or(expires_at, |idle| now.plus(idle).min(expires_at))
}
