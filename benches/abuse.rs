//! What abuse of the issuer costs the checks of the same process.
//!
//! One process as it is shipped: gate threads, and the issuer on the I/O runtime. A second process abuses the issuer
//! as fast as it can over many TLS connections; this one asks the gate. Each kind of abuse is measured in turn with
//! calm, so that what else the machine does hits both alike.
//!
//! | figure | what it says |
//! |---|---|
//! | CPU | nanoseconds on a processor of the gate's threads (`/proc/{pid}/task/*/schedstat`) per check: what a check costs |
//! | p50, p99 | of checks at a steady rate that leaves processors free, from when each was due: what a caller notices |
//! | checks/s | with as many under way as the clients can keep: what is left when nobody holds back |
//!
//! The abuser and the asking client need processors too, and take them from the gate where there are few: on two, the
//! last figure falls for that reason alone. The first must not move.
//!
//! `cargo bench --bench abuse` prints a table; `-- --rounds N --calls N --rate N` changes the amount.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a program for developers"
)]

mod client;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use client::{CONNECTIONS, Client, STREAMS, batch, call, check_request, connect};
use prost::Message as _;
use scopegate::envoy::pb::envoy::service::auth::v3::CheckResponse;
use scopegate::envoy::pb::envoy::service::auth::v3::check_response::HttpResponse;
use tokio::time::Instant;

/// How many requests the abuser has under way.
const ABUSERS: usize = 32;

/// What is done to the issuer.
#[derive(Debug, Clone, Copy)]
struct Abuse {
    name: &'static str,
    path: &'static str,
    body: Body,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Form(&'static [(&'static str, &'static str)]),
    Json(&'static str),
}

const ABUSES: [Abuse; 5] = [
    Abuse {
        name: "wrong client secrets",
        path: "/oauth2/transfers/v1/token",
        body: Body::Form(&[
            ("grant_type", "client_credentials"),
            ("client_id", "batch"),
            ("client_secret", "guess"),
        ]),
    },
    Abuse {
        name: "tokens, granted",
        path: "/oauth2/transfers/v1/token",
        body: Body::Form(&[
            ("grant_type", "client_credentials"),
            ("client_id", "batch"),
            ("client_secret", "secret"),
        ]),
    },
    Abuse {
        name: "revocations of nonsense",
        path: "/oauth2/transfers/v1/revoke",
        body: Body::Form(&[("client_id", "batch"), ("client_secret", "secret"), ("token", "a.b.c")]),
    },
    // Of one login: it is locked out soon. Of another one each time: each costs a whole verification.
    Abuse {
        name: "wrong passwords",
        path: "/oauth2/transfers/v1/token",
        body: Body::Form(&[
            ("grant_type", "password"),
            ("client_id", "app"),
            ("username", "ada-NUMBER@bank.example"),
            ("password", "guess"),
        ]),
    },
    Abuse {
        name: "registrations",
        path: "/oauth2/transfers/v1/clients",
        body: Body::Json(
            r#"{"client_name":"app NUMBER","redirect_uris":["https://app.example/cb"],"application_type":"web"}"#,
        ),
    },
];

const CONFIGURATION: &str = r#"
dev: true
public_url: https://127.0.0.1:ISSUER
store: sqlite://data/scopegate.db
listeners:
  ext_authz: { address: "127.0.0.1:GATE" }
  issuer: { address: "127.0.0.1:ISSUER" }
  telemetry: { address: "127.0.0.1:0" }
groups: [customers]
clients:
  - { id: app, type: native, grants: [authorization_code, password], redirect_uris: ["http://127.0.0.1/cb"], assigned: { groups: [customers] } }
  - { id: batch, type: service, grants: [client_credentials], secrets: [{ sha256: "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" }] }
authorization_servers:
  - id: transfers
    audience: https://api.bank.example/transfers
    signing: { algorithm: ES256 }
    scopes: [{ name: "transfers:read", default: true }]
    policies: [{ name: Services, clients: [batch], rules: [{ name: Reading, grants: [client_credentials], scopes: ["transfers:read"], access_token: 1h }] }]
apis:
  - name: transfers
    hosts: [api.bank.example]
    authorization_server: transfers
    clients: [batch]
    forward: { headers: { x-auth-subject: token.sub, x-auth-client: token.client_id } }
    routes: [{ path: "/transfers/{id}", GET: "transfers:read" }]
"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place
            .and_then(|place| arguments.get(place + 1))
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    if let [mode, number, port, ca] = arguments.as_slice()
        && mode == "abuse"
    {
        let abuse = ABUSES[number.parse::<usize>().expect("a number")];
        return run(1).block_on(abuse_until_told(abuse, port, ca));
    }
    let amount = Amount {
        rounds: number("--rounds", 3),
        calls: number("--calls", 20_000),
        rate: number("--rate", 500),
    };
    run(1).block_on(measure(&amount));
}

fn run(threads: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn https(ca: &Path) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).expect("reads")).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([ca]).http1_only();
    client.build().expect("a client")
}

// === the abuser ===

/// Abuses until its input ends, then says how often.
async fn abuse_until_told(abuse: Abuse, port: &str, ca: &str) {
    let client = https(Path::new(ca));
    let url: Arc<str> = Arc::from(format!("https://127.0.0.1:{port}{}", abuse.path));
    let count = Arc::new(AtomicU64::new(0));
    for _ in 0..ABUSERS {
        let (client, url, count) = (client.clone(), url.clone(), count.clone());
        tokio::spawn(async move {
            loop {
                let number = count.fetch_add(1, Ordering::Relaxed);
                match request(&client, &url, abuse.body, number).send().await {
                    Ok(answer) => drop(answer.bytes().await),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
    }
    let told = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    drop(told.await);
    println!("{}", count.load(Ordering::Relaxed));
}

fn request(client: &reqwest::Client, url: &str, body: Body, number: u64) -> reqwest::RequestBuilder {
    let filled = |text: &str| text.replace("NUMBER", &number.to_string());
    match body {
        Body::Form(pairs) => {
            let pairs: Vec<(&str, String)> = pairs.iter().map(|(name, value)| (*name, filled(value))).collect();
            client.post(url).form(&pairs)
        }
        Body::Json(text) => {
            let json = client.post(url).header("content-type", "application/json");
            json.body(filled(text))
        }
    }
}

struct Abuser {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    begun: Instant,
}

impl Abuser {
    fn start(number: usize, world: &World) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["abuse", &number.to_string(), &world.issuer.port().to_string()])
            .arg(world.ca())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
            begun: Instant::now(),
        }
    }

    /// How many requests a second it has made.
    fn end(mut self) -> f64 {
        drop(self.input.take());
        let mut count = String::new();
        self.output.read_line(&mut count).expect("it says");
        count.trim().parse::<f64>().expect("a number") / self.begun.elapsed().as_secs_f64()
    }
}

impl Drop for Abuser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === the process that is abused ===

struct World {
    folder: tempfile::TempDir,
    child: Child,
    issuer: SocketAddr,
    clients: Vec<Client>,
    body: Bytes,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (gate, issuer) = (free().expect("a port"), free().expect("a port"));
        let text = CONFIGURATION
            .replace("GATE", &gate.port().to_string())
            .replace("ISSUER", &issuer.port().to_string());
        std::fs::write(folder.path().join("scopegate.yaml"), text).expect("writes");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(["serve", "--config", "scopegate.yaml"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("starts");
        for port in [gate, issuer] {
            let mut tries = 0;
            while tokio::net::TcpStream::connect(port).await.is_err() {
                tries += 1;
                assert!(
                    tries < 1000,
                    "{}",
                    std::fs::read_to_string(folder.path().join("log")).expect("a log")
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        let token = mint(&folder.path().join("data/dev-ca/ca.pem"), issuer).await;
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect(&gate.to_string()).await);
        }
        let world = Self {
            folder,
            child,
            issuer,
            clients,
            body: check_request(&token),
        };
        let answer = call(&mut world.clients[0].clone(), world.body.clone()).await;
        assert!(is_allowed(&answer), "what is measured is an allow");
        world
    }

    fn ca(&self) -> std::path::PathBuf {
        self.folder.path().join("data/dev-ca/ca.pem")
    }

    /// The nanoseconds that the gate's threads have been on a processor.
    fn gate_nanoseconds(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let of = |task: std::fs::DirEntry| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            let on_processor = stat.split_whitespace().next()?.parse::<u64>().ok()?;
            name.starts_with("gate-").then_some(on_processor)
        };
        tasks.flatten().filter_map(of).sum()
    }

    /// As many checks as the clients can keep under way.
    async fn flat_out(&self, calls: usize, into: &mut Figures) {
        let (nanoseconds, begun) = (self.gate_nanoseconds(), Instant::now());
        batch(&self.clients, calls, &self.body).await;
        into.flat_seconds += begun.elapsed().as_secs_f64();
        into.flat_nanoseconds += self.gate_nanoseconds() - nanoseconds;
        into.flat_calls += calls / (CONNECTIONS * STREAMS) * CONNECTIONS * STREAMS;
    }

    /// Checks at a steady rate. The time of each counts from when it was due: one that had to wait for the last one
    /// is late, not absent.
    async fn paced(&self, calls: usize, rate: usize, into: &mut Figures) {
        let each = calls / CONNECTIONS;
        let pause = Duration::from_secs_f64(CONNECTIONS as f64 / rate as f64);
        let mut tasks = Vec::new();
        for (number, client) in self.clients.iter().enumerate() {
            let (mut client, body) = (client.clone(), self.body.clone());
            let first = Instant::now() + pause.mul_f64(number as f64 / CONNECTIONS as f64);
            tasks.push(tokio::spawn(async move {
                let mut times = Vec::with_capacity(each);
                for number in 0..each {
                    let due = first + pause * u32::try_from(number).expect("few");
                    tokio::time::sleep_until(due).await;
                    let answer = call(&mut client, body.clone()).await;
                    assert!(is_allowed(&answer), "a check is refused under abuse");
                    times.push(due.elapsed());
                }
                times
            }));
        }
        for task in tasks {
            into.times.extend(task.await.expect("no check fails"));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn mint(ca: &Path, issuer: SocketAddr) -> String {
    let url = format!("https://{issuer}{}", ABUSES[1].path);
    let answer = request(&https(ca), &url, ABUSES[1].body, 0)
        .send()
        .await
        .expect("answers");
    let answer: serde_json::Value = answer.json().await.expect("JSON");
    answer["access_token"].as_str().expect("a token").to_owned()
}

fn is_allowed(answer: &Bytes) -> bool {
    let answer = CheckResponse::decode(answer.slice(5..)).expect("decodes");
    matches!(answer.http_response, Some(HttpResponse::OkResponse(_)))
}

// === the measurement ===

struct Amount {
    rounds: usize,
    calls: usize,
    rate: usize,
}

#[derive(Default)]
struct Figures {
    times: Vec<Duration>,
    flat_seconds: f64,
    flat_nanoseconds: u64,
    flat_calls: usize,
    abuses: f64,
}

impl Figures {
    fn microseconds(&self) -> f64 {
        self.flat_nanoseconds as f64 / 1000.0 / self.flat_calls as f64
    }

    fn per_second(&self) -> f64 {
        self.flat_calls as f64 / self.flat_seconds
    }

    fn percentile(&mut self, percent: usize) -> f64 {
        self.times.sort_unstable();
        self.times[(self.times.len() - 1) * percent / 100].as_secs_f64() * 1000.0
    }
}

async fn measure(amount: &Amount) {
    let world = World::start().await;
    batch(&world.clients, amount.calls / 4, &world.body).await;
    let mut calm = Figures::default();
    let mut abused: Vec<Figures> = ABUSES.iter().map(|_| Figures::default()).collect();
    for _ in 0..amount.rounds {
        one_round(&world, amount, &mut calm).await;
        for (number, figures) in abused.iter_mut().enumerate() {
            let running = Abuser::start(number, &world);
            one_round(&world, amount, figures).await;
            figures.abuses += running.end() / amount.rounds as f64;
        }
    }
    println!(
        "checks beside abuse of the issuer: {} rounds of {} checks flat out, {} at {}/s",
        amount.rounds,
        amount.calls,
        amount.calls / 10,
        amount.rate
    );
    println!(
        "  {:<26} {:>9} {:>9} {:>9} {:>10} {:>9} {:>7} {:>7}",
        "", "abuses/s", "p50", "p99", "CPU/check", "checks/s", "CPU x", "rate x"
    );
    let (cost, rate) = (calm.microseconds(), calm.per_second());
    let named = std::iter::once(("calm", &mut calm)).chain(ABUSES.iter().map(|abuse| abuse.name).zip(&mut abused));
    for (name, figures) in named {
        let (p50, p99) = (figures.percentile(50), figures.percentile(99));
        println!(
            "  {name:<26} {:>9.0} {p50:>6.2} ms {p99:>6.2} ms {:>7.2} us {:>9.0} {:>7.2} {:>7.2}",
            figures.abuses,
            figures.microseconds(),
            figures.per_second(),
            figures.microseconds() / cost,
            figures.per_second() / rate,
        );
    }
}

async fn one_round(world: &World, amount: &Amount, figures: &mut Figures) {
    world.paced(amount.calls / 10, amount.rate, figures).await;
    world.flat_out(amount.calls, figures).await;
}
