//! Grant types: the ways to a token (RFC 6749 section 1.3 and its extensions).

use crate::model::finding::nearest;
use crate::oauth::declared::ClientKind;

/// A grant type that we know by name. Which of them the token endpoint answers is the issuer's matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GrantType {
    /// RFC 6749 section 4.1.
    AuthorizationCode,
    /// RFC 6749 section 4.2: legacy.
    Implicit,
    /// RFC 6749 section 4.3: legacy.
    Password,
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 8628.
    DeviceCode,
    /// RFC 8693.
    TokenExchange,
    /// RFC 7523 section 2.1.
    JwtBearer,
}

impl GrantType {
    /// Every grant type.
    pub const ALL: [Self; 8] = [
        Self::AuthorizationCode,
        Self::Implicit,
        Self::Password,
        Self::ClientCredentials,
        Self::RefreshToken,
        Self::DeviceCode,
        Self::TokenExchange,
        Self::JwtBearer,
    ];

    /// The short name: in the file, in metrics, and for CEL's `grant`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::Implicit => "implicit",
            Self::Password => "password",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "device_code",
            Self::TokenExchange => "token_exchange",
            Self::JwtBearer => "jwt_bearer",
        }
    }

    /// The value of `grant_type` on the wire.
    #[must_use]
    pub const fn wire_name(self) -> &'static str {
        match self {
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
            Self::JwtBearer => "urn:ietf:params:oauth:grant-type:jwt-bearer",
            other => other.as_str(),
        }
    }

    /// Reads a name as the file writes it: the short one, or the one of the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|grant| grant.as_str() == text || grant.wire_name() == text)
    }

    /// Reads the value of `grant_type` on the wire: exact spelling, or nothing.
    #[must_use]
    pub fn parse_wire(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.wire_name() == text)
    }

    /// The known name nearest to a misspelt one.
    #[must_use]
    pub fn nearest(text: &str) -> Option<&'static str> {
        nearest(text, Self::ALL.map(Self::as_str))
    }

    /// Whether RFC 9700 tells everybody to move away from it.
    #[must_use]
    pub const fn is_legacy(self) -> bool {
        matches!(self, Self::Password | Self::Implicit)
    }

    /// Whether a token of this grant speaks for a person.
    #[must_use]
    pub const fn has_user(self) -> bool {
        !matches!(self, Self::ClientCredentials)
    }

    /// Whether a person signs in for it, now or earlier: its tokens have a `sid`, and a refresh token may follow.
    #[must_use]
    pub const fn signs_in(self) -> bool {
        matches!(
            self,
            Self::AuthorizationCode | Self::DeviceCode | Self::Password | Self::RefreshToken
        )
    }

    /// Whether a person signs in for it now: a grant that is refreshed has begun by one of these.
    #[must_use]
    pub const fn signs_in_anew(self) -> bool {
        self.signs_in() && !matches!(self, Self::RefreshToken)
    }

    /// Whether this kind of client may be given this grant (okta-model section 6).
    #[must_use]
    pub const fn is_allowed_for(self, kind: ClientKind) -> bool {
        match kind {
            ClientKind::Web => matches!(
                self,
                Self::AuthorizationCode
                    | Self::Implicit
                    | Self::RefreshToken
                    | Self::ClientCredentials
                    | Self::DeviceCode
                    | Self::TokenExchange
            ),
            ClientKind::Native => matches!(
                self,
                Self::AuthorizationCode | Self::Implicit | Self::Password | Self::RefreshToken | Self::DeviceCode
            ),
            ClientKind::Browser => matches!(self, Self::AuthorizationCode | Self::Implicit | Self::RefreshToken),
            ClientKind::Service => matches!(self, Self::ClientCredentials | Self::TokenExchange | Self::JwtBearer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_the_wire_has_its_own() {
        for grant in GrantType::ALL {
            assert_eq!(GrantType::parse(grant.as_str()), Some(grant));
            assert_eq!(GrantType::parse_wire(grant.wire_name()), Some(grant));
        }
        assert_eq!(GrantType::parse_wire("token_exchange"), None);
        assert_eq!(GrantType::parse_wire("Client_Credentials"), None);
        assert_eq!(GrantType::nearest("client_credential"), Some("client_credentials"));
    }

    #[test]
    fn only_services_and_web_apps_may_act_for_themselves() {
        let allowed = |kind| GrantType::ClientCredentials.is_allowed_for(kind);
        assert!(allowed(ClientKind::Service) && allowed(ClientKind::Web));
        assert!(!allowed(ClientKind::Native) && !allowed(ClientKind::Browser));
    }
}
