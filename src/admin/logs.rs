//! The audit log, to be read. It is append-only: there is nothing here that changes it.

use crate::admin::AdminError;
use crate::admin::desk::Desk;
use crate::store::objects::{AuditEntry, AuditQuery};

impl Desk<'_> {
    /// Entries of the log.
    ///
    /// # Errors
    /// [`AdminError::Internal`].
    pub async fn log(&self, query: AuditQuery) -> Result<Vec<AuditEntry>, AdminError> {
        Ok(self.store().audit_entries(&query).await?)
    }
}
