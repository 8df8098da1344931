//! Opens the store that the configuration names, and the key that seals private keys beside it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;

use crate::model::secret::Secret;
use crate::store::seal::SealingKey;
use crate::store::settings::StoreSettings;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// An open store with its sealing key.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The key that seals the private keys in it.
    pub sealing: Arc<SealingKey>,
}

/// Opens the store. `key_file` is where the sealing key is; beside the database if `None`.
/// The key is made on the first start where `make_key` says so (`dev: true`), and only together with
/// a new database: a key that is missing beside an old one is a mistake to be told, not to be hidden.
///
/// # Errors
/// [`StoreError`] says which file or what about the database is wrong.
pub async fn open(settings: &StoreSettings, key_file: Option<&Path>, make_key: bool) -> Result<OpenStore, StoreError> {
    let StoreSettings::Sqlite(database) = settings else {
        return Err(StoreError::NoPostgres);
    };
    let key_file = key_file.map_or_else(|| beside(database), Path::to_owned);
    let is_new = !database.exists();
    SqliteStore::make_folder(database)?;
    let sealing = match read_key(&key_file) {
        Ok(key) => key,
        Err(StoreError::SealingKeyMissing(_)) if make_key && is_new => write_key(&key_file)?,
        Err(error) => return Err(error),
    };
    Ok(OpenStore {
        store: Arc::new(SqliteStore::open(database).await?),
        sealing: Arc::new(sealing),
    })
}

fn beside(database: &Path) -> PathBuf {
    database.with_file_name("scopegate.key")
}

fn read_key(path: &Path) -> Result<SealingKey, StoreError> {
    let text = fs::read_to_string(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => StoreError::SealingKeyMissing(path.to_owned()),
        io::ErrorKind::InvalidData => StoreError::SealingKeyMalformed(path.to_owned()),
        _ => file_error(path, source),
    })?;
    SealingKey::from_text(path, &Secret::new(text))
}

fn write_key(path: &Path) -> Result<SealingKey, StoreError> {
    let (key, bytes) = SealingKey::generate();
    let text = Secret::new(base64::engine::general_purpose::STANDARD.encode(bytes.expose_secret()));
    let write = || -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.expose_secret().as_bytes())?;
        file.write_all(b"\n")?;
        // The database that it opens must never outlive it.
        file.sync_all()?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| file_error(path, source))?;
    Ok(key)
}

pub(super) fn file_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_first_start_makes_a_closed_folder_a_closed_database_and_a_closed_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("data/deep/scopegate.db");
        let settings = StoreSettings::Sqlite(database.clone());
        let open_store = open(&settings, None, true).await.expect("opens");
        open_store
            .store
            .prune(crate::model::time::Timestamp::from_unix_seconds(0))
            .await
            .expect("writes");
        assert_eq!(mode(database.parent().expect("a folder")), 0o700);
        assert_eq!(mode(&database), 0o600);
        assert_eq!(mode(&database.with_file_name("scopegate.key")), 0o600);
        for entry in fs::read_dir(database.parent().expect("a folder")).expect("readable") {
            assert_eq!(mode(&entry.expect("an entry").path()), 0o600);
        }
    }

    #[tokio::test]
    async fn attack_f50_without_dev_no_key_is_made_and_none_is_made_beside_an_old_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = StoreSettings::Sqlite(folder.path().join("scopegate.db"));
        let missing =
            |result: Result<OpenStore, StoreError>| matches!(result.err(), Some(StoreError::SealingKeyMissing(_)));
        assert!(missing(open(&settings, None, false).await));
        drop(open(&settings, None, true).await.expect("opens"));
        fs::remove_file(folder.path().join("scopegate.key")).expect("removed");
        assert!(missing(open(&settings, None, true).await));
    }

    #[tokio::test]
    async fn postgres_is_refused_in_plain_words() {
        let settings = StoreSettings::Postgres {
            url: "postgres://db".to_owned(),
            password: None,
        };
        let error = open(&settings, None, true).await.err().expect("refused");
        assert!(error.to_string().contains("no PostgreSQL store yet"));
    }
}
