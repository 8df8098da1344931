//! People: who a login or an identifier is, whether of the file or of the directory.
//!
//! The file's users (`dev: true`) come first, with their login as identifier; everybody else is a row of
//! the store. Whoever is looked up is looked up anew for each request: nobody is cached, so that a user
//! who is disabled gets no token after that.

use serde_json::{Map, Value};

use crate::issuer::{Issuer, Snapshot};
use crate::model::digest::Digest;
use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::oauth::access::{User, UserFacts};
use crate::oauth::error::OAuthError;
use crate::oauth::minting::TokenUser;
use crate::oauth::user::{UserRecord, UserStatus};

/// A person, as of now.
#[derive(Debug, Clone)]
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) login: String,
    pub(super) active: bool,
    pub(super) groups: Vec<String>,
    pub(super) profile: Map<String, Value>,
    pub(super) password: Password,
}

/// How a person's password is kept.
#[derive(Debug, Clone)]
pub(super) enum Password {
    /// Not at all: the person cannot sign in by one.
    None,
    /// As its SHA-256: a user of the file, where the password stands in plain text anyway.
    Declared(Digest),
    /// As a PHC text of Argon2id.
    Hashed(Secret<String>),
}

impl Person {
    /// What the access policies look at.
    pub(super) fn facts(&self) -> UserFacts<'_> {
        UserFacts {
            id: self.id.as_str(),
            login: &self.login,
            groups: &self.groups,
            active: self.active,
        }
    }

    /// What a token says of the person.
    pub(super) fn of_token(&self) -> TokenUser<'_> {
        TokenUser {
            id: self.id.as_str(),
            login: &self.login,
            groups: &self.groups,
            profile: &self.profile,
        }
    }

    fn of_file(user: &User) -> Result<Self, OAuthError> {
        Ok(Self {
            id: UserId::parse(&user.login).map_err(OAuthError::internal)?,
            login: user.login.clone(),
            active: true,
            groups: user.groups.clone(),
            profile: user.profile.clone(),
            password: Password::Declared(user.password),
        })
    }

    fn of_directory(user: UserRecord, groups: Vec<String>) -> Self {
        Self {
            id: user.id,
            login: user.login,
            active: user.status == UserStatus::Active,
            groups,
            profile: user.profile,
            password: user.password.map_or(Password::None, Password::Hashed),
        }
    }
}

/// The person with this login, compared without regard to ASCII case.
pub(super) async fn by_login(issuer: &Issuer, snapshot: &Snapshot, login: &str) -> Result<Option<Person>, OAuthError> {
    let of_file = snapshot.model.users.get(login).or_else(|| {
        let mut users = snapshot.model.users.values();
        users.find(|user| user.login.eq_ignore_ascii_case(login))
    });
    if let Some(user) = of_file {
        return Person::of_file(user).map(Some);
    }
    let user = issuer.services.store.store.user_by_login(login).await;
    with_groups(issuer, user.map_err(OAuthError::internal)?).await
}

/// The person with this identifier.
pub(super) async fn by_id(issuer: &Issuer, snapshot: &Snapshot, id: &UserId) -> Result<Option<Person>, OAuthError> {
    if let Some(user) = snapshot.model.users.get(id.as_str()) {
        return Person::of_file(user).map(Some);
    }
    let person = issuer.services.store.store.person(id).await;
    let person = person.map_err(OAuthError::internal)?;
    Ok(person.map(|(user, groups)| Person::of_directory(user, groups)))
}

async fn with_groups(issuer: &Issuer, user: Option<UserRecord>) -> Result<Option<Person>, OAuthError> {
    let Some(user) = user else { return Ok(None) };
    let groups = issuer.services.store.store.groups_of(&user.id).await;
    let groups = groups.map_err(OAuthError::internal)?;
    Ok(Some(Person::of_directory(user, groups)))
}
