//! Which store, and where the key comes from that seals the private keys in it.

use std::fmt;
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

/// Where the sealing key comes from: 32 bytes in base64, the same for every node of a store.
#[derive(Debug, Clone)]
pub enum SealingKeySource {
    /// This file.
    File(PathBuf),
    /// A variable of the environment, read with the configuration.
    Variable {
        /// Its name.
        name: String,
        /// What it holds, if it is set.
        text: Option<Secret<String>>,
    },
    /// What this program writes to its output: the words are the program and its arguments, and no shell reads them.
    Command(Vec<String>),
}

impl fmt::Display for SealingKeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Variable { name, .. } => write!(f, "the variable `{name}`"),
            // The arguments may say more than a log should.
            Self::Command(words) => {
                let program = words.first().map(String::as_str).unwrap_or_default();
                write!(f, "the command `{program}`")
            }
        }
    }
}
