//! Why a request of the administration was not done. The API has one status and one code for each.

use crate::issuer::change::ChangeError;
use crate::model::finding::{Finding, Severity};
use crate::oauth::document::InvalidDocument;
use crate::oauth::registration::Mistake;
use crate::store::StoreError;

/// Why a request was not done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no such object, or the caller may not know of it.
    #[error("there is no {kind} `{id}`")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// By which name.
        id: String,
    },
    /// What was sent has mistakes.
    #[error("{object}: {}", causes.join("; "))]
    Invalid {
        /// What was looked at.
        object: &'static str,
        /// Each mistake.
        causes: Vec<String>,
    },
    /// The object is in a state that forbids this.
    #[error("{0}")]
    State(String),
    /// The object is the file's.
    #[error("the {kind} `{id}` is declared in the configuration file")]
    ReadOnly {
        /// What it is.
        kind: &'static str,
        /// Which.
        id: String,
    },
    /// The object is not the one that the caller had read.
    #[error("the object is not the one that was read")]
    Precondition,
    /// Somebody else changed the same at the same time.
    #[error("somebody else changed it at the same time")]
    Overtaken,
    /// The caller may not do this.
    #[error("this takes another role")]
    Forbidden,
    /// Our fault.
    #[error("the administration could not complete a request")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// One mistake.
    pub fn invalid(object: &'static str, cause: impl Into<String>) -> Self {
        Self::Invalid {
            object,
            causes: vec![cause.into()],
        }
    }

    /// There is no such object.
    pub fn not_found(kind: &'static str, id: &str) -> Self {
        Self::NotFound {
            kind,
            id: id.to_owned(),
        }
    }

    /// Mistakes of a client's metadata.
    pub fn metadata(mistakes: &[Mistake]) -> Self {
        Self::Invalid {
            object: "application",
            causes: mistakes.iter().map(ToString::to_string).collect(),
        }
    }

    /// A change that failed; `object` is what was changed.
    pub fn of_change(object: &'static str, error: ChangeError) -> Self {
        match error {
            ChangeError::Findings(findings) => Self::Invalid {
                object,
                causes: findings
                    .iter()
                    .filter(|finding| finding.severity == Severity::Error)
                    .map(told)
                    .collect(),
            },
            ChangeError::Overtaken => Self::Overtaken,
            error @ (ChangeError::Store(_) | ChangeError::Keys { .. }) => Self::Internal(Box::new(error)),
        }
    }
}

fn told(finding: &Finding) -> String {
    match &finding.hint {
        Some(hint) => format!("{}; {hint}", finding.message),
        None => finding.message.clone(),
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            // An identifier is random: one that is taken was taken by a race for a name.
            StoreError::Taken(_) => Self::Overtaken,
            error => Self::Internal(Box::new(error)),
        }
    }
}

impl From<InvalidDocument> for Refusal {
    fn from(error: InvalidDocument) -> Self {
        Self::Internal(Box::new(error))
    }
}
