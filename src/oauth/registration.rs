//! Client metadata (RFC 7591 section 2, with OpenID Connect's and Okta's members): what a client says of itself,
//! and what is kept of it. Okta's apps hold the same members in two places; `http` puts them together.
//!
//! - A member that is not known is ignored (RFC 7591 section 2), and no answer repeats it: what was understood is
//!   what the answer says.
//! - A member that would protect the client, and that is not honoured here, is refused: whoever asks for
//!   encrypted ID tokens must not be given plain ones (attack F48 for `none`).
//! - Each URL that people may be sent to is `https` (attack F20: no `javascript:` in a logo).
//! - What a client must not say of itself, an administrator may: [`Speaker`].
//!
//! Whether the whole makes sense (grants for a kind, secrets for a method) is judged by the compiler, as for a
//! client of the file.

mod reading;
mod showing;

use std::fmt;

use crate::oauth::declared::ClientKind;
use crate::oauth::document::ClientDocument;

pub use reading::{Reading, key as read_key, read};
pub use showing::{response_types, show};

/// The most keys that a client has (okta-model section 1).
pub const KEYS_MAX: usize = 50;

/// The most redirect URIs, of each sort.
pub const URIS_MAX: usize = 100;

/// Who speaks of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// An administrator.
    Administrator,
    /// The client itself, or whoever registers it. It cannot make itself trusted, nor a resource server that may
    /// look at other clients' tokens (attack F19).
    Itself,
}

/// A member of the metadata that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Which.
    pub field: String,
    /// What is wrong with it.
    pub text: String,
    /// Whether the error is `invalid_redirect_uri` (RFC 7591 section 3.2.2); it is `invalid_client_metadata` otherwise.
    pub is_redirect: bool,
}

impl Mistake {
    pub(crate) fn new(field: &str, text: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            text: text.into(),
            is_redirect: false,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// The kind of a client by its `application_type`.
#[must_use]
pub fn kind_of(application_type: &str) -> Option<ClientKind> {
    Some(match application_type {
        "web" => ClientKind::Web,
        "native" => ClientKind::Native,
        "browser" => ClientKind::Browser,
        "service" => ClientKind::Service,
        _ => return None,
    })
}

/// Whether the client proves itself by a secret.
#[must_use]
pub fn uses_secret(document: &ClientDocument) -> bool {
    match document.authentication.as_deref() {
        Some(method) => method.starts_with("client_secret_"),
        None => matches!(document.kind.as_str(), "web" | "service"),
    }
}

#[cfg(test)]
mod tests;
