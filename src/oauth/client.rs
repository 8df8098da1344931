//! Clients: what an app is, and how it proves that it is that app.
//!
//! - The kind fixes the grants that a client can have; a public kind has no secret by type of its
//!   [`Credentials`], so that "public client with client credentials" has no spelling.
//! - A secret is kept as its SHA-256. It is compared in constant time, against the same number of
//!   stored hashes whether the client exists or not (attack F16).
//! - It deliberately knows no HTTP: where a credential stood is [`crate::oauth::request`]'s matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::constant_time;

use crate::model::digest::Digest;
use crate::model::id::ClientId;
use crate::model::secret::Secret;
use crate::oauth::declared::{ClientKind, ClientOptions};
use crate::oauth::grant::GrantType;

/// How many secrets a client may have: two overlap while one is replaced. Also the number of
/// comparisons that every authentication makes, found or not: the two must move together.
pub const SECRETS_MAX: usize = 2;

/// A client that the compiler has accepted.
#[derive(Debug, Clone)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// What kind of app it is.
    pub kind: ClientKind,
    /// The grants that it may use: never one that its kind forbids.
    pub grants: BTreeSet<GrantType>,
    /// Where authorization responses may go, compared exactly.
    pub redirect_uris: Vec<String>,
    /// How it proves itself.
    pub credentials: Credentials,
    /// The groups whose members may use it.
    pub assigned_groups: BTreeSet<String>,
    /// The users, by login, that may use it.
    pub assigned_users: BTreeSet<String>,
    /// What few clients say.
    pub options: Arc<ClientOptions>,
}

/// How a client proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Not at all: it runs where a secret would not stay one.
    Public,
    /// By one of these secrets, kept as their SHA-256; at most [`SECRETS_MAX`].
    Secrets(Vec<Digest>),
}

impl Client {
    /// Whether it proves nothing.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.credentials == Credentials::Public
    }

    /// Whether this user, by login and groups, may use it (okta-model section 5, step 2).
    #[must_use]
    pub fn is_assigned(&self, login: &str, groups: &[String]) -> bool {
        self.assigned_users.contains(login) || groups.iter().any(|group| self.assigned_groups.contains(group))
    }
}

/// Whether this secret is one of the client's. Takes `None` for a client that does not exist, and
/// then does the same work before it says no.
#[must_use]
pub fn secret_matches(client: Option<&Client>, presented: &Secret<String>) -> bool {
    // SECURITY: one digest and SECRETS_MAX comparisons, whoever asks. An empty slot is compared with
    // a digest of nothing that anybody could present, and no comparison ends the loop early.
    let digest = Digest::of(presented.expose_secret().as_bytes());
    let stored: &[Digest] = match client.map(|client| &client.credentials) {
        Some(Credentials::Secrets(stored)) => stored,
        Some(Credentials::Public) | None => &[],
    };
    let vacant = Digest::from_bytes([0; 32]);
    let mut matched = false;
    for slot in 0..SECRETS_MAX {
        let (candidate, filled) = stored.get(slot).map_or((&vacant, false), |stored| (stored, true));
        let equal = constant_time::verify_slices_are_equal(candidate.as_bytes(), digest.as_bytes()).is_ok();
        matched |= equal & filled;
    }
    matched & !presented.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(secrets: &[&str]) -> Client {
        Client {
            id: ClientId::parse("svc").expect("valid"),
            kind: ClientKind::Service,
            grants: [GrantType::ClientCredentials].into(),
            redirect_uris: Vec::new(),
            credentials: Credentials::Secrets(secrets.iter().map(|text| Digest::of(text.as_bytes())).collect()),
            assigned_groups: BTreeSet::new(),
            assigned_users: BTreeSet::new(),
            options: Arc::default(),
        }
    }

    fn presented(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn case_074_both_overlapping_secrets_work_and_no_other() {
        let client = service(&["old", "new"]);
        assert!(secret_matches(Some(&client), &presented("old")));
        assert!(secret_matches(Some(&client), &presented("new")));
        for wrong in ["", "ol", "old ", "NEW", "newold"] {
            assert!(!secret_matches(Some(&client), &presented(wrong)), "{wrong:?}");
        }
        let after_removal = service(&["new"]);
        assert!(!secret_matches(Some(&after_removal), &presented("old")));
    }

    #[test]
    fn attack_f15_an_empty_secret_never_matches_even_if_its_hash_is_declared() {
        assert!(!secret_matches(Some(&service(&[""])), &presented("")));
    }

    #[test]
    fn attack_f16_an_unknown_and_a_public_client_are_refused_like_a_wrong_secret() {
        let mut public = service(&[]);
        public.credentials = Credentials::Public;
        for client in [None, Some(&public), Some(&service(&[]))] {
            assert!(!secret_matches(client, &presented("secret")));
        }
    }
}
