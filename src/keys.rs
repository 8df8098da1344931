//! The current keys of one authorization server: who signs publishes them, the gate reads them.
//!
//! This is one of the two places where issuer and gate meet (the other is [`crate::revocation`]).
//! A set is replaced whole. Each replacement has a new generation, so that a verdict that was
//! cached under an older set is judged anew (case J24, attack B07).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::jose::key::KeySet;

/// A key set that can be replaced while it is read.
#[derive(Debug)]
pub struct LiveKeys {
    set: ArcSwap<KeySet>,
    generation: AtomicU64,
}

impl LiveKeys {
    /// Starts with this set, at generation 0.
    #[must_use]
    pub fn new(set: KeySet) -> Arc<Self> {
        Arc::new(Self {
            set: ArcSwap::from_pointee(set),
            generation: AtomicU64::new(0),
        })
    }

    /// The current set.
    #[must_use]
    pub fn load(&self) -> Arc<KeySet> {
        self.set.load_full()
    }

    /// The number of the current set. A verdict made under generation `n` holds while this is `n`.
    ///
    /// A reader takes the generation **before** it loads the set: a set that is swapped in between
    /// then counts as older than it is, and is judged once more, never the other way round.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Replaces the set. When this returns, no later check uses the old one.
    pub fn publish(&self, set: KeySet) {
        self.set.store(Arc::new(set));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}
