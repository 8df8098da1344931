//! DPoP proofs that were used: each (key, `jti`) passes once within its window (RFC 9449 section 11.1).
//!
//! - Only a proof by the key of a valid token gets here, so strangers cannot fill the table.
//! - Envoy asks again when it retries a check; the same stream id then gets the same answer (X06). An id
//!   in the form of a `traceparent` is the client's own (agentgateway), and no proof of a retry.
//! - The table is bounded. When it is full of proofs that are still useful, new ones are refused: to
//!   forget one early would let it pass twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;

use crate::jose::dpop::ProvenKey;
use crate::model::digest::Digest;
use crate::model::event::CacheStats;
use crate::model::time::Timestamp;

/// What one proof costs: its digest, its moment, its request, and its share of the map's slack.
const PROOF_BYTES: u64 = 128;

/// Shards, so that workers seldom meet.
const SHARDS: usize = 16;

/// Whether a proof may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It was not seen before.
    First,
    /// It was seen in this very request, whose check is made again.
    Again,
    /// It was used already.
    Replayed,
    /// There is no room to remember it.
    Full,
}

/// The proofs that were used and could be used again.
#[derive(Debug)]
pub struct Replays {
    shards: [Mutex<Shard>; SHARDS],
    proofs_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    proofs: HashMap<Digest, Seen>,
    /// Nothing can be forgotten before this moment.
    earliest: Option<Timestamp>,
}

#[derive(Debug)]
struct Seen {
    until: Timestamp,
    request: Option<Digest>,
}

impl Replays {
    /// A table of at most this many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let proofs = usize::try_from(bytes_max / PROOF_BYTES).unwrap_or(usize::MAX);
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            proofs_max: (proofs / SHARDS).max(1),
        }
    }

    /// Uses a proof up. `request_id` is that of the CheckRequest, empty if it has none.
    #[must_use]
    pub fn consume(&self, proof: &ProvenKey, request_id: &str, now: Timestamp) -> Use {
        let mut name = proof.thumbprint.as_bytes().to_vec();
        name.extend_from_slice(proof.jti.as_bytes());
        let name = Digest::of(&name);
        let request = is_stream_id(request_id).then(|| Digest::of(request_id.as_bytes()));
        let shard = usize::from(name.as_bytes()[0]) % SHARDS;
        let mut shard = self.shards[shard].lock();
        if shard.proofs.len() >= self.proofs_max && !shard.proofs.contains_key(&name) {
            shard.forget(now);
            if shard.proofs.len() >= self.proofs_max {
                return Use::Full;
            }
        }
        match shard.proofs.entry(name) {
            Entry::Occupied(mut known) if known.get().until <= now => {
                known.insert(Seen {
                    until: proof.useful_until,
                    request,
                });
                Use::First
            }
            Entry::Occupied(known) if request.is_some() && known.get().request == request => Use::Again,
            Entry::Occupied(_) => Use::Replayed,
            Entry::Vacant(free) => {
                let until = proof.useful_until;
                free.insert(Seen { until, request });
                shard.earliest = Some(shard.earliest.map_or(until, |earliest| earliest.min(until)));
                Use::First
            }
        }
    }

    /// Forgets the proofs that are too old to pass anyway.
    pub fn prune(&self, now: Timestamp) {
        for shard in &self.shards {
            shard.lock().forget(now);
        }
    }

    /// How much is remembered (`hits` and `misses` are not counted here).
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let proofs: usize = self.shards.iter().map(|shard| shard.lock().proofs.len()).sum();
        let count = |proofs: usize| u64::try_from(proofs).unwrap_or(u64::MAX);
        CacheStats {
            entries: count(proofs),
            bytes: count(proofs).saturating_mul(PROOF_BYTES),
            bytes_max: count(self.proofs_max.saturating_mul(SHARDS)).saturating_mul(PROOF_BYTES),
            hits: 0,
            misses: 0,
        }
    }
}

impl Shard {
    fn forget(&mut self, now: Timestamp) {
        // A full shard must not be walked for each new proof.
        if self.earliest.is_none_or(|earliest| earliest > now) {
            return;
        }
        self.proofs.retain(|_, seen| seen.until > now);
        self.earliest = self.proofs.values().map(|seen| seen.until).min();
    }
}

/// Whether the caller of the protocol made this id up by itself.
fn is_stream_id(id: &str) -> bool {
    let mut parts = id.split('-').map(str::len);
    let is_traceparent = parts.by_ref().take(4).eq([2, 32, 16, 2]) && parts.next().is_none();
    !id.is_empty() && !is_traceparent
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn proof(key: u8, jti: &str, until: u64) -> ProvenKey {
        let mut proof = ProvenKey::assertion_for_test(Digest::from_bytes([key; 32]), NOW);
        proof.jti = jti.to_owned();
        proof.useful_until = NOW.plus(Duration::from_secs(until));
        proof
    }

    #[test]
    fn edge_x05_a_proof_passes_once_until_it_is_too_old_and_another_key_may_use_its_jti() {
        let replays = Replays::new(1 << 20);
        assert_eq!(replays.consume(&proof(1, "a", 300), "", NOW), Use::First);
        assert_eq!(replays.consume(&proof(1, "a", 300), "", NOW), Use::Replayed);
        let last = NOW.plus(Duration::from_secs(299));
        assert_eq!(replays.consume(&proof(1, "a", 300), "", last), Use::Replayed);
        assert_eq!(replays.consume(&proof(2, "a", 300), "", NOW), Use::First);
        assert_eq!(replays.consume(&proof(1, "b", 300), "", NOW), Use::First);
    }

    #[test]
    fn edge_x06_a_retried_check_is_no_replay_and_another_stream_is() {
        let replays = Replays::new(1 << 20);
        let proof = proof(1, "a", 300);
        assert_eq!(replays.consume(&proof, "1234", NOW), Use::First);
        assert_eq!(replays.consume(&proof, "1234", NOW), Use::Again);
        assert_eq!(replays.consume(&proof, "1235", NOW), Use::Replayed);
        assert_eq!(replays.consume(&proof, "", NOW), Use::Replayed);
    }

    #[test]
    fn edge_x06_an_id_that_the_client_chose_excuses_no_replay() {
        let replays = Replays::new(1 << 20);
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for id in ["", traceparent] {
            let proof = proof(1, id, 300);
            assert_eq!(replays.consume(&proof, id, NOW), Use::First);
            assert_eq!(replays.consume(&proof, id, NOW), Use::Replayed, "{id}");
        }
    }

    #[test]
    fn attack_c08_a_full_table_refuses_new_proofs_and_forgets_none_that_is_useful() {
        let replays = Replays::new(16 * 128 * 4);
        let first = proof(1, "first", 300);
        assert_eq!(replays.consume(&first, "", NOW), Use::First);
        let mut refused = 0;
        for number in 0..1000 {
            refused += u32::from(replays.consume(&proof(1, &format!("p{number}"), 300), "", NOW) == Use::Full);
        }
        let stats = replays.stats();
        assert!(refused > 900 && stats.bytes <= stats.bytes_max, "{refused} {stats:?}");
        assert_eq!(replays.consume(&first, "", NOW), Use::Replayed);
        let later = NOW.plus(Duration::from_secs(300));
        assert_eq!(replays.consume(&proof(1, "later", 900), "", later), Use::First);
        replays.prune(later);
        assert_eq!(replays.stats().entries, 1);
    }
}
