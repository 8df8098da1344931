//! Clients that register themselves (RFC 7591), and keep themselves up to date (RFC 7592).
//!
//! - Nobody does unless the file has `registration`; with it, who shows an initial access token, or with `open: true`
//!   anybody.
//! - **The policy is asked about the client as it would be**, at registration and at every update (attack F19): what
//!   may not be registered cannot be updated into.
//! - A registration access token is kept as its digest, is good for one client, and is replaced by every update.
//!   It is dead with its client, also when an administrator deactivates that one.
//! - A public client that registers the same again gets the same identifier, and no token to change it with: its
//!   identifier is public, and whoever could change its redirect URIs had its users' codes.
//! - What nobody uses is forgotten.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time;
use serde_json::{Map, Value, json};

use crate::admin::apps::{KIND as APP, Made, NewApp};
use crate::admin::deed::Deed;
use crate::admin::desk::Desk;
use crate::admin::{AdminError, Administration};
use crate::audit::AuditKind;
use crate::entropy;
use crate::issuer::directory::ManagedClient;
use crate::issuer::settings::RegistrationPolicy;
use crate::model::digest::Digest;
use crate::model::id::{ClientId, GrantId};
use crate::model::secret::Secret;
use crate::oauth::document::{ClientDocument, RegistrationDocument};
use crate::oauth::grant::GrantType;
use crate::oauth::registration::{self, Mistake, Reading, Speaker};
use crate::store::Changed;
use crate::store::grants::{GrantSelector, OneTime, OneTimeKind, Used};

/// What an initial access token is called in the audit log.
const TOKEN: &str = "InitialAccessToken";

/// The most clients that one initial access token registers.
pub const USES_MAX: u32 = 1000;

/// The longest life of an initial access token.
const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a client is not registered or changed (RFC 7591 section 3.2.2, RFC 6750 section 3.1).
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No token, or none that is good here.
    #[error("the token is not good here")]
    Token {
        /// Whether there was one at all.
        shown: bool,
    },
    /// The metadata has mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Metadata(Vec<Mistake>),
    /// The software statement is no signed statement.
    #[error("the software statement is not a signed JWT")]
    InvalidStatement,
    /// Nobody whose statements are believed signed it.
    #[error("software statements of this issuer are not accepted")]
    UnapprovedStatement,
    /// There are as many clients as there may be.
    #[error("there are as many registered clients as there may be")]
    Full,
    /// Something else.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// A client that was registered or changed, with what is shown only now.
#[derive(Debug)]
pub struct RegisteredClient {
    /// The client.
    pub client: Arc<ManagedClient>,
    /// Its secret, if it got one.
    pub secret: Option<Secret<String>>,
    /// Its registration access token, if it got one.
    pub token: Option<Secret<String>>,
    /// It was there already.
    pub is_same: bool,
}

/// An initial access token, shown once.
#[derive(Debug)]
pub struct InitialAccessToken {
    /// Its name: the digest of its text.
    pub id: String,
    /// Its text.
    pub token: Secret<String>,
    /// When it ends, in seconds since the epoch.
    pub expires_at: i64,
}

/// Who registers.
enum Registrant {
    /// Anybody.
    Anybody,
    /// Who was given this token.
    Holder(OneTime),
}

impl Desk<'_> {
    /// Makes an initial access token (RFC 7591 section 1.2) that is good for so many registrations.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn create_initial_token(&self, uses: u32, lifetime: Duration) -> Result<InitialAccessToken, AdminError> {
        if !(1..=USES_MAX).contains(&uses) || lifetime.is_zero() || lifetime > TOKEN_LIFETIME_MAX {
            let text = format!(
                "uses: 1 to {USES_MAX}; expiresInSeconds: at most {}",
                TOKEN_LIFETIME_MAX.as_secs()
            );
            return Err(AdminError::invalid("registrationToken", text));
        }
        let token = Secret::new(format!("iat_{}", entropy::random_text::<32>()));
        let digest = Digest::of(token.expose_secret().as_bytes());
        let id = digest.to_base64url();
        let expires_at = self.now().plus(lifetime);
        if !self.dry_run {
            let thing = OneTime {
                kind: OneTimeKind::InitialAccessToken,
                digest,
                expires_at,
                payload: json!({ "uses": uses }),
                used_by: None,
            };
            self.store().put_one_time(&thing).await?;
            self.record(AuditKind::RegistrationTokenCreated, &id, json!({ "uses": uses }))
                .await?;
        }
        Ok(InitialAccessToken {
            id,
            token,
            expires_at: expires_at.unix_seconds(),
        })
    }

    /// Ends an initial access token.
    ///
    /// # Errors
    /// [`AdminError::NotFound`] also for one that is used up.
    pub async fn revoke_initial_token(&self, id: &str) -> Result<(), AdminError> {
        let unknown = || AdminError::not_found(TOKEN, id);
        let digest = Digest::from_base64url(id).ok_or_else(unknown)?;
        if self.dry_run {
            return Ok(());
        }
        let by = GrantId::parse("revoked").map_err(|error| AdminError::Internal(Box::new(error)))?;
        let used = self
            .store()
            .use_one_time(OneTimeKind::InitialAccessToken, &digest, &by, None)
            .await?;
        if !matches!(used, Used::First(_)) {
            return Err(unknown());
        }
        self.record(AuditKind::RegistrationTokenRevoked, id, Value::Null).await
    }

    async fn record(&self, kind: AuditKind, id: &str, after: Value) -> Result<(), AdminError> {
        let event = self.event(Deed::new(kind, TOKEN, id).after(after));
        let kept = self
            .store()
            .change_objects(&[], &[], std::slice::from_ref(&event))
            .await?;
        if kept == Changed::Overtaken {
            return Err(AdminError::Contended);
        }
        crate::audit::log(&event);
        Ok(())
    }
}

impl Administration {
    /// Registers a client that speaks for itself. `token` is what it shows, `server` where it registers.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub async fn register(
        &self,
        token: Option<&str>,
        server: Option<&str>,
        metadata: &Map<String, Value>,
    ) -> Result<RegisteredClient, RegistrationError> {
        let policy = self
            .issuer()
            .registration()
            .ok_or(RegistrationError::Token { shown: token.is_some() })?;
        let registrant = self.registrant(&policy, token).await?;
        let document = self.judged(&policy, metadata, None)?;
        let fingerprint = fingerprint(metadata, &document, server);
        if let Some(client) = self.same(&policy, &document, &fingerprint) {
            return Ok(RegisteredClient {
                client,
                secret: None,
                token: None,
                is_same: true,
            });
        }
        if self.registered_count() >= policy.clients_max as usize {
            return Err(RegistrationError::Full);
        }
        let by = match &registrant {
            Registrant::Anybody => None,
            Registrant::Holder(thing) => Some(thing.digest.to_base64url()),
        };
        let token = new_token();
        let registration = RegistrationDocument {
            token_sha256: Digest::of(token.expose_secret().as_bytes()).to_base64url(),
            by: by.clone(),
            server: server.map(str::to_owned),
            fingerprint: Some(fingerprint),
            expires_at: Some(self.now().plus(policy.unused_for).unix_seconds()),
        };
        let new = || NewApp {
            metadata: metadata.clone(),
            registration: Some(registration.clone()),
            ..NewApp::default()
        };
        let actor = by
            .as_deref()
            .map_or_else(|| "anybody".to_owned(), |by| format!("{TOKEN} {by}"));
        // Everything is checked before the token is spent.
        Desk::of_itself(self, &actor)
            .dry(true)
            .create_app(new())
            .await
            .map_err(of_metadata)?;
        self.spend(registrant).await?;
        let Made { client, secret } = Desk::of_itself(self, &actor)
            .create_app(new())
            .await
            .map_err(of_metadata)?;
        Ok(RegisteredClient {
            client,
            secret,
            token: Some(token),
            is_same: false,
        })
    }

    /// The client whose registration access token this is (RFC 7592 section 2.1).
    ///
    /// # Errors
    /// [`RegistrationError::Token`], whether there is such a client or not.
    pub fn registered(
        &self,
        token: Option<&str>,
        server: Option<&str>,
        client: &str,
    ) -> Result<Arc<ManagedClient>, RegistrationError> {
        let refused = || RegistrationError::Token { shown: token.is_some() };
        let digest = Digest::of(token.ok_or_else(refused)?.as_bytes()).to_base64url();
        let found = self.issuer().directory().client(client).cloned();
        let kept = found.as_ref().and_then(|client| client.document.registration.as_ref());
        let (kept_digest, kept_server) =
            kept.map_or(("", None), |kept| (kept.token_sha256.as_str(), kept.server.as_deref()));
        let equal = constant_time::verify_slices_are_equal(digest.as_bytes(), kept_digest.as_bytes()).is_ok();
        let is_good = equal && kept_server == server;
        found
            .filter(|client| is_good && client.document.status.is_active())
            .ok_or_else(refused)
    }

    /// Replaces a client's metadata, and its registration access token.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub async fn update_registered(
        &self,
        token: Option<&str>,
        server: Option<&str>,
        client: &str,
        metadata: &Map<String, Value>,
    ) -> Result<RegisteredClient, RegistrationError> {
        let found = self.registered(token, server, client)?;
        if metadata.get("client_id").and_then(Value::as_str) != Some(client) {
            return Err(mistake("client_id", "it must be the identifier of the client"));
        }
        if let Some(secret) = metadata.get("client_secret") {
            // RFC 7592 section 2.2: it can be told again, never chosen.
            let digest = secret.as_str().map(|text| Digest::of(text.as_bytes()).to_base64url());
            if !found
                .document
                .secrets
                .iter()
                .any(|kept| Some(&kept.sha256) == digest.as_ref())
            {
                return Err(mistake(
                    "client_secret",
                    "it is not the secret of the client, and cannot be chosen",
                ));
            }
        }
        // Who took `registration` out of the file has frozen what is registered.
        let policy = self
            .issuer()
            .registration()
            .ok_or(RegistrationError::Token { shown: true })?;
        self.judged(&policy, metadata, Some(&found.document))?;
        let next = new_token();
        let digest = Digest::of(next.expose_secret().as_bytes()).to_base64url();
        let desk = Desk::of_itself(self, client);
        // The revision that the token was compared with is the one that is replaced.
        let revision = found.revision;
        let is_expected = |now: &ManagedClient| now.revision == revision;
        let made = desk
            .replace_registered(client, metadata, &digest, is_expected)
            .await
            .map_err(of_metadata)?;
        Ok(RegisteredClient {
            client: made.client,
            secret: made.secret,
            token: Some(next),
            is_same: false,
        })
    }

    /// Deletes a client: its tokens are dead when this returns.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub async fn delete_registered(
        &self,
        token: Option<&str>,
        server: Option<&str>,
        client: &str,
    ) -> Result<(), RegistrationError> {
        self.registered(token, server, client)?;
        Ok(Desk::of_itself(self, client).delete_app(client, true, |_| true).await?)
    }

    /// Forgets clients that registered themselves and that nobody has used, and writes down which were used.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn tend_registrations(&self) -> Result<usize, AdminError> {
        let used = self.issuer().take_used();
        let unused_for = self
            .issuer()
            .registration()
            .map_or_else(|| RegistrationPolicy::default().unused_for, |policy| policy.unused_for);
        let now = self.now();
        let desk = Desk::of_itself(self, "registration");
        let mut forgotten = 0;
        let directory = self.issuer().directory();
        for client in directory.clients() {
            let Some(expires_at) = client.document.registration.as_ref().and_then(|kept| kept.expires_at) else {
                continue;
            };
            let Ok(id) = ClientId::parse(&client.id) else { continue };
            let is_over = expires_at <= now.unix_seconds();
            // Written once in a tenth of its life at most.
            let next = now.plus(unused_for).unix_seconds();
            let is_stale = next - expires_at >= i64::try_from(unused_for.as_secs() / 10).unwrap_or(i64::MAX);
            if (used.contains(&id) && is_stale) || (is_over && self.has_grants(&id).await?) {
                desk.extend_registration(&client.id, next).await?;
            } else if is_over && !used.contains(&id) {
                desk.delete_app(&client.id, true, |now| now.revision == client.revision)
                    .await?;
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    async fn has_grants(&self, client: &ClientId) -> Result<bool, AdminError> {
        let which = GrantSelector::Where {
            server: None,
            client: Some(client.clone()),
            user: None,
        };
        let store = &self.issuer().services().store.store;
        Ok(!store.grants(&which, None, 1).await?.is_empty())
    }

    async fn registrant(
        &self,
        policy: &RegistrationPolicy,
        token: Option<&str>,
    ) -> Result<Registrant, RegistrationError> {
        let Some(token) = token else {
            return if policy.open {
                Ok(Registrant::Anybody)
            } else {
                Err(RegistrationError::Token { shown: false })
            };
        };
        let refused = RegistrationError::Token { shown: true };
        let digest = Digest::of(token.as_bytes());
        let store = &self.issuer().services().store.store;
        let found = store
            .one_time(OneTimeKind::InitialAccessToken, &digest)
            .await
            .map_err(AdminError::from)?;
        match found {
            Some(thing) if thing.used_by.is_none() && thing.expires_at > self.now() => Ok(Registrant::Holder(thing)),
            _ => Err(refused),
        }
    }

    /// Counts a use of the token: of two who come at once with one that is good for one, one is late.
    async fn spend(&self, registrant: Registrant) -> Result<(), RegistrationError> {
        let Registrant::Holder(mut thing) = registrant else {
            return Ok(());
        };
        let store = &self.issuer().services().store.store;
        let spent = RegistrationError::Token { shown: true };
        for _ in 0..50 {
            let uses = thing.payload.get("uses").and_then(Value::as_u64).unwrap_or(1);
            if uses <= 1 {
                let by = GrantId::parse("registered").map_err(|error| AdminError::Internal(Box::new(error)))?;
                let spending = store
                    .use_one_time(thing.kind, &thing.digest, &by, None)
                    .await
                    .map_err(AdminError::from)?;
                return if matches!(spending, Used::First(_)) {
                    Ok(())
                } else {
                    Err(spent)
                };
            }
            let left = json!({ "uses": uses - 1 });
            let changed = store
                .change_one_time(thing.kind, &thing.digest, &thing.payload, &left)
                .await
                .map_err(AdminError::from)?;
            if changed == Changed::Done {
                return Ok(());
            }
            let now = store
                .one_time(thing.kind, &thing.digest)
                .await
                .map_err(AdminError::from)?;
            match now {
                Some(next) if next.used_by.is_none() => thing = next,
                _ => return Err(spent),
            }
        }
        Err(RegistrationError::Admin(AdminError::Contended))
    }

    /// The client as it would be, if the policy lets it be so.
    fn judged(
        &self,
        policy: &RegistrationPolicy,
        metadata: &Map<String, Value>,
        previous: Option<&ClientDocument>,
    ) -> Result<ClientDocument, RegistrationError> {
        if let Some(statement) = metadata
            .get("software_statement")
            .filter(|statement| !statement.is_null())
        {
            let text = statement.as_str().unwrap_or_default();
            let is_signed = crate::jose::unverified::Unverified::parse(text).is_ok();
            // Nobody's statements are believed: to ignore one would give the client less than it was promised.
            return Err(if is_signed {
                RegistrationError::UnapprovedStatement
            } else {
                RegistrationError::InvalidStatement
            });
        }
        let reading = Reading {
            speaker: Speaker::Itself,
            previous,
            now: self.now(),
            key_id: String::new,
        };
        let document = registration::read(metadata, &reading).map_err(RegistrationError::Metadata)?;
        let mut mistakes = Vec::new();
        for grant in &document.grants {
            if !GrantType::parse(grant).is_some_and(|grant| policy.grants.contains(&grant)) {
                mistakes.push(Mistake::new(
                    "grant_types",
                    format!("`{grant}` cannot be registered here"),
                ));
            }
        }
        let method = document.authentication.as_deref().unwrap_or("client_secret_basic");
        if !policy.authentication.iter().any(|allowed| allowed == method) {
            mistakes.push(Mistake::new(
                "token_endpoint_auth_method",
                format!("`{method}` cannot be registered here"),
            ));
        }
        if mistakes.is_empty() {
            Ok(document)
        } else {
            Err(RegistrationError::Metadata(mistakes))
        }
    }

    fn registered_count(&self) -> usize {
        let directory = self.issuer().directory();
        directory
            .clients()
            .filter(|client| client.document.registration.is_some())
            .count()
    }

    /// The same public client, registered a moment ago.
    fn same(
        &self,
        policy: &RegistrationPolicy,
        document: &ClientDocument,
        fingerprint: &str,
    ) -> Option<Arc<ManagedClient>> {
        if document.authentication.as_deref() != Some("none") {
            return None;
        }
        let since = self.now().minus(policy.same_within);
        let directory = self.issuer().directory();
        let is_same = |client: &&Arc<ManagedClient>| {
            let kept = client
                .document
                .registration
                .as_ref()
                .and_then(|kept| kept.fingerprint.as_deref());
            kept == Some(fingerprint) && client.created_at > since && client.document.status.is_active()
        };
        directory.clients().find(is_same).cloned()
    }
}

/// What makes two registrations the same: the software, where it comes back to, and what it is.
fn fingerprint(metadata: &Map<String, Value>, document: &ClientDocument, server: Option<&str>) -> String {
    let uris: BTreeSet<&String> = document.redirect_uris.iter().collect();
    let same = json!([
        metadata.get("software_id"),
        metadata.get("software_version"),
        uris,
        document.name,
        document.kind,
        document.grants,
        server,
    ]);
    Digest::of(same.to_string().as_bytes()).to_base64url()
}

fn new_token() -> Secret<String> {
    Secret::new(format!("rat_{}", entropy::random_text::<32>()))
}

fn mistake(field: &str, text: &str) -> RegistrationError {
    RegistrationError::Metadata(vec![Mistake::new(field, text)])
}

/// What the compiler refuses is a mistake of the metadata too.
fn of_metadata(error: AdminError) -> RegistrationError {
    match error {
        AdminError::Invalid { causes, .. } => {
            RegistrationError::Metadata(causes.iter().map(|cause| Mistake::new(APP, cause.as_str())).collect())
        }
        error => RegistrationError::Admin(error),
    }
}
