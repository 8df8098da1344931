//! A PostgreSQL cluster of the tests' own: in a temporary folder, on a loopback port, gone when the tests are.
//!
//! One for each test process, made when the first test asks; each test gets a database of its own. A test that
//! stops the server makes a cluster for itself. Missing binaries fail the test: nothing is skipped.
//!
//! The server syncs to disk as in production, and its default for `synchronous_commit` is off: what makes a commit
//! durable is what the store asks for.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The superuser's name and password; the password is asked for (SCRAM).
pub(crate) const USER: &str = "scopegate";
pub(crate) const PASSWORD: &str = "a password of the tests";

/// How often and for how long it is looked whether the server has started.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 3000;

pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    server: Option<(Child, Watchdog)>,
    databases: AtomicU32,
}

/// A process that ends the server when we are gone, however we went: it waits for the end of its input.
struct Watchdog {
    process: Child,
    input: ChildStdin,
}

/// A database of one test.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) url: String,
}

/// A new database in the cluster that the tests of this process share.
pub(crate) fn database() -> Database {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::start).database()
}

impl Cluster {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// With TLS, by this certificate and key in PEM.
    pub(crate) fn start_with(tls: Option<(&str, &str)>) -> Self {
        static CLUSTERS: AtomicU32 = AtomicU32::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("scopegate-postgres-{}-{number}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut cluster = Self {
            folder,
            port,
            server: None,
            databases: AtomicU32::new(0),
        };
        cluster.initialize();
        if let Some((certificate, key)) = tls {
            cluster.give_file("data/server.crt", certificate);
            cluster.give_file("data/server.key", key);
            let settings = cluster.folder.join("data/postgresql.auto.conf");
            fs::write(settings, "ssl = on\n").expect("written");
        }
        cluster.resume();
        cluster
    }

    fn initialize(&self) {
        let secret = self.give_file("password", PASSWORD);
        give(&self.folder, 0o700);
        let output = program("initdb")
            .args([
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ])
            .arg(format!("--username={USER}"))
            .arg(format!("--pwfile={}", secret.display()))
            .arg("-D")
            .arg(self.folder.join("data"))
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A file that the server's user alone may read.
    fn give_file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).expect("written");
        give(&path, 0o600);
        path
    }

    /// Starts the server, the first time or again.
    pub(crate) fn resume(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("a log");
        let server = program("postgres")
            .arg("-D")
            .arg(self.folder.join("data"))
            .arg("-k")
            .arg(&self.folder)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=64MB"])
            .args(["-c", "fsync=on", "-c", "synchronous_commit=off"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres runs");
        let watchdog = Watchdog::of(server.id(), &self.folder);
        self.server = Some((server, watchdog));
        let mut looks = 0;
        while !self.is_ready() {
            let (server, _) = self.server.as_mut().expect("it was started");
            let has_ended = server.try_wait().expect("a child").is_some();
            assert!(!has_ended && looks < LOOKS_MAX, "{}", self.log());
            looks += 1;
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The eighth line of the server's lock file says how far it is.
    fn is_ready(&self) -> bool {
        let text = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        text.lines().nth(7).is_some_and(|line| line.trim() == "ready")
    }

    /// Stops the server at once, as a crash would: it recovers from its log at the next start.
    pub(crate) fn stop(&mut self) {
        let Some((mut server, watchdog)) = self.server.take() else {
            return;
        };
        watchdog.dismiss();
        signal("-QUIT", server.id());
        server.wait().expect("it ends");
    }

    pub(crate) fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let output = program("createdb")
            .env("PGPASSWORD", PASSWORD)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER, &name])
            .output()
            .expect("createdb runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Database {
            url: format!("postgres://{USER}@127.0.0.1:{}/{name}", self.port),
        }
    }

    fn log(&self) -> String {
        let mut text = String::from("the server did not start:\n");
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let _ = write!(text, "{log}");
        text
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Watchdog {
    fn of(server: u32, folder: &Path) -> Self {
        let mut process = Command::new("sh")
            .args([
                "-c",
                r#"read -r _ && exit 0; kill -QUIT "$1"; while kill -0 "$1"; do sleep 0.05; done; rm -rf "$2""#,
                "sh",
                &server.to_string(),
            ])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let input = process.stdin.take().expect("it is piped");
        Self { process, input }
    }

    /// Lets it go without an end of the server.
    fn dismiss(mut self) {
        use std::io::Write as _;
        self.input.write_all(b"\n").expect("it reads");
        self.process.wait().expect("it ends");
    }
}

fn give(path: &Path, mode: u32) {
    if let Some((user, group)) = unprivileged() {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("given away");
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("closed");
}

fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([name, &process.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// PostgreSQL refuses to run as root: then it runs as the user that its package has made.
fn unprivileged() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self")
        .map(|own| std::os::unix::fs::MetadataExt::uid(&own))
        .ok()
        == Some(0);
    is_root.then(|| {
        let users = fs::read_to_string("/etc/passwd").expect("readable");
        let line = users.lines().find(|line| line.starts_with("postgres:"));
        let mut fields = line
            .expect("the user `postgres` exists: tests/peers.sh installs it")
            .split(':')
            .skip(2);
        let mut number = || fields.next().and_then(|text| text.parse().ok()).expect("a number");
        (number(), number())
    })
}

/// A program of PostgreSQL, as its own user, in a folder where that user may be.
fn program(name: &str) -> Command {
    let newest = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version: u32 = path.file_name()?.to_str()?.parse().ok()?;
            let path = path.join("bin").join(name);
            path.exists().then_some((version, path))
        })
        .max();
    let (_, path) = newest.unwrap_or_else(|| panic!("`{name}` of PostgreSQL is missing: run tests/peers.sh"));
    let mut command = Command::new(path);
    command.current_dir("/").stdin(Stdio::null());
    if let Some((user, group)) = unprivileged() {
        command.uid(user).gid(group);
    }
    command
}
