//! Identifiers: a newtype for each thing that has a name, so that two of them cannot be swapped.
//!
//! Each holds an `Arc<str>`: cloning one costs a counter, which is what the check path does.

use std::fmt;
use std::sync::Arc;

/// The longest identifier that we accept from a peer or a file, in bytes. Longer values are
/// refused rather than cut: a cut identifier could equal another one.
pub const IDENTIFIER_BYTES_MAX: usize = 1024;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIdentifier {
    /// The text is empty.
    #[error("an identifier is not empty")]
    Empty,
    /// The text is longer than [`IDENTIFIER_BYTES_MAX`].
    #[error("an identifier has at most {IDENTIFIER_BYTES_MAX} bytes")]
    TooLong,
    /// The text holds a control character (RFC 6749 appendix A allows printable ones only).
    #[error("an identifier holds no control character")]
    Control,
}

/// Whether the text could be any of these identifiers.
///
/// # Errors
/// [`InvalidIdentifier`] says which rule it breaks.
pub fn check(text: &str) -> Result<(), InvalidIdentifier> {
    if text.is_empty() {
        return Err(InvalidIdentifier::Empty);
    }
    if text.len() > IDENTIFIER_BYTES_MAX {
        return Err(InvalidIdentifier::TooLong);
    }
    // Nearly all are ASCII, which is looked at many bytes at a time.
    let has_control = if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    };
    if has_control {
        return Err(InvalidIdentifier::Control);
    }
    Ok(())
}

fn checked(text: &str) -> Result<Arc<str>, InvalidIdentifier> {
    check(text)?;
    Ok(Arc::from(text))
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Reads the identifier, refusing an empty, oversized or unprintable one.
            ///
            /// # Errors
            /// [`InvalidIdentifier`] says which rule the text breaks.
            pub fn parse(text: &str) -> Result<Self, InvalidIdentifier> {
                checked(text).map(Self)
            }

            /// The identifier's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

identifiers! {
    /// The name of an authorization server, local or external: the `{id}` in `/oauth2/{id}`.
    AuthorizationServerId;
    /// An issuer identifier: the `iss` of a token, compared exactly (RFC 9068 section 4, RFC 8414 section 2).
    Issuer;
    /// An OAuth 2.0 client identifier (RFC 6749 section 2.2).
    ClientId;
    /// The `sub` of a token (RFC 7519 section 4.1.2).
    Subject;
    /// The `jti` of a token (RFC 7519 section 4.1.7).
    Jti;
    /// A key identifier (RFC 7517 section 4.5).
    Kid;
    /// A user of the directory: opaque, and never given to another user. The `uid` of Okta's profile.
    UserId;
    /// What a user agreed to, and the family of tokens that descends from it: the `sid` of its tokens.
    GrantId;
    /// The name of an API of the configuration: a group of endpoints offered together.
    ApiName;
    /// A route's name in logs, metrics and metadata, for example `GET /transfers/{id}`.
    RouteName;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_identifier() {
        assert_eq!(ClientId::parse(""), Err(InvalidIdentifier::Empty));
        assert_eq!(ClientId::parse("a\nb"), Err(InvalidIdentifier::Control));
        assert_eq!(ClientId::parse(&"a".repeat(1025)), Err(InvalidIdentifier::TooLong));
        assert_eq!(
            ClientId::parse("mobile").map(|id| id.to_string()),
            Ok("mobile".to_owned())
        );
    }
}
