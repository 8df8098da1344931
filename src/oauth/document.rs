//! The administration's objects as they are kept: the body of a stored object, for each kind.
//!
//! A document is what an administrator has said; a declaration ([`crate::oauth::declared`]) is what the
//! compiler reads. Both the file and the documents become declarations, so that one compiler judges both.
//!
//! - An unknown field makes a document unreadable: a newer version may have written a restriction
//!   there, and to read over it would widen what the object allows.
//! - An authorization server is one document, its policies and rules in order: the order *is* the order
//!   of the list, and a priority is only how the API writes a place in it.
//! - No document holds a credential: a secret is kept as its SHA-256, or sealed where it must be readable.

mod client;
mod role;
mod server;

use serde::{Deserialize, Serialize};

use crate::oauth::schema::UserSchema;

pub use client::{
    AssignmentDocument, ClientDocument, KeyDocument, RegistrationDocument, RotationDocument, SecretDocument,
};
pub use role::{Assignee, GroupDocument, Role, RoleBindingDocument};
pub use server::{
    ClaimDocument, ClaimType, ConsentDocument, GroupFilter, PolicyDocument, RefreshDocument, RuleDocument,
    ScopeDocument, ServerDocument, SigningDocument, TrustedIssuerDocument, ValueType,
};

/// The group that everybody is in.
pub const EVERYONE: &str = "EVERYONE";

/// Whether an object works (Okta's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// It works.
    #[default]
    Active,
    /// It is there, and does not.
    Inactive,
}

impl Status {
    /// Whether it works.
    #[must_use]
    pub fn is_active(self) -> bool {
        self == Self::Active
    }
}

/// A document that cannot be read, or says what has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDocument(pub String);

/// What an identifier of ours is of: the first three letters, as Okta's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdPrefix {
    /// An authorization server.
    Server,
    /// A scope.
    Scope,
    /// A claim.
    Claim,
    /// A policy.
    Policy,
    /// A rule.
    Rule,
    /// A client.
    Client,
    /// A client's secret.
    Secret,
    /// A client's key.
    Key,
    /// A user.
    User,
    /// A group.
    Group,
    /// A role of an administrator.
    RoleBinding,
}

impl IdPrefix {
    /// The letters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "aus",
            Self::Scope => "scp",
            Self::Claim => "ocl",
            Self::Policy => "00p",
            Self::Rule => "0pr",
            Self::Client => "0oa",
            Self::Secret => "ocs",
            Self::Key => "pks",
            Self::User => "00u",
            Self::Group => "00g",
            Self::RoleBinding => "irb",
        }
    }

    /// An identifier: the prefix, and 17 letters or digits of these random bytes (101 bits).
    ///
    /// # Panics
    /// Never: a remainder of 62 is a place in the alphabet.
    #[must_use]
    pub fn identifier(self, random: u128) -> String {
        const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut text = self.as_str().to_owned();
        let mut rest = random;
        for _ in 0..17 {
            let digit = usize::try_from(rest % 62).expect("a remainder of 62 is small");
            text.push(char::from(ALPHABET[digit]));
            rest /= 62;
        }
        text
    }
}

/// Moments as whole seconds since the epoch.
mod moment {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::model::time::Timestamp;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(moment.unix_seconds())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(deserializer).map(Timestamp::from_unix_seconds)
    }
}

/// Reads and writes documents as the bodies of stored objects.
pub trait Document: Serialize + for<'de> Deserialize<'de> {
    /// Reads a body.
    ///
    /// # Errors
    /// [`InvalidDocument`] says what cannot be read.
    fn read(body: &serde_json::Value) -> Result<Self, InvalidDocument> {
        Self::deserialize(body).map_err(|error| InvalidDocument(error.to_string()))
    }

    /// Writes a body.
    ///
    /// # Panics
    /// Never: documents have text for keys and no other reason to fail.
    fn body(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("a document has a JSON form")
    }
}

impl Document for ServerDocument {}
impl Document for ClientDocument {}
impl Document for GroupDocument {}
impl Document for RoleBindingDocument {}
impl Document for UserSchema {}

#[cfg(test)]
mod tests;
