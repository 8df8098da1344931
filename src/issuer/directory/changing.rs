//! What a change would make of the directory, and what comes with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::issuer::directory::compiling::{Surroundings, Touched};
use crate::issuer::directory::{Directory, Managed};
use crate::model::finding::{Finding, Severity};
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::location::Location;
use crate::model::time::Timestamp;
use crate::oauth::document::{AssignmentDocument, Document, EVERYONE};
use crate::revocation::{Revocation, up_to_all_clocks};
use crate::store::grants::GrantSelector;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// The directory as a change would make it: compiled, and not in force.
#[derive(Debug)]
pub(in crate::issuer) struct Tentative {
    pub(in crate::issuer) directory: Directory,
    /// What is changed, with what follows from it.
    pub(in crate::issuer) changes: Vec<ObjectChange>,
    /// Servers that were made or changed and work.
    pub(in crate::issuer) servers: Vec<AuthorizationServerId>,
    /// What works no more.
    pub(in crate::issuer) ended: Vec<Principal>,
    /// What works from now on.
    pub(in crate::issuer) begun: Vec<Principal>,
    /// What the compiler says of it, errors aside.
    pub(in crate::issuer) warnings: Vec<Finding>,
}

/// Who issues tokens, or is given them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::issuer) enum Principal {
    Server(AuthorizationServerId),
    Client(ClientId),
}

/// Why a change cannot be.
#[derive(Debug)]
pub(in crate::issuer) enum Refused {
    Overtaken,
    Findings(Vec<Finding>),
}

impl Principal {
    /// All of its tokens are dead that were issued up to now, whatever the clock of the node that issued them.
    pub(in crate::issuer) fn revocation(&self, now: Timestamp) -> Revocation {
        let before = up_to_all_clocks(now);
        match self {
            Self::Server(server) => Revocation::Server {
                server: server.clone(),
                before,
            },
            Self::Client(client) => Revocation::Client {
                client: client.clone(),
                before,
            },
        }
    }

    /// All of its grants.
    pub(in crate::issuer) fn grants(&self) -> GrantSelector {
        let (server, client) = match self {
            Self::Server(server) => (Some(server.clone()), None),
            Self::Client(client) => (None, Some(client.clone())),
        };
        GrantSelector::Where {
            server,
            client,
            user: None,
        }
    }
}

impl Tentative {
    /// Applies a change to a copy. `at` is when.
    pub(in crate::issuer) fn of(
        base: &Directory,
        changes: Vec<ObjectChange>,
        at: Timestamp,
        surroundings: Surroundings<'_>,
    ) -> Result<Self, Refused> {
        let mut changes = changes;
        let following = following(base, &changes, at);
        changes.extend(following);
        let mut directory = base.clone();
        let mut touched = Touched::default();
        for change in &changes {
            apply(&mut directory, change, &mut touched)?;
        }
        directory.compile(&touched, surroundings);
        let mut findings = names(&directory, &touched, surroundings);
        findings.extend(revived(base, &changes));
        for server in directory.servers.values() {
            let was_sound = base.server(&server.id).is_some_and(|before| !before.is_broken());
            let touched = touched.servers.contains(&server.id);
            findings.extend(told("authorization server", server, was_sound, touched));
        }
        for client in directory.clients.values() {
            let was_sound = base.client(&client.id).is_some_and(|before| !before.is_broken());
            let touched = touched.clients.contains(&client.id);
            findings.extend(told("client", client, was_sound, touched));
        }
        let (errors, warnings): (Vec<_>, Vec<_>) = findings
            .into_iter()
            .partition(|finding| finding.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(Refused::Findings(errors));
        }
        let (ended, begun) = lives(base, &directory, &touched);
        Ok(Self {
            servers: touched
                .servers
                .iter()
                .filter_map(|id| directory.servers.get(id)?.compiled.as_ref())
                .map(|server| server.id.clone())
                .collect(),
            warnings,
            directory,
            changes,
            ended,
            begun,
        })
    }

    /// Reads every object anew.
    pub(in crate::issuer) fn read(
        generation: i64,
        objects: &[StoredObject],
        surroundings: Surroundings<'_>,
    ) -> Directory {
        let mut directory = Directory {
            generation,
            ..Directory::default()
        };
        for object in objects {
            if let Err(error) = directory.take(object) {
                tracing::error!(object.kind = object.kind.as_str(), object.id, %error, "an administered object cannot be read and is left out");
            }
        }
        directory.compile_all(surroundings);
        directory
    }
}

impl Directory {
    /// Compiles everything: the file has changed, or everything is new. What is broken is set aside and told.
    pub(in crate::issuer) fn compile_all(&mut self, surroundings: Surroundings<'_>) {
        let touched = Touched {
            all: true,
            ..Touched::default()
        };
        self.compile(&touched, surroundings);
        let servers = self.servers.values().filter(|server| server.is_broken());
        let clients = self.clients.values().filter(|client| client.is_broken());
        let servers = servers.map(|server| (ObjectKind::AuthorizationServer, &server.id, &server.findings));
        let clients = clients.map(|client| (ObjectKind::Client, &client.id, &client.findings));
        for (kind, id, findings) in servers.chain(clients) {
            let error = findings.iter().find(|finding| finding.severity == Severity::Error);
            let error = error.map_or("", |finding| finding.message.as_str());
            tracing::error!(
                object.kind = kind.as_str(),
                object.id = id,
                error,
                "an administered object is broken and set aside"
            );
        }
    }
}

fn apply(directory: &mut Directory, change: &ObjectChange, touched: &mut Touched) -> Result<(), Refused> {
    let (kind, id) = place(change);
    let known = directory.revision(kind, id);
    match change {
        ObjectChange::Insert(object) => {
            if known.is_some() {
                return Err(Refused::Overtaken);
            }
            take(directory, object)?;
        }
        ObjectChange::Replace { from, body, at, .. } => {
            if known != Some(*from) {
                return Err(Refused::Overtaken);
            }
            let created_at = directory.created_at(kind, id).unwrap_or(*at);
            let object = StoredObject {
                kind,
                id: id.to_owned(),
                revision: from + 1,
                body: body.clone(),
                created_at,
                updated_at: *at,
            };
            take(directory, &object)?;
        }
        ObjectChange::Remove { from, .. } => {
            if known != Some(*from) {
                return Err(Refused::Overtaken);
            }
            directory.forget(kind, id);
            // What named it has to be looked at again. Clients are taken out of policies by `following`.
            touched.all |= kind == ObjectKind::Group;
        }
    }
    match kind {
        ObjectKind::AuthorizationServer => drop(touched.servers.insert(id.to_owned())),
        ObjectKind::Client => drop(touched.clients.insert(id.to_owned())),
        ObjectKind::Group | ObjectKind::RoleBinding | ObjectKind::UserSchema | ObjectKind::FileDeclaration => {}
    }
    Ok(())
}

fn take(directory: &mut Directory, object: &StoredObject) -> Result<(), Refused> {
    directory.take(object).map_err(|error| {
        let finding = Finding::error("invalid_document", Location::default(), error.to_string());
        Refused::Findings(vec![finding])
    })
}

fn place(change: &ObjectChange) -> (ObjectKind, &str) {
    match change {
        ObjectChange::Insert(object) => (object.kind, &object.id),
        ObjectChange::Replace { kind, id, .. } | ObjectChange::Remove { kind, id, .. } => (*kind, id),
    }
}

/// What follows from a removal: a client goes out of the policies that name it, its roles go, and a group goes out of
/// the assignments of clients. A group that a rule names is not taken out of it: a rule that names nobody is for
/// anybody, and the compiler refuses the removal instead.
fn following(base: &Directory, changes: &[ObjectChange], at: Timestamp) -> Vec<ObjectChange> {
    let spoken_of: BTreeSet<(ObjectKind, &str)> = changes.iter().map(place).collect();
    let removed = |of: ObjectKind| -> BTreeSet<&str> {
        let removals = changes.iter().filter_map(|change| match change {
            ObjectChange::Remove { kind, id, .. } if *kind == of => Some(id.as_str()),
            _ => None,
        });
        removals.collect()
    };
    let (clients, groups) = (removed(ObjectKind::Client), removed(ObjectKind::Group));
    let mut following = Vec::new();
    if clients.is_empty() && groups.is_empty() {
        return following;
    }
    for server in base.servers.values() {
        let mut document = server.document.clone();
        for listed in document
            .policies
            .iter_mut()
            .filter_map(|policy| policy.clients.as_mut())
        {
            listed.retain(|id| !clients.contains(id.as_str()));
        }
        if document != server.document && !spoken_of.contains(&(ObjectKind::AuthorizationServer, &server.id)) {
            following.push(replace(ObjectKind::AuthorizationServer, server, &document, at));
        }
    }
    for client in base.clients.values() {
        let mut document = client.document.clone();
        let stays = |assignment: &AssignmentDocument| !groups.contains(assignment.id.as_str());
        document.groups.retain(stays);
        if document != client.document && !spoken_of.contains(&(ObjectKind::Client, &client.id)) {
            following.push(replace(ObjectKind::Client, client, &document, at));
        }
    }
    for role in base.roles.values() {
        let of = |id: &&str| ClientId::parse(id).is_ok_and(|id| role.document.assignee.is_client(&id));
        if clients.iter().any(of) && !spoken_of.contains(&(ObjectKind::RoleBinding, &role.id)) {
            following.push(ObjectChange::Remove {
                kind: ObjectKind::RoleBinding,
                id: role.id.clone(),
                from: role.revision,
            });
        }
    }
    following
}

fn replace<D: Document, C>(kind: ObjectKind, object: &Managed<D, C>, document: &D, at: Timestamp) -> ObjectChange {
    ObjectChange::Replace {
        kind,
        id: object.id.clone(),
        from: object.revision,
        body: document.body(),
        at,
    }
}

/// SECURITY: a new client must not come into what an older one of its name was allowed: the file may have had it.
fn revived(base: &Directory, changes: &[ObjectChange]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for change in changes {
        let ObjectChange::Insert(object) = change else { continue };
        if object.kind != ObjectKind::Client {
            continue;
        }
        for server in base.servers.values() {
            let names = |clients: &Vec<String>| clients.contains(&object.id);
            if let Some(policy) =
                (server.document.policies.iter()).find(|policy| policy.clients.as_ref().is_some_and(names))
            {
                let message = format!(
                    "the policy `{}` of the authorization server `{}` still names the client `{}`, which is gone",
                    policy.name, server.id, object.id
                );
                let finding = Finding::error("client_named_already", Location::default(), message);
                findings.push(finding.hint("take it out of the policy first, or choose another identifier"));
            }
        }
    }
    findings
}

/// Names that must be unique, of the objects that are changed.
fn names(directory: &Directory, touched: &Touched, surroundings: Surroundings<'_>) -> Vec<Finding> {
    let declared = surroundings.declared;
    let mut findings = Vec::new();
    let mut taken = |what: &str, name: &str| {
        let message = format!("another {what} is named `{name}`");
        let finding = Finding::error("duplicate_name", Location::default(), message);
        findings.push(finding.hint("choose another name"));
    };
    for server in touched.servers.iter().filter_map(|id| directory.servers.get(id)) {
        let name = &server.document.name;
        let of_file = declared.servers.iter().any(|declared| {
            let named = declared.options.name.as_deref().unwrap_or(declared.id.value.as_str());
            named == name
        });
        let of_another = |other: &Arc<super::ManagedServer>| other.id != server.id && other.document.name == *name;
        if of_file || directory.servers.values().any(of_another) {
            taken("authorization server", name);
        }
    }
    let mut seen: BTreeSet<&str> = declared.groups.iter().map(|group| group.value.as_str()).collect();
    seen.insert(EVERYONE);
    for group in directory.groups.values() {
        // An identifier is compared where a name of the file's is.
        if seen.contains(group.id.as_str()) {
            taken("group", &group.id);
        }
    }
    for group in directory.groups.values() {
        if !seen.insert(&group.document.name) {
            taken("group", &group.document.name);
        }
    }
    findings
}

/// The findings that are this change's: errors of what worked before too, but an object that was broken before
/// blocks nothing.
fn told<D, C>(what: &str, object: &Managed<D, C>, was_sound: bool, touched: bool) -> Vec<Finding> {
    let of_this_change = |finding: &&Finding| touched || (was_sound && finding.severity == Severity::Error);
    let told = |finding: &Finding| {
        let mut finding = finding.clone();
        finding.message = format!("{what} `{}`: {}", object.id, finding.message);
        finding
    };
    object.findings.iter().filter(of_this_change).map(told).collect()
}

/// Who works no more, and who works from now on.
fn lives(before: &Directory, after: &Directory, touched: &Touched) -> (Vec<Principal>, Vec<Principal>) {
    let (mut ended, mut begun) = (Vec::new(), Vec::new());
    let mut sort = |was: bool, is: bool, principal: Option<Principal>| match (was, is, principal) {
        (true, false, Some(principal)) => ended.push(principal),
        (false, true, Some(principal)) => begun.push(principal),
        _ => {}
    };
    for id in &touched.servers {
        let works = |directory: &Directory| {
            directory
                .server(id)
                .is_some_and(|server| server.document.status.is_active())
        };
        let principal = AuthorizationServerId::parse(id).ok().map(Principal::Server);
        sort(works(before), works(after), principal);
    }
    for id in &touched.clients {
        let works = |directory: &Directory| {
            directory
                .client(id)
                .is_some_and(|client| client.document.status.is_active())
        };
        let principal = ClientId::parse(id).ok().map(Principal::Client);
        sort(works(before), works(after), principal);
    }
    (ended, begun)
}
