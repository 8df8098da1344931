//! The schema of users' profiles.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::admin::AdminError;
use crate::admin::deed::Deed;
use crate::admin::desk::{Desk, TRIES};
use crate::audit::AuditKind;
use crate::issuer::change::Change;
use crate::issuer::directory::USER_SCHEMA;
use crate::oauth::document::Document as _;
use crate::oauth::schema::UserSchema;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};

/// What it is called in answers and in the audit log.
pub const KIND: &str = "UserSchema";

impl Desk<'_> {
    /// Adds, replaces or (`null`) removes custom attributes. Profiles that are there stay as they are: a value that
    /// fits no more is refused when its profile is next changed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn change_user_schema(&self, properties: &Map<String, Value>) -> Result<UserSchema, AdminError> {
        for _ in 0..TRIES {
            let directory = self.issuer().directory();
            let now = directory.schema().map(Arc::clone);
            let before = now.as_ref().map(|schema| schema.document.clone()).unwrap_or_default();
            let mut after = before.clone();
            let refused = |causes| AdminError::Invalid {
                object: "schema",
                causes,
            };
            after.change(properties).map_err(refused)?;
            if after == before {
                return Ok(after);
            }
            let at = self.now();
            let change = match now {
                None => ObjectChange::Insert(StoredObject::new(ObjectKind::UserSchema, USER_SCHEMA, after.body(), at)),
                Some(schema) => ObjectChange::Replace {
                    kind: ObjectKind::UserSchema,
                    id: USER_SCHEMA.to_owned(),
                    from: schema.revision,
                    body: after.body(),
                    at,
                },
            };
            let change = Change {
                changes: vec![change],
                audit: vec![
                    self.event(
                        Deed::new(AuditKind::UserUpdated, KIND, USER_SCHEMA)
                            .before(before.body())
                            .after(after.body()),
                    ),
                ],
                ..Change::default()
            };
            if self.change("schema", change).await?.is_some() {
                return Ok(after);
            }
        }
        Err(AdminError::Contended)
    }
}
