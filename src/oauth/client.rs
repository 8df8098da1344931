//! Clients: what an app is, and how it proves that it is that app.
//!
//! - A client has one way to prove itself ([`Credentials`]), and with it all that this way needs: a client of
//!   `private_key_jwt` without keys, or a public one with a secret, has no spelling (case 064).
//! - A secret is kept as its SHA-256. It is compared in constant time, against the same number of
//!   stored hashes whether the client exists or not (attack F16).
//! - It deliberately knows no HTTP: where a credential stood is [`crate::oauth::request`]'s matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::constant_time;

use crate::jose::alg::Algorithm;
use crate::jose::key::{KeySet, WeakSecret};
use crate::model::digest::Digest;
use crate::model::id::ClientId;
use crate::model::secret::Secret;
use crate::oauth::declared::{AuthenticationMethod, ClientKind, ClientOptions, TlsSubject};
use crate::oauth::document::EVERYONE;
use crate::oauth::grant::GrantType;
use crate::oauth::peer_keys::PeerKeys;

/// How many secrets a client may have: two overlap while one is replaced. Also the number of
/// comparisons that every authentication makes, found or not: the two must move together.
pub const SECRETS_MAX: usize = 2;

/// The shortest secret of `client_secret_jwt`, in bytes: the hash of its smallest algorithm (RFC 7518 section 3.2).
pub const SHARED_SECRET_BYTES_MIN: usize = 32;

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
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Not at all: it runs where a secret would not stay one.
    Public,
    /// By a secret that it sends.
    Secrets(StoredSecrets),
    /// By a secret that it signs with: `client_secret_jwt`.
    SharedSecrets(SharedSecrets),
    /// By a key that it signs with: `private_key_jwt`.
    Keys(PeerKeys),
    /// By a certificate of this subject, which a known authority vouches for: `tls_client_auth`.
    Certificate(TlsSubject),
    /// By one of these certificates: `self_signed_tls_client_auth`.
    SelfSignedCertificate(PeerKeys),
}

/// Secrets that are kept as their SHA-256: one at least, [`SECRETS_MAX`] at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecrets {
    stored: Vec<Digest>,
    place: SecretPlace,
}

/// Where a client sends its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPlace {
    /// By Basic, or in the body: its registration does not say.
    Either,
    /// By Basic: `client_secret_basic`.
    Basic,
    /// In the body: `client_secret_post`.
    Body,
}

/// Secrets that both sides hold, ready to verify with.
#[derive(Debug, Clone)]
pub struct SharedSecrets(Vec<Arc<KeySet>>);

impl Client {
    /// Whether it proves nothing.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self.credentials, Credentials::Public)
    }

    /// Whether this user, by identifier, login and groups, may use it (okta-model section 5, step 2).
    #[must_use]
    pub fn is_assigned(&self, id: &str, login: &str, groups: &[String]) -> bool {
        self.assigned_users.contains(login)
            || self.assigned_users.contains(id)
            || self.assigned_groups.contains(EVERYONE)
            || groups.iter().any(|group| self.assigned_groups.contains(group))
    }

    /// Whether it is a resource server that tokens for this audience are meant for.
    #[must_use]
    pub fn serves_audience(&self, audience: &str) -> bool {
        let served = &self.options.audiences;
        served
            .iter()
            .any(|served| served.value == "*" || served.value == audience)
    }
}

impl Credentials {
    /// Whether the listener has to ask for a certificate on the client's behalf.
    #[must_use]
    pub fn need_certificate(&self) -> bool {
        matches!(self, Self::Certificate(_) | Self::SelfSignedCertificate(_))
    }

    /// The one method of RFC 7591 section 2; a secret that may be sent in either place counts as Basic.
    #[must_use]
    pub fn method(&self) -> AuthenticationMethod {
        match self {
            Self::Public => AuthenticationMethod::None,
            Self::Secrets(secrets) if secrets.place == SecretPlace::Body => AuthenticationMethod::ClientSecretPost,
            Self::Secrets(_) => AuthenticationMethod::ClientSecretBasic,
            Self::SharedSecrets(_) => AuthenticationMethod::ClientSecretJwt,
            Self::Keys(_) => AuthenticationMethod::PrivateKeyJwt,
            Self::Certificate(_) => AuthenticationMethod::TlsClientAuth,
            Self::SelfSignedCertificate(_) => AuthenticationMethod::SelfSignedTlsClientAuth,
        }
    }
}

impl StoredSecrets {
    /// These secrets; `None` if there is none, or more than [`SECRETS_MAX`].
    #[must_use]
    pub fn new(stored: Vec<Digest>, place: SecretPlace) -> Option<Self> {
        (1..=SECRETS_MAX)
            .contains(&stored.len())
            .then_some(Self { stored, place })
    }

    /// Where they are sent.
    #[must_use]
    pub fn place(&self) -> SecretPlace {
        self.place
    }
}

impl SharedSecrets {
    /// Secrets to verify with: each serves the HMACs whose hash it is as long as.
    ///
    /// # Errors
    /// [`WeakSecret`] when one is shorter than [`SHARED_SECRET_BYTES_MIN`] (case 073).
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s Secret<String>>) -> Result<Self, WeakSecret> {
        let set = |secret: &Secret<String>| {
            let bytes = Secret::new(secret.expose_secret().as_bytes().to_vec());
            let length = bytes.expose_secret().len();
            let served = Self::ALGORITHMS.into_iter().filter(|algorithm| {
                *algorithm == Algorithm::Hs256 || algorithm.secret_bytes_min().is_some_and(|min| min <= length)
            });
            KeySet::from_secret_for(&bytes, served).map(Arc::new)
        };
        secrets.into_iter().map(set).collect::<Result<_, _>>().map(Self)
    }

    /// What they can sign with.
    pub const ALGORITHMS: [Algorithm; 3] = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];

    /// A set for each of them.
    pub fn sets(&self) -> impl Iterator<Item = &KeySet> {
        self.0.iter().map(Arc::as_ref)
    }
}

/// Whether this secret is one of the client's. Takes `None` for a client that does not exist, and
/// then does the same work before it says no.
#[must_use]
pub fn secret_matches(client: Option<&Client>, presented: &Secret<String>) -> bool {
    secret_matches_by(client, presented, |stored, presented| {
        constant_time::verify_slices_are_equal(stored.as_bytes(), presented.as_bytes()).is_ok()
    })
}

fn secret_matches_by(
    client: Option<&Client>,
    presented: &Secret<String>,
    mut is_equal: impl FnMut(&Digest, &Digest) -> bool,
) -> bool {
    // SECURITY: one digest and SECRETS_MAX comparisons, whoever asks. An empty slot is compared with
    // a digest of nothing that anybody could present, and no comparison ends the loop early.
    let digest = Digest::of(presented.expose_secret().as_bytes());
    let stored: &[Digest] = match client.map(|client| &client.credentials) {
        Some(Credentials::Secrets(secrets)) => &secrets.stored,
        _ => &[],
    };
    let vacant = Digest::from_bytes([0; 32]);
    let mut matched = false;
    for slot in 0..SECRETS_MAX {
        let (candidate, filled) = stored.get(slot).map_or((&vacant, false), |stored| (stored, true));
        let equal = is_equal(candidate, &digest);
        matched |= equal & filled;
    }
    matched & !presented.expose_secret().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(secrets: &[&str]) -> Client {
        let stored = secrets.iter().map(|text| Digest::of(text.as_bytes())).collect();
        let stored = StoredSecrets::new(stored, SecretPlace::Either).expect("one or two");
        Client {
            id: ClientId::parse("svc").expect("valid"),
            kind: ClientKind::Service,
            grants: [GrantType::ClientCredentials].into(),
            redirect_uris: Vec::new(),
            credentials: Credentials::Secrets(stored),
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
    fn case_063_attack_f16_whoever_asks_costs_the_same_number_of_comparisons() {
        let mut public = service(&["x"]);
        public.credentials = Credentials::Public;
        let mut by_certificate = service(&["x"]);
        by_certificate.credentials = Credentials::Certificate(TlsSubject::SanDns("a.example".to_owned()));
        let (one, two) = (service(&["secret"]), service(&["other", "secret"]));
        let rows = [
            (None, false),
            (Some(&public), false),
            (Some(&by_certificate), false),
            (Some(&one), true),
            (Some(&two), true),
        ];
        for (client, matches) in rows {
            for (text, is_right) in [("secret", true), ("wrong", false), ("", false)] {
                let mut comparisons = 0;
                let matched = secret_matches_by(client, &presented(text), |stored, presented| {
                    comparisons += 1;
                    stored == presented
                });
                assert_eq!(comparisons, SECRETS_MAX, "{client:?} {text}");
                assert_eq!(matched, matches && is_right, "{client:?} {text}");
            }
        }
    }

    #[test]
    fn case_073_a_shared_secret_shorter_than_its_hash_is_refused_and_a_longer_one_serves_more() {
        let secrets = |length: usize| SharedSecrets::new([&Secret::new("s".repeat(length))]);
        assert!(secrets(31).is_err());
        for (length, served) in [(32, 1), (48, 2), (64, 3)] {
            let secrets = secrets(length).expect("long enough");
            assert_eq!(secrets.sets().map(KeySet::len).sum::<usize>(), served, "{length}");
        }
    }

    #[test]
    fn secrets_are_one_or_two() {
        assert!(StoredSecrets::new(Vec::new(), SecretPlace::Basic).is_none());
        assert!(StoredSecrets::new(vec![Digest::of(b"x"); 3], SecretPlace::Basic).is_none());
    }
}
