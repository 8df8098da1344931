//! How far everything has come, and what holds for the database as a whole.

use crate::audit::AuditKind;
use crate::model::id::Kid;
use crate::oauth::keyring::KeyState;
use crate::store::nodes::Heads;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::store::tests::{Tested, at, event, key, server, stores, token};
use crate::store::{Changed, KeyChange};

#[tokio::test]
async fn each_change_moves_the_head_of_its_kind_on_and_no_other() {
    for Tested { name, store, .. } in &stores().await {
        let start = store.heads().await.expect("reads");
        assert_eq!(start, Heads::default(), "{name}");

        let cursor = store
            .revoke(&token("t", 100), &event(AuditKind::TokenRevoked, None))
            .await
            .expect("writes");
        let revoked = store.heads().await.expect("reads");
        assert_eq!(
            revoked,
            Heads {
                revocations: cursor,
                ..start
            },
            "{name}"
        );

        let changes = [
            KeyChange::Insert(key("a", KeyState::Active)),
            KeyChange::Enter {
                kid: Kid::parse("a").expect("valid"),
                from: KeyState::Active,
                to: KeyState::Expired,
                at: at(30),
            },
            KeyChange::Remove {
                kid: Kid::parse("a").expect("valid"),
                from: KeyState::Expired,
            },
        ];
        let mut before = revoked;
        for change in changes {
            let done = store.change_keys(&server(), &[change], &[]).await.expect("writes");
            assert_eq!(done, Changed::Done, "{name}");
            let heads = store.heads().await.expect("reads");
            assert!(heads.keys > before.keys, "{name}");
            assert_eq!(
                heads,
                Heads {
                    keys: heads.keys,
                    ..before
                },
                "{name}"
            );
            before = heads;
        }

        let object = ObjectChange::Insert(StoredObject {
            kind: ObjectKind::Group,
            id: "staff".to_owned(),
            revision: 1,
            body: serde_json::json!({}),
            created_at: at(1),
            updated_at: at(1),
        });
        let done = store.change_objects(&[object], &[], &[]).await.expect("writes");
        assert_eq!(done, Changed::Done, "{name}");
        let objects = store.objects_generation().await.expect("reads");
        assert_eq!(
            store.heads().await.expect("reads"),
            Heads { objects, ..before },
            "{name}"
        );

        // What is forgotten leaves the head where it was.
        store.prune(at(1_000_000)).await.expect("prunes");
        assert_eq!(store.heads().await.expect("reads").revocations, cursor, "{name}");
    }
}

#[tokio::test]
async fn of_what_is_kept_for_the_whole_database_the_first_one_stays() {
    for Tested { name, store, .. } in &stores().await {
        assert_eq!(store.meta("check").await.expect("reads"), None, "{name}");
        assert_eq!(
            store.keep_meta("check", &[1, 0, 2]).await.expect("writes"),
            [1, 0, 2],
            "{name}"
        );
        assert_eq!(
            store.keep_meta("check", &[3]).await.expect("writes"),
            [1, 0, 2],
            "{name}"
        );
        assert_eq!(store.meta("check").await.expect("reads"), Some(vec![1, 0, 2]), "{name}");
        assert_eq!(store.meta("other").await.expect("reads"), None, "{name}");
    }
}
