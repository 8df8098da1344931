//! The tokens that were seen a moment ago, found without a digest.
//!
//! A client sends the same token many times over, and to find its verdict by the SHA-256 of the token is a twelfth of what
//! such a check costs. So the tokens that keep coming are kept here as they came, a few hundred of them, and compared
//! in full (C01 to C04). What is found is the verdict itself, and it is asked what any verdict is asked: whether it is
//! over, here, and whether the token is revoked, by who finds it.
//!
//! - Only a token that passed the grammar and was found good comes here, so one that equals it is in the grammar too.
//! - A token has one place, by a keyed hash of its beginning and its end, where a signature has its randomness. Two tokens
//!   that share a place cost each other this short cut and nothing else.
//! - It takes the place when it comes twice and the one that has it does not come in between: tokens that are seen once, or
//!   take turns by the thousand, are not copied.
//! - A place is empty once its verdict is over, and [`Recent::tidy`] sees to those that nobody asks for.
//! - Nobody waits for a place: one that another worker looks at just now is none.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::authz::cache::{Verdict, VerdictKey};
use crate::clock::Now;

/// How many places there are. A power of two.
const PLACES: usize = 512;

/// The longest token that is kept, in bytes: with those of all places, a megabyte.
const TOKEN_BYTES_MAX: usize = 2048;

/// The largest verdict that is kept, in bytes: the verdict cache may have let go of it.
const VERDICT_BYTES_MAX: u32 = 8192;

/// How much of a token's beginning and of its end is hashed: 192 bits of a signature.
const END_BYTES: usize = 32;

/// One hit of so many is told to the verdict cache, so that it does not take the busiest token for one that nobody uses.
const TELL_EVERY: u64 = 64;

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
    key: VerdictKey,
    verdict: Arc<Verdict>,
    token: Zeroizing<Box<[u8]>>,
}

/// A verdict that was found.
pub(crate) struct Found {
    pub(crate) verdict: Arc<Verdict>,
    /// The verdict cache is to be told that it is in use.
    pub(crate) tell: Option<VerdictKey>,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self {
            hashes: RandomState::new(),
            places: (0..PLACES).map(|_| Mutex::default()).collect(),
        }
    }

    /// The verdict on this token by this server set, if it was seen a moment ago and the verdict is not over.
    pub(crate) fn find(&self, token: &[u8], servers: u64, now: Now) -> Option<Found> {
        let hash = self.hash(token);
        let mut place = self.place(hash)?.try_lock()?;
        let seen = place.seen.as_ref()?;
        if !seen.is(hash, token, servers) {
            return None;
        }
        if seen.verdict.is_over(now) {
            // The next verdict on this token has the place at once.
            place.next = hash;
            let former = place.seen.take();
            drop(place);
            drop(former);
            return None;
        }
        let (verdict, key) = (Arc::clone(&seen.verdict), seen.key);
        place.hits += 1;
        place.next = 0;
        let tell = place.hits.is_multiple_of(TELL_EVERY).then_some(key);
        Some(Found { verdict, tell })
    }

    /// Takes note of a good token whose verdict was found by its digest.
    pub(crate) fn note(&self, token: &[u8], key: &VerdictKey, verdict: &Arc<Verdict>) {
        let hash = self.hash(token);
        let Some(mut place) = self.place(hash).and_then(Mutex::try_lock) else {
            return;
        };
        if let Some(seen) = &mut place.seen
            && seen.is(hash, token, key.servers)
        {
            // Somebody had the place in hand when this token was looked for.
            let former = std::mem::replace(&mut seen.verdict, Arc::clone(verdict));
            drop(place);
            drop(former);
            return;
        }
        let is_small = token.len() <= TOKEN_BYTES_MAX && verdict.bytes() <= VERDICT_BYTES_MAX;
        if std::mem::replace(&mut place.next, hash) != hash || !is_small {
            return;
        }
        let former = place.seen.replace(Seen {
            hash,
            key: *key,
            verdict: Arc::clone(verdict),
            token: Zeroizing::new(token.into()),
        });
        drop(place);
        // It may be the last to hold the verdict.
        drop(former);
    }

    /// Empties the places whose verdict is over.
    pub(crate) fn tidy(&self, now: Now) {
        for place in &self.places {
            let over = place.lock().seen.take_if(|seen| seen.verdict.is_over(now));
            drop(over);
        }
    }

    /// How often a verdict was found here alone.
    pub(crate) fn hits(&self) -> u64 {
        // Those that the verdict cache is told of are counted there.
        let own = |hits: u64| hits - hits / TELL_EVERY;
        self.places.iter().map(|place| own(place.lock().hits)).sum()
    }

    fn hash(&self, token: &[u8]) -> u64 {
        let beginning = &token[..token.len().min(END_BYTES)];
        let end = &token[token.len().saturating_sub(END_BYTES)..];
        self.hashes.hash_one((beginning, end))
    }

    fn place(&self, hash: u64) -> Option<&Mutex<Place>> {
        let number = usize::try_from(hash % PLACES as u64).ok()?;
        self.places.get(number)
    }
}

impl Seen {
    fn is(&self, hash: u64, token: &[u8], servers: u64) -> bool {
        self.hash == hash && self.key.servers == servers && **self.token == *token
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::model::digest::Digest;
    use crate::policy::caller::Caller;
    use crate::policy::testing::{NOW, bearer};

    const START: Now = Now {
        wall: NOW,
        monotonic: Duration::ZERO,
    };

    fn verdict() -> Arc<Verdict> {
        let Caller::Token { token, .. } = bearer(json!({})) else {
            panic!("a token")
        };
        Arc::new(Verdict::new(token, 0, START, Duration::ZERO))
    }

    fn key(servers: u64) -> VerdictKey {
        VerdictKey {
            token: Digest::of(b"token"),
            servers,
        }
    }

    fn token(start: &str, end: &str) -> Vec<u8> {
        format!("{start:<32}.{}.{end:>32}", "p".repeat(600)).into_bytes()
    }

    fn note_twice(recent: &Recent, token: &[u8], verdict: &Arc<Verdict>) {
        recent.note(token, &key(1), verdict);
        recent.note(token, &key(1), verdict);
    }

    fn is_found(recent: &Recent, token: &[u8], servers: u64) -> bool {
        recent.find(token, servers, START).is_some()
    }

    #[test]
    fn a_token_that_came_twice_is_known_and_one_that_came_once_is_not_kept() {
        let (recent, verdict) = (Recent::new(), verdict());
        let token = token("h", "s");
        recent.note(&token, &key(1), &verdict);
        assert!(!is_found(&recent, &token, 1));
        recent.note(&token, &key(1), &verdict);
        let found = recent.find(&token, 1, START).expect("it came twice");
        assert!(Arc::ptr_eq(&found.verdict, &verdict) && found.tell.is_none());
        let told = (1..TELL_EVERY).filter_map(|_| recent.find(&token, 1, START)?.tell);
        assert_eq!(told.collect::<Vec<_>>(), [key(1)]);
        assert_eq!(recent.hits(), TELL_EVERY - 1);
    }

    #[test]
    fn attack_c01_attack_c02_attack_c03_attack_c04_a_token_is_known_by_all_its_bytes_and_its_server_set() {
        let (recent, verdict) = (Recent::new(), verdict());
        let known = token("header", "signature");
        note_twice(&recent, &known, &verdict);
        assert!(is_found(&recent, &known, 1));
        assert!(!is_found(&recent, &known, 2), "another api's servers");
        // Those in the middle have its hash and its place.
        let mut other = known.clone();
        for at in 0..known.len() {
            other[at] ^= 1;
            assert!(!is_found(&recent, &other, 1), "{at}");
            other[at] ^= 1;
        }
        assert!(!is_found(&recent, &known[1..], 1), "its end alone");
        assert!(!is_found(&recent, &[&b"x"[..], &known].concat(), 1), "more than it");
        assert!(!is_found(&recent, b"", 1));
    }

    #[test]
    fn attack_c06_edge_j25_a_verdict_that_is_over_is_not_found_and_the_next_one_has_its_place() {
        let (recent, first) = (Recent::new(), verdict());
        let token = token("h", "s");
        note_twice(&recent, &token, &first);
        let second = verdict();
        let by_the_wall = Now {
            wall: NOW.plus(Duration::from_secs(300)),
            ..START
        };
        let by_age = Now {
            monotonic: Duration::from_secs(300),
            ..START
        };
        for over in [by_the_wall, by_age] {
            assert!(is_found(&recent, &token, 1));
            assert!(recent.find(&token, 1, over).is_none());
            assert!(
                !is_found(&recent, &token, 1),
                "a clock that is set back revives nothing"
            );
            recent.note(&token, &key(1), &second);
            let found = recent.find(&token, 1, START).expect("it has the place");
            assert!(Arc::ptr_eq(&found.verdict, &second));
        }
        recent.tidy(START);
        assert!(is_found(&recent, &token, 1));
        recent.tidy(by_age);
        assert!(recent.places.iter().all(|place| place.lock().seen.is_none()));
    }

    #[test]
    fn a_token_that_keeps_coming_keeps_its_place() {
        let (recent, verdict) = (Recent::new(), verdict());
        let mine = token("mine", "end");
        note_twice(&recent, &mine, &verdict);
        let place = |token: &[u8]| recent.hash(token) % PLACES as u64;
        let shares = |token: &Vec<u8>| place(token) == place(&mine);
        let numbered = (0_u64..).map(|number| token("other", &number.to_string()));
        let others: Vec<_> = numbered.filter(shares).take(2).collect();
        for _ in 0..100 {
            recent.note(&others[0], &key(1), &verdict);
            assert!(is_found(&recent, &mine, 1));
        }
        // One that comes again and again while the other stays away takes it.
        note_twice(&recent, &others[1], &verdict);
        assert!(is_found(&recent, &others[1], 1));
        assert!(!is_found(&recent, &mine, 1));
    }

    #[test]
    fn attack_c08_what_takes_turns_or_is_too_large_is_not_copied() {
        let (recent, verdict) = (Recent::new(), verdict());
        note_twice(&recent, &vec![b'x'; TOKEN_BYTES_MAX + 1], &verdict);
        let Caller::Token { token: large, .. } = bearer(json!({})) else {
            panic!("a token")
        };
        let large = Arc::new(Verdict::new(large, 1 << 20, START, Duration::ZERO));
        note_twice(&recent, &token("large", "verdict"), &large);
        let tokens: Vec<_> = (0..20 * PLACES).map(|number| token("t", &number.to_string())).collect();
        for token in tokens.iter().chain(&tokens) {
            recent.note(token, &key(1), &verdict);
        }
        let kept = recent.places.iter().filter(|place| place.lock().seen.is_some()).count();
        assert_eq!(kept, 0);
    }
}
