//! Grants that live on, and their refresh tokens (RFC 6749 section 6, RFC 9700 section 4.14).
//!
//! A grant is one record, whatever number of refresh tokens came of it: the record has the
//! *generation* that is current, and a refresh token names its grant and generation, with a keyed
//! digest of both. So
//! - no refresh token is kept, not even as a hash: a dump of the store yields none;
//! - the successor of a token can be told again to who lost the answer, within the grace;
//! - a token of a generation that has not been yet shows that an old backup was restored (attack G06).
//!
//! The text of a refresh token is `{grant}.{generation}.{digest}`: letters, digits, `-`, `_` and two
//! dots, all of them VSCHAR (RFC 6749 appendix A.17). It is read in its one canonical spelling, so
//! that no other text is the same token. A *static* token (of a client whose tokens do not rotate)
//! has `s` for its generation: were it a number, tokens that were given up would come back to life
//! when a client stops rotating.
//!
//! What is shown, and what follows ([`present`]):
//!
//! | shown | is |
//! |---|---|
//! | the current generation | good, unless its idle time has passed |
//! | the one before it, within the grace | good: the same successor is told again |
//! | any older one, or the one before it later | *reused*: somebody has a copy, and the grant must die |
//! | one that was not given yet | from the future: the store is an older backup |
//!
//! A grant's identifier says by which grant type it began (its second letter): a refresh asks the
//! access policies again for that one too.

use aws_lc_rs::constant_time;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Subject, UserId};
use crate::model::scope::ScopeSet;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::declared::RefreshRotation;
use crate::oauth::grant::GrantType;

/// A grant that lives on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// Its identifier: the `sid` of its tokens.
    pub id: GrantId,
    /// Where it was given.
    pub server: AuthorizationServerId,
    /// To whom.
    pub client: ClientId,
    /// By which user; none where a client acts for itself.
    pub user: Option<UserId>,
    /// The `sub` of its tokens.
    pub subject: Subject,
    /// The most that its tokens may do.
    pub scopes: ScopeSet,
    /// The resources that its tokens may be for (RFC 8707); the server's audience if empty.
    pub resources: Vec<String>,
    /// When the user signed in.
    pub auth_time: Timestamp,
    /// How (RFC 8176).
    pub amr: Vec<String>,
    /// How surely, if that was said.
    pub acr: Option<String>,
    /// The key that its refresh tokens are bound to.
    pub binding: Option<KeyBinding>,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends, whatever happens.
    pub expires_at: Timestamp,
    /// Which refresh token is current, counted from 0.
    pub generation: u32,
    /// When the current one was given.
    pub rotated_at: Timestamp,
    /// When the current one ends if it is not used.
    pub idle_expires_at: Timestamp,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
}

/// The key that a token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyBinding {
    /// By DPoP: the thumbprint of the key (RFC 9449 section 6.1, `jkt`).
    Dpop(Digest),
    /// By mutual TLS: the digest of the certificate (RFC 8705 section 3.1, `x5t#S256`).
    Certificate(Digest),
}

impl KeyBinding {
    /// The `cnf` of a token that is bound to this key (RFC 7800 section 3.1).
    #[must_use]
    pub fn confirmation(&self) -> Value {
        match self {
            Self::Dpop(thumbprint) => json!({ "jkt": thumbprint.to_base64url() }),
            Self::Certificate(digest) => json!({ "x5t#S256": digest.to_base64url() }),
        }
    }

    /// The `token_type` of the answer that brings such a token (RFC 9449 section 5; RFC 8705 section 3).
    #[must_use]
    pub const fn token_type(binding: Option<Self>) -> &'static str {
        match binding {
            Some(Self::Dpop(_)) => "DPoP",
            Some(Self::Certificate(_)) | None => "Bearer",
        }
    }
}

/// The identifier of a new grant, from unguessable text in base64url.
///
/// # Panics
/// When the text is no part of an identifier; random text in base64url always is.
#[must_use]
pub fn new_grant_id(began_by: GrantType, random: &str) -> GrantId {
    let letter = BEGINNINGS
        .iter()
        .find(|(grant, _)| *grant == began_by)
        .map_or('g', |(_, letter)| *letter);
    GrantId::parse(&format!("g{letter}{random}")).expect("random text in base64url is an identifier")
}

/// The grant type by which a grant began, as its identifier says it.
#[must_use]
pub fn began_by(id: &GrantId) -> Option<GrantType> {
    let letter = id.as_str().strip_prefix('g')?.chars().next()?;
    BEGINNINGS
        .iter()
        .find(|(_, known)| *known == letter)
        .map(|(grant, _)| *grant)
}

/// The letters of the grant types that a grant can begin by.
const BEGINNINGS: [(GrantType, char); 5] = [
    (GrantType::AuthorizationCode, 'c'),
    (GrantType::DeviceCode, 'd'),
    (GrantType::Password, 'p'),
    (GrantType::JwtBearer, 'j'),
    (GrantType::TokenExchange, 'x'),
];

/// Which refresh token of a grant it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// The one of this generation.
    Generation(u32),
    /// The one that stays.
    Static,
}

/// A refresh token as it was shown. It proves nothing before [`RefreshToken::matches`].
#[derive(Debug, Clone)]
#[must_use]
pub struct RefreshToken {
    grant: GrantId,
    shown: Shown,
    digest: [u8; 32],
}

impl RefreshToken {
    /// The purpose of the keyed digest in it.
    pub const PURPOSE: &'static str = "refresh token";

    /// What its digest is of.
    #[must_use]
    pub fn message(grant: &GrantId, shown: Shown) -> Vec<u8> {
        format!("{grant}|{shown}").into_bytes()
    }

    /// The text of a token, with the digest of its [`RefreshToken::message`].
    #[must_use]
    pub fn text(grant: &GrantId, shown: Shown, digest: &[u8; 32]) -> Secret<String> {
        Secret::new(format!("{grant}.{shown}.{}", URL_SAFE_NO_PAD.encode(digest)))
    }

    /// Reads a text in its canonical spelling, or not at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let (grant, shown, digest) = (parts.next()?, parts.next()?, parts.next()?);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if parts.next().is_some() || !grant.bytes().all(is_plain) {
            return None;
        }
        let shown = match shown {
            "s" => Shown::Static,
            number => Shown::Generation(number.parse().ok().filter(|read: &u32| read.to_string() == number)?),
        };
        // The decoder refuses padding, other alphabets and bits that no byte needs.
        let digest = URL_SAFE_NO_PAD.decode(digest).ok()?.try_into().ok()?;
        Some(Self {
            grant: GrantId::parse(grant).ok()?,
            shown,
            digest,
        })
    }

    /// The grant that it names.
    #[must_use]
    pub fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// Which token of the grant it says it is.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.shown
    }

    /// Whether we made it: `expected` is the digest of its [`RefreshToken::message`].
    #[must_use]
    pub fn matches(&self, expected: &[u8; 32]) -> bool {
        constant_time::verify_slices_are_equal(&self.digest, expected).is_ok()
    }
}

/// The longest refresh token: an identifier of ours, a number, a digest.
const TEXT_BYTES_MAX: usize = 256;

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Generation(number) => write!(f, "{number}"),
            Self::Static => f.write_str("s"),
        }
    }
}

/// What a refresh token that we made is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Presented {
    /// The current one.
    Current,
    /// The last one, within the grace: the successor is told again.
    Grace,
    /// One that has a successor: somebody has a copy.
    Reused,
    /// One that was not given yet: the store is an older backup (attack G06).
    FromTheFuture,
    /// The grant has come to its end.
    Expired,
    /// It was not used for too long.
    IdleExpired,
    /// The grant was revoked.
    Revoked,
    /// A static one, of a client whose tokens rotate by now.
    NotRotating,
}

/// What a refresh token that we made is now.
pub fn present(grant: &GrantRecord, shown: Shown, now: Timestamp, rotation: RefreshRotation) -> Presented {
    if grant.revoked_at.is_some() {
        return Presented::Revoked;
    }
    if now >= grant.expires_at {
        return Presented::Expired;
    }
    let current = match shown {
        Shown::Generation(number) if number > grant.generation => return Presented::FromTheFuture,
        Shown::Generation(number) if number < grant.generation => {
            let is_last = number.checked_add(1) == Some(grant.generation);
            let in_grace = now.since(grant.rotated_at) < rotation.grace;
            return if is_last && in_grace {
                Presented::Grace
            } else {
                Presented::Reused
            };
        }
        Shown::Static if rotation.rotates => return Presented::NotRotating,
        Shown::Generation(_) | Shown::Static => Presented::Current,
    };
    if now >= grant.idle_expires_at {
        return Presented::IdleExpired;
    }
    current
}

/// The token that a grant's current generation has, given how the client's tokens change.
#[must_use]
pub fn current(grant: &GrantRecord, rotation: RefreshRotation) -> Shown {
    if rotation.rotates {
        Shown::Generation(grant.generation)
    } else {
        Shown::Static
    }
}

#[cfg(test)]
mod tests;
