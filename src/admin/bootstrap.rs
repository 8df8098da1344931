//! The first administrator: a client with the role of a super administrator, and its private key, shown once.
//!
//! - No default password exists: until this was done, nobody administers anything (attack F50).
//! - It takes the store itself, which is to say the machine: whoever reads the store's sealing key owns the issuer
//!   anyway. A running server takes the administrator over as it takes over what other nodes change.
//! - It refuses where an administrator of that role is already, unless it is told to make another one: who lost the
//!   key has a way back, and who runs an installation script twice does not leave a second key around.

use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditKind, AuditTarget};
use crate::issuer::directory::new_id;
use crate::jose::alg::Algorithm;
use crate::jose::sign::{SignError, SigningKey};
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::oauth::document::{
    Assignee, ClientDocument, Document as _, IdPrefix, InvalidDocument, Role, RoleBindingDocument,
};
use crate::oauth::registration::{self, Reading, Speaker};
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::store::{Changed, Store, StoreError};

/// Who did it, in the audit log.
const ACTOR: &str = "scopegate admin bootstrap";

/// The identifier of the first administrator's role: two who bootstrap at once cannot both have it.
const FIRST: &str = "irbFirstAdministrator";

/// The first administrator, with what is shown only now.
#[derive(Debug)]
pub struct FirstAdministrator {
    /// Its client.
    pub client_id: String,
    /// Its private key as a JWK.
    pub private_key: Secret<String>,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// There is one.
    #[error(
        "there is an administrator already: the client `{client}`; with `--again` another one is made, and the first one stays"
    )]
    Exists {
        /// Its client.
        client: String,
    },
    /// Somebody else does the same at the same time.
    #[error("somebody else makes an administrator at the same time")]
    Overtaken,
    /// A key could not be made.
    #[error("the key of the administrator: {0}")]
    Key(#[from] SignError),
    /// What was made is not accepted: our fault.
    #[error("the administrator's client is not accepted: {0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A role in the store cannot be read.
    #[error("a role in the store cannot be read: {0}")]
    Unreadable(#[from] InvalidDocument),
}

/// Makes the first administrator, or with `again` another one.
///
/// # Errors
/// [`BootstrapError`]; nothing was changed then.
pub async fn bootstrap(store: &dyn Store, now: Timestamp, again: bool) -> Result<FirstAdministrator, BootstrapError> {
    let mut first_is_free = true;
    for binding in store.objects(ObjectKind::RoleBinding).await? {
        first_is_free &= binding.id != FIRST;
        let document = RoleBindingDocument::read(&binding.body)?;
        let is_super = document.role == Role::SuperAdmin && document.servers.is_none();
        if let (true, false, Assignee::Client(client)) = (is_super, again, document.assignee) {
            return Err(BootstrapError::Exists { client });
        }
    }
    // RSA: what every one of Okta's SDKs signs with.
    let key = SigningKey::generate(Algorithm::Rs256)?;
    let private_key = key.private_jwk()?;
    let document = client(&key.public_jwk(), now)?;
    let client_id = new_id(IdPrefix::Client);
    let role = RoleBindingDocument {
        assignee: Assignee::Client(client_id.clone()),
        role: Role::SuperAdmin,
        servers: None,
    };
    let role_id = if first_is_free {
        FIRST.to_owned()
    } else {
        new_id(IdPrefix::RoleBinding)
    };
    let object = |kind, id: &str, body| ObjectChange::Insert(StoredObject::new(kind, id, body, now));
    let changes = [
        object(ObjectKind::Client, &client_id, document.body()),
        object(ObjectKind::RoleBinding, &role_id, role.body()),
    ];
    let event = |kind, target: &str, id: &str, after: Value| AuditEvent {
        at: now,
        kind,
        server: None,
        client: None,
        error_id: None,
        actor: Some(ACTOR.to_owned()),
        target: Some(AuditTarget {
            kind: target.to_owned(),
            id: id.to_owned(),
        }),
        detail: json!({ "after": after }),
    };
    let audit = [
        event(
            AuditKind::ClientCreated,
            crate::admin::apps::KIND,
            &client_id,
            Value::Object(registration::show(&document)),
        ),
        event(
            AuditKind::RoleGranted,
            crate::admin::apps::KIND,
            &client_id,
            json!({ "role": Role::SuperAdmin.as_str() }),
        ),
    ];
    match store.change_objects(&changes, &[], &audit).await {
        Ok(Changed::Done) => Ok(FirstAdministrator { client_id, private_key }),
        Ok(Changed::Overtaken) | Err(StoreError::Taken(_)) => Err(BootstrapError::Overtaken),
        Err(error) => Err(error.into()),
    }
}

/// A service app that signs its assertions with this key.
fn client(public_jwk: &Value, now: Timestamp) -> Result<ClientDocument, BootstrapError> {
    let metadata = json!({
        "client_name": "First administrator",
        "application_type": "service",
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": { "keys": [public_jwk] },
    });
    let reading = Reading {
        speaker: Speaker::Administrator,
        previous: None,
        now,
        key_id: || new_id(IdPrefix::Key),
    };
    let members = metadata.as_object().cloned().unwrap_or_default();
    registration::read(&members, &reading).map_err(|mistakes| {
        let texts: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        BootstrapError::Refused(texts.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    async fn administrators(store: &MemoryStore) -> usize {
        use crate::store::objects::ObjectStore as _;
        store.objects(ObjectKind::RoleBinding).await.expect("read").len()
    }

    #[tokio::test]
    async fn attack_f50_an_administrator_is_made_once_with_a_key_that_is_kept_nowhere() {
        use crate::store::objects::ObjectStore as _;
        let store = MemoryStore::new();
        assert_eq!(administrators(&store).await, 0);
        let made = bootstrap(&store, NOW, false).await.expect("made");
        let private: Value = serde_json::from_str(made.private_key.expose_secret()).expect("JSON");
        let refused = bootstrap(&store, NOW, false).await;
        assert!(matches!(refused, Err(BootstrapError::Exists { client }) if client == made.client_id));
        assert_eq!(administrators(&store).await, 1);
        for object in store.objects(ObjectKind::Client).await.expect("read") {
            let text = object.body.to_string();
            assert!(!text.contains(private["d"].as_str().expect("text")));
            assert!(
                text.contains(private["n"].as_str().expect("text")),
                "the public half is kept"
            );
        }
        let another = bootstrap(&store, NOW, true).await.expect("made");
        assert_ne!(another.client_id, made.client_id);
        assert_eq!(administrators(&store).await, 2);
    }

    #[tokio::test]
    async fn of_two_who_bootstrap_at_once_one_succeeds() {
        let store = MemoryStore::new();
        let (one, other) = tokio::join!(bootstrap(&store, NOW, false), bootstrap(&store, NOW, false));
        assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|made| **made).count(), 1);
        assert_eq!(administrators(&store).await, 1);
    }
}
