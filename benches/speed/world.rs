//! What the benchmarks ask about: a configuration of any size, the key of its issuer, tokens, and a check as Envoy sends it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use prost::Message as _;
use scopegate::clock::{Clock as _, SystemClock};
use scopegate::envoy::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use scopegate::envoy::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use scopegate::jose::alg::Algorithm;
use scopegate::jose::sign::SigningKey;

/// How large the configuration is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// APIs, each with a host of its own.
    pub(crate) apis: usize,
    /// Routes of all APIs together.
    pub(crate) routes: usize,
    /// Authorization servers that are trusted; the APIs take turns.
    pub(crate) servers: usize,
}

impl Size {
    /// One API with 50 routes, which is what the figures are compared with.
    pub(crate) const USUAL: Self = Self {
        apis: 1,
        routes: 50,
        servers: 1,
    };
}

/// A folder with a configuration and keys, and what is needed to ask about it.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
    key: SigningKey,
    /// Where checks are answered.
    pub(crate) address: String,
    /// Where metrics are.
    pub(crate) telemetry: String,
}

impl World {
    /// A world with checks on TCP. `more` is put at the end of the configuration.
    pub(crate) fn new(size: Size, algorithm: Algorithm, more: &str) -> Self {
        let address = format!("127.0.0.1:{}", super::process::free_port());
        Self::at(&address, size, algorithm, more)
    }

    /// The same at an address: `host:port` or `unix:/path`.
    pub(crate) fn at(address: &str, size: Size, algorithm: Algorithm, more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = SigningKey::generate(algorithm).expect("a key");
        let keys = serde_json::json!({ "keys": [key.public_jwk()] });
        std::fs::write(folder.path().join("keys.json"), keys.to_string()).expect("writes");
        let telemetry = format!("127.0.0.1:{}", super::process::free_port());
        let text = configuration(address, &telemetry, size, algorithm) + more;
        std::fs::write(folder.path().join("scopegate.yaml"), text).expect("writes");
        Self {
            folder,
            key,
            address: address.to_owned(),
            telemetry,
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The key of the issuer, as its key set has it.
    pub(crate) fn public_jwk(&self) -> serde_json::Value {
        self.key.public_jwk()
    }

    /// A token that opens `GET /transfers/{id}` of the first API. `number` makes it another token.
    pub(crate) fn token(&self, number: usize) -> String {
        let now = SystemClock::start().now().unix_seconds();
        let claims = serde_json::json!({
            "iss": "https://issuer.example/0", "aud": "api://transfers", "sub": "ada", "client_id": "mobile",
            "scope": "transfers:read transfers:write openid profile", "iat": now, "exp": now + 3600,
            "jti": format!("0b8b9c1e-{number}"), "padding": "x".repeat(400),
        });
        let claims = claims.as_object().expect("an object").clone();
        self.key.sign("at+jwt", &claims).expect("signs").expose_secret().clone()
    }

    /// A file with one framed CheckRequest, as h2load sends it.
    pub(crate) fn check(&self, name: &str, method: &str, path: &str, token: Option<&str>) -> PathBuf {
        let file = self.folder.path().join(format!("{name}.bin"));
        std::fs::write(&file, framed("api0.bank.example", method, path, token)).expect("writes");
        file
    }
}

fn configuration(address: &str, telemetry: &str, size: Size, algorithm: Algorithm) -> String {
    let mut text = format!(
        "listeners:\n  ext_authz: {{ address: \"{address}\" }}\n  telemetry: {{ address: \"{telemetry}\" }}\nauthorization_servers:\n"
    );
    for server in 0..size.servers {
        let _ = writeln!(
            text,
            "  - id: transfers{server}\n    issuer: https://issuer.example/{server}\n    jwks_file: keys.json\n    audience: api://transfers\n    algorithms: [{}]\n    scopes: [\"transfers:read\", \"transfers:write\"]",
            algorithm.as_str()
        );
    }
    text.push_str("apis:\n");
    for api in 0..size.apis {
        let _ = writeln!(
            text,
            "  - name: api{api}\n    hosts: [api{api}.bank.example]\n    authorization_server: transfers{}\n    clients: [mobile]\n    forward:\n      headers: {{ x-auth-subject: token.sub, x-auth-client: token.client_id }}\n    routes:\n      - path: /transfers/{{id}}\n        GET: \"transfers:read\"\n        POST: \"transfers:write\"",
            api % size.servers
        );
        for route in 1..size.routes / size.apis {
            let _ = writeln!(
                text,
                "      - path: /area{}/{{id}}/things{route}/{{thing}}\n        GET: \"transfers:read\"",
                route % 16
            );
        }
    }
    text
}

/// A CheckRequest as Envoy sends it for a browser's request, behind gRPC's prefix.
pub(crate) fn framed(host: &str, method: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    let mut headers = vec![
        (":authority", host.to_owned()),
        (":method", method.to_owned()),
        (":path", path.to_owned()),
        (":scheme", "https".to_owned()),
        ("accept", "application/json".to_owned()),
        ("accept-encoding", "gzip, deflate, br".to_owned()),
        (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101".to_owned(),
        ),
        ("x-forwarded-for", "10.0.0.1".to_owned()),
        ("x-forwarded-proto", "https".to_owned()),
        ("x-request-id", "0b8b9c1e-0000-4000-8000-000000000000".to_owned()),
    ];
    if let Some(token) = token {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                time: None,
                http: Some(HttpRequest {
                    id: "123456789".into(),
                    method: method.into(),
                    path: path.into(),
                    host: host.into(),
                    scheme: "https".into(),
                    protocol: "HTTP/2".into(),
                    size: -1,
                    headers: headers
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect::<HashMap<_, _>>(),
                    ..HttpRequest::default()
                }),
            }),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).expect("small").to_be_bytes());
    framed.extend_from_slice(&message);
    framed
}
