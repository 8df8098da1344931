//! Clients: Okta's OIDC apps.
//!
//! - A secret is shown once, in the answer to the request that made it.
//! - Only an inactive client is deleted; what it was given is dead from its deactivation on, for good.
//! - A client of the file is seen like any other, and changed in the file.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::desk::{Desk, TRIES, Told};
use crate::admin::refusal::Refusal;
use crate::audit::AuditKind;
use crate::issuer::change::Change;
use crate::issuer::directory::{ManagedClient, new_id};
use crate::model::id::ClientId;
use crate::model::secret::Secret;
use crate::oauth::declared::{AuthenticationMethod, ClientDeclaration, ClientKind, KeysDeclaration};
use crate::oauth::document::{
    AssignmentDocument, ClientDocument, Document as _, IdPrefix, RegistrationDocument, RotationDocument, Status,
};
use crate::oauth::registration::{self, Reading, Speaker, uses_secret};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// What it is called in answers and in the audit log.
pub const KIND: &str = "AppInstance";

/// The fewest characters of a secret that an administrator chose: its digest alone must not give it away.
const CHOSEN_SECRET_CHARS_MIN: usize = 32;

/// The most characters of a secret (okta-model section 6).
const SECRET_CHARS_MAX: usize = 100;

/// A client as it is seen: administered, or the file's.
#[derive(Debug, Clone)]
pub enum App {
    /// Administered.
    Managed(Arc<ManagedClient>),
    /// The file's: read-only.
    Declared(ClientId, Box<ClientDocument>),
}

/// A client to be made.
#[derive(Debug, Default)]
pub struct NewApp {
    /// Its metadata (RFC 7591 section 2).
    pub metadata: Map<String, Value>,
    /// Its identifier, if it is chosen.
    pub client_id: Option<String>,
    /// Its secret, if it is chosen.
    pub secret: Option<Secret<String>>,
    /// It is made inactive.
    pub inactive: bool,
    /// How it registered itself, if it did.
    pub registration: Option<RegistrationDocument>,
}

/// What was made, with what is shown only now.
#[derive(Debug)]
pub struct Made {
    /// The client.
    pub client: Arc<ManagedClient>,
    /// Its secret.
    pub secret: Option<Secret<String>>,
}

impl App {
    /// Its identifier.
    pub fn id(&self) -> &str {
        match self {
            Self::Managed(client) => &client.id,
            Self::Declared(id, _) => id.as_str(),
        }
    }

    /// What it says.
    pub fn document(&self) -> &ClientDocument {
        match self {
            Self::Managed(client) => &client.document,
            Self::Declared(_, document) => document,
        }
    }
}

impl Desk<'_> {
    /// Every client, by identifier.
    pub fn apps(&self) -> Vec<App> {
        let directory = self.issuer.directory();
        let declared = self.issuer.declared();
        let of_file = declared
            .clients
            .iter()
            .map(|client| App::Declared(client.id.value.clone(), Box::new(of_declaration(client))));
        let mut apps: Vec<App> = directory.clients().cloned().map(App::Managed).chain(of_file).collect();
        apps.sort_by(|one, other| one.id().cmp(other.id()));
        apps
    }

    /// A client.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub fn app(&self, id: &str) -> Result<App, Refusal> {
        if let Some(client) = self.issuer.directory().client(id) {
            return Ok(App::Managed(Arc::clone(client)));
        }
        let declared = self.issuer.declared();
        let found = declared.clients.iter().find(|client| client.id.value.as_str() == id);
        let found = found.ok_or_else(|| Refusal::not_found(KIND, id))?;
        Ok(App::Declared(found.id.value.clone(), Box::new(of_declaration(found))))
    }

    /// A client that may be changed.
    pub(super) fn managed_app(&self, id: &str) -> Result<Arc<ManagedClient>, Refusal> {
        match self.app(id)? {
            App::Managed(client) => Ok(client),
            App::Declared(..) => Err(Refusal::ReadOnly {
                kind: KIND,
                id: id.to_owned(),
            }),
        }
    }

    /// Makes a client.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn create_app(&self, new: NewApp) -> Result<Made, Refusal> {
        let speaker = if new.registration.is_some() {
            Speaker::Itself
        } else {
            Speaker::Administrator
        };
        let mut document = self.read_metadata(&new.metadata, speaker, None)?;
        document.registration = new.registration;
        if new.inactive {
            document.status = Status::Inactive;
        }
        let id = match new.client_id {
            Some(chosen) => checked_client_id(chosen)?,
            None => new_id(IdPrefix::Client),
        };
        if let Some(chosen) = &new.secret {
            check_chosen(chosen, &document)?;
        }
        let secret = uses_secret(&document).then(|| {
            let readable = needs_text(&document);
            let (kept, text) = self.issuer.new_client_secret(&id, new.secret, readable);
            document.secrets.push(kept);
            text
        });
        let at = self.now();
        let object = StoredObject {
            kind: ObjectKind::Client,
            id: id.clone(),
            revision: 1,
            body: document.body(),
            created_at: at,
            updated_at: at,
        };
        let change = Change {
            changes: vec![ObjectChange::Insert(object)],
            audit: vec![self.event(Told {
                kind: AuditKind::ClientCreated,
                target: KIND,
                id: &id,
                before: Value::Null,
                after: told(&document),
            })],
            ..Change::default()
        };
        let Some(applied) = self.change("application", change).await? else {
            return Err(Refusal::invalid("application", "client_id: another client has it"));
        };
        let client = applied.directory.client(&id).cloned().ok_or(Refusal::Overtaken)?;
        Ok(Made { client, secret })
    }

    /// Replaces what metadata says of a client. A client that begins to use a secret gets one.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn replace_app(
        &self,
        id: &str,
        metadata: &Map<String, Value>,
        speaker: Speaker,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<Made, Refusal> {
        let mut shown = None;
        let client = self
            .edit_app(id, AuditKind::ClientUpdated, is_expected, |document| {
                shown = None;
                let mut next = self.read_metadata(metadata, speaker, Some(document))?;
                // A secret that is kept as a digest cannot be used where its text is needed.
                let readable = needs_text(&next);
                let serves = |secret: &crate::oauth::document::SecretDocument| !readable || secret.sealed.is_some();
                if uses_secret(&next) {
                    next.secrets.retain(serves);
                    if next.secrets.is_empty() {
                        let (kept, text) = self.issuer.new_client_secret(id, None, readable);
                        next.secrets.push(kept);
                        shown = Some(text);
                    }
                } else {
                    next.secrets.clear();
                }
                *document = next;
                Ok(())
            })
            .await?;
        Ok(Made { client, secret: shown })
    }

    /// Activates or deactivates a client. To be what it is already changes nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn set_app_status(&self, id: &str, status: Status) -> Result<Arc<ManagedClient>, Refusal> {
        let kind = if status.is_active() {
            AuditKind::ClientActivated
        } else {
            AuditKind::ClientDeactivated
        };
        let edit = |document: &mut ClientDocument| {
            document.status = status;
            Ok(())
        };
        self.edit_app(id, kind, |_| true, edit).await
    }

    /// Deletes a client that is inactive. `even_if_active` deactivates it in the same step (RFC 7592 section 2.3).
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn delete_app(
        &self,
        id: &str,
        even_if_active: bool,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let client = self.managed_app(id)?;
            if !is_expected(&client) {
                return Err(Refusal::Precondition);
            }
            if client.document.status.is_active() && !even_if_active {
                let text = "the application is active: deactivate it first";
                return Err(Refusal::State(text.to_owned()));
            }
            let change = Change {
                changes: vec![ObjectChange::Remove {
                    kind: ObjectKind::Client,
                    id: id.to_owned(),
                    from: client.revision,
                }],
                audit: vec![self.event(Told {
                    kind: AuditKind::ClientDeleted,
                    target: KIND,
                    id,
                    before: told(&client.document),
                    after: Value::Null,
                })],
                ..Change::default()
            };
            if self.change("application", change).await?.is_some() {
                return Ok(());
            }
        }
        Err(Refusal::Overtaken)
    }

    /// Edits a client: read, changed, compared and stored, again if somebody else was first.
    pub(super) async fn edit_app(
        &self,
        id: &str,
        kind: AuditKind,
        is_expected: impl Fn(&ManagedClient) -> bool,
        mut edit: impl FnMut(&mut ClientDocument) -> Result<(), Refusal>,
    ) -> Result<Arc<ManagedClient>, Refusal> {
        for _ in 0..TRIES {
            let client = self.managed_app(id)?;
            if !is_expected(&client) {
                return Err(Refusal::Precondition);
            }
            let mut document = client.document.clone();
            edit(&mut document)?;
            if document == client.document {
                return Ok(client);
            }
            let change = Change {
                changes: vec![ObjectChange::Replace {
                    kind: ObjectKind::Client,
                    id: id.to_owned(),
                    from: client.revision,
                    body: document.body(),
                    at: self.now(),
                }],
                audit: vec![self.event(Told {
                    kind,
                    target: KIND,
                    id,
                    before: told(&client.document),
                    after: told(&document),
                })],
                ..Change::default()
            };
            if let Some(applied) = self.change("application", change).await? {
                return applied.directory.client(id).cloned().ok_or(Refusal::Overtaken);
            }
        }
        Err(Refusal::Overtaken)
    }

    fn read_metadata(
        &self,
        metadata: &Map<String, Value>,
        speaker: Speaker,
        previous: Option<&ClientDocument>,
    ) -> Result<ClientDocument, Refusal> {
        let reading = Reading {
            speaker,
            previous,
            now: self.now(),
            key_id: || new_id(IdPrefix::Key),
        };
        registration::read(metadata, &reading).map_err(|mistakes| Refusal::metadata(&mistakes))
    }
}

/// Whether its secrets must be readable.
pub(super) fn needs_text(document: &ClientDocument) -> bool {
    document.authentication.as_deref() == Some("client_secret_jwt")
}

/// A secret that somebody chose is as long as one that cannot be guessed from its digest.
pub(super) fn check_chosen(secret: &Secret<String>, document: &ClientDocument) -> Result<(), Refusal> {
    let text = secret.expose_secret();
    if !uses_secret(document) {
        return Err(Refusal::invalid(
            "application",
            "client_secret: a client that authenticates otherwise has none",
        ));
    }
    let length = text.chars().count();
    let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !(CHOSEN_SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&length) || !printable {
        return Err(Refusal::invalid(
            "application",
            format!(
                "client_secret: {CHOSEN_SECRET_CHARS_MIN} to {SECRET_CHARS_MAX} printable ASCII characters are expected; leave it out to get one"
            ),
        ));
    }
    Ok(())
}

/// okta-model section 6.
fn checked_client_id(chosen: String) -> Result<String, Refusal> {
    let grammar = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'(),".contains(&byte);
    if (6..=100).contains(&chosen.len()) && chosen.bytes().all(grammar) && chosen != "ALL_CLIENTS" {
        return Ok(chosen);
    }
    let cause = "client_id: 6 to 100 letters, digits and `$-_.+!*'(),` are expected; leave it out to get one";
    Err(Refusal::invalid("application", cause))
}

/// A client for the audit log: what the API shows of it, and who may use it.
pub(super) fn told(document: &ClientDocument) -> Value {
    let mut shown = registration::show(document);
    let credentials = |id: &str, status: Status| json!({"id": id, "status": status});
    shown.insert("status".to_owned(), json!(document.status));
    let secrets: Vec<Value> = document
        .secrets
        .iter()
        .map(|secret| credentials(&secret.id, secret.status))
        .collect();
    shown.insert("secrets".to_owned(), Value::Array(secrets));
    let ids = |assigned: &[AssignmentDocument]| json!(assigned.iter().map(|one| one.id.as_str()).collect::<Vec<_>>());
    shown.insert("users".to_owned(), ids(&document.users));
    shown.insert("groups".to_owned(), ids(&document.groups));
    Value::Object(shown)
}

/// A client of the file, as if it were administered.
fn of_declaration(declared: &ClientDeclaration) -> ClientDocument {
    let options = &declared.options;
    let texts = |list: &[crate::model::location::Located<String>]| list.iter().map(|item| item.value.clone()).collect();
    let assigned = |list: &[crate::model::location::Located<String>]| {
        let assignment = |item: &crate::model::location::Located<String>| AssignmentDocument {
            id: item.value.clone(),
            created_at: crate::model::time::Timestamp::from_unix_seconds(0),
        };
        list.iter().map(assignment).collect()
    };
    let grants = declared.grants.iter().map(|name| {
        let known = crate::oauth::grant::GrantType::parse(&name.value);
        known.map_or_else(|| name.value.clone(), |grant| grant.wire_name().to_owned())
    });
    ClientDocument {
        name: options.name.clone().unwrap_or_else(|| declared.id.value.to_string()),
        status: if options.inactive {
            Status::Inactive
        } else {
            Status::Active
        },
        kind: kind_name(declared.kind).to_owned(),
        grants: grants.collect(),
        redirect_uris: texts(&declared.redirect_uris),
        post_logout_redirect_uris: Vec::new(),
        authentication: options
            .authentication
            .as_ref()
            .map(|method| method_name(method.value).to_owned()),
        secrets: Vec::new(),
        keys: Vec::new(),
        jwks_uri: match &options.keys {
            Some(KeysDeclaration::JwksUri(uri)) => Some(uri.value.to_string()),
            Some(KeysDeclaration::Jwks(_)) | None => None,
        },
        tls_subject: None,
        dpop_bound_access_tokens: options.dpop_bound_access_tokens,
        certificate_bound_access_tokens: options.certificate_bound_access_tokens,
        refresh: RotationDocument {
            rotates: options.refresh.rotates,
            grace_seconds: options.refresh.grace.as_secs(),
        },
        audiences: texts(&options.audiences),
        asks_consent: options.asks_consent,
        users: assigned(&declared.assigned_users),
        groups: assigned(&declared.assigned_groups),
        registration: None,
        extra: Map::new(),
    }
}

const fn kind_name(kind: ClientKind) -> &'static str {
    match kind {
        ClientKind::Web => "web",
        ClientKind::Native => "native",
        ClientKind::Browser => "browser",
        ClientKind::Service => "service",
    }
}

const fn method_name(method: AuthenticationMethod) -> &'static str {
    match method {
        AuthenticationMethod::None => "none",
        AuthenticationMethod::ClientSecretBasic => "client_secret_basic",
        AuthenticationMethod::ClientSecretPost => "client_secret_post",
        AuthenticationMethod::ClientSecretJwt => "client_secret_jwt",
        AuthenticationMethod::PrivateKeyJwt => "private_key_jwt",
        AuthenticationMethod::TlsClientAuth => "tls_client_auth",
        AuthenticationMethod::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
    }
}
