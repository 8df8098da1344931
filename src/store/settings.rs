//! Which store.

use std::path::PathBuf;

use crate::model::secret::Secret;

/// Which store, and how it is reached.
#[derive(Debug, Clone)]
pub enum StoreSettings {
    /// An embedded SQLite database in this file; its folder is made if it is missing.
    Sqlite(PathBuf),
    /// PostgreSQL.
    Postgres {
        /// The URL, without a password.
        url: String,
        /// The password.
        password: Option<Secret<String>>,
    },
}
