//! What clients and users hold: their grants, each with its current refresh token.
//!
//! A refresh token is named by its grant: the text of a token is kept nowhere, so nothing shows one.

use serde_json::json;

use crate::admin::AdminError;
use crate::admin::deed::Deed;
use crate::admin::desk::Desk;
use crate::audit::AuditKind;
use crate::model::id::{ClientId, GrantId, UserId};
use crate::oauth::refresh::GrantRecord;
use crate::store::grants::GrantSelector;

/// What it is called in answers and in the audit log.
pub const KIND: &str = "OAuth2Token";

/// Whose grants.
#[derive(Debug, Clone, Copy, Default)]
pub struct Holder<'a> {
    /// Of this client.
    pub client: Option<&'a str>,
    /// Of this user, by identifier or login.
    pub user: Option<&'a str>,
}

impl Desk<'_> {
    /// Live grants after this one, by identifier.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn grants(
        &self,
        holder: Holder<'_>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<GrantRecord>, AdminError> {
        let which = self.selector(holder).await?;
        let after = after.and_then(|after| GrantId::parse(after).ok());
        Ok(self.store().grants(&which, after.as_ref(), limit).await?)
    }

    /// One live grant.
    ///
    /// # Errors
    /// [`AdminError::NotFound`], also for one that somebody else holds (attack F44).
    pub async fn grant(&self, holder: Holder<'_>, id: &str) -> Result<GrantRecord, AdminError> {
        let which = self.selector(holder).await?;
        let unknown = || AdminError::not_found(KIND, id);
        let found = self.store().grant(&GrantId::parse(id).map_err(|_| unknown())?).await?;
        let GrantSelector::Where { client, user, .. } = which else {
            return Err(unknown());
        };
        found
            .filter(|grant| grant.revoked_at.is_none())
            .filter(|grant| client.is_none_or(|client| client == grant.client))
            .filter(|grant| user.is_none_or(|user| grant.user.as_ref() == Some(&user)))
            .ok_or_else(unknown)
    }

    /// Ends grants with all their tokens: this one, or every one of the holder's.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn revoke_grants(&self, holder: Holder<'_>, one: Option<&str>) -> Result<(), AdminError> {
        let which = match one {
            Some(id) => GrantSelector::One(self.grant(holder, id).await?.id),
            None => self.selector(holder).await?,
        };
        let event = self.event(
            Deed::new(
                AuditKind::GrantRevoked,
                if one.is_some() { KIND } else { "Grants" },
                one.or(holder.client).or(holder.user).unwrap_or_default(),
            )
            .after(json!({ "client_id": holder.client, "user": holder.user })),
        );
        self.end_grants(&which, &event).await
    }

    async fn selector(&self, holder: Holder<'_>) -> Result<GrantSelector, AdminError> {
        let client = match holder.client {
            None => None,
            Some(id) => {
                let app = self.app(id)?;
                Some(ClientId::parse(app.id()).map_err(|_| AdminError::not_found("AppInstance", id))?)
            }
        };
        let user: Option<UserId> = match holder.user {
            None => None,
            Some(name) => Some(self.user(name).await?.record.id),
        };
        Ok(GrantSelector::Where {
            server: None,
            client,
            user,
        })
    }
}
