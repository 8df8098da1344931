use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use tokio::net::{TcpStream, UnixStream};

use super::*;
use crate::clock::SystemClock;
use crate::config::{self, source::System};
use crate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use crate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use crate::envoy::server::CHECK_PATH;
use crate::jose::alg::Algorithm;
use crate::jose::sign::SigningKey;

type Client = SendRequest<Full<Bytes>>;

/// A gate before one public route, on free ports.
fn file(ext_authz: &str, route: &str) -> String {
    format!(
        "dev: true
listeners:
  ext_authz: {{ address: \"{ext_authz}\" }}
  telemetry: {{ address: \"127.0.0.1:0\" }}
authorization_servers:
  - id: ext
    issuer: https://issuer.example
    audience: a
    jwks_file: keys.json
apis:
  - name: things
    hosts: [api.example]
    authorization_server: ext
    clients: any
    routes:
      - path: {route}
        GET: public
"
    )
}

struct TestApp {
    app: App,
    folder: tempfile::TempDir,
}

impl TestApp {
    async fn start(text: &str, options: Options) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let key = SigningKey::generate(Algorithm::Es256)?;
        let keys = serde_json::json!({ "keys": [key.public_jwk()] });
        std::fs::write(folder.path().join("keys.json"), keys.to_string())?;
        let text = text.replace("FOLDER", &folder.path().display().to_string());
        let path = folder.path().join("scopegate.yaml");
        std::fs::write(&path, text)?;
        let settings = config::load_for_serving(&path, &System).map_err(|report| anyhow::anyhow!("{report}"))?;
        let app = App::start(settings, options, Arc::new(SystemClock::start()), Arc::new(System)).await?;
        Ok(Self { app, folder })
    }

    /// Waits until the first keys are there.
    async fn ready(&self) {
        let mut ready = self.app.lifecycle.readiness.subscribe();
        ready.wait_for(|ready| *ready).await.expect("is told");
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path(), text).expect("writes");
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("scopegate.yaml")
    }

    fn tcp(&self) -> SocketAddr {
        tcp(self.app.addresses().ext_authz.as_ref())
    }
}

fn tcp(address: Option<&ListenAddress>) -> SocketAddr {
    match address {
        Some(ListenAddress::Tcp(address)) => *address,
        other => panic!("no TCP address: {other:?}"),
    }
}

async fn client<I>(io: I) -> Client
where
    I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(io))
        .await
        .expect("handshake");
    tokio::spawn(connection);
    client
}

async fn connect(address: SocketAddr) -> Client {
    client(TcpStream::connect(address).await.expect("connects")).await
}

async fn call(client: &mut Client, path: &str, message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend_from_slice(message);
    let request = http::Request::post(format!("http://gate{path}"))
        .header("content-type", "application/grpc")
        .body(Full::new(Bytes::from(framed)))
        .expect("valid");
    let response = client.send_request(request).await.expect("answers");
    let bytes = response.into_body().collect().await.expect("a whole answer").to_bytes();
    bytes.slice(5..)
}

/// The status code of a check, and whatever decided: 0 is an allow.
async fn check(client: &mut Client, path: &str) -> (i32, String) {
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(HttpRequest {
                    method: "GET".into(),
                    host: "api.example".into(),
                    path: path.into(),
                    ..HttpRequest::default()
                }),
            }),
            ..AttributeContext::default()
        }),
    };
    let answer = call(client, CHECK_PATH, &message.encode_to_vec()).await;
    let status = CheckResponse::decode(answer)
        .expect("decodes")
        .status
        .expect("a status");
    (status.code, status.message)
}

async fn is_serving(client: &mut Client) -> bool {
    &*call(client, "/grpc.health.v1.Health/Check", b"").await == b"\x08\x01"
}

fn quick() -> Options {
    Options {
        gate_threads: Some(2),
        drain: DrainSettings {
            delay: Duration::ZERO,
            deadline: Duration::from_secs(30),
        },
        ..Options::default()
    }
}

fn denied(reason: &str) -> (i32, String) {
    (7, reason.to_owned())
}

fn allowed() -> (i32, String) {
    (0, String::new())
}

#[tokio::test]
async fn edge_o04_serves_checks_health_and_probes_on_free_ports_and_ends_when_asked() {
    let test = TestApp::start(&file("127.0.0.1:0", "/a"), quick())
        .await
        .expect("starts");
    let mut gate = connect(test.tcp()).await;
    assert_eq!(check(&mut gate, "/a").await, allowed());
    assert_eq!(check(&mut gate, "/b").await, denied("no_route"));
    test.ready().await;
    assert!(test.app.waiting_for().is_empty());
    // Health follows readiness by a task of its own.
    while !is_serving(&mut gate).await {
        tokio::task::yield_now().await;
    }
    let telemetry = tcp(test.app.addresses().telemetry.as_ref());
    let (asks, asked) = mpsc::channel(1);
    let address = test.tcp();
    let running = tokio::spawn(test.app.run(asked));
    asks.send("SIGTERM").await.expect("runs");
    let report = running.await.expect("ends");
    assert_eq!(
        (
            report.cause.clone(),
            report.exit_code(),
            report.connections_cut,
            report.telemetry_flushed
        ),
        (Cause::Asked("SIGTERM"), 0, 0, true)
    );
    for gone in [address, telemetry] {
        assert!(TcpStream::connect(gone).await.is_err());
    }
}

#[tokio::test]
async fn edge_o04_serves_on_during_the_drain_delay_and_is_not_ready_and_a_second_ask_ends_the_wait() {
    let options = Options {
        drain: DrainSettings {
            delay: Duration::from_secs(3600),
            deadline: Duration::from_secs(3600),
        },
        ..quick()
    };
    let test = TestApp::start(&file("127.0.0.1:0", "/a"), options)
        .await
        .expect("starts");
    test.ready().await;
    let readiness = test.app.lifecycle.readiness.clone();
    let mut ready = readiness.subscribe();
    let mut gate = connect(test.tcp()).await;
    let (asks, asked) = mpsc::channel(1);
    let address = test.tcp();
    let running = tokio::spawn(test.app.run(asked));
    asks.send("SIGTERM").await.expect("runs");
    ready.wait_for(|ready| !*ready).await.expect("is withdrawn");
    assert_eq!(readiness.waiting_for(), ["draining"]);
    assert_eq!(check(&mut gate, "/a").await, allowed());
    let mut late = connect(address).await;
    assert_eq!(check(&mut late, "/a").await, allowed());
    assert!(!is_serving(&mut late).await);
    asks.send("SIGTERM").await.expect("runs");
    let report = running.await.expect("ends");
    assert_eq!((report.exit_code(), report.connections_cut), (0, 0));
    assert!(
        gate.send_request(http::Request::new(Full::new(Bytes::new())))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn edge_o04_is_not_serving_before_the_first_keys() {
    let keyless = file("127.0.0.1:0", "/a").replace("keys.json", "missing.json");
    let test = TestApp::start(&keyless, quick()).await.expect("starts");
    assert_eq!(test.app.waiting_for(), ["keys of the authorization server `ext`"]);
    let mut gate = connect(test.tcp()).await;
    assert!(!is_serving(&mut gate).await);
    assert_eq!(
        check(&mut gate, "/a").await,
        allowed(),
        "what needs no key is answered all the same"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_nothing_is_left_running() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = taken.local_addr().expect("bound").to_string();
    let error = TestApp::start(&file(&address, "/a"), quick())
        .await
        .err()
        .expect("is taken");
    let text = format!("{error:#}");
    assert!(
        text.contains(&address) && text.contains("another process listens there"),
        "{text}"
    );
    assert!(!text.contains('\n'));
}

#[tokio::test]
async fn serves_on_a_unix_socket_and_removes_it() {
    let test = TestApp::start(&file("unix:FOLDER/authz.sock", "/a"), quick())
        .await
        .expect("starts");
    let path = test.folder.path().join("authz.sock");
    let mut gate = client(UnixStream::connect(&path).await.expect("connects")).await;
    assert_eq!(check(&mut gate, "/a").await, allowed());
    let (asks, asked) = mpsc::channel(1);
    asks.send("SIGINT").await.expect("room");
    assert_eq!(test.app.run(asked).await.exit_code(), 0);
    assert!(!Path::new(&path).exists());
}

#[tokio::test]
async fn attack_g07_a_reload_takes_a_file_whole_or_leaves_the_last_good_one_in_force() {
    let test = TestApp::start(&file("127.0.0.1:0", "/a"), quick())
        .await
        .expect("starts");
    let mut gate = connect(test.tcp()).await;
    test.write(&file("127.0.0.1:0", "/b"));
    assert_eq!(test.app.reload().await, Ok(()));
    assert_eq!(check(&mut gate, "/a").await, denied("no_route"));
    assert_eq!(check(&mut gate, "/b").await, allowed());
    test.write(&file("127.0.0.1:0", "/c").replace("GET: public", "GET: publik"));
    let error = test.app.reload().await.expect_err("is broken");
    assert!(error.contains("scopegate.yaml:17:") && !error.contains('\n'), "{error}");
    std::fs::remove_file(test.path()).expect("removes");
    assert!(test.app.reload().await.is_err());
    assert_eq!(check(&mut gate, "/b").await, allowed());
    assert_eq!(check(&mut gate, "/c").await, denied("no_route"));
}

/// Two routes swap places in each file: one of them is open at any time, and never both or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_o03_attack_g07_checks_under_reloads_never_fail() {
    // A machine that has much else to do must not turn a check into a denial.
    let patient = |route: &str| format!("gate: {{ timeout: 10s }}\n{}", file("127.0.0.1:0", route));
    let test = TestApp::start(&patient("/a"), quick()).await.expect("starts");
    let address = test.tcp();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut checking = Vec::new();
    for _ in 0..4 {
        let stop = stop.clone();
        checking.push(tokio::spawn(async move {
            let mut gate = connect(address).await;
            let mut seen = [0_u32; 2];
            while !stop.is_cancelled() {
                let outcome = check(&mut gate, "/a").await;
                match &outcome {
                    (0, _) => seen[0] += 1,
                    (7, reason) if reason == "no_route" => seen[1] += 1,
                    other => panic!("neither policy says {other:?}"),
                }
            }
            seen
        }));
    }
    for round in 0..1000 {
        test.write(&patient(if round % 2 == 0 { "/b" } else { "/a" }));
        assert_eq!(test.app.reload().await, Ok(()));
        if round % 100 == 50 {
            test.write("apis: [");
            test.app.reload().await.expect_err("is half a file");
        }
    }
    stop.cancel();
    for task in checking {
        let seen = task.await.expect("no check fails");
        assert!(seen[0] > 0 && seen[1] > 0, "both policies were in force: {seen:?}");
    }
}

#[tokio::test]
async fn a_task_that_ends_unasked_ends_the_process_with_a_failure() {
    let test = TestApp::start(&file("127.0.0.1:0", "/a"), quick())
        .await
        .expect("starts");
    test.app.lifecycle.essential("fleeting", async {});
    let (_asks, asked) = mpsc::channel(1);
    let report = test.app.run(asked).await;
    assert_eq!(
        (report.cause.clone(), report.exit_code()),
        (Cause::TaskEnded("fleeting"), 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_e20_the_administration_has_a_listener_of_its_own_where_it_is_asked_for() {
    use crate::testing::house::BANK;
    let with = |listeners: &str| {
        BANK.replace("https://127.0.0.1:8443", "http://127.0.0.1:8443")
            .replace("sqlite://unused.db", "sqlite://FOLDER/store.db")
            .replace("  ext_authz:", &format!("{listeners}  ext_authz:"))
    };
    let test = TestApp::start(&with("  admin: { address: \"127.0.0.1:0\" }\n"), quick())
        .await
        .expect("starts");
    let addresses = test.app.addresses().clone();
    let admin = tcp(addresses.admin.as_ref());
    let management = "/.well-known/oauth-authorization-server";
    let document = fetch(admin, management).await;
    assert!(
        document.contains("\"http://127.0.0.1:8443/oauth2/v1/token\""),
        "{document}"
    );
    let refused = fetch(admin, "/api/v1/authorizationServers").await;
    assert!(refused.contains("E0000011"), "{refused}");
    // Not beside what the clients reach.
    let public = fetch(tcp(addresses.issuer.as_ref()), "/api/v1/authorizationServers").await;
    assert!(public.contains("not_found"), "{public}");

    let without = TestApp::start(&with(""), quick()).await.expect("starts");
    assert_eq!(without.app.addresses().admin, None);
}

async fn fetch(address: SocketAddr, path: &str) -> String {
    let io = TokioIo::new(TcpStream::connect(address).await.expect("connects"));
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.expect("handshake");
    tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", "gate")
        .body(Full::<Bytes>::default());
    let answer = client.send_request(request.expect("a request")).await.expect("answers");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}
