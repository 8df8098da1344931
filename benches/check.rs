//! Server CPU per check: the gate against a stock tonic server that decodes the request and says OK without a look at it.
//!
//! | server | what it does |
//! |---|---|
//! | stock | tonic and prost as generated, on tokio's default runtime with one worker: decode, answer OK |
//! | single | the same on a current-thread runtime, as a gate thread has it |
//! | adapter | our view, guards, reply and event, around a decision that costs nothing |
//! | gate | the program as it is shipped, with its allocator and one gate thread: route, token from the verdict cache, revocations, scopes, identity headers, metadata, metrics |
//!
//! The servers are child processes with one thread for checks, and are driven in turn by the same client: 8 connections with 32 calls under way on each. The CPU of a child is read from
//! `/proc/{pid}/stat` before and after a batch, so that the client's own does not count. Batches are interleaved, so that
//! what else the machine does hits both alike.
//!
//! `cargo bench --bench check` prints a table; `-- --batches N --calls N` changes the amount.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    missing_docs,
    reason = "a program for developers"
)]

mod client;
mod world;

use std::future::Future;
use std::io::{BufRead as _, BufReader, Write as _};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use client::{CONNECTIONS, Client, STREAMS, batch, call, check_request, connect};
use prost::Message as _;
use scopegate::clock::{Clock, SystemClock};
use scopegate::envoy::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use scopegate::envoy::pb::envoy::service::auth::v3::check_response::HttpResponse;
use scopegate::envoy::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use scopegate::envoy::pb::google::rpc::Status;
use scopegate::envoy::server::ExtAuthz;
use scopegate::envoy::service::{CheckService, CheckSettings, Checks, Decided, Step};
use scopegate::jose::alg::Algorithm;
use scopegate::jose::sign::SigningKey;
use scopegate::model::event::{CacheOutcome, CheckObserver, Unobserved};
use scopegate::model::reason::Reason;
use scopegate::net::limits::{Limits, Stop};
use scopegate::net::listen::Listener;
use scopegate::net::settings::ListenAddress;
use scopegate::net::workers::{WorkerSettings, Workers};
use scopegate::policy::decision::{Decision, Denial};
use scopegate::policy::facts::RequestFacts;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place
            .and_then(|place| arguments.get(place + 1))
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    match arguments.first().map(String::as_str) {
        Some("serve-adapter") => serve_adapter(),
        Some("serve-stock") => serve_stock(&stock_runtime()),
        Some("serve-single") => serve_stock(&runtime()),
        _ => drive(number("--batches", 5), number("--calls", 40_000)),
    }
}

// === the two servers ===

/// The adapter's own cost: view, guards, reply and event around a decision that costs nothing.
struct Fixed;

impl Checks for Fixed {
    type Lookup = ();

    fn check(&self, facts: &RequestFacts<'_>) -> Step<()> {
        std::hint::black_box(facts);
        Step::Decided(Decided {
            decision: Decision::Deny(Denial::new(Reason::NoRoute)),
            cache: CacheOutcome::Unused,
            observer: Arc::new(Unobserved),
        })
    }

    fn finish(&self, (): ()) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    fn observer(&self) -> Arc<dyn CheckObserver> {
        Arc::new(Unobserved)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// What `#[tokio::main]` makes, with one worker, so that threads are equal.
fn stock_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime")
}

fn announce(address: impl std::fmt::Display) {
    println!("{address}");
    std::io::stdout().flush().expect("a pipe");
}

fn serve_adapter() {
    runtime().block_on(async {
        let any = ListenAddress::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener = Listener::bind(&any).expect("binds");
        announce(listener.address());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let settings = WorkerSettings {
            count: 1,
            limits: Limits::default(),
            tls: None,
            stop: Stop::default(),
        };
        let io = tokio::runtime::Handle::current();
        let patient = CheckSettings {
            deadline: Duration::from_secs(10),
            ..CheckSettings::default()
        };
        let workers = Workers::start(&settings, |_| {
            let check = CheckService::new(Arc::new(Fixed), clock.clone(), patient.clone(), io.clone());
            ExtAuthz::new(check, tonic_health::server::HealthReporter::new())
        })
        .expect("threads");
        listener
            .accept_each(64, &settings.stop.soft, |accepted| workers.dispatch(accepted))
            .await;
    });
}

/// A configuration with one scope rule, the keys of its issuer, and a token that meets the rule.
fn write_world(folder: &std::path::Path, port: u16) -> String {
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    let keys = serde_json::json!({ "keys": [key.public_jwk()] });
    std::fs::write(folder.join("keys.json"), keys.to_string()).expect("writes");
    std::fs::write(
        folder.join("scopegate.yaml"),
        world::CONFIGURATION.replace("PORT", &port.to_string()),
    )
    .expect("writes");
    let now = SystemClock::start().now().unix_seconds();
    let claims = serde_json::json!({
        "iss": "https://issuer.example", "aud": "api://transfers", "sub": "ada", "client_id": "mobile",
        "scope": "transfers:read transfers:write openid profile", "iat": now, "exp": now + 3600, "jti": "0b8b9c1e",
        "padding": "x".repeat(400),
    });
    let serde_json::Value::Object(claims) = claims else {
        unreachable!("an object above")
    };
    key.sign("at+jwt", &claims).expect("signs").expose_secret().clone()
}

struct Stock;

#[tonic::async_trait]
impl Authorization for Stock {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        std::hint::black_box(request.into_inner());
        Ok(tonic::Response::new(CheckResponse {
            status: Some(Status::default()),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
            dynamic_metadata: None,
        }))
    }
}

fn serve_stock(runtime: &tokio::runtime::Runtime) {
    runtime.block_on(async {
        // On the runtime's own worker, not on the thread that blocks here.
        tokio::spawn(serve_stock_on()).await.expect("serves");
    });
}

async fn serve_stock_on() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    announce(listener.local_addr().expect("bound"));
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    tonic::transport::Server::builder()
        .add_service(AuthorizationServer::new(Stock))
        .serve_with_incoming(incoming)
        .await
        .expect("serves");
}

struct Server {
    child: Child,
    clients: Vec<Client>,
    ticks: u64,
    calls: usize,
}

impl Server {
    /// The program itself, as it is shipped.
    async fn gate(folder: &std::path::Path, port: u16) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(["serve", "--gate-threads", "1", "--config"])
            .arg(folder.join("scopegate.yaml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let address = format!("127.0.0.1:{port}");
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(&address).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self::reached(child, &address).await
    }

    async fn start(mode: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg(mode)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut address = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out).read_line(&mut address).expect("an address");
        Self::reached(child, address.trim()).await
    }

    async fn reached(child: Child, address: &str) -> Self {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            clients.push(connect(address).await);
        }
        Self {
            child,
            clients,
            ticks: 0,
            calls: 0,
        }
    }

    /// User and system time of the child, in clock ticks (proc(5): fields 14 and 15).
    fn cpu(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("is alive");
        let (_, after_name) = stat.rsplit_once(')').expect("a name");
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        fields[11].parse::<u64>().expect("utime") + fields[12].parse::<u64>().expect("stime")
    }

    async fn measure(&mut self, calls: usize, body: &Bytes) {
        let before = self.cpu();
        batch(&self.clients, calls, body).await;
        self.ticks += self.cpu() - before;
        self.calls += calls / (CONNECTIONS * STREAMS) * CONNECTIONS * STREAMS;
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn microseconds(&self) -> f64 {
        // USER_HZ is 100 on Linux.
        self.ticks as f64 * 10_000.0 / self.calls as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn drive(batches: usize, calls: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.expect("a free port").port();
    let body = check_request(&write_world(folder.path(), port));
    runtime().block_on(async {
        let mut servers = Vec::new();
        for mode in ["serve-stock", "serve-single", "serve-adapter"] {
            servers.push(Server::start(mode).await);
        }
        servers.push(Server::gate(folder.path(), port).await);
        until_allowed(&mut servers[3], &body).await;
        for server in &servers {
            batch(&server.clients, calls / 4, &body).await;
        }
        for _ in 0..batches {
            for server in &mut servers {
                server.measure(calls, &body).await;
            }
        }
        let stock = servers[0].microseconds();
        println!(
            "server CPU per check, {} calls each, {} bytes of request",
            servers[0].calls,
            body.len()
        );
        for (server, what) in servers.iter().zip([
            "stock tonic: decode, answer OK",
            "the same on a current-thread runtime",
            "adapter: view, deny, reply",
            "gate: the whole check, cached token, allow",
        ]) {
            let own = server.microseconds();
            println!("  {what:<44} {own:>8.2} us   ratio {:>5.2}", own / stock);
        }
    });
}

/// The gate's first keys are read in the background: until then it says 503, in words.
async fn until_allowed(gate: &mut Server, body: &Bytes) {
    for _ in 0..500 {
        let answer = call(&mut gate.clients[0], body.clone()).await;
        let answer = CheckResponse::decode(answer.slice(5..)).expect("decodes");
        if matches!(answer.http_response, Some(HttpResponse::OkResponse(_))) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the gate does not allow what it measures");
}
