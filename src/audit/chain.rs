//! The chain of the audit log: each entry holds the digest of the one before it.
//!
//! - Who changes, removes or moves an entry breaks the chain at that place, and [`verify`] names it.
//! - Who removes the newest entries leaves a chain that is whole: no chain can tell. Note the last
//!   sequence and digest elsewhere from time to time, and compare.
//! - The digest covers what the event says, not how a database spells it: objects by sorted names,
//!   every text with its length before it, so that no two events have one encoding.

use serde_json::Value;

use crate::audit::AuditEvent;
use crate::model::digest::Digest;
use crate::model::id::{AuthorizationServerId, ClientId};

/// What is digested first: another encoding will have another name.
const ENCODING: &[u8] = b"scopegate audit 1\n";

/// The digest that stands before the first entry.
pub const BEFORE_FIRST: [u8; 32] = [0; 32];

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place, counted from 1 without gaps.
    pub sequence: i64,
    /// What it says.
    pub event: AuditEvent,
    /// The digest of the entry before it; of nothing (32 zero bytes) for the first.
    pub previous: [u8; 32],
    /// Its own digest: `audit::chained(previous, sequence, event)`.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// The entry that comes after one with this sequence and digest.
    #[must_use]
    pub fn following(sequence: i64, hash: [u8; 32], event: AuditEvent) -> Self {
        let sequence = sequence.saturating_add(1);
        Self {
            hash: chained(&hash, sequence, &event),
            previous: hash,
            sequence,
            event,
        }
    }
}

/// Where the chain breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// An entry is not there.
    #[error("audit entry {0} is missing")]
    Missing(i64),
    /// An entry comes after a later one, or twice.
    #[error("audit entry {0} is out of order")]
    OutOfOrder(i64),
    /// An entry does not say what it said when it was written.
    #[error("audit entry {0} was changed")]
    Changed(i64),
    /// An entry is whole in itself, but was written after another one than stands before it.
    #[error("audit entry {0} does not follow from the one before it")]
    Unlinked(i64),
}

/// The end of a chain that was followed so far; a long log is verified in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// The last entry's place; 0 before the first.
    pub sequence: i64,
    /// The last entry's digest.
    pub hash: [u8; 32],
}

impl Default for ChainEnd {
    fn default() -> Self {
        Self {
            sequence: 0,
            hash: BEFORE_FIRST,
        }
    }
}

impl ChainEnd {
    /// Follows the chain by these entries, oldest first.
    ///
    /// # Errors
    /// [`ChainBreak`] names the first entry that is not what was written there.
    pub fn follow(mut self, entries: &[AuditEntry]) -> Result<Self, ChainBreak> {
        for entry in entries {
            let sequence = entry.sequence;
            match sequence.cmp(&self.sequence.saturating_add(1)) {
                std::cmp::Ordering::Greater => return Err(ChainBreak::Missing(self.sequence + 1)),
                std::cmp::Ordering::Less => return Err(ChainBreak::OutOfOrder(sequence)),
                std::cmp::Ordering::Equal => {}
            }
            if entry.hash != chained(&entry.previous, sequence, &entry.event) {
                return Err(ChainBreak::Changed(sequence));
            }
            if entry.previous != self.hash {
                return Err(ChainBreak::Unlinked(sequence));
            }
            self = Self {
                sequence,
                hash: entry.hash,
            };
        }
        Ok(self)
    }
}

/// Verifies a whole log, oldest entry first, and gives its end.
///
/// # Errors
/// [`ChainBreak`] names the first entry that is not what was written there.
pub fn verify(entries: &[AuditEntry]) -> Result<ChainEnd, ChainBreak> {
    ChainEnd::default().follow(entries)
}

/// The digest of an entry: SHA-256 of the digest before it, its place and what it says.
#[must_use]
pub fn chained(previous: &[u8; 32], sequence: i64, event: &AuditEvent) -> [u8; 32] {
    let AuditEvent {
        at,
        kind,
        server,
        client,
        error_id,
        actor,
        target,
        detail,
    } = event;
    let mut out = Encoder(ENCODING.to_vec());
    out.0.extend_from_slice(previous);
    out.number(sequence);
    out.number(at.unix_seconds());
    out.text(kind.as_str());
    out.optional(server.as_ref().map(AuthorizationServerId::as_str));
    out.optional(client.as_ref().map(ClientId::as_str));
    out.optional(error_id.as_deref());
    out.optional(actor.as_deref());
    out.optional(target.as_ref().map(|target| target.kind.as_str()));
    out.optional(target.as_ref().map(|target| target.id.as_str()));
    out.value(detail);
    *Digest::of(&out.0).as_bytes()
}

/// Writes values so that each has one spelling and none is the beginning of another.
struct Encoder(Vec<u8>);

impl Encoder {
    fn number(&mut self, number: i64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn length(&mut self, length: usize) {
        self.0.extend_from_slice(&(length as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.text(text);
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.0.push(b'0'),
            Value::Bool(is) => self.0.extend_from_slice(&[b'b', u8::from(*is)]),
            Value::Number(number) => {
                self.0.push(b'n');
                self.text(&number.to_string());
            }
            Value::String(text) => {
                self.0.push(b's');
                self.text(text);
            }
            Value::Array(items) => {
                self.0.push(b'a');
                self.length(items.len());
                for item in items {
                    self.value(item);
                }
            }
            Value::Object(members) => {
                // Sorted here: whether the map keeps an order of its own is a switch of its crate.
                let mut members: Vec<_> = members.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                self.0.push(b'o');
                self.length(members.len());
                for (name, member) in members {
                    self.text(name);
                    self.value(member);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::json;

    use super::*;
    use crate::audit::{AuditKind, AuditTarget};
    use crate::model::time::Timestamp;

    fn event(at: i64, detail: Value) -> AuditEvent {
        AuditEvent {
            at: Timestamp::from_unix_seconds(at),
            kind: AuditKind::KeyRollover,
            server: None,
            client: None,
            error_id: None,
            actor: None,
            target: None,
            detail,
        }
    }

    fn log(length: i64) -> Vec<AuditEntry> {
        let mut entries: Vec<AuditEntry> = Vec::new();
        for at in 0..length {
            let (sequence, hash) = entries
                .last()
                .map_or((0, BEFORE_FIRST), |last| (last.sequence, last.hash));
            entries.push(AuditEntry::following(
                sequence,
                hash,
                event(at, json!({ "number": at })),
            ));
        }
        entries
    }

    #[test]
    fn a_log_as_it_was_written_verifies_whole_and_in_parts() {
        let entries = log(9);
        let end = verify(&entries).expect("whole");
        assert_eq!((end.sequence, end.hash), (9, entries[8].hash));
        let half = verify(&entries[..4]).expect("whole");
        assert_eq!(half.follow(&entries[4..]), Ok(end));
        assert_eq!(verify(&[]), Ok(ChainEnd::default()));
    }

    #[test]
    fn case_155_the_chain_breaks_where_an_entry_was_changed_removed_moved_or_put_in() {
        let mut changed = log(9);
        changed[4].event.actor = Some("somebody else".to_owned());
        assert_eq!(verify(&changed), Err(ChainBreak::Changed(5)));

        // Who changes an entry with its digest breaks the link of the next one.
        changed[4].hash = chained(&changed[4].previous, 5, &changed[4].event);
        assert_eq!(verify(&changed), Err(ChainBreak::Unlinked(6)));

        let mut removed = log(9);
        removed.remove(0);
        assert_eq!(verify(&removed), Err(ChainBreak::Missing(1)));
        let mut removed = log(9);
        removed.remove(4);
        assert_eq!(verify(&removed), Err(ChainBreak::Missing(5)));
        // The rest numbered anew to hide the gap:
        for entry in &mut removed[4..] {
            entry.sequence -= 1;
        }
        assert_eq!(verify(&removed), Err(ChainBreak::Changed(5)));

        let mut moved = log(9);
        moved.swap(2, 6);
        assert_eq!(verify(&moved), Err(ChainBreak::Missing(3)));
        let mut twice = log(9);
        twice.insert(3, twice[2].clone());
        assert_eq!(verify(&twice), Err(ChainBreak::OutOfOrder(3)));

        let mut another_beginning = log(2);
        another_beginning[0].previous = [1; 32];
        another_beginning[0].hash = chained(&[1; 32], 1, &another_beginning[0].event);
        assert_eq!(verify(&another_beginning), Err(ChainBreak::Unlinked(1)));
    }

    #[test]
    fn no_two_events_have_one_digest_and_the_order_of_names_does_not_count() {
        let text = |text: &str| Some(text.to_owned());
        let target = |kind: &str, id: &str| AuditTarget {
            kind: kind.to_owned(),
            id: id.to_owned(),
        };
        let plain = event(1, Value::Null);
        let all = [
            plain.clone(),
            event(2, Value::Null),
            event(1, json!(false)),
            event(1, json!(0)),
            event(1, json!("0")),
            event(1, json!([])),
            event(1, json!({})),
            event(1, json!(["a", "b"])),
            event(1, json!([["a"], "b"])),
            event(1, json!(["ab"])),
            event(1, json!({ "a": "b" })),
            AuditEvent {
                kind: AuditKind::KeyRevoked,
                ..plain.clone()
            },
            AuditEvent {
                error_id: text("x"),
                ..plain.clone()
            },
            AuditEvent {
                actor: text("x"),
                ..plain.clone()
            },
            AuditEvent {
                actor: text(""),
                ..plain.clone()
            },
            AuditEvent {
                target: Some(target("ab", "c")),
                ..plain.clone()
            },
            AuditEvent {
                target: Some(target("a", "bc")),
                ..plain.clone()
            },
            AuditEvent {
                server: Some(AuthorizationServerId::parse("x").expect("valid")),
                ..plain.clone()
            },
            AuditEvent {
                client: Some(ClientId::parse("x").expect("valid")),
                ..plain.clone()
            },
        ];
        let digests: HashSet<_> = all.iter().map(|event| chained(&BEFORE_FIRST, 1, event)).collect();
        assert_eq!(digests.len(), all.len());
        assert!(!digests.contains(&chained(&BEFORE_FIRST, 2, &plain)));
        assert!(!digests.contains(&chained(&[1; 32], 1, &plain)));

        let read: Value = serde_json::from_str(r#"{"b":1.5,"a":{"d":[1],"c":2}}"#).expect("JSON");
        let written = json!({ "a": { "c": 2, "d": [1] }, "b": 1.5 });
        assert_eq!(
            chained(&BEFORE_FIRST, 1, &event(1, read)),
            chained(&BEFORE_FIRST, 1, &event(1, written))
        );
    }
}
