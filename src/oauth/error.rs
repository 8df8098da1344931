//! What goes wrong, from inside and from outside.
//!
//! [`OAuthError`] holds the exact reason; [`OAuthError::code`] maps it, in one match, to the closed
//! vocabulary of RFC 6749 section 5.2 and its extensions, and [`OAuthError::error_code`] to our own
//! stable name. The text for the peer is built from constants and from what the peer sent.
//!
//! Where the RFC and Okta differ, the RFC wins: a refusal by policy is 400 here, since RFC 6749
//! keeps 401 for `invalid_client`.

mod bearer;
mod exchange;
mod grant;

use crate::jose::dpop::ProofError;
use crate::model::scope::{InvalidScope, ScopeSet};
use crate::oauth::access::AccessDenial;
use crate::oauth::assertion::AssertionProblem;
use crate::oauth::claims::ClaimFailure;
use crate::oauth::pkce::InvalidPkce;
use crate::oauth::request::MalformedRequest;
use crate::oauth::resource::InvalidTarget;

pub use bearer::BearerProblem;
pub use exchange::ExchangeProblem;
pub use grant::{AssertionFailure, CodeFailure, GrantFailure, PasswordFailure, RefreshFailure};

/// The `error` of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// RFC 6749 section 5.2.
    InvalidRequest,
    /// RFC 6749 section 5.2.
    InvalidClient,
    /// RFC 6749 section 5.2.
    UnauthorizedClient,
    /// RFC 6749 section 5.2.
    UnsupportedGrantType,
    /// RFC 6749 section 5.2.
    InvalidScope,
    /// RFC 6749 section 4.1.2.1; at the token endpoint by Okta's model.
    AccessDenied,
    /// RFC 6749 section 5.2.
    InvalidGrant,
    /// RFC 8628 section 3.5.
    AuthorizationPending,
    /// RFC 8628 section 3.5.
    SlowDown,
    /// RFC 8628 section 3.5.
    ExpiredToken,
    /// RFC 6750 section 3.1.
    InvalidToken,
    /// RFC 6750 section 3.1.
    InsufficientScope,
    /// RFC 8707 section 2.
    InvalidTarget,
    /// RFC 9449 section 5.
    InvalidDpopProof,
    /// RFC 9449 section 8.
    UseDpopNonce,
    /// OpenID Connect Core section 3.1.2.6; at the token endpoint by Okta's model.
    ConsentRequired,
    /// RFC 6749 section 4.1.2.1.
    ServerError,
    /// RFC 6749 section 4.1.2.1.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The text on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::InvalidGrant => "invalid_grant",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::ConsentRequired => "consent_required",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// Whose fault an error is: it decides how loud the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The peer's.
    Caller,
    /// The configuration's.
    Operator,
    /// Ours.
    Us,
}

/// Why a request of the issuer's endpoints fails.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The request has no form that can be read.
    #[error(transparent)]
    Malformed(#[from] MalformedRequest),
    /// A parameter that the endpoint needs is missing.
    #[error("the parameter `{0}` is missing")]
    MissingParameter(&'static str),
    /// The client did not authenticate. One text for every cause (attack F16).
    #[error("client authentication failed")]
    ClientAuthentication(AuthenticationFailure),
    /// We do not know the grant type.
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// We know the grant type, and this client may not use it.
    #[error("the client is not registered for the grant type `{0}`")]
    GrantNotAllowed(&'static str),
    /// A public client asks for a grant that needs a proof.
    #[error("a public client cannot use the grant type `{0}`")]
    PublicClient(&'static str),
    /// The `scope` breaks the grammar.
    #[error("the parameter `scope` is malformed: {0}")]
    MalformedScope(#[from] InvalidScope),
    /// A refresh asks for more than was granted (RFC 6749 section 6).
    #[error("the scopes `{0}` were not granted before")]
    ScopeNotGranted(ScopeSet),
    /// A parameter of PKCE is malformed.
    #[error(transparent)]
    Pkce(#[from] InvalidPkce),
    /// The tokens cannot be exchanged.
    #[error(transparent)]
    Exchange(#[from] ExchangeProblem),
    /// What the client shows as its grant does not count.
    #[error(transparent)]
    Grant(GrantFailure),
    /// The person has not answered the device's request, or has refused it.
    #[error(transparent)]
    Device(#[from] DeviceProblem),
    /// The access token does not open the endpoint.
    #[error(transparent)]
    Bearer(#[from] BearerProblem),
    /// More passwords are shown at once than are verified at once.
    #[error("too many requests at once: try again")]
    Busy,
    /// The token cannot be for what was asked.
    #[error(transparent)]
    InvalidTarget(InvalidTarget),
    /// The DPoP proof proves nothing, or there is none where one is needed.
    #[error("the DPoP proof is missing or not valid: {}", .0.detail())]
    Dpop(DpopProblem),
    /// The DPoP proof has no nonce of ours that is still good; the response brings one.
    #[error("the DPoP proof needs the nonce of the DPoP-Nonce header")]
    DpopNonce,
    /// The client's tokens are bound to its certificate, and it showed none.
    #[error("the tokens of this client are bound to its certificate, and the connection shows none")]
    CertificateMissing,
    /// The access policies refuse.
    #[error(transparent)]
    Access(#[from] AccessDenial),
    /// A claim has no value.
    #[error(transparent)]
    Claim(#[from] ClaimFailure),
    /// What was granted is revoked: a fact that came while the request was under way, or in this very second.
    #[error("a revocation has overtaken the request: try again in a second")]
    Overtaken,
    /// Signing, the store, or another part of ours failed; the cause is in the log alone.
    #[error("the server could not complete the request")]
    Internal(#[source] Cause),
}

/// Why a device gets no token yet, or never (RFC 8628 section 3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DeviceProblem {
    /// The person has not answered yet.
    #[error("the user has not answered yet")]
    Pending,
    /// The device asks too often.
    #[error("the device asks too often: wait five seconds longer between two requests")]
    TooFast,
    /// The person has refused.
    #[error("the user has refused")]
    Refused,
    /// The device code has come to its end.
    #[error("the device code has expired")]
    Expired,
}

/// Why a client did not authenticate: for the log, never for the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationFailure {
    /// The request names no client.
    #[error("the request names no client")]
    Missing,
    /// The Authorization header is no readable Basic credential.
    #[error("the Authorization header is no readable Basic credential")]
    MalformedBasic,
    /// There is no such client.
    #[error("there is no such client")]
    UnknownClient,
    /// The secret is none of the client's.
    #[error("the secret is none of the client's")]
    WrongSecret,
    /// A confidential client sent no secret.
    #[error("a confidential client sent no secret")]
    SecretMissing,
    /// A public client sent a secret.
    #[error("a public client sent a secret")]
    SecretOfPublicClient,
    /// The client is registered for another method (case 064).
    #[error("the client is registered for another authentication method")]
    WrongMethod,
    /// The client is not active (case 075).
    #[error("the client is not active")]
    Inactive,
    /// The assertion does not count.
    #[error(transparent)]
    Assertion(AssertionProblem),
    /// The connection shows no certificate.
    #[error("the connection shows no certificate")]
    CertificateMissing,
    /// No authority that we know vouches for the certificate.
    #[error("no known authority vouches for the certificate")]
    CertificateUntrusted,
    /// The certificate is not in its time.
    #[error("the certificate has expired or is not valid yet")]
    CertificateExpired,
    /// The certificate is not the client's.
    #[error("the certificate is none of the client's")]
    CertificateMismatch,
}

/// Why a DPoP proof proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DpopProblem {
    /// There is none, and the client's tokens are bound to a key always.
    Missing,
    /// There is more than one.
    Several,
    /// Its algorithm is none of [`crate::oauth::metadata::DPOP_ALGORITHMS`].
    Algorithm,
    /// It breaks a rule of RFC 9449 section 4.3.
    Proof(ProofError),
    /// It was used before.
    Replayed,
}

impl DpopProblem {
    /// The reason, as a fixed sentence that the client may be told.
    #[must_use]
    pub fn detail(self) -> &'static str {
        match self {
            Self::Missing => "this client has to send one DPoP header",
            Self::Several => "there is more than one DPoP header",
            Self::Algorithm => "its `alg` is not one that this server accepts",
            Self::Proof(problem) => problem.detail(),
            Self::Replayed => "it was used before",
        }
    }

    const fn error_code(self) -> &'static str {
        match self {
            Self::Missing => "dpop_missing_header",
            Self::Several => "dpop_multiple_headers",
            Self::Algorithm => "dpop_invalid_signature_algorithm",
            Self::Proof(_) => "dpop_invalid_proof",
            Self::Replayed => "dpop_already_used",
        }
    }
}

impl AuthenticationFailure {
    /// The stable name for logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing_client_credentials",
            Self::MalformedBasic => "invalid_basic_auth_creds",
            Self::UnknownClient => "unknown_client",
            Self::WrongSecret => "invalid_client_secret",
            Self::SecretMissing => "client_secret_missing",
            Self::SecretOfPublicClient => "client_secret_of_public_client",
            Self::WrongMethod => "invalid_token_endpoint_auth_method",
            Self::Inactive => "inactive_client",
            Self::Assertion(problem) => problem.as_str(),
            Self::CertificateMissing => "client_certificate_missing",
            Self::CertificateUntrusted => "client_certificate_untrusted",
            Self::CertificateExpired => "client_certificate_expired",
            Self::CertificateMismatch => "client_certificate_mismatch",
        }
    }
}

/// A cause that is kept for the log, whatever its type.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

impl OAuthError {
    /// An error of ours, with its cause.
    pub fn internal(cause: impl Into<Cause>) -> Self {
        Self::Internal(cause.into())
    }

    /// The `error` of the response.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        use ErrorCode as E;
        match self {
            Self::Malformed(_)
            | Self::MissingParameter(_)
            | Self::Pkce(_)
            | Self::CertificateMissing
            | Self::Exchange(_)
            | Self::Bearer(BearerProblem::Several) => E::InvalidRequest,
            Self::InvalidTarget(_) => E::InvalidTarget,
            Self::Grant(_) => E::InvalidGrant,
            Self::Device(DeviceProblem::Pending) => E::AuthorizationPending,
            Self::Device(DeviceProblem::TooFast) => E::SlowDown,
            Self::Device(DeviceProblem::Expired) => E::ExpiredToken,
            Self::Bearer(BearerProblem::Missing | BearerProblem::Invalid | BearerProblem::Unproven) => E::InvalidToken,
            Self::Bearer(BearerProblem::Scope(_)) => E::InsufficientScope,
            Self::Dpop(_) => E::InvalidDpopProof,
            Self::DpopNonce => E::UseDpopNonce,
            Self::ClientAuthentication(_) | Self::Access(AccessDenial::UnknownClient) => E::InvalidClient,
            Self::UnsupportedGrantType => E::UnsupportedGrantType,
            Self::GrantNotAllowed(_) | Self::PublicClient(_) | Self::Access(AccessDenial::GrantNotAllowed(_)) => {
                E::UnauthorizedClient
            }
            Self::MalformedScope(_)
            | Self::ScopeNotGranted(_)
            | Self::Access(
                AccessDenial::UnknownScope(_)
                | AccessDenial::ScopeNeedsUser(_)
                | AccessDenial::OfflineAccessNotAllowed
                | AccessDenial::NoScope,
            ) => E::InvalidScope,
            Self::Access(AccessDenial::ConsentRequired(_)) => E::ConsentRequired,
            Self::Device(DeviceProblem::Refused)
            | Self::Access(
                AccessDenial::UserNotActive
                | AccessDenial::UserNotAssigned
                | AccessDenial::NoMatchingPolicy
                | AccessDenial::ScopeDenied(_),
            ) => E::AccessDenied,
            Self::Busy | Self::Overtaken => E::TemporarilyUnavailable,
            Self::Access(AccessDenial::UnknownServer) | Self::Claim(_) | Self::Internal(_) => E::ServerError,
        }
    }

    /// Our own, finer name: stable, for people and programs that want to tell the causes apart.
    #[must_use]
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::Malformed(malformed) => malformed.error_code(),
            Self::MissingParameter(_) => "missing_parameter",
            Self::InvalidTarget(problem) => problem.error_code(),
            Self::Pkce(problem) => problem.error_code(),
            Self::Exchange(problem) => problem.error_code(),
            Self::Grant(failure) => failure.error_code(),
            Self::Device(DeviceProblem::Pending) => "authorization_pending",
            Self::Device(DeviceProblem::TooFast) => "slow_down",
            Self::Device(DeviceProblem::Refused) => "user_refused",
            Self::Device(DeviceProblem::Expired) => "expired_token",
            Self::Bearer(problem) => problem.error_code(),
            Self::Busy => "overloaded",
            Self::Dpop(problem) => problem.error_code(),
            Self::DpopNonce => "use_dpop_nonce",
            Self::CertificateMissing => "client_certificate_missing",
            // SECURITY: finer names here would tell whether a client exists.
            Self::ClientAuthentication(_) | Self::Access(AccessDenial::UnknownClient) => "client_authentication_failed",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::GrantNotAllowed(_) | Self::Access(AccessDenial::GrantNotAllowed(_)) => "grant_not_allowed",
            Self::PublicClient(_) => "public_client",
            Self::MalformedScope(_) => "malformed_scope",
            Self::ScopeNotGranted(_) => "scope_not_granted",
            Self::Access(AccessDenial::UnknownScope(_)) => "no_matching_scope",
            Self::Access(AccessDenial::ScopeNeedsUser(_)) => "openid_not_allowed_client_creds",
            Self::Access(AccessDenial::OfflineAccessNotAllowed) => "offline_access_not_allowed",
            Self::Access(AccessDenial::NoScope) => "no_default_scopes",
            Self::Access(AccessDenial::ConsentRequired(_)) => "consent_required",
            Self::Access(AccessDenial::UserNotActive) => "user_not_active",
            Self::Access(AccessDenial::UserNotAssigned) => "user_not_assigned",
            Self::Access(AccessDenial::NoMatchingPolicy) => "no_matching_policy",
            Self::Access(AccessDenial::ScopeDenied(_)) => "scope_denied",
            Self::Access(AccessDenial::UnknownServer) => "unknown_authorization_server",
            Self::Claim(_) => "claim_evaluation_failure",
            Self::Overtaken => "overtaken_by_revocation",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status: 400, but for who did not authenticate or comes too often, and for our own failures.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match (self, self.code()) {
            (Self::Malformed(MalformedRequest::TooLarge), _) => 413,
            (Self::Grant(GrantFailure::Password(PasswordFailure::Locked)), _) => 429,
            (_, ErrorCode::InvalidClient | ErrorCode::InvalidToken) => 401,
            (_, ErrorCode::InsufficientScope) => 403,
            (_, ErrorCode::ServerError) => 500,
            (_, ErrorCode::TemporarilyUnavailable) => 503,
            _ => 400,
        }
    }

    /// The `error_description`: what is wrong, in the characters that RFC 6749 section 5.2 allows.
    #[must_use]
    pub fn description(&self) -> String {
        let allowed = |character: char| {
            let plain = matches!(character, '\x20'..='\x7e') && !matches!(character, '"' | '\\');
            if plain { character } else { '?' }
        };
        self.to_string().chars().take(500).map(allowed).collect()
    }

    /// Whose fault it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Claim(_) => Fault::Operator,
            Self::Internal(_) | Self::Busy | Self::Access(AccessDenial::UnknownServer) => Fault::Us,
            Self::Malformed(_)
            | Self::MissingParameter(_)
            | Self::ClientAuthentication(_)
            | Self::UnsupportedGrantType
            | Self::GrantNotAllowed(_)
            | Self::PublicClient(_)
            | Self::MalformedScope(_)
            | Self::ScopeNotGranted(_)
            | Self::Pkce(_)
            | Self::Exchange(_)
            | Self::Grant(_)
            | Self::Device(_)
            | Self::Bearer(_)
            | Self::InvalidTarget(_)
            | Self::Dpop(_)
            | Self::DpopNonce
            | Self::CertificateMissing
            | Self::Overtaken
            | Self::Access(_) => Fault::Caller,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        matches!(
            self,
            Self::Internal(_)
                | Self::Overtaken
                | Self::Busy
                | Self::Device(DeviceProblem::Pending | DeviceProblem::TooFast)
        )
    }
}

impl From<GrantFailure> for OAuthError {
    fn from(failure: GrantFailure) -> Self {
        Self::Grant(failure)
    }
}

impl From<RefreshFailure> for OAuthError {
    fn from(failure: RefreshFailure) -> Self {
        Self::Grant(failure.into())
    }
}

impl From<CodeFailure> for OAuthError {
    fn from(failure: CodeFailure) -> Self {
        Self::Grant(failure.into())
    }
}

impl From<PasswordFailure> for OAuthError {
    fn from(failure: PasswordFailure) -> Self {
        Self::Grant(failure.into())
    }
}

impl From<AssertionFailure> for OAuthError {
    fn from(failure: AssertionFailure) -> Self {
        Self::Grant(failure.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_063_every_failed_authentication_looks_the_same_from_outside() {
        use AuthenticationFailure as F;
        let outside = |failure| {
            let error = OAuthError::ClientAuthentication(failure);
            (
                error.code(),
                error.error_code(),
                error.http_status(),
                error.description(),
            )
        };
        let first = outside(F::UnknownClient);
        assert_eq!(first.2, 401);
        for failure in [
            F::Missing,
            F::MalformedBasic,
            F::WrongSecret,
            F::SecretMissing,
            F::SecretOfPublicClient,
            F::WrongMethod,
            F::Inactive,
            F::Assertion(AssertionProblem::Replayed),
            F::CertificateMissing,
            F::CertificateUntrusted,
            F::CertificateExpired,
            F::CertificateMismatch,
        ] {
            assert_eq!(outside(failure), first);
        }
    }

    #[test]
    fn case_036_a_description_holds_allowed_characters_only() {
        let error = OAuthError::Claim(ClaimFailure {
            claim: "a\"b\\c\n\u{e9}".to_owned(),
            problem: "x",
        });
        assert_eq!(error.description(), "the claim `a?b?c??` could not be evaluated: x");
    }

    #[test]
    fn what_is_inside_of_our_own_failures_stays_inside() {
        let error = OAuthError::internal("disk /var/lib/secret-path is full");
        assert_eq!(error.description(), "the server could not complete the request");
        assert_eq!((error.http_status(), error.fault()), (500, Fault::Us));
    }

    #[test]
    fn the_outcomes_of_policy_are_told_apart() {
        let scopes = ScopeSet::parse("a").expect("valid");
        let of = |denial: AccessDenial| {
            let error = OAuthError::from(denial);
            (error.code().as_str(), error.error_code(), error.http_status())
        };
        assert_eq!(
            of(AccessDenial::NoMatchingPolicy),
            ("access_denied", "no_matching_policy", 400)
        );
        assert_eq!(
            of(AccessDenial::ScopeDenied(scopes.clone())),
            ("access_denied", "scope_denied", 400)
        );
        assert_eq!(
            of(AccessDenial::UnknownScope(scopes)),
            ("invalid_scope", "no_matching_scope", 400)
        );
    }
}
