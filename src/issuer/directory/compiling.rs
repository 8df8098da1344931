//! Compiles the objects that have changed, against the names of all.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;

use crate::issuer::directory::{Directory, ManagedClient, ManagedServer};
use crate::model::finding::{Finding, Severity};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::Location;
use crate::model::secret::Secret;
use crate::oauth::access::{Parts, Server};
use crate::oauth::client::Client;
use crate::oauth::declared::IssuerDeclaration;
use crate::oauth::document::{EVERYONE, InvalidDocument, SecretDocument};
use crate::store::seal::SealingKey;

/// What objects are compiled with: the file's names, and the key that opens sealed secrets.
#[derive(Clone, Copy)]
pub(in crate::issuer) struct Surroundings<'a> {
    pub(in crate::issuer) declared: &'a IssuerDeclaration,
    pub(in crate::issuer) sealing: &'a SealingKey,
}

/// Which objects have to be compiled.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Everything: a name went away that anything may refer to.
    pub(super) all: bool,
    pub(super) servers: BTreeSet<String>,
    pub(super) clients: BTreeSet<String>,
}

/// The context that a client's secret is sealed under.
pub(in crate::issuer) fn secret_context(client: &str, secret: &str) -> String {
    format!("client secret {client} {secret}")
}

impl Directory {
    /// Compiles what was touched and what was never compiled.
    pub(super) fn compile(&mut self, touched: &Touched, surroundings: Surroundings<'_>) {
        let declared = surroundings.declared;
        let client_ids: BTreeSet<String> = self.clients.keys().cloned().collect();
        let group_ids: BTreeSet<String> = self.groups.keys().cloned().collect();
        let of_file = declared.clients.iter().map(|client| client.id.value.as_str());
        let clients: BTreeSet<&str> = client_ids.iter().map(String::as_str).chain(of_file).collect();
        let file_groups = declared.groups.iter().map(|group| group.value.as_str());
        let groups: BTreeSet<&str> = group_ids.iter().map(String::as_str).chain(file_groups).collect();
        let everyone = groups.iter().copied().chain([EVERYONE]);
        let mut parts = Parts::new(clients.iter().copied(), everyone);

        let file_servers: BTreeSet<&str> = declared.servers.iter().map(|server| server.id.value.as_str()).collect();
        let file_clients: BTreeSet<&str> = declared.clients.iter().map(|client| client.id.value.as_str()).collect();
        for (id, server) in &mut self.servers {
            if touched.all || touched.servers.contains(id) || server.compiled.is_none() {
                let (compiled, mut findings) = compile_server(&mut parts, id, server, &clients);
                findings.extend(
                    file_servers
                        .contains(id.as_str())
                        .then(|| clash("authorization server", id)),
                );
                let sound = !findings.iter().any(is_error);
                let server = Arc::make_mut(server);
                server.compiled = compiled.filter(|_| sound);
                server.findings = findings;
            }
        }
        for (id, client) in &mut self.clients {
            if touched.all || touched.clients.contains(id) || client.compiled.is_none() {
                let (compiled, mut findings) = compile_client(&mut parts, id, client, surroundings.sealing);
                findings.extend(file_clients.contains(id.as_str()).then(|| clash("client", id)));
                let sound = !findings.iter().any(is_error);
                let client = Arc::make_mut(client);
                client.compiled = compiled.filter(|_| sound);
                client.findings = findings;
            }
        }
    }
}

fn is_error(finding: &Finding) -> bool {
    finding.severity == Severity::Error
}

fn compile_server(
    parts: &mut Parts<'_>,
    id: &str,
    server: &ManagedServer,
    clients: &BTreeSet<&str>,
) -> (Option<Arc<Server>>, Vec<Finding>) {
    let declared = AuthorizationServerId::parse(id)
        .map_err(|error| InvalidDocument(error.to_string()))
        .and_then(|id| server.document.declaration(&id, &|client| clients.contains(client)));
    match declared {
        Ok(declared) => parts.server(&declared),
        Err(error) => (None, vec![unreadable(&error)]),
    }
}

fn compile_client(
    parts: &mut Parts<'_>,
    id: &str,
    client: &ManagedClient,
    sealing: &SealingKey,
) -> (Option<Arc<Client>>, Vec<Finding>) {
    let open = |secret: &SecretDocument| {
        let sealed = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(secret.sealed.as_deref()?)
            .ok()?;
        let opened = sealing.open(&secret_context(id, &secret.id), &sealed).ok()?;
        let text = str::from_utf8(opened.expose_secret()).ok()?;
        Some(Secret::new(text.to_owned()))
    };
    let declared = ClientId::parse(id)
        .map_err(|error| InvalidDocument(error.to_string()))
        .and_then(|id| client.document.declaration(&id, &open));
    match declared {
        Ok(declared) => parts.client(&declared),
        Err(error) => (None, vec![unreadable(&error)]),
    }
}

fn unreadable(error: &InvalidDocument) -> Finding {
    Finding::error("invalid_document", Location::default(), error.to_string())
}

/// The file's names are the file's.
fn clash(what: &str, id: &str) -> Finding {
    let message = format!("the {what} `{id}` is declared in the configuration file");
    Finding::error("declared_in_file", Location::default(), message).hint("choose another identifier")
}
