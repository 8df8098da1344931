//! Foreign providers: a scripted HTTP server for key sets and introspection, and the certified `oidc-provider`.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::http1;
use super::peers::{node, repository};
use super::process::Process;
use super::wait;

/// What a scripted path answers.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    /// This JSON.
    Json(Value),
    /// This status and body.
    Status(u16, &'static str),
    /// A redirect.
    Redirect(String),
    /// Nothing, ever.
    Silence,
}

#[derive(Default)]
struct State {
    scripts: HashMap<&'static str, Script>,
    requests: HashMap<String, u64>,
}

/// A plain HTTP server that answers as it is told.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("port 0 is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = hyper::service::service_fn(move |request| answer(request, Arc::clone(&shared)));
                tokio::spawn(async move {
                    // A connection that breaks is the client's business.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            state,
            accepting,
        }
    }

    /// What this path answers from now on; what has no script is 404.
    pub(crate) fn script(&self, path: &'static str, script: Script) {
        self.state.lock().scripts.insert(path, script);
    }

    /// How often this path was asked for.
    pub(crate) fn requests(&self, path: &str) -> u64 {
        self.state.lock().requests.get(path).copied().unwrap_or(0)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let _ = request.into_body().collect().await;
    let script = {
        let mut state = state.lock();
        *state.requests.entry(path.clone()).or_default() += 1;
        state.scripts.get(path.as_str()).cloned()
    };
    let mut response = Response::new(Full::default());
    match script {
        Some(Script::Json(value)) => {
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("application/json"),
            );
            *response.body_mut() = Full::from(value.to_string());
        }
        Some(Script::Status(status, body)) => {
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            *response.body_mut() = Full::from(body);
        }
        Some(Script::Redirect(to)) => {
            *response.status_mut() = StatusCode::FOUND;
            response
                .headers_mut()
                .insert(header::LOCATION, to.parse().expect("a URL"));
        }
        Some(Script::Silence) => std::future::pending().await,
        None => *response.status_mut() = StatusCode::NOT_FOUND,
    }
    Ok(response)
}

/// A running `oidc-provider`: see `tests/peers/oidc.mjs`.
pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl OidcProvider {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let (program, modules) = node();
        let mut command = Command::new(program);
        command.arg(repository("tests/peers/oidc.mjs")).current_dir(modules);
        let mut process = Process::spawn("oidc-provider", command, folder.path());
        let issuer = wait::until("oidc-provider names its issuer", || {
            process.must_run();
            let output = process.output();
            async move {
                let line = output.lines().find(|line| line.starts_with('{'))?;
                Some(serde_json::from_str::<Value>(line).ok()?["issuer"].as_str()?.to_owned())
            }
        })
        .await;
        let address = issuer
            .strip_prefix("http://")
            .expect("plain HTTP")
            .parse()
            .expect("an address");
        Self {
            issuer,
            address,
            _process: process,
            _folder: folder,
        }
    }

    /// Tells it to `rotate` or `retire` its keys, to go `down` or `up`; how often its key set was `fetches`ed so far.
    pub(crate) async fn control(&self, what: &str) -> u64 {
        let reply = http1::Request::get(format!("/control/{what}"))
            .host("localhost")
            .send(self.address)
            .await;
        reply.json()["fetches"].as_u64().expect("a number")
    }

    /// A token for the client `till`.
    pub(crate) async fn mint(&self) -> String {
        let reply = http1::Request::post("/token")
            .host(self.issuer.trim_start_matches("http://"))
            .header("Authorization", "Basic dGlsbDpzZWNyZXQ=")
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials&scope=shop:read&resource=https://shop.example")
            .send(self.address)
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["access_token"].as_str().expect("a token").to_owned()
    }
}

/// An introspection answer for an active token.
pub(crate) fn active(changes: &Value) -> Value {
    let mut answer = json!({
        "active": true, "client_id": "till", "scope": "shop:read", "sub": "ada", "aud": "shop",
        "exp": super::tokens::now() + 300,
    });
    answer
        .as_object_mut()
        .expect("an object")
        .extend(changes.as_object().expect("an object").clone());
    answer
}
