//! One Envoy with a listener for each way to authorize, so that all of them share its process and its only worker.
//!
//! The route answers by itself: an upstream would cost more than what is to be seen.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::process::{Process, free_port, until_open};

/// How a listener authorizes.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// Not at all.
    Open,
    /// Envoy's own filters: `jwt_authn`, with its cache of so many tokens or none, and `rbac`.
    OwnFilters { cached: usize },
    /// `ext_authz`, of a server at `host:port` or `unix:/path`.
    Asks(String),
}

/// What Envoy's own filters need to know, to do what the gate does.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) keys: PathBuf,
    /// How many routes there are beside the one that is asked for.
    pub(crate) routes: usize,
}

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    pub(crate) process: Process,
    /// Where each way is, in the order of the ways.
    pub(crate) addresses: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Envoy {
    pub(crate) fn start(ways: &[Way], rules: &Rules) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let ports: Vec<u16> = ways.iter().map(|_| free_port()).collect();
        let clusters: Vec<Value> = ways.iter().enumerate().filter_map(cluster).collect();
        let listeners: Vec<Value> = ways
            .iter()
            .zip(&ports)
            .enumerate()
            .map(|(number, (way, port))| listener(number, *port, &filters(number, way, rules)))
            .collect();
        let bootstrap = json!({
            "node": { "id": "speed", "cluster": "speed" },
            "static_resources": { "listeners": listeners, "clusters": clusters },
        });
        let file = folder.path().join("bootstrap.json");
        std::fs::write(&file, bootstrap.to_string()).expect("writes");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let process = Process::command(
            Command::new(binary())
                .arg("-c")
                .arg(&file)
                .args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"])
                .stdout(Stdio::null())
                .stderr(log),
        );
        let addresses: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        for address in &addresses {
            until_open(address);
        }
        Self {
            process,
            addresses,
            _folder: folder,
        }
    }
}

/// The binary itself, not the wrapper of its package.
fn binary() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers/venv/lib");
    let python = std::fs::read_dir(&lib).expect("Envoy: run tests/peers.sh");
    python
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages/envoy/_bin/envoy"))
        .find(|path| path.is_file())
        .expect("Envoy: run tests/peers.sh")
}

fn listener(number: usize, port: u16, filters: &[Value]) -> Value {
    json!({
        "name": format!("way{number}"),
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": format!("way{number}"),
                "normalize_path": true,
                "path_with_escaped_slashes_action": "REJECT_REQUEST",
                "route_config": { "virtual_hosts": [{
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200, "body": { "inline_string": "done" } } }],
                }] },
                "http_filters": filters,
            },
        }] }],
    })
}

fn filters(number: usize, way: &Way, rules: &Rules) -> Vec<Value> {
    let mut filters = match way {
        Way::Open => Vec::new(),
        Way::OwnFilters { cached } => vec![jwt_authn(*cached, rules), rbac(rules)],
        Way::Asks(_) => vec![ext_authz(number)],
    };
    filters.push(filter("router.v3.Router", "router", json!({})));
    filters
}

fn filter(message: &str, name: &str, mut settings: Value) -> Value {
    settings["@type"] = json!(format!("type.googleapis.com/envoy.extensions.filters.http.{message}"));
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": settings })
}

/// As deploy/envoy has it.
fn ext_authz(number: usize) -> Value {
    let settings = json!({
        "transport_api_version": "V3",
        "grpc_service": { "envoy_grpc": { "cluster_name": format!("way{number}") }, "timeout": "5s" },
        "failure_mode_allow": false,
        "encode_raw_headers": true,
        "validate_mutations": true,
        "include_peer_certificate": true,
        "include_tls_session": true,
    });
    filter("ext_authz.v3.ExtAuthz", "ext_authz", settings)
}

fn cluster((number, way): (usize, &Way)) -> Option<Value> {
    let Way::Asks(address) = way else { return None };
    let address = match address.strip_prefix("unix:") {
        Some(path) => json!({ "pipe": { "path": path } }),
        None => {
            let (host, port) = address.rsplit_once(':').expect("host:port");
            json!({ "socket_address": { "address": host, "port_value": port.parse::<u16>().expect("a port") } })
        }
    };
    let name = format!("way{number}");
    Some(json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { "http2_protocol_options": {} },
        } },
    }))
}

fn jwt_authn(cached: usize, rules: &Rules) -> Value {
    let mut provider = json!({
        "issuer": "https://issuer.example/0",
        "audiences": ["api://transfers"],
        "local_jwks": { "filename": rules.keys },
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": { "space_delimited_claims": ["scope"] },
        "claim_to_headers": [
            { "header_name": "x-auth-subject", "claim_name": "sub" },
            { "header_name": "x-auth-client", "claim_name": "client_id" },
        ],
    });
    if cached > 0 {
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": cached });
    }
    let settings = json!({
        "providers": { "issuer": provider },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "issuer" } }],
    });
    filter("jwt_authn.v3.JwtAuthentication", "jwt_authn", settings)
}

/// The rules of the gate's routes: a method, a pattern, and the scope that they ask for.
fn rbac(rules: &Rules) -> Value {
    let policy = |pattern: String| {
        json!({
            "permissions": [{ "and_rules": { "rules": [
                { "header": { "name": ":method", "string_match": { "exact": "GET" } } },
                { "url_path": { "path": { "safe_regex": { "regex": pattern } } } },
            ] } }],
            "principals": [{ "sourced_metadata": { "metadata_matcher": {
                "filter": "envoy.filters.http.jwt_authn",
                "path": [{ "key": "payload" }, { "key": "scope" }],
                "value": { "list_match": { "one_of": { "string_match": { "exact": "transfers:read" } } } },
            } } }],
        })
    };
    let mut policies = serde_json::Map::new();
    policies.insert("route0".into(), policy("/transfers/[^/]+".into()));
    for route in 1..=rules.routes {
        let pattern = format!("/area{}/[^/]+/things{route}/[^/]+", route % 16);
        policies.insert(format!("route{route}"), policy(pattern));
    }
    filter(
        "rbac.v3.RBAC",
        "rbac",
        json!({ "rules": { "action": "ALLOW", "policies": policies } }),
    )
}
