//! The audit log: the chain, and the denials beside it.

use crate::audit::{self, AuditEntry, AuditEvent, AuditKind};
use crate::oauth::keyring::KeyState;
use crate::store::grants::GrantSelector;
use crate::store::objects::{AuditQuery, ObjectChange, ObjectKind, StoredObject, UserChange};
use crate::store::tests::directory::{user, user_id};
use crate::store::tests::grants::{grant, grant_id};
use crate::store::tests::{Tested, at, event, key, memory, server, stores, token};
use crate::store::{AUDIT_DENIALS_MAX, Changed, KeyChange, Store};

async fn entries(store: &dyn Store, query: AuditQuery) -> Vec<AuditEntry> {
    let query = AuditQuery {
        limit: if query.limit == 0 { 1000 } else { query.limit },
        ..query
    };
    store.audit_entries(&query).await.expect("reads")
}

fn sequences(entries: &[AuditEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

#[tokio::test]
async fn case_155_every_change_of_state_is_chained_with_its_records_and_a_denial_is_not() {
    let one = |kind| [event(kind, Some("e-1"))];
    for Tested { name, store, .. } in &stores().await {
        store
            .revoke(&token("t", 100), &one(AuditKind::TokenRevoked)[0])
            .await
            .expect("writes");
        let insert = [KeyChange::Insert(key("a", KeyState::Active))];
        let rolled = store
            .change_keys(&server(), &insert, &one(AuditKind::KeyRollover))
            .await;
        assert_eq!(rolled.expect("writes"), Changed::Done, "{name}");
        let made = ObjectChange::Insert(StoredObject {
            kind: ObjectKind::Client,
            id: "app".to_owned(),
            revision: 1,
            body: serde_json::json!({}),
            created_at: at(1),
            updated_at: at(1),
        });
        let made = store.change_objects(&[made], &[], &one(AuditKind::ClientCreated)).await;
        assert_eq!(made.expect("writes"), Changed::Done, "{name}");
        let anna = UserChange::Insert(user("u1", "anna"));
        let made = store.change_user(&anna, &[], &one(AuditKind::UserCreated)).await;
        assert_eq!(made.expect("writes"), Changed::Done, "{name}");
        let added = one(AuditKind::MembershipAdded);
        store
            .set_membership(&user_id("u1"), "tellers", true, &added)
            .await
            .expect("writes");
        store.append_audit(&one(AuditKind::AccessDenied)).await.expect("writes");
        store.insert_grant(&grant("g1")).await.expect("writes");
        let which = GrantSelector::One(grant_id("g1"));
        let records = [
            event(AuditKind::RefreshReuseDetected, None),
            event(AuditKind::GrantRevoked, None),
        ];
        let ended = store.revoke_grants(&which, at(9), &[], &records).await.expect("writes");
        assert_eq!(ended, [grant_id("g1")], "{name}");

        let log = entries(&**store, AuditQuery::default()).await;
        let kinds: Vec<AuditKind> = log.iter().map(|entry| entry.event.kind).collect();
        let expected = [
            AuditKind::TokenRevoked,
            AuditKind::KeyRollover,
            AuditKind::ClientCreated,
            AuditKind::UserCreated,
            AuditKind::MembershipAdded,
            AuditKind::RefreshReuseDetected,
            AuditKind::GrantRevoked,
        ];
        assert_eq!(kinds, expected, "{name}");
        assert_eq!(sequences(&log), [1, 2, 3, 4, 5, 6, 7], "{name}");
        assert_eq!(log[6].event, records[1], "{name}");
        assert_eq!(audit::verify(&log).map(|end| end.hash), Ok(log[6].hash), "{name}");

        let of_error = store.audit_of_error("e-1").await.expect("reads");
        assert_eq!(of_error.len(), 6, "{name}");
        assert_eq!(of_error[0].kind, AuditKind::AccessDenied, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_many_at_once_make_one_chain() {
    for Tested { name, store, .. } in &stores().await {
        let callers: Vec<_> = (0..30)
            .map(|caller| {
                let store = store.clone();
                tokio::spawn(async move {
                    let fact = token(&format!("t{caller}"), 100);
                    store.revoke(&fact, &event(AuditKind::TokenRevoked, None)).await
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic").expect("writes");
        }
        let log = entries(&**store, AuditQuery::default()).await;
        assert_eq!(audit::verify(&log).map(|end| end.sequence), Ok(30), "{name}");
    }
}

#[tokio::test]
async fn entries_are_found_by_every_condition_of_a_query() {
    let all = AuditQuery::default;
    let kinds = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let revoked = AuditKind::TokenRevoked.as_str();
    for Tested { name, store, .. } in &stores().await {
        for (number, second) in (0_i64..).zip([10, 20, 30, 20, 40]) {
            let kind = if number % 2 == 0 {
                AuditKind::TokenRevoked
            } else {
                AuditKind::GrantRevoked
            };
            let event = AuditEvent {
                at: at(second),
                ..event(kind, None)
            };
            store.revoke(&token("t", 100), &event).await.expect("writes");
        }
        let find = async |query| sequences(&entries(&**store, query).await);
        assert_eq!(find(all()).await, [1, 2, 3, 4, 5], "{name}");
        assert_eq!(find(AuditQuery { after: 3, ..all() }).await, [4, 5], "{name}");
        assert_eq!(find(AuditQuery { limit: 2, ..all() }).await, [1, 2], "{name}");
        let newest = AuditQuery {
            descending: true,
            limit: 2,
            ..all()
        };
        assert_eq!(find(newest.clone()).await, [5, 4], "{name}");
        assert_eq!(find(AuditQuery { after: 4, ..newest }).await, [3, 2], "{name}");
        let since = AuditQuery {
            since: Some(at(20)),
            until: Some(at(40)),
            ..all()
        };
        assert_eq!(find(since.clone()).await, [2, 3, 4], "{name}");
        let of_kind = AuditQuery {
            kinds: kinds(&[revoked, "no.such.kind"]),
            ..since
        };
        assert_eq!(find(of_kind).await, [3], "{name}");
        let injected = AuditQuery {
            kinds: kinds(&["') OR ('1'='1"]),
            ..all()
        };
        assert!(find(injected).await.is_empty(), "{name}");
    }
}

#[tokio::test]
async fn only_the_newest_denials_are_kept() {
    let Tested { store, .. } = memory();
    let many = vec![event(AuditKind::AccessDenied, Some("old")); AUDIT_DENIALS_MAX as usize];
    store.append_audit(&many).await.expect("writes");
    let new = [
        event(AuditKind::AccessDenied, Some("new")),
        event(AuditKind::AccessDenied, Some("new")),
    ];
    store.append_audit(&new).await.expect("writes");
    let kept = async |error_id| store.audit_of_error(error_id).await.expect("reads").len();
    assert_eq!(kept("old").await, many.len() - 2);
    assert_eq!(kept("new").await, 2);
}

#[tokio::test]
async fn an_error_id_leads_to_its_audit_record() {
    for Tested { name, store, .. } in &stores().await {
        let denied = event(AuditKind::AccessDenied, Some("e-1"));
        let other = event(AuditKind::AccessDenied, Some("e-2"));
        store.append_audit(&[denied.clone(), other]).await.expect("writes");
        assert_eq!(store.audit_of_error("e-1").await.expect("reads"), [denied], "{name}");
        assert_eq!(
            store.audit_of_error("e-1' OR '1'='1").await.expect("reads"),
            [],
            "{name}"
        );
    }
}
