//! The audit log in memory: the chain, and the denials beside it.

use crate::audit::{AuditEntry, AuditEvent, ChainEnd};
use crate::store::memory::{MemoryStore, State};
use crate::store::objects::{AuditQuery, AuditStore};
use crate::store::{AUDIT_DENIALS_MAX, PRUNE_ROWS_MAX, StoreFuture};

impl State {
    /// Appends durable records to the chain.
    pub(super) fn chain(&mut self, events: &[AuditEvent]) {
        for event in events {
            let end = self.entries.last().map_or_else(ChainEnd::default, |last| ChainEnd {
                sequence: last.sequence,
                hash: last.hash,
            });
            self.entries
                .push(AuditEntry::following(end.sequence, end.hash, event.clone()));
        }
    }

    pub(super) fn prune_denials(&mut self) -> u64 {
        let surplus = self.denials.len().saturating_sub(AUDIT_DENIALS_MAX as usize);
        let surplus = surplus.min(PRUNE_ROWS_MAX as usize);
        self.denials.drain(..surplus).count() as u64
    }
}

impl AuditStore for MemoryStore {
    fn audit_entries<'a>(&'a self, query: &'a AuditQuery) -> StoreFuture<'a, Vec<AuditEntry>> {
        self.run(move |state| {
            let is_asked_for = |entry: &&AuditEntry| {
                let AuditQuery {
                    after,
                    kinds,
                    since,
                    until,
                    limit: _,
                    descending,
                } = query;
                let is_later = if *descending {
                    *after == 0 || entry.sequence < *after
                } else {
                    entry.sequence > *after
                };
                is_later
                    && (kinds.is_empty() || kinds.iter().any(|kind| kind == entry.event.kind.as_str()))
                    && since.is_none_or(|since| entry.event.at >= since)
                    && until.is_none_or(|until| entry.event.at < until)
            };
            let limit = query.limit as usize;
            let entries = state.entries.iter();
            Ok(if query.descending {
                entries.rev().filter(is_asked_for).take(limit).cloned().collect()
            } else {
                entries.filter(is_asked_for).take(limit).cloned().collect()
            })
        })
    }
}
