//! Connecting, and the schema.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions, PgSslMode};
use url::{Host, Url};

use crate::model::secret::Secret;
use crate::store::postgres::PostgresStore;
use crate::store::{StoreError, readable};

/// The steps of the schema, oldest first: step `n` is at index `n - 1`.
const MIGRATIONS: [&str; 1] = [include_str!("../../../migrations/postgres/0001_everything.sql")];

/// The connections that one node holds at most. Transactions are short, and each node has a handful of them at once.
const CONNECTIONS_MAX: u32 = 12;

/// How long a call waits for a connection, a new one included.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Bounds that the server itself keeps: of a statement, of the wait for a lock, and of a transaction whose node has
/// stopped in the middle of it, so that it does not hold the others up.
const BOUNDS: [(&str, &str); 3] = [
    ("statement_timeout", "5s"),
    ("lock_timeout", "4s"),
    ("idle_in_transaction_session_timeout", "10s"),
];

/// The advisory lock under which the schema changes: the ASCII of "scopegat".
const MIGRATION_LOCK: i64 = 0x7363_6f70_6567_6174;

impl PostgresStore {
    /// Connects and brings the schema up to date; of several nodes that start at once, one does it and the others
    /// wait.
    ///
    /// A server on another machine must show a certificate for its name, unless the URL says another `sslmode`.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] for a database of a newer version, [`StoreError::Unavailable`] where PostgreSQL
    /// cannot be reached or refuses.
    pub async fn open(url: &str, password: Option<&Secret<String>>) -> Result<Self, StoreError> {
        let store = Self::connect(options(url, password)?).await?;
        store.migrate().await?;
        Ok(store)
    }

    /// Connects to read alone: every transaction of these sessions is read-only, so that a role which may do no more
    /// is enough.
    ///
    /// # Errors
    /// [`StoreError::OlderSchema`] and [`StoreError::NewerSchema`] for a database of another version,
    /// [`StoreError::Unavailable`] where PostgreSQL cannot be reached or has no such database yet.
    pub async fn open_to_read(url: &str, password: Option<&Secret<String>>) -> Result<Self, StoreError> {
        let options = options(url, password)?.options([("default_transaction_read_only", "on")]);
        let store = Self::connect(options).await?;
        let found = sqlx::query_scalar("SELECT COALESCE(MAX(step), 0) FROM schema_step");
        readable(found.fetch_one(&store.pool).await?, MIGRATIONS.len())?;
        Ok(store)
    }

    async fn connect(options: PgConnectOptions) -> Result<Self, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_MAX)
            .after_connect(|connection, _| Box::pin(make_durable(connection)))
            .connect_with(options.clone())
            .await?;
        let listening = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_MAX)
            .connect_lazy_with(options);
        Ok(Self {
            pool,
            listening,
            listener: Arc::default(),
        })
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let mut transaction = self.write().await?;
        // Another node's migration may take its time, and so may ours.
        sqlx::raw_sql("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            .execute(&mut *transaction)
            .await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("CREATE TABLE IF NOT EXISTS schema_step (step BIGINT PRIMARY KEY)")
            .execute(&mut *transaction)
            .await?;
        let found: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(step), 0) FROM schema_step")
            .fetch_one(&mut *transaction)
            .await?;
        if found > known {
            return Err(StoreError::NewerSchema { found, known });
        }
        for (step, statements) in (1_i64..).zip(MIGRATIONS).filter(|(step, _)| *step > found) {
            sqlx::raw_sql(statements).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_step (step) VALUES ($1)")
                .bind(step)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn options(url: &str, password: Option<&Secret<String>>) -> Result<PgConnectOptions, StoreError> {
    let parsed = Url::parse(url).map_err(|error| StoreError::Unavailable(Box::new(error)))?;
    let says_mode = parsed
        .query_pairs()
        .any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"));
    let mut options = PgConnectOptions::from_str(url)?
        .application_name("scopegate")
        .options(BOUNDS);
    if !says_mode && !is_here(&parsed) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    if let Some(password) = password {
        options = options.password(password.expose_secret());
    }
    Ok(options)
}

/// Whether the server is on this machine: nobody is in between.
fn is_here(url: &Url) -> bool {
    let is_socket = |(name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>)| {
        name == "host" && value.starts_with('/')
    };
    if url.query_pairs().any(is_socket) {
        return true;
    }
    // The URL parser knows no hosts of this scheme: an address stands there as text.
    match url.host() {
        Some(Host::Domain(name)) => {
            let is_loopback = |address: std::net::IpAddr| address.is_loopback();
            name == "localhost" || name.starts_with("%2F") || name.parse().is_ok_and(is_loopback)
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => true,
    }
}

/// Makes commits of this session durable. What is stricter, such as `remote_apply`, stays.
async fn make_durable(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "SELECT set_config('synchronous_commit', 'on', FALSE)
         WHERE current_setting('synchronous_commit') IN ('off', 'local')",
    )
    .execute(connection)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str) -> String {
        format!("{:?}", options(url, None).expect("options").get_ssl_mode())
    }

    #[test]
    fn a_server_elsewhere_must_show_its_certificate_unless_the_url_says_otherwise() {
        for here in [
            "postgres://scopegate@localhost/db",
            "postgres://scopegate@127.0.0.1:5433/db",
            "postgres://scopegate@[::1]/db",
            "postgres://scopegate@%2Frun%2Fpostgresql/db",
            "postgres:///db?host=/run/postgresql",
        ] {
            assert_eq!(mode(here), "Prefer", "{here}");
        }
        assert_eq!(mode("postgres://scopegate@db.example/db"), "VerifyFull");
        assert_eq!(mode("postgres://scopegate@10.0.0.1/db"), "VerifyFull");
        assert_eq!(mode("postgres://scopegate@db.example/db?sslmode=disable"), "Disable");
    }
}
