//! What abuse of the issuer costs the checks of the same process.
//!
//! One process as it is shipped: gate threads, and the issuer on the I/O runtime. A second process abuses the issuer as
//! fast as it can over many TLS connections, while the gate is asked. Each kind of abuse takes its turn with calm.
//!
//! | figure | what it says |
//! |---|---|
//! | CPU | of the gate's threads per check: what a check costs. It must not move |
//! | p50 | with everything under way at once: what a caller notices, on the processors that are left |
//! | a second | how much abuse there was |
//!
//! The abuser and the load need processors too, and take them from the gate where there are few: on two, p50 grows for
//! that reason alone.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::check::PATH;
use crate::figures::Figure;
use crate::load::{Seen, get, h2load};
use crate::process::{Process, free_port, until_open};
use crate::world::framed;
use crate::{Measured, Settings};

pub(crate) const FIGURES: &[&str] = &[
    "abuse_secrets",
    "abuse_secrets_p50",
    "abuse_secrets_rate",
    "abuse_tokens",
    "abuse_tokens_p50",
    "abuse_tokens_rate",
    "abuse_revocations",
    "abuse_revocations_p50",
    "abuse_revocations_rate",
    "abuse_passwords",
    "abuse_passwords_p50",
    "abuse_passwords_rate",
    "abuse_registrations",
    "abuse_registrations_p50",
    "abuse_registrations_rate",
];
/// How many calls a round asks of the gate, calm and beside each kind of abuse.
const CALLS: usize = 50_000;

/// How many requests the abuser has under way.
const ABUSERS: usize = 32;

/// The most that abuse may add to what a check costs.
const LIMIT: f64 = 1.15;

/// What is done to the issuer.
#[derive(Debug, Clone, Copy)]
struct Abuse {
    /// The names and words of its figures: CPU, p50, a second.
    figures: [(&'static str, &'static str); 3],
    path: &'static str,
    body: Body,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Form(&'static [(&'static str, &'static str)]),
    Json(&'static str),
}

const TOKEN: &str = "/oauth2/transfers/v1/token";

const ABUSES: [Abuse; 5] = [
    Abuse {
        figures: [
            ("abuse_secrets", "check beside wrong client secrets, gate CPU"),
            ("abuse_secrets_p50", "the same, p50"),
            ("abuse_secrets_rate", "the same, wrong secrets"),
        ],
        path: TOKEN,
        body: Body::Form(&[
            ("grant_type", "client_credentials"),
            ("client_id", "batch"),
            ("client_secret", "guess"),
        ]),
    },
    Abuse {
        figures: [
            ("abuse_tokens", "check beside tokens that are granted, gate CPU"),
            ("abuse_tokens_p50", "the same, p50"),
            ("abuse_tokens_rate", "the same, tokens"),
        ],
        path: TOKEN,
        body: GRANTED,
    },
    Abuse {
        figures: [
            ("abuse_revocations", "check beside revocations of nonsense, gate CPU"),
            ("abuse_revocations_p50", "the same, p50"),
            ("abuse_revocations_rate", "the same, revocations"),
        ],
        path: "/oauth2/transfers/v1/revoke",
        body: Body::Form(&[("client_id", "batch"), ("client_secret", "secret"), ("token", "a.b.c")]),
    },
    // Of another login each time: each costs a whole verification. One login is locked out soon.
    Abuse {
        figures: [
            ("abuse_passwords", "check beside wrong passwords, gate CPU"),
            ("abuse_passwords_p50", "the same, p50"),
            ("abuse_passwords_rate", "the same, wrong passwords"),
        ],
        path: TOKEN,
        body: Body::Form(&[
            ("grant_type", "password"),
            ("client_id", "app"),
            ("username", "ada-NUMBER@bank.example"),
            ("password", "guess"),
        ]),
    },
    Abuse {
        figures: [
            ("abuse_registrations", "check beside registrations, gate CPU"),
            ("abuse_registrations_p50", "the same, p50"),
            ("abuse_registrations_rate", "the same, registrations"),
        ],
        path: "/oauth2/transfers/v1/clients",
        body: Body::Json(
            r#"{"client_name":"app NUMBER","redirect_uris":["https://app.example/cb"],"application_type":"web"}"#,
        ),
    },
];

const GRANTED: Body = Body::Form(&[
    ("grant_type", "client_credentials"),
    ("client_id", "batch"),
    ("client_secret", "secret"),
]);

const CONFIGURATION: &str = r#"
dev: true
public_url: https://127.0.0.1:ISSUER
store: sqlite://data/scopegate.db
listeners:
  ext_authz: { address: "127.0.0.1:GATE" }
  issuer: { address: "127.0.0.1:ISSUER" }
  telemetry: { address: "127.0.0.1:TELEMETRY" }
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

pub(crate) fn run(settings: Settings) -> Measured {
    let house = House::start();
    house.measure(CALLS / 10);
    let mut calm: Vec<(f64, Seen)> = Vec::new();
    let mut abused: [Vec<(f64, Seen, f64)>; ABUSES.len()] = Default::default();
    for _ in 0..settings.rounds {
        calm.push(house.measure(CALLS));
        for (number, rounds) in abused.iter_mut().enumerate() {
            let running = Abuser::start(number, &house);
            let (cost, seen) = house.measure(CALLS);
            rounds.push((cost, seen, running.end()));
        }
    }
    let calm_cost: Vec<f64> = calm.iter().map(|(cost, _)| *cost).collect();
    let calm_p50: Vec<f64> = calm.iter().map(|(_, seen)| seen.p50).collect();
    let mut figures = Vec::new();
    for (abuse, rounds) in ABUSES.iter().zip(&abused) {
        let [cpu, p50, rate] = abuse.figures;
        let values = rounds.iter().map(|(cost, ..)| *cost).collect();
        let times = rounds.iter().map(|(_, seen, _)| seen.p50).collect();
        let often = rounds.iter().map(|(_, _, often)| *often).collect();
        figures.push(
            Figure::new(cpu.0, cpu.1, "µs", values)
                .of("calm", calm_cost.clone())
                .at_most(LIMIT),
        );
        figures.push(Figure::new(p50.0, p50.1, "ms", times).of("calm", calm_p50.clone()));
        figures.push(Figure::new(rate.0, rate.1, "/s", often));
    }
    figures.into()
}

/// The process that is abused.
struct House {
    folder: tempfile::TempDir,
    process: Process,
    gate: String,
    telemetry: String,
    issuer: u16,
    body: PathBuf,
}

impl House {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [gate, issuer, telemetry] = [(); 3].map(|()| free_port());
        let text = CONFIGURATION
            .replace("GATE", &gate.to_string())
            .replace("ISSUER", &issuer.to_string())
            .replace("TELEMETRY", &telemetry.to_string());
        std::fs::write(folder.path().join("scopegate.yaml"), text).expect("writes");
        let process = Process::scopegate(folder.path(), &["--gate-threads", "1"]);
        let [gate, telemetry] = [gate, telemetry].map(|port| format!("127.0.0.1:{port}"));
        for address in [&gate, &telemetry, &format!("127.0.0.1:{issuer}")] {
            until_open(address);
        }
        let house = Self {
            body: folder.path().join("check.bin"),
            folder,
            process,
            gate,
            telemetry,
            issuer,
        };
        let token = runtime().block_on(house.token());
        let check = framed("api.bank.example", "GET", "/transfers/7", Some(&token));
        std::fs::write(&house.body, check).expect("writes");
        let before = house.allowed();
        h2load(&house.gate, PATH, &house.body, 256);
        assert!(house.allowed() >= before + 256.0, "what is measured is an allow");
        house
    }

    async fn token(&self) -> String {
        let url = format!("https://127.0.0.1:{}{TOKEN}", self.issuer);
        let answer = request(&https(&self.ca()), &url, GRANTED, 0).send().await;
        let answer: serde_json::Value = answer.expect("answers").json().await.expect("JSON");
        answer["access_token"].as_str().expect("a token").to_owned()
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join("data/dev-ca/ca.pem")
    }

    /// How many checks the gate has allowed since its start.
    fn allowed(&self) -> f64 {
        get(&self.telemetry, "/metrics")
            .lines()
            .filter(|line| line.starts_with("scopegate_decisions_total{") && line.contains("\"allow\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What a check costs the gate's threads, and what the load saw. Each one is allowed.
    fn measure(&self, calls: usize) -> (f64, Seen) {
        let (allowed, cpu) = (self.allowed(), self.process.cpu_of("gate-"));
        let seen = h2load(&self.gate, PATH, &self.body, calls);
        let cost = (self.process.cpu_of("gate-") - cpu) / calls as f64;
        assert!(self.allowed() >= allowed + calls as f64, "a check is refused");
        (cost, seen)
    }
}

/// This program again, which abuses the issuer until it is told to stop.
struct Abuser {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    begun: Instant,
}

impl Abuser {
    #[expect(clippy::disallowed_methods, reason = "how long it lasted is measured")]
    fn start(number: usize, house: &House) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["abuse", &number.to_string(), &house.issuer.to_string()])
            .arg(house.ca())
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

    /// How many requests a second were answered.
    fn end(mut self) -> f64 {
        drop(self.input.take());
        let mut count = String::new();
        self.output.read_line(&mut count).expect("it says");
        let rate = count.trim().parse::<f64>().expect("a number") / self.begun.elapsed().as_secs_f64();
        assert!(rate > 0.0, "nothing was abused");
        rate
    }
}

impl Drop for Abuser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Abuses the issuer until the input ends, then says how often it was answered.
pub(crate) fn abuse(number: &str, port: &str, ca: &str) {
    let abuse = ABUSES[number.parse::<usize>().expect("a number")];
    let (url, ca): (Arc<str>, _) = (
        Arc::from(format!("https://127.0.0.1:{port}{}", abuse.path)),
        PathBuf::from(ca),
    );
    runtime().block_on(async move {
        let client = https(&ca);
        let (begun, answered) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        for _ in 0..ABUSERS {
            let (client, url, begun, answered) = (client.clone(), url.clone(), begun.clone(), answered.clone());
            tokio::spawn(async move {
                loop {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    match request(&client, &url, abuse.body, number).send().await {
                        Ok(answer) => {
                            drop(answer.bytes().await);
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            });
        }
        let told = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        drop(told.await);
        println!("{}", answered.load(Ordering::Relaxed));
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn https(ca: &Path) -> reqwest::Client {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(ca).expect("reads")).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([ca]).http1_only();
    client.build().expect("a client")
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
