//! From the start of a process to its first "ready", with everything that a large installation has.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::figures::Figure;
use crate::process::{Process, free_port};
use crate::world::Size;
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &["start"];

/// Ten thousand routes.
const SIZE: Size = Size {
    apis: 1_000,
    routes: 10_000,
    servers: 1,
};

/// Grants that live, one a user's app.
const FILL: &str = "
    WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers WHERE number < 1000000)
    INSERT INTO oauth_grant (id, server, client, user_id, subject, scopes, resources, auth_time, amr, created_at,
                             expires_at, generation, rotated_at, idle_expires_at)
    SELECT printf('grant-%012d', number), 'bank', 'batch', printf('user-%06d', number % 100000),
           printf('user-%06d', number % 100000), 'transfers:read transfers:write', '[]', unixepoch(), '[]', unixepoch(),
           unixepoch() + 7776000, 1, unixepoch(), unixepoch() + 2592000
    FROM numbers";

pub(crate) fn run(settings: Settings) -> Measured {
    let folder = tempfile::tempdir().expect("a folder");
    let telemetry = format!("127.0.0.1:{}", free_port());
    std::fs::write(folder.path().join("scopegate.yaml"), configuration(&telemetry)).expect("writes");
    // The first start makes the database, the keys and the local CA.
    drop(ready(folder.path(), &telemetry));
    fill(&folder.path().join("data/scopegate.db"));
    let mut times = Vec::new();
    for _ in 0..=settings.rounds {
        let (process, took) = ready(folder.path(), &telemetry);
        drop(process);
        times.push(took.as_secs_f64() * 1000.0);
    }
    // The first one warmed the page cache.
    times.remove(0);
    vec![
        Figure::new(
            "start",
            "start until ready, 10,000 routes, a million grants",
            "ms",
            times,
        )
        .at_most(150.0),
    ]
    .into()
}

/// Starts in this folder, and waits until `/readyz` says so.
fn ready(folder: &Path, telemetry: &str) -> (Process, Duration) {
    let started = Instant::now();
    let process = Process::scopegate(folder, &[]);
    while !is_ready(telemetry) {
        assert!(started.elapsed() < Duration::from_secs(120), "it is never ready");
        std::thread::sleep(Duration::from_millis(1));
    }
    (process, started.elapsed())
}

fn is_ready(telemetry: &str) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::net::TcpStream::connect(telemetry) else {
        return false;
    };
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: gate\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200 ")
}

fn fill(database: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = SqliteConnection::connect_with(&options).await.expect("opens");
        sqlx::query(FILL).execute(&mut connection).await.expect("fills");
        connection.close().await.expect("closes");
    });
}

fn configuration(telemetry: &str) -> String {
    let port = free_port();
    let gate = free_port();
    let mut text = format!(
        r#"
dev: true
public_url: https://127.0.0.1:{port}
store: sqlite://data/scopegate.db
listeners:
  ext_authz: {{ address: "127.0.0.1:{gate}" }}
  issuer: {{ address: "127.0.0.1:{port}" }}
  telemetry: {{ address: "{telemetry}" }}
clients:
  - id: batch
    type: service
    grants: [client_credentials]
    secrets: [{{ sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }}]
authorization_servers:
  - id: bank
    audience: api://bank
    scopes:
      - {{ name: "transfers:read", description: See your transfers }}
      - {{ name: "transfers:write", description: Move money }}
    policies:
      - name: Services
        clients: [batch]
        rules:
          - {{ name: All, grants: [client_credentials], scopes: ["transfers:read", "transfers:write"], access_token: 10m }}
apis:
"#
    );
    for api in 0..SIZE.apis {
        let _ = writeln!(
            text,
            "  - name: api{api}\n    hosts: [api{api}.bank.example]\n    authorization_server: bank\n    clients: [batch]\n    forward:\n      headers: {{ x-auth-subject: token.sub }}\n    routes:"
        );
        for route in 0..SIZE.routes / SIZE.apis {
            let _ = writeln!(
                text,
                "      - path: /area{}/{{id}}/things{route}/{{thing}}\n        GET: \"transfers:read\"",
                route % 16
            );
        }
    }
    text
}
