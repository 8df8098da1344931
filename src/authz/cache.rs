//! Verdicts on tokens, kept so that a token is verified once and checked for nothing after that.
//!
//! A verdict is found by the SHA-256 of the **whole** token and the number of the API's server set;
//! both are compared in full (C01 to C04). It is about the token alone: route, scopes and proofs are
//! judged anew on each check.
//!
//! A good verdict dies at the first of:
//!
//! | what ends it | how it is noticed |
//! |---|---|
//! | `exp` plus leeway | the wall clock, on each look-up |
//! | its age (what was left of `exp` when it was made; [`AGE_MAX`]; what the introspection settings say) | the monotonic clock: a wall clock that is set back revives nothing (J25) |
//! | the server's keys were replaced | their generation (J24, B07) |
//! | a revocation | the epoch of [`Revocations`]: same epoch, nothing was revoked since; else one look-up |
//! | a change of the server's settings | another server set, so another key (C10) |
//!
//! Refusals are kept too, briefly ([`REFUSAL_MAX`]) and in a cache of their own: a million bad tokens
//! push out other bad tokens and no good one (O05). New keys end a refusal at once (C07).
//!
//! A token that keeps coming is found without its digest: see [`recent`](super::recent).
//!
//! **Single flight.** [`Verdicts::lead`] lets one worker verify a token while the others wait for the
//! verdict (C09). The wait is bounded: a worker whose leader is stuck verifies for itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::{Condvar, Mutex};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::authz::recent::Recent;
use crate::clock::Now;
use crate::keys::LiveKeys;
use crate::model::digest::Digest;
use crate::model::event::{CacheOutcome, CacheStats};
use crate::model::time::Timestamp;
use crate::policy::caller::VerifiedToken;
use crate::revocation::Revocations;

/// The longest that a good verdict is kept, whatever its `exp`.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// The longest that a refusal is kept.
pub(crate) const REFUSAL_MAX: Duration = Duration::from_secs(10);

/// How long a worker waits for another that verifies the same token.
/// Tests that count verifications run on machines that may let a leader sleep for longer.
const LEAD_MAX: Duration = if cfg!(test) {
    Duration::from_secs(10)
} else {
    Duration::from_millis(100)
};

/// What a verdict costs beside the facts of its token: itself, its key, the cache's entry, and what the allocator rounds
/// up. `benches/speed/memory.rs` compares the account with the memory of a process.
const VERDICT_BYTES: usize = 240;

/// What a refusal costs.
const REFUSAL_BYTES: u64 = 160;

/// By what a verdict is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct VerdictKey {
    /// The SHA-256 of the whole token.
    pub(crate) token: Digest,
    /// The number of the server set.
    pub(crate) servers: u64,
}

/// A token that is good while nothing ends it.
#[derive(Debug)]
pub(crate) struct Verdict {
    token: Arc<VerifiedToken>,
    /// The keys that verified it with their generation; `None` for an introspected token.
    keys: Option<(Arc<LiveKeys>, u64)>,
    /// The epoch of the revocations under which it was last found alive.
    epoch: AtomicU64,
    /// It is dead from this moment on: `exp` plus the server's leeway.
    dead_at: Timestamp,
    /// It is too old from this moment of the monotonic clock on, in milliseconds.
    old_at: u64,
    bytes: u32,
    /// Whether nobody has read it yet: then the check that reads it has waited for it, and says `miss`.
    unread: AtomicBool,
}

impl Verdict {
    /// A verdict made now. `epoch` was read before the revocations were asked; it is `None` if they
    /// have found the token dead, which they are then asked about each time. `fact_bytes` is what the facts take.
    pub(crate) fn new(token: Arc<VerifiedToken>, fact_bytes: usize, now: Now, leeway: Duration) -> Self {
        let dead_at = token.facts().expires_at().plus(leeway);
        Self {
            token,
            keys: None,
            epoch: AtomicU64::new(u64::MAX),
            dead_at,
            old_at: milliseconds(now.monotonic + dead_at.since(now.wall).min(AGE_MAX)),
            bytes: u32::try_from(VERDICT_BYTES + fact_bytes).unwrap_or(u32::MAX),
            unread: AtomicBool::new(false),
        }
    }

    /// The same for a token that these keys verified.
    pub(crate) fn verified_by(mut self, keys: Arc<LiveKeys>, generation: u64) -> Self {
        self.keys = Some((keys, generation));
        self
    }

    /// The same, kept no longer than this.
    pub(crate) fn kept(mut self, now: Now, age_max: Duration) -> Self {
        self.old_at = self.old_at.min(milliseconds(now.monotonic + age_max));
        self
    }

    /// The same for a token that a look-up has brought, for a check that waits.
    pub(crate) fn awaited(self) -> Self {
        self.unread.store(true, Ordering::Relaxed);
        self
    }

    pub(crate) fn token(&self) -> &Arc<VerifiedToken> {
        &self.token
    }

    /// Whether the token is revoked. Asks only if something was revoked since it was asked last.
    pub(crate) fn revoked(&self, revocations: &Revocations) -> Option<&'static str> {
        // INVARIANT: the epoch is read before the table, see `revocation`.
        let epoch = revocations.epoch();
        if self.epoch.load(Ordering::Relaxed) == epoch {
            return None;
        }
        let dead = revocations.kills(self.token.facts());
        if dead.is_none() {
            self.epoch.store(epoch, Ordering::Relaxed);
        }
        dead
    }

    /// What it says now. It is not over.
    fn known(&self, revocations: &Revocations) -> Known {
        if let Some(dead) = self.revoked(revocations) {
            return Known::Revoked(dead);
        }
        let awaited = self.unread.load(Ordering::Relaxed) && self.unread.swap(false, Ordering::Relaxed);
        let outcome = if awaited { CacheOutcome::Miss } else { CacheOutcome::Hit };
        Known::Good(Arc::clone(&self.token), outcome)
    }

    /// What it takes of the cache's memory.
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Whether it holds no longer, whatever is revoked.
    pub(crate) fn is_over(&self, now: Now) -> bool {
        now.wall >= self.dead_at
            || milliseconds(now.monotonic) >= self.old_at
            || self
                .keys
                .as_ref()
                .is_some_and(|(keys, generation)| keys.generation() != *generation)
    }
}

/// A moment of the monotonic clock, rounded down: a verdict may be too old a millisecond early, and none is late.
fn milliseconds(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}

/// Why a token is not good just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not believed.
    Refused(&'static str),
    /// Nobody can tell just now; try again after so many seconds.
    Unavailable(&'static str, u32),
}

#[derive(Debug, Clone, Copy)]
struct KeptRefusal {
    refusal: Refusal,
    /// On the monotonic clock.
    until: Duration,
    /// The sum of the servers' key generations.
    generation: u64,
}

/// What is known of a token.
#[derive(Debug)]
pub(crate) enum Known {
    Good(Arc<VerifiedToken>, CacheOutcome),
    Revoked(&'static str),
    Bad(Refusal),
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<VerdictKey, Arc<Verdict>> for ByBytes {
    fn weight(&self, _: &VerdictKey, verdict: &Arc<Verdict>) -> u64 {
        verdict.bytes.into()
    }
}

impl Weighter<VerdictKey, KeptRefusal> for ByBytes {
    fn weight(&self, _: &VerdictKey, _: &KeptRefusal) -> u64 {
        REFUSAL_BYTES
    }
}

/// The verdicts.
pub(crate) struct Verdicts {
    good: Cache<VerdictKey, Arc<Verdict>, ByBytes>,
    bad: Cache<VerdictKey, KeptRefusal, ByBytes>,
    recent: Recent,
    revocations: Arc<Revocations>,
    /// A key is a digest, which spreads well however it is hashed.
    leading: Mutex<HashSet<VerdictKey, RandomState>>,
    led: Condvar,
}

impl Verdicts {
    pub(crate) fn new(good_bytes: u64, bad_bytes: u64, revocations: Arc<Revocations>) -> Self {
        // An estimate of the entries, which sizes the shards.
        let items = |bytes: u64, each: u64| usize::try_from(bytes / each).unwrap_or(usize::MAX).max(16);
        Self {
            good: Cache::with_weighter(items(good_bytes, 512), good_bytes, ByBytes),
            bad: Cache::with_weighter(items(bad_bytes, REFUSAL_BYTES), bad_bytes, ByBytes),
            recent: Recent::new(),
            revocations,
            leading: Mutex::default(),
            led: Condvar::new(),
        }
    }

    /// What is known of the token without its digest: of one that keeps coming, and only while it is good or revoked.
    pub(crate) fn find_recent(&self, token: &[u8], servers: u64, now: Now) -> Option<Known> {
        let found = self.recent.find(token, servers, now)?;
        if let Some(key) = found.tell
            && self.good.get(&key).is_none()
        {
            self.good.insert(key, Arc::clone(&found.verdict));
        }
        Some(found.verdict.known(&self.revocations))
    }

    /// What is known of the token. `generation` is that of the server set, asked for only where a refusal is known.
    pub(crate) fn find(
        &self,
        key: &VerdictKey,
        token: &[u8],
        generation: impl FnOnce() -> u64,
        now: Now,
    ) -> Option<Known> {
        if let Some(verdict) = self.good.get(key) {
            if !verdict.is_over(now) {
                let known = verdict.known(&self.revocations);
                if matches!(known, Known::Good(..)) {
                    self.recent.note(token, key, &verdict);
                }
                return Some(known);
            }
            // Only this verdict: a newer one may have taken its place.
            self.good.remove_if(key, |current| Arc::ptr_eq(current, &verdict));
        }
        let kept = self.bad.get(key)?;
        if now.monotonic >= kept.until || kept.generation != generation() {
            self.bad.remove(key);
            return None;
        }
        Some(Known::Bad(kept.refusal))
    }

    pub(crate) fn keep(&self, key: VerdictKey, verdict: Arc<Verdict>) {
        self.bad.remove(&key);
        self.good.insert(key, verdict);
    }

    /// Keeps a refusal for at most [`REFUSAL_MAX`].
    pub(crate) fn keep_refusal(&self, key: VerdictKey, refusal: Refusal, generation: u64, age: Duration, now: Now) {
        let until = now.monotonic + age.min(REFUSAL_MAX);
        self.bad.insert(
            key,
            KeptRefusal {
                refusal,
                until,
                generation,
            },
        );
    }

    /// Empties what is over and was not asked for since.
    pub(crate) fn tidy(&self, now: Now) {
        self.recent.tidy(now);
    }

    /// Waits until nobody else verifies this token, then leads: what the last one found is known by then.
    pub(crate) fn lead(&self, key: VerdictKey) -> Lead<'_> {
        let mut leading = self.leading.lock();
        let mut own = leading.insert(key);
        // One moment for all wake-ups: other tokens' leaders end as well.
        #[expect(clippy::disallowed_methods, reason = "it bounds a wait, and nothing is judged by it")]
        let until = Instant::now() + LEAD_MAX;
        while !own && !self.led.wait_until(&mut leading, until).timed_out() {
            own = leading.insert(key);
        }
        drop(leading);
        Lead { of: self, key, own }
    }

    pub(crate) fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    pub(crate) fn stats(&self) -> (CacheStats, CacheStats) {
        let good = CacheStats {
            entries: u64::try_from(self.good.len()).unwrap_or(u64::MAX),
            bytes: self.good.weight(),
            bytes_max: self.good.capacity(),
            hits: self.good.hits() + self.recent.hits(),
            misses: self.good.misses(),
        };
        let bad = CacheStats {
            entries: u64::try_from(self.bad.len()).unwrap_or(u64::MAX),
            bytes: self.bad.weight(),
            bytes_max: self.bad.capacity(),
            hits: self.bad.hits(),
            misses: self.bad.misses(),
        };
        (good, bad)
    }
}

/// The right to verify a token. Dropping it, by a panic too, lets the next one in.
pub(crate) struct Lead<'c> {
    of: &'c Verdicts,
    key: VerdictKey,
    /// Whether this is the one that the others wait for, and not one that gave up waiting.
    pub(in crate::authz) own: bool,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if self.own {
            self.of.leading.lock().remove(&self.key);
            self.of.led.notify_all();
        }
    }
}
