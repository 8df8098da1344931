//! What is held already, and how far what comes of it may go: a grant that is refreshed (RFC 6749 section 6), a token
//! that is exchanged (RFC 8693).
//!
//! The token endpoint and the preview both decide by these functions, so that neither says what the other does not do.

use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{
    AccessDecision, Granted, Model, OIDC_SCOPES, RefreshLifetimes, TokenRequestFacts, decide_refresh,
};
use crate::oauth::error::{GrantFailure, OAuthError, RefreshFailure};
use crate::oauth::grant::GrantType;

/// What is shown in the place of a sign-in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held<'a> {
    /// The grant type by which it began; `None` if its identifier does not say so.
    pub began_by: Option<GrantType>,
    /// The scopes that it has; `None` if only the policies bound what comes of it.
    pub scopes: Option<&'a ScopeSet>,
}

impl Held<'_> {
    /// The scopes that a refresh asks for: all that are held, or some of them.
    ///
    /// # Errors
    /// [`OAuthError::ScopeNotGranted`] for one that is not held.
    pub fn refreshed_scopes(&self, requested: Option<ScopeSet>) -> Result<Option<ScopeSet>, OAuthError> {
        let Some(held) = self.scopes else {
            return Ok(requested);
        };
        bounded(requested.unwrap_or_else(|| held.clone()), held)
    }

    /// The scopes that an exchange asks for. If none is named, those that are held and the server's own: what OpenID
    /// Connect says of a sign-in stays with it.
    ///
    /// # Errors
    /// [`OAuthError::ScopeNotGranted`] for one that is not held.
    pub fn exchanged_scopes(&self, requested: Option<ScopeSet>) -> Result<Option<ScopeSet>, OAuthError> {
        let Some(held) = self.scopes else {
            return Ok(requested);
        };
        let is_own = |scope: &&Scope| !OIDC_SCOPES.contains(&scope.as_str());
        bounded(
            requested.unwrap_or_else(|| held.iter().filter(is_own).cloned().collect()),
            held,
        )
    }

    /// Asks the policies about a refresh, with the scopes that it asks for.
    pub fn decide_refresh(&self, model: &Model, facts: &TokenRequestFacts<'_>) -> AccessDecision {
        decide_refresh(model, facts, self.began_by)
    }
}

/// What a refresh comes to by what the policies say of it.
///
/// # Errors
/// `invalid_grant`: the grant is refused by now, or the rule of today gives no refresh token.
pub fn renewed(outcome: Result<Granted, OAuthError>) -> Result<(Granted, RefreshLifetimes), OAuthError> {
    let granted = outcome.map_err(denied)?;
    let lifetimes = granted.refresh_token().ok_or(RefreshFailure::NotGiven)?;
    Ok((granted, lifetimes))
}

/// What the policies refuse of a grant that was given before is `invalid_grant`.
#[must_use]
pub fn denied(error: OAuthError) -> OAuthError {
    match error {
        OAuthError::Access(denial) => GrantFailure::Denied(denial).into(),
        other => other,
    }
}

fn bounded(asked: ScopeSet, held: &ScopeSet) -> Result<Option<ScopeSet>, OAuthError> {
    if held.is_superset(&asked) {
        Ok(Some(asked))
    } else {
        Err(OAuthError::ScopeNotGranted(asked.missing_from(held)))
    }
}
