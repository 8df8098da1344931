//! Why tokens cannot be exchanged: `invalid_request` (RFC 8693 section 2.2.2).

/// Why tokens cannot be exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ExchangeProblem {
    /// The type of a token is none that is exchanged here.
    #[error("only access tokens are exchanged: urn:ietf:params:oauth:token-type:access_token")]
    TokenType,
    /// The type that is asked for is none that is given here.
    #[error("only access tokens are given: urn:ietf:params:oauth:token-type:access_token")]
    RequestedType,
    /// A token is not a living one of this server, nor of one whose tokens are exchanged here.
    #[error("the subject token or the actor token is not valid here")]
    Token,
    /// The token speaks for no user.
    #[error("the subject token speaks for no user: ask for a token of the client's own")]
    NoUser,
    /// The actor's token is not the client's.
    #[error("the actor token was not issued to this client")]
    Actor,
    /// The token is neither this client's, nor meant for it.
    #[error("the subject token was neither issued to this client nor is it for it")]
    OtherClient,
    /// The token says who may act, and it is not this one.
    #[error("the subject token lets somebody else act")]
    MayNotAct,
    /// Too many have acted already.
    #[error("the chain of actors is too long")]
    TooManyActors,
}

impl ExchangeProblem {
    /// Our stable name.
    #[must_use]
    pub const fn error_code(self) -> &'static str {
        match self {
            Self::TokenType => "unsupported_token_type",
            Self::RequestedType => "unsupported_requested_token_type",
            Self::Token => "invalid_exchange_token",
            Self::NoUser => "exchange_without_user",
            Self::Actor => "invalid_actor_token",
            Self::OtherClient => "mismatched_client",
            Self::MayNotAct => "no_delegation_link",
            Self::TooManyActors => "too_many_actors",
        }
    }
}
