//! What cached tokens have in common, kept once for all of them.
//!
//! Tokens of one client with the same scopes differ in subject, times and `jti`; the rest is half of what they say. A
//! kind lives for as long as a token of it does. A token is recognised before it is laid out. The one that brings a kind
//! pays for it in the cache's account, the others share it: what the account can miss is [`KIND_BYTES_MAX`] for a token
//! whose bringer was pushed out before it.

use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::IndexSet;
use parking_lot::Mutex;

use crate::policy::caller::{Common, TokenFacts};
use crate::policy::claims::{Statement, Unreadable};

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
    /// has signed or answered for comes here. Found by what a token states, before it is laid out.
    kinds: IndexSet<Arc<Common>, RandomState>,
    /// At how many of them dead ones are looked for: twice the living, so that each new one pays for a look at two.
    full: usize,
}

impl Default for Kinds {
    fn default() -> Self {
        Self(Mutex::new(Known {
            kinds: IndexSet::default(),
            full: KINDS_MIN,
        }))
    }
}

impl Kinds {
    /// The facts that a token states, with what they have in common with others held once; and how many bytes they add.
    ///
    /// # Errors
    /// Those of [`Statement::lay_out`].
    pub(crate) fn share(&self, statement: &Statement<'_>) -> Result<(TokenFacts, usize), Unreadable> {
        let kind = self.0.lock().kinds.get(statement).cloned();
        if let Some(kind) = kind {
            let facts = statement.of_kind(kind);
            let own = facts.own_bytes();
            return Ok((facts, own));
        }
        let facts = statement.lay_out()?;
        let own = facts.own_bytes();
        let kind = facts.common();
        let bytes = kind.bytes();
        if bytes > KIND_BYTES_MAX {
            return Ok((facts, own + bytes));
        }
        let mut known = self.0.lock();
        // Another thread may have brought it, and not every kind is found by what its tokens state.
        if let Some(kind) = known.kinds.get(kind).cloned() {
            drop(known);
            return Ok((facts.sharing(kind), own));
        }
        if known.kinds.len() >= known.full {
            known.kinds.retain(|kind| Arc::strong_count(kind) > 1);
            known.full = KINDS_MIN.max(2 * known.kinds.len());
        }
        known.kinds.insert(Arc::clone(kind));
        drop(known);
        Ok((facts, own + bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher as _;

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::jose::object::Object;
    use crate::model::id::{AuthorizationServerId, Issuer, Kid};
    use crate::model::time::Timestamp;
    use crate::policy::caller::ClaimNames;
    use crate::policy::claims::Provenance;

    type Shared = Result<(TokenFacts, usize), Unreadable>;
    type Alone = Result<TokenFacts, Unreadable>;

    /// Server, what its issuer calls it, issuer, `kid`.
    type Origin = (&'static str, Option<&'static str>, &'static str, Option<&'static str>);

    const BANK: Origin = ("bank", None, "https://bank.example", None);

    /// Does something with what a token of this origin with these claims states.
    fn stated<T>(
        names: &ClaimNames,
        origin: Origin,
        claims: &Object,
        with: impl Fn(Result<Statement<'_>, Unreadable>) -> T,
    ) -> T {
        let id = |id| AuthorizationServerId::parse(id).expect("valid");
        let (server, issued_as, issuer, kid) = origin;
        let issued_as = issued_as.map(id);
        let kid = kid.map(|kid| Kid::parse(kid).expect("valid"));
        let provenance = Provenance {
            server: &id(server),
            issued_as: issued_as.as_ref(),
            issuer: &Issuer::parse(issuer).expect("valid"),
            kid: kid.as_ref(),
            expires_at: Timestamp::from_unix_seconds(1_800_000_000),
        };
        with(Statement::read(provenance, names, claims))
    }

    /// What such a token states, shared with others and laid out for itself.
    fn shared_and_alone(kinds: &Kinds, names: &ClaimNames, origin: Origin, claims: &Object) -> (Shared, Alone) {
        let shared = stated(names, origin, claims, |statement| kinds.share(&statement?));
        (shared, stated(names, origin, claims, |statement| statement?.lay_out()))
    }

    fn share(kinds: &Kinds, client: &str, subject: usize) -> (TokenFacts, usize) {
        let claims = json!({"sub": subject.to_string(), "client_id": client, "scope": "read write"});
        let claims = claims.as_object().expect("an object").clone().into();
        let (shared, _) = shared_and_alone(kinds, &ClaimNames::default(), BANK, &claims);
        shared.expect("good claims")
    }

    #[test]
    fn tokens_of_a_kind_share_it_and_the_first_pays() {
        let kinds = Kinds::default();
        let (first, paid) = share(&kinds, "mobile", 1);
        let (second, less) = share(&kinds, "mobile", 2);
        assert!(Arc::ptr_eq(first.common(), second.common()));
        assert_eq!((first.subject(), second.subject()), (Some("1"), Some("2")));
        assert_eq!(paid - less, first.common().bytes());
        let (other, _) = share(&kinds, "batch", 3);
        assert!(!Arc::ptr_eq(first.common(), other.common()));
    }

    #[test]
    fn a_large_kind_is_each_tokens_own() {
        let kinds = Kinds::default();
        let large = "c".repeat(1000);
        let (first, paid) = share(&kinds, &large, 1);
        let (second, also) = share(&kinds, &large, 1);
        assert!(!Arc::ptr_eq(first.common(), second.common()));
        assert!(paid == also && paid > 2000, "{paid} {also}");
    }

    #[test]
    fn kinds_without_a_token_are_forgotten() {
        let kinds = Kinds::default();
        let living: Vec<_> = (0..10)
            .map(|client| share(&kinds, &format!("living-{client}"), 1).0)
            .collect();
        for client in 0..10 * KINDS_MIN {
            drop(share(&kinds, &format!("gone-{client}"), 1));
        }
        assert!(kinds.0.lock().kinds.len() <= KINDS_MIN + 1);
        for (client, facts_then) in living.iter().enumerate() {
            let (now, _) = share(&kinds, &format!("living-{client}"), 2);
            assert!(Arc::ptr_eq(now.common(), facts_then.common()), "{client}");
        }
    }

    /// Few values and few names, so that many tokens are nearly of a kind that is known.
    fn token() -> impl Strategy<Value = (ClaimNames, Origin, Map<String, Value>)> {
        let value = prop_oneof![
            Just(json!("a")),
            Just(json!("b")),
            Just(json!("b a")),
            Just(json!(["b", "a"])),
            Just(json!(["a"])),
            Just(json!([])),
            Just(json!(["a", 1])),
            Just(json!(7)),
            Just(Value::Null),
            Just(json!({})),
        ];
        let origins = vec![
            BANK,
            ("shop", None, "https://bank.example", None),
            ("bank", Some("shop"), "https://bank.example", None),
            ("bank", None, "https://shop.example", None),
            ("bank", None, "https://bank.example", Some("key")),
        ];
        let names = || vec("client_id|cid|scope|scp|sub|own", 0..3);
        let names = (names(), names()).prop_map(|(client, scope)| ClaimNames { client, scope });
        let names = prop_oneof![2 => Just(ClaimNames::default()), 1 => names];
        (
            names,
            prop::sample::select(origins),
            btree_map("client_id|cid|azp|scope|scp|aud|sub|own|exp", value, 0..5),
        )
            .prop_map(|(names, origin, claims)| (names, origin, claims.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn what_a_token_says_is_the_same_whatever_kinds_are_known(tokens in vec(token(), 1..64)) {
            let kinds = Kinds::default();
            // Twice: each is known then, if it can be.
            for (names, origin, claims) in tokens.iter().chain(&tokens) {
                let (shared, alone) = shared_and_alone(&kinds, names, *origin, &claims.clone().into());
                let said = |facts: &TokenFacts| {
                    let claims = facts.claims();
                    let claims: Vec<_> = claims.names().map(|name| format!("{name}={:?}", claims.get(name))).collect();
                    let subject = facts.subject().map(str::to_owned);
                    (Arc::clone(facts.common()), subject, claims, facts.own_bytes())
                };
                prop_assert_eq!(shared.as_ref().map(|(facts, _)| said(facts)), alone.as_ref().map(said));
            }
        }
    }

    #[test]
    fn kinds_that_differ_in_the_name_of_a_claim_alone_hash_apart_and_as_their_tokens_do() {
        let (kinds, names) = (Kinds::default(), ClaimNames::default());
        let hash = |name: &str| {
            let claims = json!({"sub": "1", "client_id": "c", name: true});
            let claims = claims.as_object().expect("an object").clone().into();
            let (facts, _) = shared_and_alone(&kinds, &names, BANK, &claims).0.expect("good claims");
            let hashes = kinds.0.lock().kinds.hasher().clone();
            let of_token = stated(&names, BANK, &claims, |token| {
                hashes.hash_one(token.expect("good claims"))
            });
            assert_eq!(hashes.hash_one(facts.common()), of_token, "{name}");
            of_token
        };
        assert_ne!(hash("one"), hash("other"));
    }

    #[test]
    fn a_kind_is_recognised_by_what_its_tokens_state() {
        for (claims, is_recognised) in [
            (json!({"sub": "1", "client_id": "c", "scope": "a b"}), true),
            (json!({"sub": "1", "cid": "c", "scp": ["b", "a"]}), true),
            (json!({"sub": "1"}), true),
            (json!({"sub": "1", "client_id": "c", "cid": "d"}), true),
            // The scopes are none, and what says so is no text that tokens have in common.
            (json!({"sub": "1", "client_id": "c", "scope": null}), false),
            (json!({"sub": "1", "client_id": "c", "scope": "b a"}), true),
        ] {
            let kinds = Kinds::default();
            let claims: Object = claims.as_object().expect("an object").clone().into();
            let names = ClaimNames::default();
            let share = || {
                let (shared, _) = shared_and_alone(&kinds, &names, BANK, &claims);
                shared.expect("good claims").0
            };
            let (first, second) = (share(), share());
            assert!(Arc::ptr_eq(first.common(), second.common()), "{claims:?}");
            let is_known = stated(&names, BANK, &claims, |statement| {
                let statement = statement.expect("good claims");
                kinds.0.lock().kinds.contains(&statement)
            });
            assert_eq!(is_known, is_recognised, "{claims:?}");
        }
    }
}
