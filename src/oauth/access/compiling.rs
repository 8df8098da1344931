//! From what is declared to the model, or to every finding at once.
//!
//! A declaration with one error gives no model at all: a dropped element could widen what the rest
//! grants. Yet reading goes on after an error, so that one run shows all of them.

mod clients;
mod credentials;
mod options;
mod policies;
mod servers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::jose::alg::Algorithm;
use crate::model::finding::{Finding, Severity, nearest};
use crate::model::location::{Located, Location};
use crate::oauth::access::{Model, Server};
use crate::oauth::client::Client;
use crate::oauth::declared::{AuthorizationServerDeclaration, ClientDeclaration, IssuerDeclaration};
use crate::oauth::grant::GrantType;

/// The algorithms that an authorization server can sign with.
const SIGNING: [Algorithm; 5] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

/// Compiles a declaration. The model is there only if no finding is an error.
#[must_use]
pub fn compile(declaration: &IssuerDeclaration) -> (Option<Model>, Vec<Finding>) {
    let mut compiler = Compiler::new(declaration);
    let clients = compiler.clients(&declaration.clients);
    let users = compiler.users(&declaration.users);
    let mut servers = BTreeMap::new();
    for declared in &declaration.servers {
        let id = &declared.id.value;
        if let Some(server) = compiler.server(declared)
            && servers.insert(id.clone(), Arc::new(server)).is_some()
        {
            compiler.error(
                "duplicate_authorization_server",
                declared.id.location,
                format!("the authorization server `{id}` is declared twice"),
                "give each its own name",
            );
        }
    }
    let findings = compiler.findings;
    let sound = findings.iter().all(|finding| finding.severity != Severity::Error);
    let model = Model {
        servers,
        clients,
        users,
    };
    (sound.then_some(model), findings)
}

/// Compiles single objects against the names that there are beside them: what a change of one object needs, where
/// to compile everything again would cost more the more there is.
///
/// Logins are not checked here: users live in the store.
pub struct Parts<'d>(Compiler<'d>);

impl<'d> Parts<'d> {
    /// For these names.
    pub fn new(clients: impl IntoIterator<Item = &'d str>, groups: impl IntoIterator<Item = &'d str>) -> Self {
        Self(Compiler {
            clients: clients.into_iter().collect(),
            groups: groups.into_iter().collect(),
            servers: None,
            audiences: None,
            logins: BTreeSet::new(),
            findings: Vec::new(),
        })
    }

    /// One authorization server. It is there only if no finding is an error.
    pub fn server(&mut self, declared: &AuthorizationServerDeclaration) -> (Option<Arc<Server>>, Vec<Finding>) {
        let server = self.0.server(declared);
        let (sound, findings) = self.found();
        (server.filter(|_| sound).map(Arc::new), findings)
    }

    /// One client. It is there only if no finding is an error.
    pub fn client(&mut self, declared: &ClientDeclaration) -> (Option<Arc<Client>>, Vec<Finding>) {
        let client = self.0.clients(std::slice::from_ref(declared)).into_values().next();
        let (sound, findings) = self.found();
        (client.filter(|_| sound), findings)
    }

    fn found(&mut self) -> (bool, Vec<Finding>) {
        let findings = std::mem::take(&mut self.0.findings);
        let sound = findings.iter().all(|finding| finding.severity != Severity::Error);
        (sound, findings)
    }
}

/// The names that references are checked against, and what was found so far.
struct Compiler<'d> {
    clients: BTreeSet<&'d str>,
    /// `None` where one object is compiled alone: a name of no server lets nothing through, so it is harmless.
    servers: Option<BTreeSet<&'d str>>,
    /// What tokens of the servers may be for; `None` likewise.
    audiences: Option<BTreeSet<&'d str>>,
    groups: BTreeSet<&'d str>,
    /// Empty where users live in the store: then a login cannot be checked here.
    logins: BTreeSet<&'d str>,
    findings: Vec<Finding>,
}

impl<'d> Compiler<'d> {
    fn new(declaration: &'d IssuerDeclaration) -> Self {
        let mut compiler = Self {
            clients: declaration
                .clients
                .iter()
                .map(|client| client.id.value.as_str())
                .collect(),
            servers: Some(
                declaration
                    .servers
                    .iter()
                    .map(|server| server.id.value.as_str())
                    .collect(),
            ),
            audiences: Some(
                declaration
                    .servers
                    .iter()
                    .flat_map(|server| std::iter::once(&server.audience).chain(&server.options.resources))
                    .map(|audience| audience.value.as_str())
                    .collect(),
            ),
            groups: BTreeSet::new(),
            logins: declaration.users.iter().map(|user| user.login.value.as_str()).collect(),
            findings: Vec::new(),
        };
        for group in &declaration.groups {
            if !compiler.groups.insert(&group.value) {
                let message = format!("the group `{}` is declared twice", group.value);
                compiler.error("duplicate_group", group.location, message, "leave one of them out");
            }
        }
        compiler
    }

    fn error(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::error(code, at, message).hint(hint));
    }

    fn warn(&mut self, code: &'static str, at: Location, message: impl Into<String>, hint: impl Into<String>) {
        self.findings.push(Finding::warning(code, at, message).hint(hint));
    }

    /// An unknown name, with the known one that may be meant.
    fn unknown<'n>(
        &mut self,
        code: &'static str,
        what: &str,
        name: &Located<String>,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let known: Vec<&str> = known.into_iter().collect();
        let hint = match nearest(&name.value, known.iter().copied()) {
            Some(candidate) => format!("did you mean `{candidate}`?"),
            None if known.is_empty() => format!("no {what} is declared"),
            None => format!("known: {}", quoted(&known)),
        };
        self.error(
            code,
            name.location,
            format!("no {what} is named `{}`", name.value),
            hint,
        );
    }

    fn group(&mut self, name: &Located<String>) {
        if !self.groups.contains(name.value.as_str()) {
            let known: Vec<&str> = self.groups.iter().copied().collect();
            self.unknown("unknown_group", "group", name, known);
        }
    }

    fn login(&mut self, name: &Located<String>) {
        if !self.logins.is_empty() && !self.logins.contains(name.value.as_str()) {
            let known: Vec<&str> = self.logins.iter().copied().collect();
            self.unknown("unknown_user", "user", name, known);
        }
    }

    fn grant(&mut self, name: &Located<String>) -> Option<GrantType> {
        let Some(grant) = GrantType::parse(&name.value) else {
            self.unknown(
                "unknown_grant",
                "grant type",
                name,
                GrantType::ALL.map(GrantType::as_str),
            );
            return None;
        };
        if grant.is_legacy() {
            self.warn(
                "legacy_grant",
                name.location,
                format!("the grant `{}` is legacy (RFC 9700 section 2)", grant.as_str()),
                "use `authorization_code`, with PKCE for public clients",
            );
        }
        Some(grant)
    }
}

fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > 8 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}
