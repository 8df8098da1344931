//! Signing keys.

use std::time::Duration;

use crate::model::id::Kid;
use crate::oauth::keyring::KeyState;
use crate::store::tests::{Tested, at, key, server, stores};
use crate::store::{Changed, KeyChange, Store};

async fn states(store: &dyn Store) -> Vec<(String, KeyState)> {
    let keys = store.keys(&server()).await.expect("reads");
    let mut states: Vec<_> = keys
        .iter()
        .map(|key| (key.record.kid.to_string(), key.record.state))
        .collect();
    states.sort();
    states
}

#[tokio::test]
async fn keys_change_all_together_or_not_at_all() {
    for Tested { name, store, .. } in &stores().await {
        let insert = [
            KeyChange::Insert(key("a", KeyState::Active)),
            KeyChange::Insert(key("b", KeyState::Next)),
        ];
        assert_eq!(
            store.change_keys(&server(), &insert, &[]).await.expect("writes"),
            Changed::Done,
            "{name}"
        );
        assert_eq!(
            store.keys(&server()).await.expect("reads")[0],
            key("a", KeyState::Active),
            "{name}"
        );
        let enter = |kid: &str, from, to| KeyChange::Enter {
            kid: Kid::parse(kid).expect("valid"),
            from,
            to,
            at: at(99),
        };
        let rotate = [
            enter("a", KeyState::Active, KeyState::Expired),
            enter("b", KeyState::Next, KeyState::Active),
            KeyChange::Insert(key("c", KeyState::Next)),
        ];
        assert_eq!(
            store.change_keys(&server(), &rotate, &[]).await.expect("writes"),
            Changed::Done,
            "{name}"
        );
        let rotated = states(&**store).await;
        assert_eq!(
            rotated,
            [
                ("a".to_owned(), KeyState::Expired),
                ("b".to_owned(), KeyState::Active),
                ("c".to_owned(), KeyState::Next)
            ],
            "{name}"
        );
        // A second node that decided upon the same state comes too late, and changes nothing.
        let late = [
            KeyChange::Insert(key("d", KeyState::Next)),
            enter("a", KeyState::Active, KeyState::Expired),
        ];
        assert_eq!(
            store.change_keys(&server(), &late, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let second_active = [KeyChange::Insert(key("e", KeyState::Active))];
        assert_eq!(
            store
                .change_keys(&server(), &second_active, &[])
                .await
                .expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let promoted = [enter("c", KeyState::Next, KeyState::Active)];
        assert_eq!(
            store.change_keys(&server(), &promoted, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let remove = [KeyChange::Remove {
            kid: Kid::parse("a").expect("valid"),
            from: KeyState::Next,
        }];
        assert_eq!(
            store.change_keys(&server(), &remove, &[]).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        assert_eq!(states(&**store).await, rotated, "{name}");
    }
}

#[tokio::test]
async fn the_longest_lifetime_only_grows_and_only_for_keys_that_may_sign() {
    for Tested { name, store, .. } in &stores().await {
        let insert = [
            KeyChange::Insert(key("a", KeyState::Active)),
            KeyChange::Insert(key("b", KeyState::Next)),
            KeyChange::Insert(key("c", KeyState::Expired)),
        ];
        assert_eq!(
            store.change_keys(&server(), &insert, &[]).await.expect("writes"),
            Changed::Done
        );
        for lifetime in [900, 60] {
            store
                .raise_lifetime(&server(), Duration::from_secs(lifetime))
                .await
                .expect("writes");
        }
        let keys = store.keys(&server()).await.expect("reads");
        let lifetimes: Vec<u64> = keys.iter().map(|key| key.record.lifetime_max.as_secs()).collect();
        assert_eq!(lifetimes, [900, 900, 600], "{name}");
    }
}
