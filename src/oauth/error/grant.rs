//! Why a grant does not count: `invalid_grant`, with the exact reason kept inside.
//!
//! The client is told one text for each kind of grant, whatever the reason: a refresh token that was
//! never ours, of another client, reused or over reads the same; so does a wrong password and an
//! unknown user. The reason is in the audit record ([`GrantFailure::as_str`]).

use crate::oauth::access::AccessDenial;
use crate::oauth::assertion::AssertionProblem;

/// Why a grant does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantFailure {
    /// The refresh token.
    Refresh(RefreshFailure),
    /// The authorization code.
    Code(CodeFailure),
    /// The name and password.
    Password(PasswordFailure),
    /// The assertion of a trusted issuer.
    Assertion(AssertionFailure),
    /// There is no such device code, or it is another client's.
    UnknownDeviceCode,
    /// The device code was used.
    DeviceCodeUsed,
    /// The user that it speaks for is gone.
    UserGone,
    /// What was granted is refused by now: by a policy, or by the state of user or client.
    Denied(AccessDenial),
    /// It is bound to another key than the one that was shown, if one was.
    KeyMismatch,
}

/// Why a refresh token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefreshFailure {
    /// It is none of ours, or nothing is known of its grant.
    Unknown,
    /// It is of another authorization server.
    OtherServer,
    /// It is another client's.
    OtherClient,
    /// It has a successor, and somebody used it again.
    Reused,
    /// It was not given yet: the store is an older backup.
    FromTheFuture,
    /// The grant has come to its end.
    Expired,
    /// It was not used for too long.
    IdleExpired,
    /// The grant was revoked.
    Revoked,
    /// It is a static one, and the client's tokens rotate by now.
    NotRotating,
    /// The rule that matches gives no refresh token any more.
    NotGiven,
}

/// Why an authorization code does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodeFailure {
    /// There is no such code.
    Unknown,
    /// It was used before.
    Replayed,
    /// It was given too long ago.
    Expired,
    /// It is of another authorization server.
    OtherServer,
    /// It is another client's.
    OtherClient,
    /// The redirect URI differs from the one of the authorization request.
    RedirectUri,
    /// The authorization request had a challenge, and there is no verifier.
    VerifierMissing,
    /// There is a verifier, and the authorization request had no challenge: a downgrade.
    VerifierUnexpected,
    /// The verifier is another one.
    VerifierWrong,
}

/// Why a name and password do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PasswordFailure {
    /// There is no such user.
    UnknownUser,
    /// The password is another one, or the user has none.
    WrongPassword,
    /// The user may not sign in.
    NotActive,
    /// There were too many failures.
    Locked,
}

/// Why the assertion of a trusted issuer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssertionFailure {
    /// The server does not trust its issuer.
    Untrusted,
    /// Its `typ` is that of another kind of token.
    Type,
    /// It breaks a rule of assertions.
    Problem(AssertionProblem),
    /// It is for another client.
    ClientMismatch,
    /// It names nobody.
    NoSubject,
    /// There is no such user, or not any more.
    UnknownUser,
    /// It does not allow the scopes that were asked for.
    Scope,
    /// It is for none of this server's resources.
    Resource,
}

impl GrantFailure {
    /// The stable name for logs: one for each reason.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Refresh(failure) => match failure {
                RefreshFailure::Unknown => "refresh_token_unknown",
                RefreshFailure::OtherServer => "refresh_token_of_another_server",
                RefreshFailure::OtherClient => "refresh_token_of_another_client",
                RefreshFailure::Reused => "refresh_token_reused",
                RefreshFailure::FromTheFuture => "refresh_token_from_the_future",
                RefreshFailure::Expired => "refresh_token_expired",
                RefreshFailure::IdleExpired => "refresh_token_idle_expired",
                RefreshFailure::Revoked => "refresh_token_revoked",
                RefreshFailure::NotRotating => "refresh_token_not_rotating",
                RefreshFailure::NotGiven => "refresh_token_not_given",
            },
            Self::Code(failure) => match failure {
                CodeFailure::Unknown => "code_unknown",
                CodeFailure::Replayed => "code_replayed",
                CodeFailure::Expired => "code_expired",
                CodeFailure::OtherServer => "code_of_another_server",
                CodeFailure::OtherClient => "code_of_another_client",
                CodeFailure::RedirectUri => "redirect_uri_mismatch",
                CodeFailure::VerifierMissing => "pkce_missing_verifier",
                CodeFailure::VerifierUnexpected => "pkce_missing_challenge_verifier_present",
                CodeFailure::VerifierWrong => "pkce_verification_failed",
            },
            Self::Password(failure) => match failure {
                PasswordFailure::UnknownUser => "unknown_user",
                PasswordFailure::WrongPassword => "wrong_password",
                PasswordFailure::NotActive => "user_not_active",
                PasswordFailure::Locked => "user_locked",
            },
            Self::Assertion(failure) => match failure {
                AssertionFailure::Untrusted => "assertion_untrusted_issuer",
                AssertionFailure::Type => "assertion_of_another_type",
                AssertionFailure::Problem(problem) => problem.as_str(),
                AssertionFailure::ClientMismatch => "assertion_client_mismatch",
                AssertionFailure::NoSubject => "assertion_without_subject",
                AssertionFailure::UnknownUser => "assertion_unknown_user",
                AssertionFailure::Scope => "assertion_lacking_scopes",
                AssertionFailure::Resource => "assertion_resource_mismatch",
            },
            Self::UnknownDeviceCode => "device_code_unknown",
            Self::DeviceCodeUsed => "device_code_used",
            Self::UserGone => "user_gone",
            Self::Denied(_) => "denied_by_policy",
            Self::KeyMismatch => "key_mismatch",
        }
    }

    /// The name that the client is told: one for each kind of grant.
    #[must_use]
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::Refresh(_) => "invalid_refresh_token",
            Self::Code(failure) => match failure {
                CodeFailure::Unknown | CodeFailure::Replayed | CodeFailure::Expired | CodeFailure::OtherClient => {
                    "invalid_authorization_code"
                }
                CodeFailure::OtherServer => "mismatched_authorization_server",
                CodeFailure::RedirectUri => "mismatched_redirect_uri",
                CodeFailure::VerifierMissing | CodeFailure::VerifierUnexpected | CodeFailure::VerifierWrong => {
                    "pkce_verification_failed"
                }
            },
            Self::Password(PasswordFailure::Locked) => "user_rate_limited",
            Self::Password(
                PasswordFailure::UnknownUser | PasswordFailure::WrongPassword | PasswordFailure::NotActive,
            ) => "invalid_password_credentials",
            Self::Assertion(_) => "invalid_assertion",
            Self::UnknownDeviceCode | Self::DeviceCodeUsed => "invalid_device_code",
            Self::UserGone | Self::Denied(_) => "grant_denied",
            Self::KeyMismatch => "mismatched_key",
        }
    }
}

/// What the client is told.
impl std::fmt::Display for GrantFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refresh(_) => f.write_str("the refresh token is not valid: sign the user in again"),
            Self::Code(failure) => f.write_str(match failure {
                CodeFailure::Unknown
                | CodeFailure::Replayed
                | CodeFailure::Expired
                | CodeFailure::OtherClient
                | CodeFailure::OtherServer => "the authorization code is not valid",
                CodeFailure::RedirectUri => {
                    "the parameter `redirect_uri` differs from the one of the authorization request"
                }
                CodeFailure::VerifierMissing | CodeFailure::VerifierUnexpected | CodeFailure::VerifierWrong => {
                    "the parameter `code_verifier` does not fit the authorization request"
                }
            }),
            Self::Password(PasswordFailure::Locked) => {
                f.write_str("there were too many failed attempts: try again later")
            }
            Self::Password(
                PasswordFailure::UnknownUser | PasswordFailure::WrongPassword | PasswordFailure::NotActive,
            ) => f.write_str("the user name or the password is not valid"),
            Self::Assertion(_) => f.write_str("the assertion is not valid here"),
            Self::UnknownDeviceCode | Self::DeviceCodeUsed => f.write_str("the device code is not valid"),
            Self::UserGone => f.write_str("the user is not there any more"),
            Self::Denied(denial) => write!(f, "the grant is refused by now: {denial}"),
            Self::KeyMismatch => f.write_str("the grant is bound to another key"),
        }
    }
}

impl std::error::Error for GrantFailure {}

impl From<RefreshFailure> for GrantFailure {
    fn from(failure: RefreshFailure) -> Self {
        Self::Refresh(failure)
    }
}

impl From<CodeFailure> for GrantFailure {
    fn from(failure: CodeFailure) -> Self {
        Self::Code(failure)
    }
}

impl From<AssertionFailure> for GrantFailure {
    fn from(failure: AssertionFailure) -> Self {
        Self::Assertion(failure)
    }
}

impl From<PasswordFailure> for GrantFailure {
    fn from(failure: PasswordFailure) -> Self {
        Self::Password(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_086_case_091_the_reasons_of_one_kind_of_grant_look_alike_from_outside() {
        use PasswordFailure as P;
        use RefreshFailure as R;
        let outside = |failure: GrantFailure| (failure.error_code(), failure.to_string());
        let first = outside(R::Unknown.into());
        for reason in [
            R::OtherServer,
            R::OtherClient,
            R::Reused,
            R::FromTheFuture,
            R::Expired,
            R::IdleExpired,
            R::Revoked,
            R::NotRotating,
            R::NotGiven,
        ] {
            assert_eq!(outside(reason.into()), first, "{reason:?}");
        }
        let first = outside(P::UnknownUser.into());
        for reason in [P::WrongPassword, P::NotActive] {
            assert_eq!(outside(reason.into()), first, "{reason:?}");
        }
    }
}
