//! The built program as a process of its own, with a configuration in a folder of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use serde_json::Value;
use tempfile::TempDir;

use super::envoy::Service;
use super::http1::{self, Reply};
use super::peers::{free_port, repository};
use super::process::Process;
use super::wait;

/// The file that the bank's example is.
pub(crate) fn bank() -> String {
    let path = repository("tests/examples/bank/scopegate.yaml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where one process listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) ext_authz: SocketAddr,
    pub(crate) issuer: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) telemetry: SocketAddr,
}

impl Ports {
    fn free() -> Self {
        let free = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self {
            ext_authz: free(),
            issuer: free(),
            admin: free(),
            telemetry: free(),
        }
    }
}

/// A gate to be started: its configuration, in words that are replaced by this process's own ports.
pub(crate) struct ScopegateBuilder {
    config: String,
    files: Vec<(String, Vec<u8>)>,
    environment: Vec<(&'static str, String)>,
    files_max: Option<u32>,
    only: Option<&'static str>,
    folder: TempDir,
    ports: Ports,
}

impl ScopegateBuilder {
    /// The default ports in the configuration (9191, 8443, 8444, 9464) become free ones, and the place of the
    /// collector (4317) a closed one.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self {
            config: config.to_owned(),
            files: Vec::new(),
            environment: Vec::new(),
            files_max: None,
            only: None,
            folder,
            ports: Ports::free(),
        }
    }

    /// Another configuration, for one that names the folder.
    pub(crate) fn config(mut self, config: &str) -> Self {
        config.clone_into(&mut self.config);
        self
    }

    /// A file beside the configuration.
    pub(crate) fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    pub(crate) fn environment(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// How many file descriptors it may have.
    pub(crate) fn files_max(mut self, count: u32) -> Self {
        self.files_max = Some(count);
        self
    }

    /// The one part of the program that runs.
    pub(crate) fn only(mut self, part: &'static str) -> Self {
        self.only = Some(part);
        self
    }

    /// The folder, for what the configuration names by its whole path.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(self) -> Scopegate {
        let gate = self.start_without_waiting();
        gate.ready().await;
        gate
    }

    /// Starts it.
    pub(crate) fn start_without_waiting(self) -> Scopegate {
        for (name, content) in &self.files {
            let path = self.folder.path().join(name);
            let parent = path.parent().expect("it is in the folder");
            fs::create_dir_all(parent).expect("a folder can be made");
            fs::write(path, content).expect("a file can be written");
        }
        let gate = |config: &str| with_ports(config, self.ports);
        let config = self.folder.path().join("scopegate.yaml");
        fs::write(&config, gate(&self.config)).expect("the configuration can be written");
        let process = serve(self.folder.path(), &self.environment, self.files_max, self.only);
        Scopegate {
            process,
            ports: self.ports,
            folder: self.folder,
        }
    }
}

fn serve(
    folder: &Path,
    environment: &[(&'static str, String)],
    files_max: Option<u32>,
    only: Option<&'static str>,
) -> Process {
    let program = env!("CARGO_BIN_EXE_scopegate");
    let mut command = Command::new(if files_max.is_some() { "sh" } else { program });
    if let Some(count) = files_max {
        // `exec`, so that the process keeps its id.
        command.args(["-c", &format!("ulimit -n {count}; exec \"$0\" \"$@\""), program]);
    }
    command
        .args(["serve", "-c", "scopegate.yaml"])
        .args(only.into_iter().flat_map(|part| ["--only", part]))
        .current_dir(folder)
        .env("RUST_BACKTRACE", "0");
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    Process::spawn("scopegate", command, folder)
}

fn with_ports(config: &str, ports: Ports) -> String {
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    [
        ("127.0.0.1:9191", ports.ext_authz),
        ("127.0.0.1:8443", ports.issuer),
        ("127.0.0.1:8444", ports.admin),
        ("127.0.0.1:9464", ports.telemetry),
        ("127.0.0.1:4317", closed),
    ]
    .into_iter()
    .fold(config.to_owned(), |text, (usual, own)| {
        text.replace(usual, &own.to_string())
    })
}

/// A running gate.
pub(crate) struct Scopegate {
    process: Process,
    pub(crate) ports: Ports,
    folder: TempDir,
}

impl Scopegate {
    /// The bank's example as it stands.
    pub(crate) async fn bank() -> Self {
        ScopegateBuilder::new(&bank()).start().await
    }

    /// Starts it again where it left off, after it has ended.
    pub(crate) async fn restart(self) -> Self {
        let gate = Self {
            process: serve(self.folder.path(), &[], None, None),
            ..self
        };
        gate.ready().await;
        gate
    }

    /// Takes its store away while it runs.
    pub(crate) fn remove_store(&self) {
        for entry in fs::read_dir(self.folder.path().join("data")).expect("the store's folder is there") {
            let path = entry.expect("an entry can be read").path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("scopegate.db"))
            {
                fs::remove_file(path).expect("the store can be removed");
            }
        }
    }

    /// Where Envoy asks.
    pub(crate) fn service(&self) -> Service {
        Service::Tcp(self.ports.ext_authz)
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&self) {
        self.telemetry_until("/readyz", |reply| (reply.status == 200).then_some(()))
            .await;
    }

    /// One `GET` of the telemetry listener.
    pub(crate) async fn telemetry(&self, path: &str) -> Reply {
        http1::try_get(self.ports.telemetry, path)
            .await
            .expect("telemetry answers")
    }

    /// Asks the telemetry listener until its answer satisfies.
    pub(crate) async fn telemetry_until<T>(&self, path: &str, satisfies: impl Fn(&Reply) -> Option<T>) -> T {
        wait::until(&format!("{path} is as expected"), || async {
            satisfies(&http1::try_get(self.ports.telemetry, path).await.ok()?)
        })
        .await
    }

    /// The sum of every series of this metric whose labels contain all of these texts; 0 if there is none.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.telemetry("/metrics").await.text();
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or("#");
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| line.contains(label))
        });
        series
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Replaces its configuration as an editor does: a new file moved over the old one.
    pub(crate) fn rewrite_config(&self, text: &str) {
        self.rewrite("scopegate.yaml", with_ports(text, self.ports));
    }

    /// The same for a file beside it.
    pub(crate) fn rewrite(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.folder.path().join(format!(".{name}.new"));
        fs::write(&new, content).expect("a file can be written");
        fs::rename(new, self.folder.path().join(name)).expect("a file can be moved");
    }

    /// The memory that it has in RAM, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.process.resident_kib()
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// All that it has written to standard output and error.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    /// The decision log on standard output: its JSON lines that have a decision.
    pub(crate) fn decisions(&self) -> Vec<Value> {
        let lines = self.output();
        let objects = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        objects.filter(|object| object.get("decision_id").is_some()).collect()
    }

    /// The CA of `dev: true`.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("data/dev-ca/ca.pem")
    }

    /// A client of the issuer that trusts that CA.
    pub(crate) fn https(&self) -> reqwest::Client {
        let pem = fs::read(self.ca()).expect("dev mode writes its CA");
        let ca = reqwest::Certificate::from_pem(&pem).expect("a certificate");
        reqwest::Client::builder()
            .tls_certs_only([ca])
            .build()
            .expect("a client can be built")
    }

    /// The folder that it runs in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A text with the default ports, with its own ports instead.
    pub(crate) fn with_ports(&self, text: &str) -> String {
        with_ports(text, self.ports)
    }

    /// The URL of an endpoint of one authorization server.
    pub(crate) fn issuer_url(&self, server: &str, endpoint: &str) -> String {
        format!("https://{}/oauth2/{server}/{endpoint}", self.ports.issuer)
    }

    /// A token for `nightly-batch`, which may read transfers.
    pub(crate) async fn mint(&self) -> String {
        let response = self
            .https()
            .post(self.issuer_url("transfers", "v1/token"))
            .basic_auth("nightly-batch", Some("secret"))
            .form(&[("grant_type", "client_credentials"), ("scope", "transfers:read")])
            .send()
            .await
            .expect("the token endpoint answers");
        let status = response.status();
        let answer: Value = response.json().await.expect("JSON");
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    /// Revokes a token and waits for the acknowledgement.
    pub(crate) async fn revoke(&self, token: &str) {
        let response = self
            .https()
            .post(self.issuer_url("transfers", "v1/revoke"))
            .basic_auth("nightly-batch", Some("secret"))
            .form(&[("token", token)])
            .send()
            .await
            .expect("the revocation endpoint answers");
        assert_eq!(response.status(), 200);
    }
}
