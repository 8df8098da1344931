//! Who has refresh tokens at an authorization server, and their end.
//!
//! What Okta calls a refresh token here is a grant: it keeps its identifier through every rotation, and its end is the
//! end of the access tokens that came of it.

use std::collections::BTreeSet;

use serde_json::json;

use crate::admin::{Action, AdminError, Administration, Administrator, Deed, Resource};
use crate::audit::AuditKind;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, UserId};
use crate::oauth::refresh::GrantRecord;
use crate::store::grants::GrantSelector;

/// How many grants are read at a time.
const PAGE: u32 = 200;

/// How many grants are looked through for the clients that have some.
const LOOKED_THROUGH_MAX: usize = 20_000;

impl Administration {
    /// The clients that have refresh tokens at a server, by identifier.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn clients_with_tokens(&self, who: &Administrator, server: &str) -> Result<Vec<ClientId>, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        let which = selector(server, None)?;
        let (mut found, mut after, mut seen) = (BTreeSet::new(), None, 0);
        loop {
            let store = &self.issuer().services().store.store;
            let page = store.grants(&which, after.as_ref(), PAGE).await?;
            seen += page.len();
            let Some(last) = page.last() else { break };
            after = Some(last.id.clone());
            found.extend(page.into_iter().map(|grant| grant.client));
            if seen > LOOKED_THROUGH_MAX {
                break;
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The refresh tokens of a client at a server after this one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn tokens(
        &self,
        who: &Administrator,
        server: &str,
        client: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<GrantRecord>, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        let after = after.and_then(|id| GrantId::parse(id).ok());
        let which = selector(server, Some(client))?;
        let store = &self.issuer().services().store.store;
        Ok(store.grants(&which, after.as_ref(), limit).await?)
    }

    /// One refresh token.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn token(
        &self,
        who: &Administrator,
        server: &str,
        client: &str,
        id: &str,
    ) -> Result<GrantRecord, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        self.live_token(server, client, id).await
    }

    /// Ends one refresh token, with its access tokens.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_token(
        &self,
        who: &Administrator,
        server: &str,
        client: &str,
        id: &str,
        dry_run: bool,
    ) -> Result<(), AdminError> {
        self.server(who, Action::Manage, Resource::AuthorizationServers, server)?;
        let grant = self.live_token(server, client, id).await?;
        if dry_run {
            return Ok(());
        }
        let was = json!({ "status": "ACTIVE", "user": grant.user.as_ref().map(UserId::as_str) });
        let deed = Deed::new(AuditKind::GrantRevoked, "OAuth2RefreshToken", id).before(was);
        let deed = deed.of_client(grant.client);
        self.end(who, server, deed, &GrantSelector::One(grant.id)).await
    }

    /// Ends every refresh token of a client at a server.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_tokens(
        &self,
        who: &Administrator,
        server: &str,
        client: &str,
        dry_run: bool,
    ) -> Result<(), AdminError> {
        self.server(who, Action::Manage, Resource::AuthorizationServers, server)?;
        if dry_run {
            return Ok(());
        }
        let deed = Deed::new(AuditKind::GrantRevoked, "OAuth2Client", client);
        self.end(who, server, deed, &selector(server, Some(client))?).await
    }

    async fn live_token(&self, server: &str, client: &str, id: &str) -> Result<GrantRecord, AdminError> {
        let unknown = || AdminError::not_found("OAuth2RefreshToken", id);
        let grant_id = GrantId::parse(id).map_err(|_| unknown())?;
        let grant = self.issuer().services().store.store.grant(&grant_id).await?;
        let now = self.now();
        let is_meant = |grant: &GrantRecord| {
            grant.server.as_str() == server
                && grant.client.as_str() == client
                && grant.revoked_at.is_none()
                && grant.expires_at > now
        };
        grant.filter(is_meant).ok_or_else(unknown)
    }

    async fn end(
        &self,
        who: &Administrator,
        server: &str,
        deed: Deed,
        which: &GrantSelector,
    ) -> Result<(), AdminError> {
        let deed = deed.after(json!({ "status": "REVOKED" }));
        let deed = deed.at_server(AuthorizationServerId::parse(server).ok());
        let event = deed.event(who.client().as_str(), self.now());
        self.issuer().end_grants(which, &event).await?;
        Ok(())
    }
}

fn selector(server: &str, client: Option<&str>) -> Result<GrantSelector, AdminError> {
    let server =
        AuthorizationServerId::parse(server).map_err(|_| AdminError::not_found("AuthorizationServer", server))?;
    let unknown = |client: &str| AdminError::not_found("OAuth2Client", client);
    let client = client
        .map(|client| ClientId::parse(client).map_err(|_| unknown(client)))
        .transpose()?;
    Ok(GrantSelector::Where {
        server: Some(server),
        client,
        user: None,
    })
}
