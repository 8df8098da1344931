//! The audit log in memory: the chain, and the denials beside it.

use crate::audit::{AuditEntry, AuditEvent, ChainEnd};
use crate::store::memory::{MemoryStore, State};
use crate::store::objects::{AuditQuery, AuditStore};
use crate::store::{AUDIT_DENIALS_MAX, StoreFuture};

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

    /// Keeps denials, and as many of them as are to be kept.
    pub(super) fn deny(&mut self, events: &[AuditEvent]) {
        self.denials.extend_from_slice(events);
        let surplus = self.denials.len().saturating_sub(AUDIT_DENIALS_MAX as usize);
        self.denials.drain(..surplus);
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
