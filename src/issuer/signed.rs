//! Access tokens whose signature was verified: who asks about one again and again is not verified anew each time.
//!
//! What is kept is that a key of the set has signed exactly these bytes, and what they say. It is found by the SHA-256
//! of the whole token and the server, and holds while the server's keys are these very ones, in this generation: a key
//! that is revoked or forgotten takes with it what it has signed. **Everything else is judged at each request**, by who
//! asks here: the clock, issuer, audiences and kind of the token, revocations, its client.
//!
//! Only what verifies is kept, and one has to be a client with a secret to ask: strangers put nothing in here.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::jose::alg::Algorithm;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Signed, signed};
use crate::keys::LiveKeys;
use crate::model::digest::Digest;
use crate::model::id::AuthorizationServerId;

/// How much is kept.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What an entry costs beside the token's own length: the places of its claims, the key, the cache's entry.
const ENTRY_BYTES: u64 = 2048;

/// The tokens whose signature was verified last.
pub(super) struct SignedTokens(Cache<Key, Arc<Kept>, ByBytes>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    server: AuthorizationServerId,
    token: Digest,
}

struct Kept {
    signed: Signed,
    /// The keys, and the number of their set. A server that is made anew under its old name has other ones.
    keys: Arc<LiveKeys>,
    generation: u64,
    bytes: u64,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Kept>> for ByBytes {
    fn weight(&self, _: &Key, kept: &Arc<Kept>) -> u64 {
        kept.bytes
    }
}

impl SignedTokens {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(1024, BYTES_MAX, ByBytes))
    }

    /// What the token says, if a key of the server has signed it with one of these algorithms; it is true of nothing
    /// yet. `judge` gets it.
    pub(super) fn find<T>(
        &self,
        server: &AuthorizationServerId,
        keys: &Arc<LiveKeys>,
        algorithms: &[Algorithm],
        token: &str,
        judge: impl FnOnce(&Signed) -> Option<T>,
    ) -> Option<T> {
        let key = Key {
            server: server.clone(),
            token: Digest::of(token.as_bytes()),
        };
        // Before the set: one that is replaced in between counts as older than it is.
        let generation = keys.generation();
        if let Some(kept) = self.0.get(&key)
            && kept.generation == generation
            && Arc::ptr_eq(&kept.keys, keys)
        {
            return judge(&kept.signed);
        }
        let unverified = Unverified::parse(token).ok()?;
        let signed = signed(unverified, &keys.load(), algorithms).ok()?;
        let judged = judge(&signed)?;
        let kept = Kept {
            signed,
            keys: Arc::clone(keys),
            generation,
            bytes: ENTRY_BYTES + u64::try_from(token.len()).unwrap_or(u64::MAX / 2),
        };
        self.0.insert(key, Arc::new(kept));
        Some(judged)
    }
}
