//! The keys of an authorization server. They are no part of what is declared: those of the file's servers are looked
//! after here too.

use crate::admin::{Action, AdminError, Administration, Administrator, Resource};
use crate::issuer::{KeyFailure, KeyView};

impl Administration {
    /// The keys, the one that signs first.
    ///
    /// # Errors
    /// [`AdminError`].
    pub fn server_keys(&self, who: &Administrator, server: &str) -> Result<Vec<KeyView>, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        Ok(self.issuer().key_records(server))
    }

    /// NEXT signs from now on (Okta's `keyRotate`).
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn rotate_keys(
        &self,
        who: &Administrator,
        server: &str,
        dry_run: bool,
    ) -> Result<Vec<KeyView>, AdminError> {
        self.server(who, Action::Manage, Resource::AuthorizationServers, server)?;
        if !dry_run {
            let rotated = self.issuer().rotate_keys(server, Some(who.client().as_str())).await;
            rotated.map_err(|error| of_keys(server, error))?;
        }
        Ok(self.issuer().key_records(server))
    }

    /// Every token of this key is dead when it returns: it is, or may be, in the hands of somebody else.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_key(
        &self,
        who: &Administrator,
        server: &str,
        kid: &str,
        dry_run: bool,
    ) -> Result<Vec<KeyView>, AdminError> {
        self.server(who, Action::Manage, Resource::AuthorizationServers, server)?;
        if !dry_run {
            let revoked = self.issuer().revoke_key(server, kid, Some(who.client().as_str())).await;
            revoked.map_err(|error| of_keys(server, error))?;
        }
        Ok(self.issuer().key_records(server))
    }
}

fn of_keys(server: &str, error: KeyFailure) -> AdminError {
    match error {
        KeyFailure::UnknownKey { kid, .. } => AdminError::not_found("JsonWebKey", &kid),
        KeyFailure::UnknownServer(_) => AdminError::State(format!(
            "the authorization server `{server}` is inactive: activate it first"
        )),
        error => AdminError::Internal(Box::new(error)),
    }
}
