//! The directory's people: users and groups.
//!
//! A user's password is a PHC text of Argon2id, never the password. What a user may do follows from
//! the groups and from the assignments of the clients; there is no other right in a user.

use serde_json::{Map, Value};

use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;

/// A user of the directory.
#[derive(Debug, Clone)]
pub struct UserRecord {
    /// Opaque, and never given to another user.
    pub id: UserId,
    /// The login: unique, compared without regard to ASCII case, kept in lower case.
    pub login: String,
    /// Whether the user may sign in.
    pub status: UserStatus,
    /// The profile's attributes, `login` and `email` included.
    pub profile: Map<String, Value>,
    /// The password as a PHC text of Argon2id; none for who cannot sign in by one.
    pub password: Option<Secret<String>>,
    /// Moves on by one with each change: what If-Match compares.
    pub revision: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Whether a user may sign in (Okta's words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UserStatus {
    /// Made, and not let in yet.
    Staged,
    /// May sign in.
    Active,
    /// Kept out for a time.
    Suspended,
    /// Kept out for good; the only state that may be deleted.
    Deprovisioned,
}

impl UserStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Staged, Self::Active, Self::Suspended, Self::Deprovisioned];

    /// Okta's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "STAGED",
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::Deprovisioned => "DEPROVISIONED",
        }
    }

    /// Reads Okta's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_read_back() {
        for status in UserStatus::ALL {
            assert_eq!(UserStatus::parse(status.as_str()), Some(status));
        }
    }
}
