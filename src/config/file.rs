//! The shape of the configuration file: what may be written, with the meaning of every key.
//!
//! Nothing outside `config` sees these types: their neighbours turn them into each room's own
//! settings. The comments here are the descriptions in the JSON Schema that `scopegate schema`
//! prints. Paths of files that are read start at the folder of the configuration file; what is
//! written (the store) starts where the process runs.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::decode::{Decode, Problems, Stated, shapes, words};
use super::scalar::{Address, Count, FilePath, Period, Ratio, Size, UrlText};
use super::yaml::{Kind, Node};
use crate::model::location::Located;
use crate::telemetry::settings::MaskedField;

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod external;
pub(crate) mod route;

use access::{ClientFile, UserFile};
use api::ApiFile;
use external::ServerFile;

shapes! {
    /// The configuration of Scopegate: the gate, the issuer, or both in one process.
    File {
        /// Relaxes what is safe on loopback only: a local CA is made on first start, users may stand in the file.
        /// Every listener must then be on loopback. Default: false.
        dev: Option<bool>,
        /// The URL that clients see. Authorization server X lives at `{public_url}/oauth2/X`. Plain `http` in dev only.
        public_url: Option<Stated<Located<UrlText>>>,
        /// Where the issuer keeps its state: `sqlite://path/to/file.db` or `postgres://user@host/db`.
        store: Option<StoreFile>,
        /// Where the process listens. Default: `ext_authz` on 127.0.0.1:9191, and with local authorization servers
        /// `issuer` on 127.0.0.1:8443.
        listeners: Option<Stated<ListenersFile>>,
        /// The bounds of the gate.
        gate: Option<GateFile>,
        /// Traces and the decision log. Metrics and probes are on the `telemetry` listener.
        telemetry: Option<TelemetryFile>,
        /// The names of the groups that users may be in.
        groups: Option<Vec<Located<String>>>,
        /// Users for demonstrations, with `dev: true` only; elsewhere users live in the store.
        users: Option<Vec<UserFile>>,
        /// The client apps of the local authorization servers.
        clients: Option<Vec<ClientFile>>,
        /// Clients that register themselves (RFC 7591). Default: none may, but those that an administrator registers.
        registration: Option<RegistrationFile>,
        /// The authorization servers: local ones mint tokens here; those with an `issuer` are external and only verified;
        /// those with `managed: true` mint here, and are made over the management API.
        authorization_servers: Option<Vec<ServerFile>>,
        /// The APIs: groups of endpoints offered together, with what each route needs.
        apis: Option<Vec<ApiFile>>,
    }

    /// Which clients may register themselves, at `/oauth2/v1/clients` and at `/v1/clients` of a server.
    RegistrationFile {
        /// Whether anybody may, without an initial access token from an administrator. Default: false.
        open: Option<bool>,
        /// The grant types that they may use. Default: `authorization_code` and `refresh_token`.
        grants: Option<Vec<Located<String>>>,
        /// How they may authenticate. Default: `none`, `client_secret_basic`, `client_secret_post`, `private_key_jwt`.
        authentication: Option<Vec<Located<String>>>,
        /// How many of them there may be. Default: 1000.
        clients_max: Option<Count>,
        /// One that has been used for no token for so long is deleted. Default: 90d.
        unused_for: Option<Located<Period>>,
        /// A public client that registers the same software and redirect URIs again within this time gets the same identifier.
        /// Default: 1h.
        same_within: Option<Located<Period>>,
    }

    /// Where the process listens.
    ListenersFile {
        /// Where Envoy asks (`envoy.service.auth.v3.Authorization/Check` over gRPC). Default port: 9191.
        ext_authz: Option<ExtAuthzListenerFile>,
        /// Where clients get tokens, over HTTPS. Default port: 8443.
        issuer: Option<ListenerFile>,
        /// Where operators administer, over HTTPS: the management API, and the tokens for it. Not opened if not said.
        admin: Option<ListenerFile>,
        /// Where `/metrics`, `/livez` and `/readyz` are read. Default port: 9464.
        telemetry: Option<ListenerFile>,
    }

    /// The listener that Envoy asks.
    ExtAuthzListenerFile {
        /// `127.0.0.1:9191`, `[::1]:9191`, or `unix:/run/scopegate/authz.sock`. Default: 127.0.0.1:9191.
        address: Option<Located<Address>>,
        /// The certificate that it shows. Default: none.
        tls: Option<Stated<TlsFile>>,
        /// Whether it tells clients what can be asked here: gRPC server reflection, `grpc.reflection.v1` and `v1alpha`, which
        /// `buf curl` and `grpcurl` ask where they are given no schema. Envoy has no use for it. Default: false.
        reflection: Option<bool>,
    }

    /// One listener.
    ListenerFile {
        /// `127.0.0.1:9191`, `[::1]:9191`, or `unix:/run/scopegate/authz.sock`. Default: loopback with the listener's port.
        address: Option<Located<Address>>,
        /// The certificate that it shows. Default: none, or with `dev: true` one of the local CA where HTTPS is spoken.
        tls: Option<Stated<TlsFile>>,
    }

    /// How a listener speaks TLS. The files are read again when they change.
    TlsFile {
        /// The certificate chain, PEM.
        certificate_file: FilePath,
        /// The private key, PEM.
        key_file: FilePath,
        /// Clients must show a certificate that one of these signed (PEM): mutual TLS. Default: none is asked for; the issuer's
        /// listener asks for one if a client authenticates by it.
        client_ca_file: Option<FilePath>,
        /// Whether each connection has to show one. Optional is for the issuer's listener: clients of `tls_client_auth` show theirs,
        /// and others are served too. Default: required.
        client_certificate: Option<Located<ClientCertificate>>,
    }

    /// The bounds of the gate.
    GateFile {
        /// The memory of remembered verdicts. Default: 64MiB.
        verdict_cache: Option<Located<Size>>,
        /// How many checks may be under way at once; more are answered with an explicit 503. Default: 10000.
        checks_max: Option<Count>,
        /// How long one check may take, fetching keys included. Keep it below Envoy's own `timeout` (200 ms if unset).
        /// Default: 150ms.
        timeout: Option<Located<Period>>,
        /// The largest check request that is read. Default: 4MiB.
        message_max: Option<Located<Size>>,
        /// For how long a thread of the gate that has just answered looks for the next check instead of sleeping, up to 100ms. It
        /// takes a processor for that long and spares the check the time to wake the thread. Default: 0ms, not at all.
        busy_poll: Option<Located<Period>>,
        /// How the gate hears of revocations.
        revocations: Option<RevocationsFile>,
    }

    /// How the gate hears of revocations: from the issuer of its own process, or from the `store` of one elsewhere, which a
    /// gate that runs alone (`--only gate`) follows.
    RevocationsFile {
        /// For how long the gate relies on what it has last heard while the store is away; from 1s. Beyond that, tokens of our
        /// own authorization servers are denied with 503. Default: 5m for a gate that runs alone; no bound beside the issuer,
        /// where nothing is revoked while the store is away.
        stale_after: Located<Period>,
    }

    /// What is seen of the process.
    TelemetryFile {
        /// Traces by OTLP over gRPC. Default: none. The `OTEL_*` variables win over the file.
        otlp: Option<OtlpFile>,
        /// The decision log. Default: none.
        decision_log: Option<DecisionLogFile>,
    }

    /// Where traces go.
    OtlpFile {
        /// The collector, for example `http://127.0.0.1:4317`.
        endpoint: Located<UrlText>,
        /// The part of checks that is traced where the caller's trace does not say, from 0 to 1. Default: 0.1.
        sample: Option<Ratio>,
    }

    /// Which decisions are logged, one JSON object a line.
    DecisionLogFile {
        /// `stdout`, `none`, or the path of a file. Default: stdout.
        to: Option<String>,
        /// The part of allows that is logged, from 0 to 1. Default: 0.
        allows: Option<Ratio>,
        /// The part of denials that is logged, from 0 to 1. Default: 1.
        denials: Option<Ratio>,
        /// Fields whose values are replaced by a keyed digest. Default: none.
        mask: Option<Vec<MaskedField>>,
    }

    /// PostgreSQL with a password and a sealing key, or SQLite in the long form.
    StoreMapping {
        /// `sqlite://path/to/file.db` or `postgres://user@host/db`, without a password. A PostgreSQL server on another
        /// machine must show a certificate for its name; `?sslrootcert=FILE` says by whom, `?sslmode=…` lets it off.
        url: Located<StoreUrl>,
        /// The file that holds the password, for PostgreSQL.
        password_file: Option<Located<FilePath>>,
        /// Where the key comes from that seals the private keys in the store. PostgreSQL needs one, the same on every
        /// node. Default with SQLite: the file `scopegate.key` beside the database.
        sealing_key: Option<SealingKeyFile>,
    }

    /// Where the sealing key comes from: exactly one of the three. It is 32 bytes in base64, as
    /// `openssl rand -base64 32` makes them.
    SealingKeyFile {
        /// This file. With `dev: true` it is made for a new database.
        file: Option<Located<FilePath>>,
        /// This variable of the environment.
        env: Option<Located<String>>,
        /// What this program writes to its output within 30 seconds: the program and its arguments, without a shell.
        command: Option<Located<Vec<String>>>,
    }
}

words! {
    ClientCertificate as "ClientCertificate" {
        "required" => Self::Required, "Who shows none is not served.";
        "optional" => Self::Optional, "Who shows none is served too.";
    }
    MaskedField as "MaskedField" {
        "subject" => Self::Subject, "The token's subject.";
        "client_id" => Self::ClientId, "The token's client.";
        "path" => Self::Path, "The request's path.";
    }
}

/// Whether a connection has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientCertificate {
    /// It has.
    Required,
    /// It may.
    Optional,
}

/// Where the store is: a URL, or a URL with the file of its password.
#[derive(Debug)]
pub(crate) struct StoreFile(pub(crate) StoreMapping);

impl Decode for StoreFile {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Kind::Mapping(_) = node.kind {
            return StoreMapping::decode(node, problems).map(Self);
        }
        Some(Self(StoreMapping {
            at: node.location,
            url: Located::decode(node, problems)?,
            password_file: None,
            sealing_key: None,
        }))
    }
}

impl JsonSchema for StoreFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Store".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [generator.subschema_for::<StoreUrl>(), generator.subschema_for::<StoreMapping>()]
        })
    }
}

/// The URL of a store.
#[derive(Debug)]
pub(crate) enum StoreUrl {
    /// The path of the database.
    Sqlite(String),
    /// The URL, which holds no password.
    Postgres(String),
}

impl Decode for StoreUrl {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        use crate::model::finding::Finding;
        const FORMS: &str = "say `sqlite://data/scopegate.db` or `postgres://user@host/database`";
        let Some(super::yaml::Scalar::Text(text)) = node.scalar() else {
            problems.wrong_shape(node, "the URL of a store");
            return None;
        };
        if let Some(path) = text.strip_prefix("sqlite://") {
            if !path.is_empty() && !path.contains(['?', '#', '\0']) {
                return Some(Self::Sqlite(path.to_owned()));
            }
            let finding = Finding::error("invalid_store", node.location, "the URL names no file");
            problems.push(finding.hint("say `sqlite://data/scopegate.db`; it takes no options"));
            return None;
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return match url::Url::parse(text) {
                Ok(url) if url.password().is_some() => {
                    // SECURITY: the URL is not shown, its password is a secret
                    let finding = Finding::error("password_in_url", node.location, "the store's URL holds a password");
                    problems
                        .push(finding.hint("say `store: { url: postgres://user@host/database, password_file: … }`"));
                    None
                }
                Ok(url) if url.has_host() => Some(Self::Postgres(text.to_owned())),
                _ => {
                    problems
                        .push(Finding::error("invalid_store", node.location, "this is no URL of a store").hint(FORMS));
                    None
                }
            };
        }
        problems.push(Finding::error("invalid_store", node.location, "this is no URL of a store").hint(FORMS));
        None
    }
}

impl JsonSchema for StoreUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StoreUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(sqlite|postgres|postgresql)://" })
    }
}
