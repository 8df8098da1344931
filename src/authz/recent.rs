//! The tokens that were seen a moment ago, found without a digest.
//!
//! A client sends the same token many times over, and to find its verdict by the SHA-256 of the token is a tenth of what
//! such a check costs. So the tokens that keep coming are kept here as they came, a few hundred of them, and compared
//! in full (C01 to C04). What is found is the verdict itself, and whoever finds it asks of it what is asked of any:
//! whether it is over, and whether the token is revoked.
//!
//! - A token has one place, by a keyed hash of its end, where a signature has its randomness. Two tokens that share a
//!   place cost each other this short cut and nothing else.
//! - It takes the place when it comes twice and the one that has it does not come in between: tokens that are seen once, or
//!   take turns by the thousand, are not copied.
//! - Nobody waits for a place: one that another worker looks at just now is none.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::authz::cache::Verdict;

/// How many places there are. A power of two.
const PLACES: usize = 512;

/// The longest token that is kept, in bytes: with those of all places, a megabyte.
const TOKEN_BYTES_MAX: usize = 2048;

/// How much of a token's end is hashed: 192 bits of a signature.
const TAIL_BYTES: usize = 32;

/// The tokens that were seen a moment ago.
pub(crate) struct Recent {
    hashes: RandomState,
    places: Box<[Mutex<Place>]>,
}

#[derive(Default)]
struct Place {
    seen: Option<Seen>,
    /// The token that came last and was not the one that has the place.
    next: u64,
    hits: u64,
}

struct Seen {
    hash: u64,
    /// The number of the server set.
    servers: u64,
    verdict: Arc<Verdict>,
    token: Box<[u8]>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self {
            hashes: RandomState::new(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }

    /// The verdict on this token by this server set, if it was seen a moment ago.
    pub(crate) fn find(&self, token: &[u8], servers: u64) -> Option<Arc<Verdict>> {
        let hash = self.hash(token);
        let mut place = self.place(hash)?.try_lock()?;
        let seen = place.seen.as_ref()?;
        if seen.hash != hash || seen.servers != servers || *seen.token != *token {
            return None;
        }
        let verdict = Arc::clone(&seen.verdict);
        place.hits += 1;
        place.next = 0;
        Some(verdict)
    }

    /// Takes note of a token whose verdict was found by its digest.
    pub(crate) fn note(&self, token: &[u8], servers: u64, verdict: &Arc<Verdict>) {
        let hash = self.hash(token);
        let Some(mut place) = self.place(hash).and_then(Mutex::try_lock) else {
            return;
        };
        if std::mem::replace(&mut place.next, hash) != hash || token.len() > TOKEN_BYTES_MAX {
            return;
        }
        let former = place.seen.replace(Seen {
            hash,
            servers,
            verdict: Arc::clone(verdict),
            token: token.into(),
        });
        drop(place);
        // It may be the last to hold the verdict.
        drop(former);
    }

    /// How often a verdict was found here.
    pub(crate) fn hits(&self) -> u64 {
        self.places.iter().map(|place| place.lock().hits).sum()
    }

    fn hash(&self, token: &[u8]) -> u64 {
        self.hashes.hash_one(&token[token.len().saturating_sub(TAIL_BYTES)..])
    }

    fn place(&self, hash: u64) -> Option<&Mutex<Place>> {
        let number = usize::try_from(hash % PLACES as u64).ok()?;
        self.places.get(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Now;
    use crate::model::id::{AuthorizationServerId, Issuer};
    use crate::model::scope::ScopeSet;
    use crate::model::time::Timestamp;
    use crate::policy::caller::{Confirmation, Reading, TokenFacts, VerifiedToken};

    fn verdict() -> Arc<Verdict> {
        let claims = json!({"sub": "ada"});
        let facts = TokenFacts::new(Reading {
            server: AuthorizationServerId::parse("bank").expect("valid"),
            issued_as: None,
            issuer: Issuer::parse("https://bank.example").expect("valid"),
            client: None,
            scopes: ScopeSet::default(),
            kid: None,
            expires_at: Timestamp::from_unix_seconds(1_800_000_000),
            confirmation: Confirmation::default(),
            claims: claims.as_object().expect("an object").clone(),
        });
        let now = Now {
            wall: Timestamp::from_unix_seconds(1_799_999_000),
            monotonic: std::time::Duration::ZERO,
        };
        let token = Arc::new(VerifiedToken::assertion_by_authz(facts));
        Arc::new(Verdict::new(token, 0, now, std::time::Duration::ZERO))
    }

    fn token(start: &str, end: &str) -> Vec<u8> {
        format!("{start}.{}.{end:>32}", "p".repeat(600)).into_bytes()
    }

    #[test]
    fn a_token_that_came_twice_is_known_and_one_that_came_once_is_not_kept() {
        let (recent, verdict) = (Recent::new(), verdict());
        let token = token("h", "s");
        recent.note(&token, 1, &verdict);
        assert!(recent.find(&token, 1).is_none());
        recent.note(&token, 1, &verdict);
        let found = recent.find(&token, 1).expect("it came twice");
        assert!(Arc::ptr_eq(&found, &verdict));
        assert_eq!(recent.hits(), 1);
    }

    #[test]
    fn attack_c01_attack_c02_attack_c03_a_token_is_known_by_all_its_bytes_and_its_server_set() {
        let (recent, verdict) = (Recent::new(), verdict());
        let known = token("header", "signature");
        recent.note(&known, 1, &verdict);
        recent.note(&known, 1, &verdict);
        assert!(recent.find(&known, 1).is_some());
        assert!(recent.find(&known, 2).is_none(), "another api's servers");
        // The same end, so the same hash and the same place.
        let mut other = known.clone();
        for at in 0..known.len() {
            other[at] ^= 1;
            assert!(recent.find(&other, 1).is_none(), "{at}");
            other[at] ^= 1;
        }
        assert!(recent.find(&known[1..], 1).is_none(), "its end alone");
        assert!(recent.find(&[&b"x"[..], &known].concat(), 1).is_none(), "more than it");
        assert!(recent.find(b"", 1).is_none());
    }

    #[test]
    fn attack_c03_a_token_that_keeps_coming_keeps_its_place() {
        let (recent, verdict) = (Recent::new(), verdict());
        let mine = token("mine", "end");
        recent.note(&mine, 1, &verdict);
        recent.note(&mine, 1, &verdict);
        let place = |token: &[u8]| recent.hash(token) % PLACES as u64;
        let shares = |token: &Vec<u8>| place(token) == place(&mine);
        let numbered = (0_u64..).map(|number| token("other", &number.to_string()));
        let others: Vec<_> = numbered.filter(shares).take(2).collect();
        for _ in 0..100 {
            recent.note(&others[0], 1, &verdict);
            assert!(recent.find(&mine, 1).is_some());
        }
        // One that comes again and again while the other stays away takes it.
        recent.note(&others[1], 1, &verdict);
        recent.note(&others[1], 1, &verdict);
        assert!(recent.find(&others[1], 1).is_some());
        assert!(recent.find(&mine, 1).is_none());
    }

    #[test]
    fn what_takes_turns_or_is_too_long_is_not_copied() {
        let (recent, verdict) = (Recent::new(), verdict());
        let long = vec![b'x'; TOKEN_BYTES_MAX + 1];
        for _ in 0..3 {
            recent.note(&long, 1, &verdict);
        }
        let tokens: Vec<_> = (0..20 * PLACES).map(|number| token("t", &number.to_string())).collect();
        for token in tokens.iter().chain(&tokens) {
            recent.note(token, 1, &verdict);
        }
        let kept = recent.places.iter().filter(|place| place.lock().seen.is_some()).count();
        assert_eq!(kept, 0);
    }
}
