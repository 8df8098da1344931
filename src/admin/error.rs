//! What goes wrong in the administration.

use crate::issuer::change::ChangeError;
use crate::issuer::management::ManagementTokenError;
use crate::model::finding::{Finding, Severity};
use crate::store::StoreError;

/// Why an administrator does not get what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The token is not good here.
    #[error(transparent)]
    Token(#[from] ManagementTokenError),
    /// The token lacks this scope.
    #[error("the access token lacks the scope `{0}`")]
    Scope(String),
    /// No role of the administrator lets it.
    #[error("no role of the administrator lets it do this here")]
    Role,
    /// There is no such object.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// Its identifier.
        id: String,
    },
    /// The file declares it.
    #[error("the {kind} `{id}` is declared in the configuration file")]
    ReadOnly {
        /// What it is.
        kind: &'static str,
        /// Its identifier.
        id: String,
    },
    /// It is not in the state that was expected (`If-Match`).
    #[error("the object is not the one that the request expects")]
    Precondition,
    /// A value is not accepted.
    #[error("{object} is not accepted: {}", .causes.join("; "))]
    Invalid {
        /// What was validated.
        object: &'static str,
        /// Each mistake.
        causes: Vec<String>,
    },
    /// The object is in a state that forbids it.
    #[error("{0}")]
    State(String),
    /// Somebody else was first, again and again.
    #[error("somebody else changes it at the same time")]
    Contended,
    /// Ours: the cause is for the log.
    #[error(transparent)]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl AdminError {
    /// There is no such object.
    pub fn not_found(kind: &'static str, id: &str) -> Self {
        let id = id.to_owned();
        Self::NotFound { kind, id }
    }

    /// The file declares it.
    pub fn read_only(kind: &'static str, id: &str) -> Self {
        let id = id.to_owned();
        Self::ReadOnly { kind, id }
    }

    /// A value is not accepted.
    pub fn invalid(object: &'static str, cause: impl Into<String>) -> Self {
        let causes = vec![cause.into()];
        Self::Invalid { object, causes }
    }

    /// A change that was not done, of this kind of object.
    pub fn of_change(object: &'static str, error: ChangeError) -> Self {
        match error {
            ChangeError::Findings(findings) => Self::Invalid {
                object,
                causes: findings
                    .iter()
                    .filter(|finding| finding.severity == Severity::Error)
                    .map(cause)
                    .collect(),
            },
            ChangeError::Overtaken => Self::Contended,
            ChangeError::Store(error) => error.into(),
            error @ ChangeError::Keys { .. } => Self::Internal(Box::new(error)),
        }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Internal(Box::new(error))
    }
}

fn cause(finding: &Finding) -> String {
    match &finding.hint {
        Some(hint) => format!("{} ({}): {hint}", finding.message, finding.code),
        None => format!("{} ({})", finding.message, finding.code),
    }
}
