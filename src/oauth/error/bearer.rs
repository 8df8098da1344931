//! Why an access token does not open one of our own endpoints (RFC 6750 section 3.1).

/// Why an access token does not open one of our own endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BearerProblem {
    /// There is none.
    #[error("an access token is needed: Authorization: Bearer …")]
    Missing,
    /// It was sent in more than one way.
    #[error("the access token was sent in more than one way")]
    Several,
    /// It is not one of this server, or not any more; one text for every reason.
    #[error("the access token is not valid")]
    Invalid,
    /// It is bound to a key, and the request does not prove it.
    #[error("the access token is bound to a key: show the proof of it")]
    Unproven,
    /// It does not hold this scope.
    #[error("the access token does not hold the scope `{0}`")]
    Scope(&'static str),
}

impl BearerProblem {
    /// Our stable name.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::Missing => "access_token_missing",
            Self::Several => "access_token_duplicate",
            Self::Invalid => "access_token_invalid",
            Self::Unproven => "access_token_unproven",
            Self::Scope(_) => "insufficient_scope",
        }
    }
}
