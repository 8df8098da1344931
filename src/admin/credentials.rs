//! Secrets and keys of clients: two of each overlap while one is replaced.
//!
//! A secret is shown once. The last one that works stays until the client authenticates otherwise: a client that
//! could never authenticate again is deactivated, not stripped.

use serde_json::{Map, Value};

use crate::admin::AdminError;
use crate::admin::apps::{check_chosen, needs_text};
use crate::admin::desk::Desk;
use crate::audit::AuditKind;
use crate::issuer::directory::new_id;
use crate::model::secret::Secret;
use crate::oauth::client::SECRETS_MAX;
use crate::oauth::document::{ClientDocument, IdPrefix, KeyDocument, SecretDocument, Status};
use crate::oauth::registration::{self, KEYS_MAX, Reading, Speaker, uses_secret};

/// What a secret is called in answers.
pub const SECRET: &str = "ClientSecret";

/// What a key is called in answers.
pub const KEY: &str = "JsonWebKey";

/// Which credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// A secret.
    Secret,
    /// A key.
    Key,
}

impl Desk<'_> {
    /// Makes a secret. Where there are two already, one has to go first.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_secret(
        &self,
        app: &str,
        chosen: Option<Secret<String>>,
        status: Status,
    ) -> Result<(SecretDocument, Secret<String>), AdminError> {
        let mut made = None;
        let edit = |document: &mut ClientDocument| {
            if !uses_secret(document) {
                let text = "the application does not authenticate by a secret";
                return Err(AdminError::invalid("application", text));
            }
            if let Some(chosen) = &chosen {
                check_chosen(chosen, document)?;
            }
            if document.secrets.len() >= SECRETS_MAX {
                let text = format!("the application has {SECRETS_MAX} secrets: delete one first");
                return Err(AdminError::invalid("application", text));
            }
            let (mut kept, text) = self
                .issuer()
                .new_client_secret(app, chosen.clone(), needs_text(document));
            kept.status = status;
            document.secrets.push(kept.clone());
            made = Some((kept, text));
            Ok(())
        };
        self.edit_app(app, AuditKind::ClientCredentialCreated, |_| true, edit)
            .await?;
        made.ok_or(AdminError::Contended)
    }

    /// Replaces every secret by a new one, at once (`newSecret` of the client management API).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn renew_secret(&self, app: &str) -> Result<Secret<String>, AdminError> {
        let mut made = None;
        let edit = |document: &mut ClientDocument| {
            if !uses_secret(document) {
                let text = "the application does not authenticate by a secret";
                return Err(AdminError::invalid("application", text));
            }
            let (kept, text) = self.issuer().new_client_secret(app, None, needs_text(document));
            document.secrets = vec![kept];
            made = Some(text);
            Ok(())
        };
        self.edit_app(app, AuditKind::ClientCredentialCreated, |_| true, edit)
            .await?;
        made.ok_or(AdminError::Contended)
    }

    /// Adds a public key.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_key(&self, app: &str, jwk: &Map<String, Value>) -> Result<KeyDocument, AdminError> {
        let mut made = None;
        let edit = |document: &mut ClientDocument| {
            if document.jwks_uri.is_some() {
                let text = "the application publishes its keys at its `jwks_uri`: add them there";
                return Err(AdminError::invalid("application", text));
            }
            if document.keys.len() >= KEYS_MAX {
                return Err(AdminError::invalid(
                    "application",
                    format!("there are {KEYS_MAX} keys: delete one first"),
                ));
            }
            let reading = Reading {
                speaker: Speaker::Administrator,
                previous: None,
                now: self.now(),
                key_id: || new_id(IdPrefix::Key),
            };
            let key = registration::read_key(&Value::Object(jwk.clone()), &[], &reading)
                .map_err(|text| AdminError::invalid("key", text))?;
            if document
                .keys
                .iter()
                .any(|known| known.jwk.get("kid") == key.jwk.get("kid"))
            {
                return Err(AdminError::invalid("key", "kid: another key of the application has it"));
            }
            document.keys.push(key.clone());
            made = Some(key);
            Ok(())
        };
        self.edit_app(app, AuditKind::ClientCredentialCreated, |_| true, edit)
            .await?;
        made.ok_or(AdminError::Contended)
    }

    /// Activates or deactivates a credential.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn set_credential_status(
        &self,
        app: &str,
        which: Credential,
        id: &str,
        status: Status,
    ) -> Result<ClientDocument, AdminError> {
        let kind = if status.is_active() {
            AuditKind::ClientCredentialActivated
        } else {
            AuditKind::ClientCredentialDeactivated
        };
        let at = self.now();
        let edit = |document: &mut ClientDocument| {
            let (now, updated_at) = match which {
                Credential::Secret => {
                    let secret = document.secrets.iter_mut().find(|secret| secret.id == id);
                    let secret = secret.ok_or_else(|| AdminError::not_found(SECRET, id))?;
                    (&mut secret.status, &mut secret.updated_at)
                }
                Credential::Key => {
                    let key = document.keys.iter_mut().find(|key| key.id == id);
                    let key = key.ok_or_else(|| AdminError::not_found(KEY, id))?;
                    (&mut key.status, &mut key.updated_at)
                }
            };
            if *now != status {
                *now = status;
                *updated_at = at;
            }
            has_one_left(document, which)
        };
        let client = self.edit_app(app, kind, |_| true, edit).await?;
        Ok(client.document.clone())
    }

    /// Deletes a credential that is inactive.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn delete_credential(&self, app: &str, which: Credential, id: &str) -> Result<(), AdminError> {
        let edit = |document: &mut ClientDocument| {
            let status = match which {
                Credential::Secret => document
                    .secrets
                    .iter()
                    .find(|secret| secret.id == id)
                    .map(|secret| secret.status),
                Credential::Key => document.keys.iter().find(|key| key.id == id).map(|key| key.status),
            };
            let kind = if which == Credential::Secret { SECRET } else { KEY };
            if status.ok_or_else(|| AdminError::not_found(kind, id))?.is_active() {
                return Err(AdminError::State("it is active: deactivate it first".to_owned()));
            }
            document
                .secrets
                .retain(|secret| which != Credential::Secret || secret.id != id);
            document.keys.retain(|key| which != Credential::Key || key.id != id);
            Ok(())
        };
        self.edit_app(app, AuditKind::ClientCredentialDeleted, |_| true, edit)
            .await?;
        Ok(())
    }
}

fn has_one_left(document: &ClientDocument, which: Credential) -> Result<(), AdminError> {
    let needed = match which {
        Credential::Secret => uses_secret(document),
        Credential::Key => document.authentication.as_deref() == Some("private_key_jwt") && document.jwks_uri.is_none(),
    };
    let left = match which {
        Credential::Secret => document.secrets.iter().any(|secret| secret.status.is_active()),
        Credential::Key => document.keys.iter().any(|key| key.status.is_active()),
    };
    if needed && !left {
        let text = "it is the last one that works: add another one first, or deactivate the application";
        return Err(AdminError::State(text.to_owned()));
    }
    Ok(())
}
