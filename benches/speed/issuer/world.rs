//! What the issuer's figures ask about: a configuration, a database with people and grants, and what their refresh
//! tokens are.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scopegate::model::digest::Digest;
use scopegate::model::id::GrantId;
use scopegate::model::secret::Secret;
use scopegate::oauth::refresh::{RefreshToken, Shown};
use scopegate::store::seal::SealingKey;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use crate::issuer::load;
use crate::process::{Process, free_port, until_open};

/// Clients that ask for themselves, unless somebody wants to know what more of them cost.
pub(super) const CLIENTS: usize = 10;
/// People in the database: nobody of the file, whom no lookup would cost anything.
const PEOPLE: usize = 1000;
/// What every client proves itself by.
const SECRET: &str = "secret";
/// Where the configuration is, in the folder.
pub(super) const CONFIGURATION: &str = "configuration/scopegate.yaml";
/// The client that refreshes.
const APP: &str = "app";

/// A folder with a configuration and a database, and what is needed to ask about it.
pub(super) struct World {
    folder: tempfile::TempDir,
    clients: usize,
    sealing: SealingKey,
    /// Where tokens are given.
    pub(super) address: String,
}

impl World {
    /// A world with so many clients, and so many grants in its database.
    pub(super) fn new(clients: usize, grants: usize) -> Self {
        // Beside the program, and not in the system's folder for such things: that may be no disk.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = tempfile::tempdir_in(target).expect("a folder");
        let address = format!("127.0.0.1:{}", free_port());
        let admin = format!("127.0.0.1:{}", free_port());
        // The configuration has a folder of its own: the program watches it, and is not to watch its own log grow.
        std::fs::create_dir(folder.path().join("configuration")).expect("a folder");
        let text = configuration(&address, &admin, clients);
        std::fs::write(folder.path().join(CONFIGURATION), text).expect("writes");
        drop(serve(folder.path(), &address));
        let key = std::fs::read_to_string(folder.path().join("data/scopegate.key")).expect("a sealing key");
        fill(&folder.path().join("data/scopegate.db"), grants);
        Self {
            folder,
            clients,
            sealing: SealingKey::parse(&Secret::new(key)).expect("32 bytes"),
            address,
        }
    }

    /// The process as it is shipped, once it answers.
    pub(super) fn start(&self) -> Process {
        serve(self.folder.path(), &self.address)
    }

    /// A request of each client for a token of its own.
    pub(super) fn token_requests(&self, server: &str) -> Rc<[Vec<u8>]> {
        let path = format!("/oauth2/{server}/v1/token");
        let form = format!("grant_type=client_credentials&scope={server}%3Aread");
        (0..self.clients)
            .map(|client| self.form(&format!("batch{client}"), &path, &form))
            .collect()
    }

    /// A question about an access token, by a resource server.
    pub(super) fn introspection(&self, token: &str) -> Vec<u8> {
        let form = format!("token={token}&token_type_hint=access_token");
        self.form("batch0", "/oauth2/transfers/v1/introspect", &form)
    }

    /// A refresh with this token.
    pub(super) fn refresh(&self, token: &str) -> Vec<u8> {
        let form = format!("grant_type=refresh_token&refresh_token={token}");
        self.form(APP, "/oauth2/transfers/v1/token", &form)
    }

    fn form(&self, client: &str, path: &str, form: &str) -> Vec<u8> {
        load::form(&self.address, path, (client, SECRET), form)
    }

    /// The refresh token that the database begins with for this grant.
    pub(super) fn first_refresh_token(&self, grant: usize) -> String {
        let grant = GrantId::parse(&grant_id(grant)).expect("an identifier");
        let shown = Shown::Generation(0);
        let digest = self
            .sealing
            .mac(RefreshToken::PURPOSE, &RefreshToken::message(&grant, shown));
        RefreshToken::text(&grant, shown, &digest).expose_secret().clone()
    }

    /// Runs another command of the program in the folder, and gives what it printed.
    pub(super) fn command(&self, arguments: &[&str]) -> Vec<u8> {
        let output = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("starts");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// A file of the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn serve(folder: &Path, address: &str) -> Process {
    let log = std::fs::File::create(folder.join("log")).expect("a log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command.args(["serve", "--config", CONFIGURATION, "--only", "issuer"]);
    command.current_dir(folder).stdout(Stdio::null()).stderr(log);
    let process = Process::command(&mut command);
    until_open(address);
    process
}

fn configuration(address: &str, admin: &str, clients: usize) -> String {
    let digest = Digest::of(SECRET.as_bytes());
    let digest = digest.as_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let mut text = format!(
        "dev: true\npublic_url: http://{address}\nstore: sqlite://data/scopegate.db\n\
         listeners:\n  issuer: {{ address: \"{address}\", tls: null }}\n  admin: {{ address: \"{admin}\", tls: null }}\n\
         groups: [customers]\nclients:\n  - {{ id: {APP}, type: web, grants: [authorization_code, refresh_token], \
         redirect_uris: [\"https://app.example/cb\"], secrets: [{{ sha256: \"{digest}\" }}], assigned: {{ groups: [customers] }} }}\n"
    );
    for client in 0..clients {
        let _ = writeln!(
            text,
            "  - {{ id: batch{client}, type: service, grants: [client_credentials], secrets: [{{ sha256: \"{digest}\" }}], audiences: [\"*\"] }}"
        );
    }
    let listed: Vec<String> = (0..clients).map(|client| format!("batch{client}")).collect();
    let listed = listed.join(", ");
    text.push_str("authorization_servers:\n");
    for (id, algorithm) in [("transfers", "ES256"), ("reports", "RS256")] {
        let _ = writeln!(
            text,
            "  - id: {id}\n    audience: https://api.bank.example/{id}\n    signing: {{ algorithm: {algorithm} }}\n    \
             scopes: [\"{id}:read\", \"{id}:write\"]\n    policies:\n      - name: The bank's own app\n        clients: [{APP}]\n        \
             rules: [{{ name: Moving money, grants: [authorization_code, refresh_token], groups: [customers], scopes: [\"{id}:read\", \"{id}:write\"], \
             access_token: 5m, refresh_token: {{ lifetime: 90d, idle: 7d }} }}]\n      - name: Services\n        clients: [{listed}]\n        \
             rules: [{{ name: Reading, grants: [client_credentials], scopes: [\"{id}:read\"], access_token: 5m }}]"
        );
    }
    text
}

/// The identifier of a grant of the database: as random as a real one, so that neighbours are strangers.
fn grant_id(number: usize) -> String {
    let digest = Digest::of(&number.to_le_bytes());
    format!("gc{}", URL_SAFE_NO_PAD.encode(&digest.as_bytes()[..18]))
}

/// Puts people and their grants into the database while nobody else has it.
fn fill(database: &Path, grants: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(database)
            .busy_timeout(Duration::from_secs(10));
        let mut connection = options.connect().await.expect("opens");
        let mut all = connection.begin().await.expect("begins");
        sqlx::query(
            "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < ?)
             INSERT INTO directory_user (id, login, status, profile, revision, created_at, updated_at)
             SELECT 'user' || n, 'user' || n || '@bank.example', 'ACTIVE', '{\"firstName\":\"Ada\",\"tier\":\"gold\"}', 1,
             unixepoch(), unixepoch() FROM number",
        )
        .bind(i64::try_from(PEOPLE).expect("few"))
        .execute(&mut *all)
        .await
        .expect("people");
        sqlx::query("INSERT INTO membership (group_id, user_id) SELECT 'customers', id FROM directory_user")
            .execute(&mut *all)
            .await
            .expect("members");
        for part in (0..grants).collect::<Vec<_>>().chunks(10_000) {
            insert(&mut all, part).await;
        }
        all.commit().await.expect("commits");
        connection.close().await.expect("closes");
    });
}

async fn insert(connection: &mut SqliteConnection, numbers: &[usize]) {
    let ids: Vec<String> = numbers.iter().map(|number| grant_id(*number)).collect();
    sqlx::query(
        "INSERT INTO oauth_grant (id, server, client, user_id, subject, scopes, resources, auth_time, amr,
         created_at, expires_at, generation, rotated_at, idle_expires_at)
         SELECT value, 'transfers', ?1, 'user' || (key % ?2), 'user' || (key % ?2) || '@bank.example', 'transfers:read transfers:write',
         '[]', unixepoch(), '[\"pwd\"]', unixepoch(), unixepoch() + 7776000, 0, unixepoch(), unixepoch() + 604800
         FROM json_each(?3)",
    )
    .bind(APP)
    .bind(i64::try_from(PEOPLE).expect("few"))
    .bind(serde_json::to_string(&ids).expect("JSON"))
    .execute(connection)
    .await
    .expect("grants");
}
