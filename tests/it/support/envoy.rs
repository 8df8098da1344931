//! A real Envoy before an upstream, asking an authorization service.
//!
//! Its bootstrap is JSON, which Envoy reads as well as YAML. It binds port 0 everywhere and is asked which ports it got.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::http1::{self, Reply};
use super::peers::Release;
use super::process::Process;
use super::wait;

/// Where the authorization service listens, as Envoy is told.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    Tcp(SocketAddr),
    Unix(PathBuf),
    /// With mutual TLS: the CA to trust, then the certificate and key to show.
    Mtls {
        address: SocketAddr,
        ca: PathBuf,
        certificate: PathBuf,
        key: PathBuf,
    },
}

/// An Envoy to be started. What is not said stays at Envoy's own defaults.
pub(crate) struct EnvoyBuilder {
    release: Release,
    service: Service,
    second_service: Option<SocketAddr>,
    upstream: SocketAddr,
    manager: Map<String, Value>,
    filter: Map<String, Value>,
    routes: Vec<Value>,
    downstream_tls: Option<Value>,
    tracing_to: Option<SocketAddr>,
    service_health_checks: bool,
}

impl EnvoyBuilder {
    /// Envoy's own defaults, but for a time-out that a busy machine keeps.
    pub(crate) fn plain(service: Service, upstream: SocketAddr) -> Self {
        let mut filter = Map::new();
        filter.insert("transport_api_version".into(), json!("V3"));
        filter.insert(
            "grpc_service".into(),
            json!({ "envoy_grpc": { "cluster_name": "ext_authz" }, "timeout": "5s" }),
        );
        Self {
            release: Release::default(),
            service,
            second_service: None,
            upstream,
            manager: Map::new(),
            filter,
            routes: vec![json!({ "match": { "prefix": "/" }, "route": { "cluster": "upstream", "timeout": "10s" } })],
            downstream_tls: None,
            tracing_to: None,
            service_health_checks: false,
        }
    }

    /// What the configurations under `deploy/envoy` recommend.
    pub(crate) fn recommended(service: Service, upstream: SocketAddr) -> Self {
        Self::plain(service, upstream)
            .manager(&json!({
                "normalize_path": true,
                "merge_slashes": false,
                "path_with_escaped_slashes_action": "REJECT_REQUEST",
                "common_http_protocol_options": { "headers_with_underscores_action": "ALLOW" },
            }))
            .filter(&json!({
                "encode_raw_headers": true,
                "validate_mutations": true,
                "include_peer_certificate": true,
                "include_tls_session": true,
                "failure_mode_allow": false,
                "status_on_error": { "code": "ServiceUnavailable" },
            }))
    }

    pub(crate) fn release(mut self, release: Release) -> Self {
        self.release = release;
        self
    }

    /// Options of the HTTP connection manager.
    pub(crate) fn manager(mut self, options: &Value) -> Self {
        self.manager
            .extend(options.as_object().expect("options are an object").clone());
        self
    }

    /// Options of the ext_authz filter.
    pub(crate) fn filter(mut self, options: &Value) -> Self {
        self.filter
            .extend(options.as_object().expect("options are an object").clone());
        self
    }

    /// How long Envoy waits for an answer to a check.
    pub(crate) fn check_timeout(mut self, timeout: &str) -> Self {
        self.filter["grpc_service"]["timeout"] = json!(timeout);
        self
    }

    /// A route before those that are there already.
    pub(crate) fn route(mut self, route: Value) -> Self {
        self.routes.insert(0, route);
        self
    }

    /// A route for everything below a prefix, with context extensions for the check.
    pub(crate) fn extensions(self, prefix: &str, extensions: &Value) -> Self {
        self.route(json!({
            "match": { "prefix": prefix },
            "route": { "cluster": "upstream" },
            "typed_per_filter_config": { "envoy.filters.http.ext_authz": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute",
                "check_settings": { "context_extensions": extensions },
            } },
        }))
    }

    /// TLS towards clients, who may show a certificate that `client_ca` signed.
    pub(crate) fn tls(mut self, certificate: &Path, key: &Path, client_ca: &Path) -> Self {
        self.downstream_tls = Some(json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "common_tls_context": {
                    "alpn_protocols": ["h2", "http/1.1"],
                    "tls_certificates": [pair(certificate, key)],
                    "validation_context": { "trusted_ca": { "filename": client_ca } },
                },
            },
        }));
        self
    }

    /// Envoy's own OpenTelemetry tracer, sending every span to this collector.
    pub(crate) fn tracing(mut self, collector: SocketAddr) -> Self {
        self.tracing_to = Some(collector);
        self
    }

    /// A second instance of the authorization service, behind the same cluster.
    pub(crate) fn and_service(mut self, address: SocketAddr) -> Self {
        self.second_service = Some(address);
        self
    }

    /// Active gRPC health checks of the authorization service.
    pub(crate) fn service_health_checks(mut self) -> Self {
        self.service_health_checks = true;
        self
    }

    /// Starts it and waits until it is live.
    pub(crate) async fn start(self) -> Envoy {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let bootstrap = folder.path().join("bootstrap.json");
        let text = serde_json::to_vec_pretty(&self.bootstrap(folder.path())).expect("JSON is writable");
        std::fs::write(&bootstrap, text).expect("the bootstrap can be written");
        let admin_file = folder.path().join("admin");

        let mut command = Command::new(self.release.binary());
        command
            .arg("-c")
            .arg(&bootstrap)
            .arg("--admin-address-path")
            .arg(&admin_file);
        command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning"]);
        command.args(["--file-flush-interval-msec", "50"]);
        let mut process = Process::spawn("envoy", command, folder.path());

        let admin = wait::until("Envoy names its admin address", || {
            process.must_run();
            let address = std::fs::read_to_string(&admin_file).ok();
            async move { address?.trim().parse::<SocketAddr>().ok() }
        })
        .await;
        wait::until("Envoy is live", || async {
            let reply = http1::try_get(admin, "/ready").await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
        let listeners = http1::try_get(admin, "/listeners?format=json")
            .await
            .expect("Envoy lists its listeners");
        let socket = &listeners.json()["listener_statuses"][0]["local_address"]["socket_address"];
        let port = socket["port_value"].as_u64().expect("the listener has a port");
        Envoy {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port"))),
            admin,
            _process: process,
            folder,
        }
    }

    fn bootstrap(&self, folder: &Path) -> Value {
        let upstream = tcp(self.upstream);
        let mut clusters = vec![
            // HTTP/1 or h2c, as the client spoke.
            cluster(
                "upstream",
                &upstream,
                &json!({ "use_downstream_protocol_config": { "http2_protocol_options": {} } }),
            ),
            cluster(
                "upstream_http1",
                &upstream,
                &json!({ "explicit_http_config": { "http_protocol_options": {} } }),
            ),
            self.service_cluster(),
        ];
        if let Some(collector) = self.tracing_to {
            clusters.push(cluster("otlp", &tcp(collector), &http2()));
        }
        let mut chain = json!({ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": self.connection_manager(folder),
        }] });
        if let Some(tls) = &self.downstream_tls {
            chain["transport_socket"] = tls.clone();
        }
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        json!({
            "node": { "id": "test", "cluster": "test" },
            "admin": { "address": tcp(any_port) },
            "static_resources": {
                "listeners": [{ "name": "ingress", "address": tcp(any_port), "filter_chains": [chain] }],
                "clusters": clusters,
            },
        })
    }

    fn connection_manager(&self, folder: &Path) -> Value {
        let mut filter = self.filter.clone();
        filter.insert(
            "@type".into(),
            json!("type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"),
        );
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "ingress",
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": self.routes }] },
            "http_filters": [
                { "name": "envoy.filters.http.ext_authz", "typed_config": filter },
                { "name": "envoy.filters.http.router", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } },
            ],
            "access_log": [{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": folder.join("access.log"),
                    "log_format": { "json_format": {
                        "status": "%RESPONSE_CODE%",
                        "path": "%REQ(:PATH)%",
                        "details": "%RESPONSE_CODE_DETAILS%",
                        "ext_authz": "%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%",
                    } },
                },
            }],
        });
        if self.tracing_to.is_some() {
            manager["tracing"] = json!({
                "random_sampling": { "value": 100 },
                "spawn_upstream_span": true,
                "provider": { "name": "envoy.tracers.opentelemetry", "typed_config": {
                    "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig",
                    "grpc_service": { "envoy_grpc": { "cluster_name": "otlp" }, "timeout": "1s" },
                    "service_name": "envoy",
                } },
            });
        }
        manager.as_object_mut().expect("an object").extend(self.manager.clone());
        manager
    }

    fn service_cluster(&self) -> Value {
        let mut found = match &self.service {
            Service::Tcp(address) => cluster("ext_authz", &tcp(*address), &http2()),
            Service::Unix(path) => cluster("ext_authz", &json!({ "pipe": { "path": path } }), &http2()),
            Service::Mtls {
                address,
                ca,
                certificate,
                key,
            } => {
                let mut found = cluster("ext_authz", &tcp(*address), &http2());
                found["transport_socket"] = json!({
                    "name": "envoy.transport_sockets.tls",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                        "sni": "localhost",
                        "common_tls_context": {
                            "alpn_protocols": ["h2"],
                            "tls_certificates": [pair(certificate, key)],
                            "validation_context": { "trusted_ca": { "filename": ca } },
                        },
                    },
                });
                found
            }
        };
        if let Some(second) = self.second_service {
            let endpoints = &mut found["load_assignment"]["endpoints"][0]["lb_endpoints"];
            endpoints
                .as_array_mut()
                .expect("a list")
                .push(json!({ "endpoint": { "address": tcp(second) } }));
        }
        if self.service_health_checks {
            found["health_checks"] = json!([{
                "timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s",
                "unhealthy_threshold": 1, "healthy_threshold": 1, "grpc_health_check": {},
            }]);
        }
        found
    }
}

fn tcp(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

fn pair(certificate: &Path, key: &Path) -> Value {
    json!({ "certificate_chain": { "filename": certificate }, "private_key": { "filename": key } })
}

fn http2() -> Value {
    json!({ "explicit_http_config": { "http2_protocol_options": {} } })
}

fn cluster(name: &str, address: &Value, protocol: &Value) -> Value {
    let mut options = protocol.clone();
    options["@type"] = json!("type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions");
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options },
    })
}

/// A running Envoy.
pub(crate) struct Envoy {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    // Ends with the value, and shows its log if a test fails.
    _process: Process,
    folder: TempDir,
}

impl Envoy {
    /// One `GET` of its admin interface.
    pub(crate) async fn admin(&self, path: &str) -> Reply {
        http1::try_get(self.admin, path)
            .await
            .expect("the admin interface answers")
    }

    /// A counter or gauge; 0 if there is none.
    pub(crate) async fn stat(&self, name: &str) -> u64 {
        let reply = self.admin(&format!("/stats?filter=^{name}$")).await;
        let text = reply.text();
        text.rsplit_once(": ")
            .map_or(0, |(_, value)| value.trim().parse().expect("a number"))
    }

    /// The lines of the access log, once there are this many.
    pub(crate) async fn access_log(&self, lines: usize) -> Vec<Value> {
        let path = self.folder.path().join("access.log");
        wait::until("Envoy writes its access log", || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let found: Vec<Value> = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect();
            async move { (found.len() >= lines).then_some(found) }
        })
        .await
    }
}
