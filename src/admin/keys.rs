//! The keys of an authorization server.

use crate::admin::{Action, AdminError, Administration, Administrator, Resource};
use crate::oauth::keyring::KeyRecord;

impl Administration {
    /// The keys, with their states.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn server_keys(
        &self,
        who: &Administrator,
        server: &str,
    ) -> Result<Vec<(KeyRecord, serde_json::Value)>, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        Ok(self.issuer().key_records(server))
    }

    /// NEXT signs from now on (Okta's `keyRotate`). Also where the file declares the server: keys are no part of it.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn rotate_keys(
        &self,
        who: &Administrator,
        server: &str,
        dry_run: bool,
    ) -> Result<Vec<(KeyRecord, serde_json::Value)>, AdminError> {
        self.server(who, Action::Manage, Resource::AuthorizationServers, server)?;
        if !dry_run {
            self.issuer()
                .rotate_keys(server, Some(who.client().as_str()))
                .await
                .map_err(|error| AdminError::Internal(Box::new(error)))?;
        }
        Ok(self.issuer().key_records(server))
    }
}
