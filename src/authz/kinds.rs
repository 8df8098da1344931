//! What cached tokens have in common, kept once for all of them.
//!
//! Tokens of one client with the same scopes differ in subject, times and `jti`; the rest is half of what they say. A
//! kind lives for as long as a token of it does. The token that brings a kind pays for it in the cache's account, the
//! others share it: what the account can miss is [`KIND_BYTES_MAX`] for a token whose bringer was pushed out before it.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::policy::caller::{Common, TokenFacts};

/// The largest kind that is shared. Larger ones are each token's own, in the account too.
const KIND_BYTES_MAX: usize = 2048;

/// How many kinds there are at least before the dead ones are looked for.
const KINDS_MIN: usize = 64;

/// The kinds of tokens that are known.
#[derive(Debug)]
pub(crate) struct Kinds(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// Hashed fast, under a key of this process: a kind is a dozen texts, and only what a trusted issuer
    /// has signed or answered for comes here.
    kinds: HashSet<Arc<Common>, RandomState>,
    /// At how many of them dead ones are looked for: twice the living, so that each new one pays for a look at two.
    full: usize,
}

impl Default for Kinds {
    fn default() -> Self {
        Self(Mutex::new(Known {
            kinds: HashSet::default(),
            full: KINDS_MIN,
        }))
    }
}

impl Kinds {
    /// The same facts, with what they have in common with others held once; and how many bytes they add.
    pub(crate) fn share(&self, facts: TokenFacts) -> (TokenFacts, usize) {
        let own = facts.own_bytes();
        let kind = facts.common();
        let bytes = kind.bytes();
        if bytes > KIND_BYTES_MAX {
            return (facts, own + bytes);
        }
        let mut known = self.0.lock();
        if let Some(kind) = known.kinds.get(kind).cloned() {
            drop(known);
            return (facts.sharing(kind), own);
        }
        if known.kinds.len() >= known.full {
            known.kinds.retain(|kind| Arc::strong_count(kind) > 1);
            known.full = KINDS_MIN.max(2 * known.kinds.len());
        }
        known.kinds.insert(Arc::clone(kind));
        drop(known);
        (facts, own + bytes)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::id::{AuthorizationServerId, Issuer};
    use crate::model::time::Timestamp;
    use crate::policy::caller::ClaimNames;
    use crate::policy::claims::Provenance;

    fn facts(client: &str, subject: usize) -> TokenFacts {
        let provenance = Provenance {
            server: AuthorizationServerId::parse("bank").expect("valid"),
            issued_as: None,
            issuer: Issuer::parse("https://bank.example").expect("valid"),
            kid: None,
            expires_at: Timestamp::from_unix_seconds(1_800_000_000),
        };
        let claims = json!({"sub": subject.to_string(), "client_id": client, "scope": "read write"});
        let claims = claims.as_object().expect("an object").clone();
        TokenFacts::read(provenance, &ClaimNames::default(), claims).expect("good claims")
    }

    #[test]
    fn tokens_of_a_kind_share_it_and_the_first_pays() {
        let kinds = Kinds::default();
        let (first, paid) = kinds.share(facts("mobile", 1));
        let (second, less) = kinds.share(facts("mobile", 2));
        assert!(Arc::ptr_eq(first.common(), second.common()));
        assert_eq!((first.subject(), second.subject()), (Some("1"), Some("2")));
        assert_eq!(paid - less, first.common().bytes());
        let (other, _) = kinds.share(facts("batch", 3));
        assert!(!Arc::ptr_eq(first.common(), other.common()));
    }

    #[test]
    fn a_large_kind_is_each_tokens_own() {
        let kinds = Kinds::default();
        let large = "c".repeat(1000);
        let (first, paid) = kinds.share(facts(&large, 1));
        let (second, also) = kinds.share(facts(&large, 1));
        assert!(!Arc::ptr_eq(first.common(), second.common()));
        assert!(paid == also && paid > 2000, "{paid} {also}");
    }

    #[test]
    fn kinds_without_a_token_are_forgotten() {
        let kinds = Kinds::default();
        let living: Vec<_> = (0..10)
            .map(|client| kinds.share(facts(&format!("living-{client}"), 1)).0)
            .collect();
        for client in 0..10 * KINDS_MIN {
            drop(kinds.share(facts(&format!("gone-{client}"), 1)));
        }
        assert!(kinds.0.lock().kinds.len() <= KINDS_MIN + 1);
        for (client, facts_then) in living.iter().enumerate() {
            let (now, _) = kinds.share(facts(&format!("living-{client}"), 2));
            assert!(Arc::ptr_eq(now.common(), facts_then.common()), "{client}");
        }
    }
}
