//! When the table was last known to hold all that its store holds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::revocation::Revocations;

/// Times of the monotonic clock, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The longest silence after which the table still counts, plus one; 0 where silence says nothing.
    stale_after: AtomicU64,
    /// When the store was last read, plus one; 0 for never.
    at: AtomicU64,
}

impl Revocations {
    /// Says that the table is filled from a store elsewhere, and for how long it counts when that is silent. Until
    /// the store is heard of for the first time, it does not count.
    pub fn trust_silence_for(&self, stale_after: Duration) {
        self.heard.stale_after.store(millis(stale_after), Ordering::Release);
    }

    /// Notes that the table holds at `now` all that the store holds. `now` is a time before the store was asked.
    pub fn heard_at(&self, now: Duration) {
        self.heard.at.fetch_max(millis(now), Ordering::AcqRel);
    }

    /// Whether the store has been silent for so long that something may be revoked that is not in the table.
    #[must_use]
    pub fn is_stale(&self, now: Duration) -> bool {
        let Some(stale_after) = self.heard.stale_after.load(Ordering::Acquire).checked_sub(1) else {
            return false;
        };
        match self.heard.at.load(Ordering::Acquire).checked_sub(1) {
            Some(at) => millis(now).saturating_sub(1).saturating_sub(at) > stale_after,
            None => true,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis())
        .unwrap_or(u64::MAX - 1)
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::model::time::Timestamp;

    #[test]
    fn silence_counts_only_where_there_is_a_bound_and_only_beyond_it() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
        let revocations = Revocations::new(clock);
        let at = Duration::from_millis;
        assert!(
            !revocations.is_stale(at(1_000_000)),
            "the one issuer of this process is never silent"
        );
        revocations.trust_silence_for(at(500));
        assert!(revocations.is_stale(at(0)), "nothing was heard yet");
        revocations.heard_at(at(0));
        assert!(!revocations.is_stale(at(500)));
        assert!(revocations.is_stale(at(501)));
        revocations.heard_at(at(700));
        // A look that began earlier and ends later takes nothing back.
        revocations.heard_at(at(600));
        assert!(!revocations.is_stale(at(1200)));
        assert!(revocations.is_stale(at(1201)));
    }
}
