//! Objects of the administration.

use serde_json::{Value, json};

use crate::audit::{self, AuditKind};
use crate::revocation::Revocation;
use crate::store::objects::UserChange;
use crate::store::objects::{AuditQuery, ObjectChange, ObjectKind, StoredObject};
use crate::store::tests::directory::user;
use crate::store::tests::{Tested, at, event, server, stores};
use crate::store::{Changed, Cursor, Store};

fn object(kind: ObjectKind, id: &str, revision: i64, body: Value) -> StoredObject {
    StoredObject {
        kind,
        id: id.to_owned(),
        revision,
        body,
        created_at: at(10),
        updated_at: at(10),
    }
}

fn replace(id: &str, from: i64, body: Value) -> ObjectChange {
    ObjectChange::Replace {
        kind: ObjectKind::Client,
        id: id.to_owned(),
        from,
        body,
        at: at(20),
    }
}

fn remove(kind: ObjectKind, id: &str, from: i64) -> ObjectChange {
    ObjectChange::Remove {
        kind,
        id: id.to_owned(),
        from,
    }
}

async fn change(store: &dyn Store, changes: &[ObjectChange]) -> Changed {
    store.change_objects(changes, &[], &[]).await.expect("answers")
}

#[tokio::test]
async fn objects_change_if_nobody_was_first_and_are_kept_apart_by_kind() {
    let (client, group) = (ObjectKind::Client, ObjectKind::Group);
    let odd = "'; DROP TABLE object; --";
    for Tested { name, store, .. } in &stores().await {
        let insert = [
            ObjectChange::Insert(object(client, odd, 7, json!({ "n": 1 }))),
            ObjectChange::Insert(object(client, "b", 1, json!([0.1, "é\u{0}"]))),
            ObjectChange::Insert(object(group, odd, 1, json!(null))),
        ];
        assert_eq!(change(&**store, &insert).await, Changed::Done, "{name}");
        // A new object is of revision 1, whatever it says of itself.
        let clients = [
            object(client, odd, 1, json!({ "n": 1 })),
            object(client, "b", 1, json!([0.1, "é\u{0}"])),
        ];
        assert_eq!(store.objects(client).await.expect("reads"), clients, "{name}");
        assert_eq!(
            store.objects(group).await.expect("reads"),
            [object(group, odd, 1, json!(null))],
            "{name}"
        );
        assert_eq!(
            store.objects(ObjectKind::RoleBinding).await.expect("reads"),
            [],
            "{name}"
        );

        assert_eq!(
            change(&**store, &[replace("b", 1, json!(2))]).await,
            Changed::Done,
            "{name}"
        );
        let replaced = StoredObject {
            updated_at: at(20),
            ..object(client, "b", 2, json!(2))
        };
        assert_eq!(store.objects(client).await.expect("reads")[1], replaced, "{name}");

        let late = [
            replace("b", 1, json!(3)),
            replace("c", 1, json!(3)),
            remove(client, "b", 1),
            remove(client, "c", 1),
            ObjectChange::Insert(object(client, "b", 1, json!(3))),
        ];
        for one in late {
            assert_eq!(change(&**store, &[one]).await, Changed::Overtaken, "{name}");
        }
        assert_eq!(
            change(&**store, &[remove(client, "b", 2)]).await,
            Changed::Done,
            "{name}"
        );
        assert_eq!(store.objects(client).await.expect("reads"), clients[..1], "{name}");
    }
}

#[tokio::test]
async fn objects_change_all_together_with_facts_and_records_or_not_at_all() {
    let client = ObjectKind::Client;
    let facts = [Revocation::Server {
        server: server(),
        before: at(5),
    }];
    let records = [
        event(AuditKind::ClientCreated, None),
        event(AuditKind::ServerDeactivated, Some("e-7")),
    ];
    for Tested { name, store, .. } in &stores().await {
        let generation = async || store.objects_generation().await.expect("reads");
        let before = generation().await;
        let half = [
            ObjectChange::Insert(object(client, "a", 1, json!(1))),
            replace("b", 1, json!(2)),
        ];
        let overtaken = store.change_objects(&half, &facts, &records).await.expect("answers");
        assert_eq!(overtaken, Changed::Overtaken, "{name}");
        assert_eq!(store.objects(client).await.expect("reads"), [], "{name}");
        assert_eq!(
            store.revocations_after(Cursor::default(), 9).await.expect("reads"),
            [],
            "{name}"
        );
        assert_eq!(store.audit_of_error("e-7").await.expect("reads"), [], "{name}");
        assert_eq!(generation().await, before, "{name}");

        let whole = [
            ObjectChange::Insert(object(client, "a", 1, json!(1))),
            replace("a", 1, json!(2)),
        ];
        let done = store.change_objects(&whole, &facts, &records).await.expect("writes");
        assert_eq!(done, Changed::Done, "{name}");
        assert_eq!(store.objects(client).await.expect("reads")[0].revision, 2, "{name}");
        assert_eq!(
            store.revocations_after(Cursor::default(), 9).await.expect("reads")[0].1,
            facts[0],
            "{name}"
        );
        let query = AuditQuery {
            limit: 9,
            ..AuditQuery::default()
        };
        let entries = store.audit_entries(&query).await.expect("reads");
        assert_eq!(
            entries.iter().map(|entry| &entry.event).collect::<Vec<_>>(),
            records.each_ref(),
            "{name}"
        );
        assert_eq!(audit::verify(&entries).map(|end| end.sequence), Ok(2), "{name}");
        assert!(generation().await > before, "{name}");
    }
}

#[tokio::test]
async fn a_group_that_is_removed_takes_its_memberships_with_it() {
    for Tested { name, store, .. } in &stores().await {
        let anna = user("u1", "anna");
        let made = store
            .change_user(&UserChange::Insert(anna.clone()), &[], &[])
            .await
            .expect("writes");
        assert_eq!(made, Changed::Done, "{name}");
        let groups = ["g1", "g2"].map(|id| ObjectChange::Insert(object(ObjectKind::Group, id, 1, json!({}))));
        assert_eq!(change(&**store, &groups).await, Changed::Done, "{name}");
        for group in ["g1", "g2"] {
            store.set_membership(&anna.id, group, true, &[]).await.expect("writes");
        }
        // An overtaken removal takes nothing.
        assert_eq!(
            change(&**store, &[remove(ObjectKind::Group, "g1", 9)]).await,
            Changed::Overtaken,
            "{name}"
        );
        assert_eq!(store.groups_of(&anna.id).await.expect("reads"), ["g1", "g2"], "{name}");
        assert_eq!(
            change(&**store, &[remove(ObjectKind::Group, "g1", 1)]).await,
            Changed::Done,
            "{name}"
        );
        assert_eq!(store.groups_of(&anna.id).await.expect("reads"), ["g2"], "{name}");
    }
}
