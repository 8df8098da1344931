//! The authorization code grant as states (RFC 6749 section 4.1): each step takes the state before it.
//!
//! ```text
//! Pending ──approve──▶ Approved ──redeem──▶ Redeemed
//!    └─────reject────▶ Rejected    └──────▶ a CodeFailure, and the code is burnt
//! ```
//!
//! - A [`Pending`] request is one that was validated; a person looks at it.
//! - An [`Approved`] one is what an authorization code stands for: it is kept beside the digest of the
//!   code ([`Code`]), never the code itself. What was agreed to is no more than what was asked.
//! - [`Approved::redeem`] compares everything that the code is bound to: server, client, redirect URI,
//!   PKCE, key. **Invariant:** a [`Redeemed`] can be had from there alone.
//!
//! That a code is good for one use is the store's matter: the states know no other copy of themselves.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, UserId};
use crate::model::scope::ScopeSet;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::error::{CodeFailure, GrantFailure};
use crate::oauth::pkce::{Challenge, Verifier};
use crate::oauth::refresh::KeyBinding;

/// How long a code is good: it crosses a redirect (case 001; RFC 6749 section 4.1.2 says ten minutes at most).
pub const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// The bytes of randomness in a code.
pub const CODE_BYTES: usize = 32;

/// An authorization code: text for the client, a digest for the store.
#[derive(Debug, Clone)]
pub struct Code(Secret<String>);

impl Code {
    /// The longest text that is looked at.
    const BYTES_MAX: usize = 128;

    /// A code of this unguessable text, which has [`CODE_BYTES`] bytes of randomness.
    #[must_use]
    pub fn new(random: String) -> Self {
        Self(Secret::new(random))
    }

    /// A code as a client shows it; none if it cannot be one.
    #[must_use]
    pub fn shown(text: &Secret<String>) -> Option<Self> {
        (text.expose_secret().len() <= Self::BYTES_MAX).then(|| Self(text.clone()))
    }

    /// The text, for the authorization response.
    #[must_use]
    pub fn text(&self) -> &Secret<String> {
        &self.0
    }

    /// What is kept of it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.expose_secret().as_bytes())
    }
}

/// A validated authorization request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The authorization server.
    pub server: AuthorizationServerId,
    /// The client.
    pub client: ClientId,
    /// Where the response goes.
    pub redirect_uri: String,
    /// Whether the request named it: then the token request has to, too (RFC 6749 section 4.1.3).
    pub redirect_uri_sent: bool,
    /// The scopes that were asked for, and that the policies allow.
    pub scopes: ScopeSet,
    /// The resources that were asked for; none for the server's audience.
    pub resources: Vec<String>,
    /// Echoed in the ID token (OIDC Core section 3.1.2.1).
    pub nonce: Option<String>,
    /// The PKCE challenge.
    pub challenge: Option<Challenge>,
    /// The key that the code is bound to (RFC 9449 section 10).
    pub dpop_key: Option<Digest>,
}

/// What a person agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who.
    pub user: UserId,
    /// The scopes.
    pub scopes: ScopeSet,
    /// When the person signed in.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// How surely.
    pub acr: Option<String>,
}

/// A request that the person refused: an `access_denied` goes to its redirect URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The request.
    pub request: Pending,
}

/// What was agreed to is more than what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more was agreed to than was asked for")]
pub struct Widened;

/// What an authorization code stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    request: Pending,
    approval: Approval,
    expires_at: Timestamp,
}

/// What a client shows with a code.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    /// Where.
    pub server: &'a AuthorizationServerId,
    /// Who.
    pub client: &'a ClientId,
    /// The redirect URI, if it names one.
    pub redirect_uri: Option<&'a str>,
    /// The PKCE verifier.
    pub verifier: Option<Verifier<'a>>,
    /// The key that it proves to hold.
    pub binding: Option<KeyBinding>,
    /// When.
    pub now: Timestamp,
}

/// A code that was redeemed by who it was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Redeemed {
    /// What the person agreed to.
    pub approval: Approval,
    /// The resources that the tokens may be for.
    pub resources: Vec<String>,
    /// Echoed in the ID token.
    pub nonce: Option<String>,
}

impl Pending {
    /// The person agrees.
    ///
    /// # Errors
    /// [`Widened`] when the approval has scopes that the request has not.
    pub fn approve(self, approval: Approval, now: Timestamp) -> Result<Approved, Widened> {
        if !self.scopes.is_superset(&approval.scopes) {
            return Err(Widened);
        }
        Ok(Approved {
            request: self,
            approval,
            expires_at: now.plus(CODE_LIFETIME),
        })
    }

    /// The person refuses.
    #[must_use]
    pub fn reject(self) -> Rejected {
        Rejected { request: self }
    }
}

impl Approved {
    /// When its code ends.
    #[must_use]
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The request that was agreed to.
    #[must_use]
    pub fn request(&self) -> &Pending {
        &self.request
    }

    /// The client shows the code.
    ///
    /// # Errors
    /// The first thing that does not fit. The code is to be burnt then: whoever has it is not who it
    /// was given to, or has no second use for it.
    pub fn redeem(self, shown: &Redemption<'_>) -> Result<Redeemed, GrantFailure> {
        let request = self.request;
        if request.client != *shown.client {
            return Err(CodeFailure::OtherClient.into());
        }
        if request.server != *shown.server {
            return Err(CodeFailure::OtherServer.into());
        }
        if shown.now >= self.expires_at {
            return Err(CodeFailure::Expired.into());
        }
        let redirect_fits = match shown.redirect_uri {
            Some(uri) => uri == request.redirect_uri,
            None => !request.redirect_uri_sent,
        };
        if !redirect_fits {
            return Err(CodeFailure::RedirectUri.into());
        }
        match (request.challenge, &shown.verifier) {
            (None, None) => {}
            (Some(_), None) => return Err(CodeFailure::VerifierMissing.into()),
            (None, Some(_)) => return Err(CodeFailure::VerifierUnexpected.into()),
            (Some(challenge), Some(verifier)) if challenge.is_met_by(verifier) => {}
            (Some(_), Some(_)) => return Err(CodeFailure::VerifierWrong.into()),
        }
        if request
            .dpop_key
            .is_some_and(|key| shown.binding != Some(KeyBinding::Dpop(key)))
        {
            return Err(GrantFailure::KeyMismatch);
        }
        Ok(Redeemed {
            approval: self.approval,
            resources: request.resources,
            nonce: request.nonce,
        })
    }

    /// What is kept beside the digest of the code.
    #[must_use]
    pub fn to_payload(&self) -> Value {
        let request = &self.request;
        let kept = Kept {
            server: request.server.to_string(),
            client: request.client.to_string(),
            redirect_uri: request.redirect_uri.clone(),
            redirect_uri_sent: request.redirect_uri_sent,
            requested: request.scopes.to_string(),
            resources: request.resources.clone(),
            nonce: request.nonce.clone(),
            challenge: request.challenge.map(Challenge::to_base64url),
            dpop_key: request.dpop_key.map(Digest::to_base64url),
            approval: KeptApproval::of(&self.approval),
            expires_at: self.expires_at.unix_seconds(),
        };
        serde_json::to_value(kept).unwrap_or(Value::Null)
    }

    /// Reads what was kept; nothing if it is something else.
    #[must_use]
    pub fn read(payload: &Value) -> Option<Self> {
        let kept = Kept::deserialize(payload).ok()?;
        let challenge = |text: &str| Challenge::from_base64url(text).ok_or(());
        let digest = |text: &str| Digest::from_base64url(text).ok_or(());
        Some(Self {
            request: Pending {
                server: AuthorizationServerId::parse(&kept.server).ok()?,
                client: ClientId::parse(&kept.client).ok()?,
                redirect_uri: kept.redirect_uri,
                redirect_uri_sent: kept.redirect_uri_sent,
                scopes: ScopeSet::parse(&kept.requested).ok()?,
                resources: kept.resources,
                nonce: kept.nonce,
                // SECURITY: what is there and cannot be read must not become "not there".
                challenge: kept.challenge.map(|text| challenge(&text)).transpose().ok()?,
                dpop_key: kept.dpop_key.map(|text| digest(&text)).transpose().ok()?,
            },
            approval: kept.approval.read()?,
            expires_at: Timestamp::from_unix_seconds(kept.expires_at),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    server: String,
    client: String,
    redirect_uri: String,
    redirect_uri_sent: bool,
    requested: String,
    resources: Vec<String>,
    nonce: Option<String>,
    challenge: Option<String>,
    dpop_key: Option<String>,
    approval: KeptApproval,
    expires_at: i64,
}

/// An approval as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptApproval {
    user: String,
    scopes: String,
    auth_time: i64,
    amr: Vec<String>,
    acr: Option<String>,
}

impl KeptApproval {
    pub(super) fn of(approval: &Approval) -> Self {
        Self {
            user: approval.user.to_string(),
            scopes: approval.scopes.to_string(),
            auth_time: approval.auth_time.unix_seconds(),
            amr: approval.amr.clone(),
            acr: approval.acr.clone(),
        }
    }

    pub(super) fn read(self) -> Option<Approval> {
        Some(Approval {
            user: UserId::parse(&self.user).ok()?,
            scopes: ScopeSet::parse(&self.scopes).ok()?,
            auth_time: Timestamp::from_unix_seconds(self.auth_time),
            amr: self.amr,
            acr: self.acr,
        })
    }
}

#[cfg(test)]
mod tests;
