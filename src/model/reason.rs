//! The closed vocabulary of decisions: every "no" has one of these reasons, on every channel.

/// Why a request was denied. One word serves the reply's metadata, the decision log, the metrics,
/// `explain` and `test`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    /// No Authorization header where a token is needed (RFC 6750 section 3.1).
    MissingToken,
    /// The token is malformed, expired, foreign, revoked or otherwise not believed.
    InvalidToken,
    /// The request presents a credential in a way that cannot be read with certainty.
    InvalidRequest,
    /// The token lacks a scope that the route needs (RFC 6750 section 3.1).
    InsufficientScope,
    /// The token's client is not one of those that may call the API.
    ClientNotAllowed,
    /// The route's `when` condition is false, or cannot be evaluated.
    ConditionFailed,
    /// The user signed in too long ago or too weakly (RFC 9470 section 3).
    InsufficientUserAuthentication,
    /// The DPoP proof is missing, broken or replayed (RFC 9449 section 7.1).
    InvalidDpopProof,
    /// The proof must carry the nonce that this answer hands out (RFC 9449 section 9).
    UseDpopNonce,
    /// No route matches: unknown host, path or verb.
    NoRoute,
    /// The route says `deny`.
    RouteDenies,
    /// The path could be read in two ways by two servers.
    AmbiguousPath,
    /// The TLS server name and the host differ where the API binds them.
    MisdirectedRequest,
    /// The CheckRequest cannot be decoded or lacks the HTTP request.
    MalformedCheck,
    /// A claim cannot be carried to the upstream as the API's `forward` says.
    UnforwardableClaim,
    /// Keys, introspection or the store are not to be had just now.
    Unavailable,
    /// More checks are under way than the gate takes.
    Overloaded,
    /// The check did not finish within its deadline.
    Timeout,
    /// A fault of ours: the check's code panicked.
    Internal,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 19] = [
        Self::MissingToken,
        Self::InvalidToken,
        Self::InvalidRequest,
        Self::InsufficientScope,
        Self::ClientNotAllowed,
        Self::ConditionFailed,
        Self::InsufficientUserAuthentication,
        Self::InvalidDpopProof,
        Self::UseDpopNonce,
        Self::NoRoute,
        Self::RouteDenies,
        Self::AmbiguousPath,
        Self::MisdirectedRequest,
        Self::MalformedCheck,
        Self::UnforwardableClaim,
        Self::Unavailable,
        Self::Overloaded,
        Self::Timeout,
        Self::Internal,
    ];

    /// The reason's word, as every channel writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::InvalidToken => "invalid_token",
            Self::InvalidRequest => "invalid_request",
            Self::InsufficientScope => "insufficient_scope",
            Self::ClientNotAllowed => "client_not_allowed",
            Self::ConditionFailed => "condition_failed",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::NoRoute => "no_route",
            Self::RouteDenies => "route_denies",
            Self::AmbiguousPath => "ambiguous_path",
            Self::MisdirectedRequest => "misdirected_request",
            Self::MalformedCheck => "malformed_check",
            Self::UnforwardableClaim => "unforwardable_claim",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that a denial for this reason carries. `hide: true` may turn a
    /// [`Reason::NoRoute`] into 404.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidRequest | Self::AmbiguousPath | Self::MalformedCheck => 400,
            Self::MissingToken
            | Self::InvalidToken
            | Self::InsufficientUserAuthentication
            | Self::InvalidDpopProof
            | Self::UseDpopNonce => 401,
            Self::InsufficientScope
            | Self::ClientNotAllowed
            | Self::ConditionFailed
            | Self::NoRoute
            | Self::RouteDenies
            | Self::UnforwardableClaim => 403,
            Self::MisdirectedRequest => 421,
            Self::Unavailable | Self::Overloaded | Self::Timeout | Self::Internal => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_own_number_and_denies() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            assert!(reason.http_status() >= 400);
        }
    }
}
