//! The token that would be minted, or the first condition that fails: by the code that mints.

use serde_json::Map;

use crate::admin::{Action, AdminError, Administration, Administrator, Resource};
use crate::issuer::preview::{Preview, PreviewRequest, PreviewUser};
use crate::model::id::{AuthorizationServerId, ClientId, UserId};
use crate::model::scope::ScopeSet;
use crate::oauth::grant::GrantType;
use crate::oauth::held::Held;
use crate::oauth::minting::TokenUser;
use crate::oauth::user::UserStatus;

/// What is previewed.
#[derive(Debug, Clone)]
pub struct Previewed {
    /// The client, taken for authenticated.
    pub client: String,
    /// The grant, taken for proven.
    pub grant: GrantType,
    /// The user, by identifier or login.
    pub user: Option<String>,
    /// The scopes, as a request writes them.
    pub scope: Option<String>,
    /// The grant type by which the grant began that is refreshed.
    pub began_by: Option<GrantType>,
    /// The scopes of what is refreshed or exchanged; whatever is asked for if not said.
    pub held_scopes: Option<ScopeSet>,
}

/// What a preview needs to know of a user.
struct Known {
    id: String,
    login: String,
    groups: Vec<String>,
    profile: Map<String, serde_json::Value>,
    active: bool,
}

impl Administration {
    /// Previews a token request at a server.
    ///
    /// # Errors
    /// [`AdminError`]; a request that would be denied is no error.
    pub async fn preview(&self, who: &Administrator, server: &str, wanted: &Previewed) -> Result<Preview, AdminError> {
        self.server(who, Action::Read, Resource::AuthorizationServers, server)?;
        let invalid = |field: &str| AdminError::invalid("preview", format!("{field}: no identifier"));
        let server = AuthorizationServerId::parse(server).map_err(|_| invalid("server"))?;
        let client = ClientId::parse(&wanted.client).map_err(|_| invalid("clientId"))?;
        let user = match &wanted.user {
            None => None,
            Some(name) => {
                let unknown = || AdminError::invalid("preview", format!("user: there is no user `{name}`"));
                Some(self.known_user(name).await?.ok_or_else(unknown)?)
            }
        };
        let request = PreviewRequest {
            server: &server,
            client: &client,
            grant: wanted.grant,
            user: user.as_ref().map(|user| PreviewUser {
                token: TokenUser {
                    id: &user.id,
                    login: &user.login,
                    groups: &user.groups,
                    profile: &user.profile,
                },
                active: user.active,
            }),
            scope: wanted.scope.as_deref(),
            held: Held {
                began_by: wanted.began_by,
                scopes: wanted.held_scopes.as_ref(),
            },
        };
        Ok(self.issuer().preview(&request))
    }

    /// Whether there is such a user, by identifier or login.
    ///
    /// # Errors
    /// [`AdminError`] when the store fails.
    pub async fn has_user(&self, name: &str) -> Result<bool, AdminError> {
        Ok(self.known_user(name).await?.is_some())
    }

    async fn known_user(&self, name: &str) -> Result<Option<Known>, AdminError> {
        let store = &self.issuer().services().store.store;
        let mut found = match UserId::parse(name) {
            Ok(id) => store.user(&id).await?,
            Err(_) => None,
        };
        if found.is_none() {
            found = store.user_by_login(&name.to_lowercase()).await?;
        }
        if let Some(user) = found {
            return Ok(Some(Known {
                groups: store.groups_of(&user.id).await?,
                id: user.id.to_string(),
                login: user.login,
                profile: user.profile,
                active: user.status == UserStatus::Active,
            }));
        }
        let declared = self.issuer().declared();
        let of_file = declared.users.iter().find(|user| user.login.value == name);
        Ok(of_file.map(|user| Known {
            id: user.login.value.clone(),
            login: user.login.value.clone(),
            groups: user.groups.iter().map(|group| group.value.clone()).collect(),
            profile: user.profile.clone(),
            active: true,
        }))
    }
}
