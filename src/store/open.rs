//! Opens the store that the configuration names, with the key that seals the private keys in it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use tokio::io::AsyncReadExt as _;

use crate::model::secret::Secret;
use crate::store::nodes::NodeStore as _;
use crate::store::postgres::PostgresStore;
use crate::store::seal::SealingKey;
use crate::store::settings::{SealingKeySource, StoreSettings};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// An open store with its sealing key.
pub struct OpenStore {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The key that seals the private keys in it.
    pub sealing: Arc<SealingKey>,
}

/// The name under which a store keeps [`SealingKey::check`].
const KEY_CHECK: &str = "sealing key check";

/// Opens the store. The sealing key comes from `source`; with SQLite and none, from a file beside the database.
///
/// A key file is made on the first start where `make_key` says so (`dev: true`), and only for a new
/// database: a key that is missing for an old one is a mistake to be told, not to be hidden.
///
/// The store keeps a digest of the first key that it was opened with, and opens with no other: a node with
/// another key would make keys that the rest cannot open.
///
/// # Errors
/// [`StoreError`] says which file, key or what about the database is wrong.
pub async fn open(
    settings: &StoreSettings,
    source: Option<&SealingKeySource>,
    make_key: bool,
) -> Result<OpenStore, StoreError> {
    let (store, sealing, from): (Arc<dyn Store>, _, _) = match settings {
        StoreSettings::Sqlite(database) => {
            let source = source.cloned().unwrap_or_else(|| beside(database));
            let is_new = !database.exists();
            SqliteStore::make_folder(database)?;
            let sealing = obtain(&source, make_key && is_new).await?;
            (Arc::new(SqliteStore::open(database).await?), sealing, source)
        }
        StoreSettings::Postgres { url, password } => {
            let source = source.cloned().ok_or(StoreError::SealingKeyUnnamed)?;
            let store = PostgresStore::open(url, password.as_ref()).await?;
            let is_new = store.meta(KEY_CHECK).await?.is_none();
            let sealing = obtain(&source, make_key && is_new).await?;
            (Arc::new(store), sealing, source)
        }
    };
    if store.keep_meta(KEY_CHECK, &sealing.check()).await? != sealing.check() {
        return Err(StoreError::OtherSealingKey(from.to_string()));
    }
    Ok(OpenStore {
        store,
        sealing: Arc::new(sealing),
    })
}

/// Opens a store that somebody else keeps, to read it alone: nothing is made or changed, and no key is needed.
///
/// # Errors
/// [`StoreError`]: it is away, or its keeper has not started with this version yet.
pub async fn open_to_read(settings: &StoreSettings) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match settings {
        StoreSettings::Sqlite(database) => Arc::new(SqliteStore::open_to_read(database).await?),
        StoreSettings::Postgres { url, password } => {
            Arc::new(PostgresStore::open_to_read(url, password.as_ref()).await?)
        }
    })
}

fn beside(database: &Path) -> SealingKeySource {
    SealingKeySource::File(database.with_file_name("scopegate.key"))
}

/// What a key is not, if it cannot be read.
const FORM: &str = "it does not hold 32 bytes in base64, as `openssl rand -base64 32` makes them";

async fn obtain(source: &SealingKeySource, make_file: bool) -> Result<SealingKey, StoreError> {
    let failed = |problem: &str| StoreError::SealingKeySource {
        from: source.to_string(),
        problem: problem.to_owned(),
    };
    match source {
        SealingKeySource::File(path) => match read_key(path) {
            Err(StoreError::SealingKeyMissing(_)) if make_file => write_key(path),
            key => key,
        },
        SealingKeySource::Variable { text: None, .. } => Err(failed("it is not set")),
        SealingKeySource::Variable { text: Some(text), .. } => SealingKey::parse(text).ok_or_else(|| failed(FORM)),
        SealingKeySource::Command(words) => {
            let text = output(words).await.map_err(|problem| failed(&problem))?;
            SealingKey::parse(&text).ok_or_else(|| failed(FORM))
        }
    }
}

/// How long a command may take to give the key.
const COMMAND_MAX: Duration = Duration::from_secs(30);

/// The most that it may write: a key has 44 bytes.
const OUTPUT_BYTES_MAX: u64 = 1024;

/// What a command writes to its output. Its complaints go to ours.
async fn output(words: &[String]) -> Result<Secret<String>, String> {
    let (program, arguments) = words.split_first().ok_or("it names no program")?;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("it does not run: {error}"))?;
    let pipe = child.stdout.take().ok_or("it has no output")?;
    let work = async {
        let mut text = String::new();
        let read = pipe.take(OUTPUT_BYTES_MAX).read_to_string(&mut text).await;
        let text = Secret::new(text);
        read.map_err(|error| format!("its output cannot be read: {error}"))?;
        match child.wait().await {
            Ok(status) if status.success() => Ok(text),
            Ok(status) => Err(format!("it ended with {status}")),
            Err(error) => Err(error.to_string()),
        }
    };
    tokio::time::timeout(COMMAND_MAX, work)
        .await
        .unwrap_or_else(|_| Err(format!("it did not end within {} s", COMMAND_MAX.as_secs())))
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

    fn key_text() -> String {
        let (_, bytes) = SealingKey::generate();
        base64::engine::general_purpose::STANDARD.encode(bytes.expose_secret())
    }

    fn variable(text: &str) -> SealingKeySource {
        SealingKeySource::Variable {
            name: "SCOPEGATE_KEY".to_owned(),
            text: Some(Secret::new(text.to_owned())),
        }
    }

    fn command(script: &str) -> SealingKeySource {
        SealingKeySource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    fn refused(outcome: Result<OpenStore, StoreError>) -> String {
        outcome.err().expect("refused").to_string()
    }

    /// A new database of each kind.
    fn databases(folder: &Path) -> [StoreSettings; 2] {
        use crate::store::tests::postgres::{PASSWORD, database};
        [
            StoreSettings::Sqlite(folder.join("scopegate.db")),
            StoreSettings::Postgres {
                url: database().url,
                password: Some(Secret::new(PASSWORD.to_owned())),
            },
        ]
    }

    #[tokio::test]
    async fn a_key_from_a_file_a_variable_or_a_command_opens_the_same_store_and_another_key_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        for settings in databases(folder.path()) {
            let (text, other) = (key_text(), key_text());
            let file = folder.path().join("of-the-deployment.key");
            fs::write(&file, format!("{text}\n")).expect("written");
            let sources = [
                SealingKeySource::File(file),
                variable(&text),
                command(&format!("echo {text}")),
            ];
            for source in &sources {
                assert!(open(&settings, Some(source), false).await.is_ok(), "{source}");
            }
            for source in [variable(&other), command(&format!("echo {other}"))] {
                let message = refused(open(&settings, Some(&source), true).await);
                assert!(message.contains("is not the one of this database"), "{message}");
                assert!(
                    message.contains(&source.to_string()) && !message.contains(&other),
                    "{message}"
                );
            }
        }
    }

    #[tokio::test]
    async fn who_follows_a_store_reads_it_without_a_key_and_changes_and_makes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        for settings in databases(folder.path()) {
            assert!(open_to_read(&settings).await.is_err(), "there is none yet");
            if let StoreSettings::Sqlite(path) = &settings {
                assert!(!path.exists());
            }
            let keeper = open(&settings, Some(&variable(&key_text())), false)
                .await
                .expect("opens");
            let reader = open_to_read(&settings).await.expect("opens");
            assert!(reader.keep_meta("mine", b"value").await.is_err());
            assert!(
                reader
                    .prune(crate::model::time::Timestamp::from_unix_seconds(0))
                    .await
                    .is_err()
            );
            assert_eq!(keeper.store.meta("mine").await.expect("reads"), None);
            assert_eq!(
                reader.heads().await.expect("reads"),
                keeper.store.heads().await.expect("reads")
            );
        }
    }

    #[test]
    fn a_schema_of_another_version_is_not_read() {
        use crate::store::readable;
        assert!(readable(3, 3).is_ok());
        assert!(matches!(
            readable(2, 3),
            Err(StoreError::OlderSchema { found: 2, known: 3 })
        ));
        assert!(matches!(
            readable(4, 3),
            Err(StoreError::NewerSchema { found: 4, known: 3 })
        ));
    }

    #[tokio::test]
    async fn a_source_that_yields_no_key_stops_the_start_and_shows_nothing_of_what_it_yielded() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = StoreSettings::Sqlite(folder.path().join("scopegate.db"));
        let unset = SealingKeySource::Variable {
            name: "SCOPEGATE_KEY".to_owned(),
            text: None,
        };
        let rows = [
            (unset, "the variable `SCOPEGATE_KEY`: it is not set"),
            (
                variable("canary"),
                "the variable `SCOPEGATE_KEY`: it does not hold 32 bytes",
            ),
            (command("echo canary"), "the command `sh`: it does not hold 32 bytes"),
            (command("yes canary"), "the command `sh`: it ended with"),
            (command("echo canary; exit 3"), "it ended with exit status: 3"),
            (
                SealingKeySource::Command(vec!["/nonexistent/canary-free".to_owned()]),
                "it does not run",
            ),
            (SealingKeySource::Command(Vec::new()), "it names no program"),
        ];
        for (source, expected) in rows {
            let message = refused(open(&settings, Some(&source), true).await);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("echo canary"), "{message}");
        }
    }

    #[tokio::test]
    async fn a_store_of_several_nodes_makes_no_key_by_itself_but_in_dev_for_a_new_database() {
        let folder = tempfile::tempdir().expect("a folder");
        let [_, settings] = databases(folder.path());
        assert!(refused(open(&settings, None, true).await).contains("sealing_key"));
        let source = SealingKeySource::File(folder.path().join("made.key"));
        assert!(open(&settings, Some(&source), false).await.is_err());
        assert!(open(&settings, Some(&source), true).await.is_ok());
        fs::remove_file(folder.path().join("made.key")).expect("removed");
        let again = open(&settings, Some(&source), true).await;
        assert!(matches!(again.err(), Some(StoreError::SealingKeyMissing(_))));
    }
}
