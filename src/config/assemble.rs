//! The whole file into settings: each part by its own module, then what needs several of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::context::Context;
use super::decode::{Stated, shown};
use super::file::external::{ExternalServerFile, ManagedServerFile, ServerFile};
use super::file::{File, GateFile};
use super::{GateLimits, Report, Settings, reach};
use crate::issuer::settings::IssuerSettings;
use crate::model::id::AuthorizationServerId;
use crate::model::location::{Located, Location};
use crate::model::scope::Scope;
use crate::net::settings::{Listeners, TlsSettings};
use crate::oauth::declared::{AuthenticationMethod, AuthorizationServerDeclaration, IssuerDeclaration};
use crate::policy::declared::{Declaration, Origin, ServerDeclaration};
use crate::store::settings::StoreSettings;
use crate::trust::settings::{ManagedServerSettings, TrustedServerSettings};
use crate::{oauth, policy};

/// Where the store is if the file does not say.
const STORE: &str = "data/scopegate.db";

/// The least memory for verdicts that is worth having, in bytes.
const VERDICT_CACHE_BYTES_MIN: usize = 64 << 10;

/// The check requests that the gate reads must hold at least the headers that Envoy passes on.
const MESSAGE_BYTES: std::ops::RangeInclusive<usize> = (64 << 10)..=(64 << 20);

/// The longest that a thread may look for checks that do not come.
const BUSY_POLL_MAX: Duration = Duration::from_millis(100);

/// The shortest silence of the store that means something.
const STALE_AFTER_MIN: Duration = Duration::from_secs(1);

/// The authorization servers in the forms that the rooms need.
#[derive(Default)]
struct Servers {
    trust: Vec<TrustedServerSettings>,
    managed: Vec<ManagedServerSettings>,
    policy: Vec<ServerDeclaration>,
    /// The names of those that the issuer's own check does not see.
    others: Vec<Located<AuthorizationServerId>>,
    /// The first that is managed.
    managed_at: Option<Location>,
}

impl Context<'_> {
    /// The settings, where the rules compile. They are of use only if no finding is an error.
    pub(crate) fn assemble(&mut self, file: File) -> Option<Settings> {
        let public_url = file
            .public_url
            .as_ref()
            .and_then(|Stated(url)| url.as_ref())
            .map(|url| self.public_url(url));
        let clients = file.clients.unwrap_or_default();
        let (clients_at, users_at) = (
            clients.first().map(|client| client.at),
            file.users.as_ref().and_then(|users| users.first()).map(|user| user.at),
        );
        let mut declared = IssuerDeclaration {
            clients: clients.iter().filter_map(|client| self.client(client)).collect(),
            groups: file.groups.unwrap_or_default(),
            users: self.users(file.users),
            servers: Vec::new(),
        };
        let servers = self.servers(
            file.authorization_servers.unwrap_or_default(),
            public_url.as_ref(),
            &mut declared,
        );
        let issues_tokens = !declared.servers.is_empty() || servers.managed_at.is_some();
        let local_at = declared.servers.first().map(|server| server.id.location);
        if let (Some(minted_at), None) = (local_at.or(servers.managed_at), &file.public_url) {
            let message = "tokens are minted here, and there is no `public_url`";
            let hint = "say `public_url: https://…`: the `iss` of tokens starts with it";
            self.error("missing_public_url", minted_at, message, hint);
        }
        let store = match &file.store {
            Some(store) => Some(self.store(store)),
            None => issues_tokens.then(|| StoreSettings::Sqlite(PathBuf::from(STORE))),
        };
        let sealing_key = file.store.as_ref().and_then(|store| self.sealing_key(store));
        let listeners = self.listeners(
            file.listeners.as_ref(),
            issues_tokens,
            public_url.as_ref(),
            store.as_ref(),
        );
        let gate = self.gate(file.gate.as_ref());
        let telemetry = self.telemetry(file.telemetry.as_ref());
        let policy = Declaration {
            apis: file
                .apis
                .unwrap_or_default()
                .into_iter()
                .filter_map(|api| self.api(api))
                .collect(),
            servers: servers.policy,
        };
        let (compiled, findings) = policy::compile::compile(&policy);
        self.problems.extend(findings);
        if issues_tokens {
            let (_, findings) = oauth::access::compile(&declared);
            self.problems.extend(findings);
            self.problems.extend(reach::findings(&policy, &declared));
            self.client_authority(&declared, &listeners);
        } else {
            self.unused("clients", clients_at);
            self.unused("users", users_at);
        }
        let issuer = public_url
            .clone()
            .filter(|_| issues_tokens)
            .map(|public_url| IssuerSettings {
                public_url,
                declared,
                dev: self.dev,
            });
        let registration = file.registration.as_ref().map(|file| self.registration(file));
        Some(Settings {
            dev: self.dev,
            public_url,
            listeners,
            store,
            sealing_key,
            gate,
            policy,
            compiled: Arc::new(compiled?),
            trust: servers.trust,
            managed: servers.managed,
            issuer,
            registration,
            telemetry,
            source_path: PathBuf::new(),
            version: String::new(),
            report: Report::new(&PathBuf::new(), Arc::from(""), Vec::new()),
        })
    }

    /// A client of `tls_client_auth` needs somebody who vouches for its certificate.
    fn client_authority(&mut self, declared: &IssuerDeclaration, listeners: &Listeners) {
        let tls = listeners.issuer.as_ref().map(|listener| &listener.tls);
        if matches!(
            tls,
            Some(TlsSettings::Files {
                client_ca_file: Some(_),
                ..
            })
        ) {
            return;
        }
        for client in &declared.clients {
            let method = client.options.authentication.as_ref();
            if let Some(method) = method.filter(|method| method.value == AuthenticationMethod::TlsClientAuth) {
                let message = format!(
                    "nobody vouches for the certificate of the client `{}`: it could never authenticate",
                    client.id.value
                );
                let hint =
                    "say `client_ca_file: …` and `client_certificate: optional` in `tls` of the `issuer` listener";
                self.error("missing_client_ca", method.location, message, hint);
            }
        }
    }

    fn servers(
        &mut self,
        files: Vec<ServerFile>,
        public_url: Option<&Url>,
        declared: &mut IssuerDeclaration,
    ) -> Servers {
        let mut servers = Servers::default();
        for file in files {
            match file {
                ServerFile::Local(file) => {
                    let Some(server) = self.local_server(&file) else {
                        continue;
                    };
                    if let Some(public_url) = public_url {
                        servers.trust.extend(self.trust_local(&file, &server, public_url));
                    }
                    servers.policy.push(seen_by_policy(&server, declared));
                    declared.servers.push(server);
                }
                ServerFile::External(file) => self.external_server(&file, &mut servers),
                ServerFile::Managed(file) => self.managed_server(&file, public_url, &mut servers),
            }
        }
        // two local ones of one name are found by the issuer's own check
        let mut ids: Vec<Located<AuthorizationServerId>> =
            declared.servers.iter().map(|server| server.id.clone()).collect();
        for id in &servers.others {
            if let Some(first) = ids.iter().find(|first| first.value == id.value) {
                let message = format!(
                    "the authorization server `{}` stands twice: here and in line {}",
                    id.value, first.location.line
                );
                self.error(
                    "duplicate_authorization_server",
                    id.location,
                    message,
                    "give each its own name",
                );
            }
            ids.push(id.clone());
        }
        servers
    }

    fn external_server(&mut self, file: &ExternalServerFile, servers: &mut Servers) {
        servers.trust.extend(self.trust_external(file));
        // the name stays known even if something else about the server is wrong
        let Ok(id) = AuthorizationServerId::parse(&file.id.value) else {
            return;
        };
        let mut scopes = Vec::new();
        for name in file.scopes.iter().flatten() {
            match Scope::parse(&name.value) {
                Ok(scope) => scopes.push(scope),
                Err(error) => {
                    let message = format!("`{}` is no scope: {error}", shown(&name.value));
                    self.error(
                        "invalid_scope_name",
                        name.location,
                        message,
                        "write each scope as an item of its own",
                    );
                }
            }
        }
        servers.others.push(Located::new(id.clone(), file.id.location));
        servers.policy.push(ServerDeclaration {
            id,
            scopes,
            origin: Origin::Elsewhere,
            clients: Vec::new(),
        });
    }

    fn managed_server(&mut self, file: &ManagedServerFile, public_url: Option<&Url>, servers: &mut Servers) {
        servers.managed_at = servers.managed_at.or(Some(file.id.location));
        servers.managed.extend(self.trust_managed(file, public_url));
        let Ok(id) = AuthorizationServerId::parse(&file.id.value) else {
            return;
        };
        servers.others.push(Located::new(id.clone(), file.id.location));
        servers.policy.push(ServerDeclaration {
            id,
            scopes: Vec::new(),
            origin: Origin::Management,
            clients: Vec::new(),
        });
    }

    fn gate(&mut self, file: Option<&GateFile>) -> GateLimits {
        let default = GateLimits::default();
        let Some(file) = file else { return default };
        if let Some(size) = &file.verdict_cache
            && size.value.0 < VERDICT_CACHE_BYTES_MIN
        {
            let message = format!("a verdict cache of {} bytes holds next to nothing", size.value.0);
            self.error(
                "verdict_cache_too_small",
                size.location,
                message,
                "say at least `64KiB`",
            );
        }
        if let Some(size) = &file.message_max
            && !MESSAGE_BYTES.contains(&size.value.0)
        {
            let message = format!("check requests of at most {} bytes", size.value.0);
            self.error("invalid_size", size.location, message, "say from `64KiB` to `64MiB`");
        }
        if let Some(timeout) = &file.timeout
            && timeout.value.0.is_zero()
        {
            self.error(
                "invalid_period",
                timeout.location,
                "no check ends in no time",
                "say for example `150ms`",
            );
        }
        if let Some(period) = &file.busy_poll
            && period.value.0 > BUSY_POLL_MAX
        {
            self.error(
                "invalid_period",
                period.location,
                "a thread that never sleeps takes a processor for itself",
                "say at most `100ms`, or `1ms`",
            );
        }
        let stale_after = file.revocations.as_ref().map(|revocations| &revocations.stale_after);
        if let Some(stale_after) = stale_after.filter(|stale_after| stale_after.value.0 < STALE_AFTER_MIN) {
            self.error(
                "invalid_period",
                stale_after.location,
                "the store is looked at ten times a second, and may take a moment to answer",
                "say at least `1s`",
            );
        }
        GateLimits {
            revocations_stale_after: stale_after.map(|stale_after| stale_after.value.0),
            verdict_cache_bytes: file
                .verdict_cache
                .as_ref()
                .map_or(default.verdict_cache_bytes, |size| size.value.0),
            checks_max: file.checks_max.map_or(default.checks_max, |count| count.0 as usize),
            check_timeout: file
                .timeout
                .as_ref()
                .map_or(default.check_timeout, |timeout| timeout.value.0),
            busy_poll: file
                .busy_poll
                .as_ref()
                .map_or(default.busy_poll, |period| period.value.0),
            message_bytes_max: file
                .message_max
                .as_ref()
                .map_or(default.message_bytes_max, |size| size.value.0),
        }
    }
}

/// A local server as the gate's rules know it. What is no scope is reported by the issuer's check.
fn seen_by_policy(server: &AuthorizationServerDeclaration, declared: &IssuerDeclaration) -> ServerDeclaration {
    ServerDeclaration {
        id: server.id.value.clone(),
        scopes: server
            .scopes
            .iter()
            .filter_map(|scope| Scope::parse(&scope.name.value).ok())
            .collect(),
        origin: Origin::File,
        clients: declared
            .clients
            .iter()
            .map(|client| client.id.value.as_str().to_owned())
            .collect(),
    }
}
