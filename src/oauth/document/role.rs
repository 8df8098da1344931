//! Groups, and what administrators may do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::id::{AuthorizationServerId, ClientId, UserId};

/// A group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// Its name, unique among groups.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// What its profile says besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub profile: Map<String, Value>,
}

/// What an administrator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Role {
    /// Everything.
    SuperAdmin,
    /// Authorization servers with all that is in them, clients and their assignments; not users, groups
    /// or other administrators (okta-model section 10).
    ApiAccessManagementAdmin,
    /// Sees everything, changes nothing.
    ReadOnlyAdmin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::SuperAdmin, Self::ApiAccessManagementAdmin, Self::ReadOnlyAdmin];

    /// Okta's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SuperAdmin => "SUPER_ADMIN",
            Self::ApiAccessManagementAdmin => "API_ACCESS_MANAGEMENT_ADMIN",
            Self::ReadOnlyAdmin => "READ_ONLY_ADMIN",
        }
    }

    /// Reads Okta's word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// Who has a role.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignee {
    /// A client that acts for itself.
    Client(String),
    /// A user, by identifier.
    User(String),
}

impl Assignee {
    /// Whether it is this client.
    #[must_use]
    pub fn is_client(&self, client: &ClientId) -> bool {
        matches!(self, Self::Client(id) if id == client.as_str())
    }

    /// Whether it is this user.
    #[must_use]
    pub fn is_user(&self, user: &UserId) -> bool {
        matches!(self, Self::User(id) if id == user.as_str())
    }
}

/// A role, who has it, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleBindingDocument {
    /// Who.
    pub assignee: Assignee,
    /// What.
    pub role: Role,
    /// At these authorization servers alone, by identifier; everywhere if not said. A role with places
    /// reaches nothing that is not at one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<String>>,
}

impl RoleBindingDocument {
    /// Whether it reaches this authorization server.
    #[must_use]
    pub fn reaches(&self, server: &AuthorizationServerId) -> bool {
        self.servers
            .as_ref()
            .is_none_or(|servers| servers.iter().any(|id| id == server.as_str()))
    }
}
