//! Clients: Okta's OIDC apps.
//!
//! - A secret is shown once, in the answer to the request that made it.
//! - Only an inactive client is deleted; what it was given is dead from its deactivation on, for good.
//! - A client of the file is seen like any other, and changed in the file.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::admin::deed::Deed;
use crate::admin::desk::{Desk, TRIES};
use crate::admin::{AdminError, Listed, clients_of_file};
use crate::audit::AuditKind;
use crate::issuer::change::Change;
use crate::issuer::directory::{ManagedClient, new_id};
use crate::model::id::ClientId;
use crate::model::secret::Secret;
use crate::oauth::document::{
    AssignmentDocument, ClientDocument, Document as _, IdPrefix, RegistrationDocument, Status,
};
use crate::oauth::registration::{self, Mistake, Reading, Speaker, uses_secret};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// What it is called in answers and in the audit log.
pub const KIND: &str = "AppInstance";

/// What metadata is of, where it has mistakes.
const KIND_OF_METADATA: &str = "application";

/// The fewest characters of a secret that an administrator chose: its digest alone must not give it away.
const CHOSEN_SECRET_CHARS_MIN: usize = 32;

/// The most characters of a secret (okta-model section 6).
const SECRET_CHARS_MAX: usize = 100;

/// A client as it is seen: administered, or the file's.
pub type App = Listed<ManagedClient>;

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
        &self.object.id
    }

    /// What it says.
    pub fn document(&self) -> &ClientDocument {
        &self.object.document
    }
}

impl Desk<'_> {
    /// Every client, by identifier.
    pub fn apps(&self) -> Vec<App> {
        let mut apps = self.administration.all_clients();
        apps.sort_by(|one, other| one.id().cmp(other.id()));
        apps
    }

    /// A client.
    ///
    /// # Errors
    /// [`AdminError::NotFound`].
    pub fn app(&self, id: &str) -> Result<App, AdminError> {
        if let Some(object) = self.issuer().directory().client(id) {
            return Ok(App {
                object: Arc::clone(object),
                in_file: false,
            });
        }
        let of_file = clients_of_file(&self.issuer().declared());
        let found = of_file.into_iter().find(|app| app.id() == id);
        found.ok_or_else(|| AdminError::not_found(KIND, id))
    }

    /// A client that may be changed. SECURITY: who changes a client that holds a role could act in that role; only who
    /// may give roles does.
    pub(super) fn managed_app(&self, id: &str) -> Result<Arc<ManagedClient>, AdminError> {
        let app = self.app(id)?;
        if app.in_file {
            return Err(AdminError::read_only(KIND, id));
        }
        let directory = self.issuer().directory();
        let client = ClientId::parse(id).map_err(|_| AdminError::not_found(KIND, id))?;
        let holds_a_role = directory.roles().any(|role| role.document.assignee.is_client(&client));
        if holds_a_role && !self.may_give_roles {
            return Err(AdminError::Role);
        }
        Ok(app.object)
    }

    /// Makes a client.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_app(&self, new: NewApp) -> Result<Made, AdminError> {
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
            let (kept, text) = self.issuer().new_client_secret(&id, new.secret, readable);
            document.secrets.push(kept);
            text
        });
        let at = self.now();
        let object = StoredObject::new(ObjectKind::Client, &id, document.body(), at);
        let change = Change {
            changes: vec![ObjectChange::Insert(object)],
            audit: vec![self.event(Deed::new(AuditKind::ClientCreated, KIND, &id).after(told(&document)))],
            ..Change::default()
        };
        let Some(applied) = self.change("application", change).await? else {
            return Err(AdminError::invalid("application", "client_id: another client has it"));
        };
        let client = applied.directory.client(&id).cloned().ok_or(AdminError::Contended)?;
        Ok(Made { client, secret })
    }

    /// Replaces what metadata says of a client. A client that begins to use a secret gets one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn replace_app(
        &self,
        id: &str,
        metadata: &Map<String, Value>,
        speaker: Speaker,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<Made, AdminError> {
        self.replace(id, metadata, speaker, None, is_expected).await
    }

    async fn replace(
        &self,
        id: &str,
        metadata: &Map<String, Value>,
        speaker: Speaker,
        token_sha256: Option<&str>,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<Made, AdminError> {
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
                        let (kept, text) = self.issuer().new_client_secret(id, None, readable);
                        next.secrets.push(kept);
                        shown = Some(text);
                    }
                } else {
                    next.secrets.clear();
                }
                if let (Some(sha256), Some(registration)) = (token_sha256, &mut next.registration) {
                    sha256.clone_into(&mut registration.token_sha256);
                }
                *document = next;
                Ok(())
            })
            .await?;
        Ok(Made { client, secret: shown })
    }

    /// The same for a client that registered itself, which gets another registration access token with it.
    pub(super) async fn replace_registered(
        &self,
        id: &str,
        metadata: &Map<String, Value>,
        token_sha256: &str,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<Made, AdminError> {
        self.replace(id, metadata, Speaker::Itself, Some(token_sha256), is_expected)
            .await
    }

    /// A client that was used lives on.
    pub(super) async fn extend_registration(&self, id: &str, expires_at: i64) -> Result<(), AdminError> {
        let edit = |document: &mut ClientDocument| {
            if let Some(registration) = &mut document.registration {
                registration.expires_at = Some(expires_at);
            }
            Ok(())
        };
        self.edit_app(id, AuditKind::ClientUpdated, |_| true, edit)
            .await
            .map(|_| ())
    }

    /// Activates or deactivates a client. To be what it is already changes nothing.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_app_status(&self, id: &str, status: Status) -> Result<Arc<ManagedClient>, AdminError> {
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
    /// [`AdminError`].
    pub async fn delete_app(
        &self,
        id: &str,
        even_if_active: bool,
        is_expected: impl Fn(&ManagedClient) -> bool,
    ) -> Result<(), AdminError> {
        for _ in 0..TRIES {
            let client = self.managed_app(id)?;
            if !is_expected(&client) {
                return Err(AdminError::Precondition);
            }
            if client.document.status.is_active() && !even_if_active {
                let text = "the application is active: deactivate it first";
                return Err(AdminError::State(text.to_owned()));
            }
            let change = Change {
                changes: vec![ObjectChange::Remove {
                    kind: ObjectKind::Client,
                    id: id.to_owned(),
                    from: client.revision,
                }],
                audit: vec![self.event(Deed::new(AuditKind::ClientDeleted, KIND, id).before(told(&client.document)))],
                ..Change::default()
            };
            if self.change("application", change).await?.is_some() {
                return Ok(());
            }
        }
        Err(AdminError::Contended)
    }

    /// Edits a client: read, changed, compared and stored, again if somebody else was first.
    pub(super) async fn edit_app(
        &self,
        id: &str,
        kind: AuditKind,
        is_expected: impl Fn(&ManagedClient) -> bool,
        mut edit: impl FnMut(&mut ClientDocument) -> Result<(), AdminError>,
    ) -> Result<Arc<ManagedClient>, AdminError> {
        for _ in 0..TRIES {
            let client = self.managed_app(id)?;
            if !is_expected(&client) {
                return Err(AdminError::Precondition);
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
                audit: vec![
                    self.event(
                        Deed::new(kind, KIND, id)
                            .before(told(&client.document))
                            .after(told(&document)),
                    ),
                ],
                ..Change::default()
            };
            if let Some(applied) = self.change("application", change).await? {
                return applied.directory.client(id).cloned().ok_or(AdminError::Contended);
            }
        }
        Err(AdminError::Contended)
    }

    fn read_metadata(
        &self,
        metadata: &Map<String, Value>,
        speaker: Speaker,
        previous: Option<&ClientDocument>,
    ) -> Result<ClientDocument, AdminError> {
        let reading = Reading {
            speaker,
            previous,
            now: self.now(),
            key_id: || new_id(IdPrefix::Key),
        };
        registration::read(metadata, &reading).map_err(|mistakes| mistakes_of(&mistakes))
    }
}

/// Mistakes of a client's metadata.
pub(super) fn mistakes_of(mistakes: &[Mistake]) -> AdminError {
    AdminError::Invalid {
        object: KIND_OF_METADATA,
        causes: mistakes.iter().map(ToString::to_string).collect(),
    }
}

/// Whether its secrets must be readable.
pub(super) fn needs_text(document: &ClientDocument) -> bool {
    document.authentication.as_deref() == Some("client_secret_jwt")
}

/// A secret that somebody chose is as long as one that cannot be guessed from its digest.
pub(super) fn check_chosen(secret: &Secret<String>, document: &ClientDocument) -> Result<(), AdminError> {
    let text = secret.expose_secret();
    if !uses_secret(document) {
        return Err(AdminError::invalid(
            "application",
            "client_secret: a client that authenticates otherwise has none",
        ));
    }
    let length = text.chars().count();
    let printable = text.bytes().all(|byte| (0x20..=0x7e).contains(&byte));
    if !(CHOSEN_SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&length) || !printable {
        return Err(AdminError::invalid(
            "application",
            format!(
                "client_secret: {CHOSEN_SECRET_CHARS_MIN} to {SECRET_CHARS_MAX} printable ASCII characters are expected; leave it out to get one"
            ),
        ));
    }
    Ok(())
}

/// okta-model section 6.
fn checked_client_id(chosen: String) -> Result<String, AdminError> {
    let grammar = |byte: u8| byte.is_ascii_alphanumeric() || b"$-_.+!*'(),".contains(&byte);
    if (6..=100).contains(&chosen.len()) && chosen.bytes().all(grammar) && chosen != "ALL_CLIENTS" {
        return Ok(chosen);
    }
    let cause = "client_id: 6 to 100 letters, digits and `$-_.+!*'(),` are expected; leave it out to get one";
    Err(AdminError::invalid("application", cause))
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
