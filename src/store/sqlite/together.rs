//! What failed for several who waited for the same statement or transaction.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// One error for all of them.
#[derive(Debug, Clone)]
pub(super) struct FailedTogether {
    what: &'static str,
    cause: Arc<sqlx::Error>,
}

impl FailedTogether {
    pub(super) fn new(what: &'static str, cause: sqlx::Error) -> Self {
        Self {
            what,
            cause: Arc::new(cause),
        }
    }

    /// What SQLite said.
    pub(super) fn cause(&self) -> &sqlx::Error {
        &self.cause
    }
}

impl fmt::Display for FailedTogether {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl Error for FailedTogether {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}
