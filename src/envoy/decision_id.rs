//! The id that a denial's body, the dynamic metadata and the decision log share.
//!
//! A prefix that is random for each worker of each process, and a counter: unique without a look at any clock or random
//! source on the check path. It tells the client nothing but that two checks came one after the other.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::entropy;

const PREFIX_BYTES: usize = 8;
const LENGTH_MAX: usize = 2 * PREFIX_BYTES + 1 + 16;

/// Gives out ids.
#[derive(Debug)]
pub struct DecisionIds {
    prefix: [u8; 2 * PREFIX_BYTES],
    next: AtomicU64,
}

/// One id: lower-case hexadecimal digits and a hyphen.
#[derive(Debug, Clone, Copy)]
pub struct DecisionId {
    text: [u8; LENGTH_MAX],
    length: usize,
}

impl DecisionIds {
    /// A source with a prefix of its own.
    #[must_use]
    pub fn new() -> Self {
        let mut prefix = [0; 2 * PREFIX_BYTES];
        for (digits, byte) in prefix.chunks_exact_mut(2).zip(entropy::random_bytes::<PREFIX_BYTES>()) {
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self {
            prefix,
            next: AtomicU64::new(1),
        }
    }

    /// The next id.
    pub fn next(&self) -> DecisionId {
        let mut id = DecisionId {
            text: [b'-'; LENGTH_MAX],
            length: self.prefix.len() + 1,
        };
        id.text[..self.prefix.len()].copy_from_slice(&self.prefix);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let digits = (64 - number.leading_zeros()).div_ceil(4).max(1);
        for place in (0..digits).rev() {
            id.text[id.length] = digit((number >> (4 * place)).to_le_bytes()[0] & 15);
            id.length += 1;
        }
        id
    }
}

impl Default for DecisionIds {
    fn default() -> Self {
        Self::new()
    }
}

impl DecisionId {
    /// The id's text.
    ///
    /// # Panics
    /// Never: it is made of ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.length]).expect("made of ASCII above")
    }
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value & 15)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_on_behind_a_prefix_of_their_own() {
        let ids = DecisionIds::new();
        let (first, second) = (ids.next(), ids.next());
        let (prefix, one) = first.as_str().split_once('-').expect("has a hyphen");
        assert_eq!((prefix.len(), one), (16, "1"));
        assert_eq!(second.as_str(), format!("{prefix}-2"));
        ids.next.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(ids.next().as_str(), format!("{prefix}-ffffffffffffffff"));
        assert!(!DecisionIds::new().next().as_str().starts_with(prefix));
    }
}
