//! Grants: one winner of each rotation, and an end for all of a kind.

use serde_json::json;

use crate::audit::AuditKind;
use crate::model::digest::Digest;
use crate::model::id::{ClientId, GrantId, Subject, UserId};
use crate::model::scope::ScopeSet;
use crate::oauth::refresh::{GrantRecord, KeyBinding};
use crate::revocation::Revocation;
use crate::store::grants::{GrantSelector, OneTime, OneTimeKind, Rotated, Rotation, Used};
use crate::store::tests::{Tested, at, event, server, stores};
use crate::store::{Changed, Cursor, Store, StoreError};

pub(super) fn grant_id(id: &str) -> GrantId {
    GrantId::parse(id).expect("valid")
}

pub(super) fn grant(id: &str) -> GrantRecord {
    GrantRecord {
        id: grant_id(id),
        server: server(),
        client: ClientId::parse("app").expect("valid"),
        user: Some(UserId::parse("u1").expect("valid")),
        subject: Subject::parse("anna@bank.example").expect("valid"),
        scopes: ScopeSet::parse("transfers:read offline_access").expect("valid"),
        resources: vec!["https://api.bank.example/".to_owned()],
        auth_time: at(90),
        amr: vec!["pwd".to_owned()],
        acr: None,
        binding: None,
        created_at: at(100),
        expires_at: at(10_000),
        generation: 0,
        rotated_at: at(100),
        idle_expires_at: at(1_000),
        revoked_at: None,
    }
}

fn rotation(id: &GrantId, from: u32, now: i64) -> Rotation<'_> {
    Rotation {
        id,
        from,
        at: at(now),
        idle_expires_at: at(now + 900),
    }
}

fn of(server: Option<&str>, client: Option<&str>, user: Option<&str>) -> GrantSelector {
    GrantSelector::Where {
        server: server.map(|id| crate::model::id::AuthorizationServerId::parse(id).expect("valid")),
        client: client.map(|id| ClientId::parse(id).expect("valid")),
        user: user.map(|id| UserId::parse(id).expect("valid")),
    }
}

async fn live(store: &dyn Store, which: &GrantSelector) -> Vec<String> {
    let grants = store.grants(which, None, 100).await.expect("reads");
    grants.iter().map(|grant| grant.id.to_string()).collect()
}

#[tokio::test]
async fn a_grant_reads_back_as_it_was_given() {
    let plain = grant("g1");
    let bare = GrantRecord {
        id: grant_id("g2"),
        user: None,
        scopes: ScopeSet::default(),
        resources: Vec::new(),
        amr: Vec::new(),
        acr: Some("urn:\"strong\"".to_owned()),
        binding: Some(KeyBinding::Dpop(Digest::of(b"a key"))),
        ..grant("g2")
    };
    let revoked = GrantRecord {
        id: grant_id("g3"),
        binding: Some(KeyBinding::Certificate(Digest::of(b"a certificate"))),
        generation: u32::MAX,
        revoked_at: Some(at(-5)),
        ..grant("g3")
    };
    for Tested { name, store, .. } in &stores().await {
        for grant in [&plain, &bare, &revoked] {
            store.insert_grant(grant).await.expect("writes");
            let read = store.grant(&grant.id).await.expect("reads");
            assert_eq!(read.as_ref(), Some(grant), "{name}");
        }
        assert_eq!(store.grant(&grant_id("g4")).await.expect("reads"), None, "{name}");
        let taken = store
            .insert_grant(&GrantRecord {
                generation: 9,
                ..plain.clone()
            })
            .await;
        assert!(matches!(taken, Err(StoreError::Taken("grant"))), "{name}: {taken:?}");
        assert_eq!(
            store.grant(&plain.id).await.expect("reads").as_ref(),
            Some(&plain),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_rotation_has_one_winner_and_tells_the_others_what_is_now() {
    let id = grant_id("g1");
    for Tested { name, store, .. } in &stores().await {
        let unknown = store.rotate_grant(&rotation(&id, 0, 200)).await.expect("answers");
        assert_eq!(unknown, Rotated::Unknown, "{name}");
        store.insert_grant(&grant("g1")).await.expect("writes");
        let now = GrantRecord {
            generation: 1,
            rotated_at: at(200),
            idle_expires_at: at(1_100),
            ..grant("g1")
        };
        let first = store.rotate_grant(&rotation(&id, 0, 200)).await.expect("writes");
        assert_eq!(first, Rotated::Done(now.clone()), "{name}");
        for stale in [0, 2, u32::MAX] {
            let second = store.rotate_grant(&rotation(&id, stale, 201)).await.expect("answers");
            assert_eq!(second, Rotated::Overtaken(now.clone()), "{name}");
        }
        assert_eq!(store.grant(&id).await.expect("reads"), Some(now), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_f11_of_a_hundred_who_rotate_at_once_one_wins() {
    for Tested { name, store, .. } in &stores().await {
        store.insert_grant(&grant("g1")).await.expect("writes");
        for generation in 0..5 {
            let callers: Vec<_> = (0..100)
                .map(|_| {
                    let store = store.clone();
                    tokio::spawn(async move { store.rotate_grant(&rotation(&grant_id("g1"), generation, 200)).await })
                })
                .collect();
            let mut done = 0;
            for caller in callers {
                match caller.await.expect("no panic").expect("answers") {
                    Rotated::Done(grant) => {
                        done += 1;
                        assert_eq!(grant.generation, generation + 1, "{name}");
                    }
                    Rotated::Overtaken(grant) => assert_eq!(grant.generation, generation + 1, "{name}"),
                    Rotated::Unknown => panic!("{name}: the grant is there"),
                }
            }
            assert_eq!(done, 1, "{name}");
        }
    }
}

#[tokio::test]
async fn what_has_ended_does_not_rotate() {
    let over = |id: &str| GrantRecord {
        expires_at: at(500),
        ..grant(id)
    };
    let idle = |id: &str| GrantRecord {
        idle_expires_at: at(500),
        ..grant(id)
    };
    for Tested { name, store, .. } in &stores().await {
        let last = GrantRecord {
            generation: u32::MAX,
            ..grant("last")
        };
        for grant in [over("over"), idle("idle"), grant("revoked"), last.clone()] {
            store.insert_grant(&grant).await.expect("writes");
        }
        let which = GrantSelector::One(grant_id("revoked"));
        store.revoke_grants(&which, at(300), &[], &[]).await.expect("writes");
        for (id, now) in [("over", 500), ("idle", 500), ("revoked", 300), ("revoked", 200)] {
            let id = grant_id(id);
            let before = store.grant(&id).await.expect("reads").expect("it is there");
            let refused = store.rotate_grant(&rotation(&id, 0, now)).await.expect("answers");
            assert_eq!(refused, Rotated::Overtaken(before), "{name}: {id} at {now}");
        }
        for id in ["over", "idle"] {
            let id = grant_id(id);
            let rotated = store.rotate_grant(&rotation(&id, 0, 499)).await.expect("writes");
            assert!(matches!(rotated, Rotated::Done(_)), "{name}: {id}");
        }
        let id = last.id.clone();
        let refused = store
            .rotate_grant(&rotation(&id, u32::MAX, 200))
            .await
            .expect("answers");
        assert_eq!(refused, Rotated::Overtaken(last), "{name}");
    }
}

#[tokio::test]
async fn grants_of_a_kind_end_together_with_their_facts_and_records() {
    let other_server = crate::model::id::AuthorizationServerId::parse("cards").expect("valid");
    let other_client = ClientId::parse("'); DROP TABLE oauth_grant; --").expect("valid");
    let all = [
        grant("a"),
        GrantRecord {
            server: other_server,
            ..grant("b")
        },
        GrantRecord {
            client: other_client.clone(),
            ..grant("c")
        },
        GrantRecord {
            user: None,
            ..grant("d")
        },
        GrantRecord {
            user: Some(UserId::parse("u2").expect("valid")),
            ..grant("e")
        },
    ];
    let selected = [
        (of(None, None, None), "abcde"),
        (of(Some("transfers"), None, None), "acde"),
        (of(None, Some("app"), None), "abde"),
        (of(None, None, Some("u1")), "abc"),
        (of(Some("cards"), Some("app"), Some("u1")), "b"),
        (of(None, Some("app"), Some("u1")), "ab"),
        (of(Some("transfers"), Some("app"), None), "ade"),
        (of(Some("transfers"), None, Some("u1")), "ac"),
        (of(None, Some(other_client.as_str()), None), "c"),
        (of(None, None, Some("nobody")), ""),
        (GrantSelector::One(grant_id("d")), "d"),
        (GrantSelector::One(grant_id("f")), ""),
    ];
    for (which, expected) in &selected {
        let expected: Vec<String> = expected.chars().map(String::from).collect();
        for Tested { name, store, .. } in &stores().await {
            for grant in &all {
                store.insert_grant(grant).await.expect("writes");
            }
            assert_eq!(live(&**store, which).await, expected, "{name}: {which:?}");
            let facts = [Revocation::Session {
                server: server(),
                session: "a".to_owned(),
                before: at(300),
            }];
            let records = [event(AuditKind::GrantRevoked, None)];
            let ended = store
                .revoke_grants(which, at(300), &facts, &records)
                .await
                .expect("writes");
            let ended: Vec<String> = ended.iter().map(ToString::to_string).collect();
            assert_eq!(ended, expected, "{name}: {which:?}");
            for grant in &all {
                let revoked_at = store.grant(&grant.id).await.expect("reads").expect("kept").revoked_at;
                let is_ended = expected.contains(&grant.id.to_string());
                assert_eq!(revoked_at, is_ended.then(|| at(300)), "{name}: {which:?}: {}", grant.id);
            }
            assert!(live(&**store, which).await.is_empty(), "{name}: {which:?}");
            let told = store.revocations_after(Cursor::default(), 9).await.expect("reads");
            assert_eq!(
                told.iter().map(|(_, fact)| fact).collect::<Vec<_>>(),
                facts.each_ref(),
                "{name}"
            );
            // A second time nothing ends, nor does it end later.
            let again = store.revoke_grants(which, at(400), &[], &[]).await.expect("writes");
            assert!(again.is_empty(), "{name}: {which:?}");
        }
    }
}

#[tokio::test]
async fn grants_are_listed_in_parts_by_identifier() {
    for Tested { name, store, .. } in &stores().await {
        for id in ["c", "a", "d", "b", "B"] {
            store.insert_grant(&grant(id)).await.expect("writes");
        }
        let which = of(None, Some("app"), None);
        let part = async |after: Option<&str>, limit| {
            let after = after.map(grant_id);
            let part = store.grants(&which, after.as_ref(), limit).await.expect("reads");
            part.iter().map(|grant| grant.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(part(None, 2).await, ["B", "a"], "{name}");
        assert_eq!(part(Some("a"), 2).await, ["b", "c"], "{name}");
        assert_eq!(part(Some("bb"), 9).await, ["c", "d"], "{name}");
        assert!(part(Some("d"), 9).await.is_empty(), "{name}");
        assert!(part(None, 0).await.is_empty(), "{name}");
    }
}

pub(super) fn one_time(text: &str) -> OneTime {
    OneTime {
        kind: OneTimeKind::AuthorizationCode,
        digest: Digest::of(text.as_bytes()),
        expires_at: at(160),
        payload: json!({ "redirect_uri": "https://app.example/cb", "max_age": null }),
        used_by: None,
    }
}

#[tokio::test]
async fn case_153_a_code_and_the_grant_of_it_are_one_change_with_one_winner() {
    let code = one_time("code");
    for Tested { name, store, .. } in &stores().await {
        let redeem = async |by: &'static str, grant: Option<&GrantRecord>| {
            store.use_one_time(code.kind, &code.digest, &grant_id(by), grant).await
        };
        assert_eq!(redeem("g1", None).await.expect("answers"), Used::Unknown, "{name}");
        store.put_one_time(&code).await.expect("writes");
        let taken = store.put_one_time(&code).await;
        assert!(matches!(taken, Err(StoreError::Taken("authorization_code"))), "{name}");
        assert_eq!(
            store.one_time(code.kind, &code.digest).await.expect("reads"),
            Some(code.clone()),
            "{name}"
        );

        // Where the grant cannot be kept, the code is still good.
        store.insert_grant(&grant("taken")).await.expect("writes");
        let failed = redeem("taken", Some(&grant("taken"))).await;
        assert!(matches!(failed, Err(StoreError::Taken("grant"))), "{name}: {failed:?}");
        assert_eq!(
            store.one_time(code.kind, &code.digest).await.expect("reads"),
            Some(code.clone()),
            "{name}"
        );

        let used = OneTime {
            used_by: Some(grant_id("g1")),
            ..code.clone()
        };
        let first = redeem("g1", Some(&grant("g1"))).await.expect("writes");
        assert_eq!(first, Used::First(used.clone()), "{name}");
        let second = redeem("g2", Some(&grant("g2"))).await.expect("answers");
        assert_eq!(second, Used::Again(grant_id("g1")), "{name}");
        assert_eq!(
            store.grant(&grant_id("g1")).await.expect("reads"),
            Some(grant("g1")),
            "{name}"
        );
        assert_eq!(store.grant(&grant_id("g2")).await.expect("reads"), None, "{name}");
        assert_eq!(
            store.one_time(code.kind, &code.digest).await.expect("reads"),
            Some(used),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_f04_of_a_hundred_who_redeem_one_code_at_once_one_wins() {
    let code = one_time("code");
    for Tested { name, store, .. } in &stores().await {
        store.put_one_time(&code).await.expect("writes");
        let callers: Vec<_> = (0..100)
            .map(|caller| {
                let (store, code) = (store.clone(), code.clone());
                tokio::spawn(async move {
                    let own = grant(&format!("g{caller}"));
                    store.use_one_time(code.kind, &code.digest, &own.id, Some(&own)).await
                })
            })
            .collect();
        let (mut winners, mut told) = (Vec::new(), Vec::new());
        for caller in callers {
            match caller.await.expect("no panic").expect("answers") {
                Used::First(thing) => winners.push(thing.used_by.expect("used")),
                Used::Again(by) => told.push(by),
                Used::Unknown => panic!("{name}: the code is there"),
            }
        }
        assert_eq!(winners.len(), 1, "{name}");
        assert!(told.iter().all(|by| *by == winners[0]), "{name}");
        let which = of(None, None, None);
        assert_eq!(live(&**store, &which).await, [winners[0].to_string()], "{name}");
    }
}

#[tokio::test]
async fn attack_f06_a_thing_of_one_kind_is_unknown_as_any_other_and_its_payload_changes_while_unused() {
    let code = one_time("code");
    for Tested { name, store, .. } in &stores().await {
        store.put_one_time(&code).await.expect("writes");
        for kind in OneTimeKind::ALL.into_iter().filter(|kind| *kind != code.kind) {
            assert_eq!(store.one_time(kind, &code.digest).await.expect("reads"), None, "{name}");
            let used = store
                .use_one_time(kind, &code.digest, &grant_id("g"), None)
                .await
                .expect("answers");
            assert_eq!(used, Used::Unknown, "{name}");
        }
        let approved = json!({ "approved_by": "u1" });
        let another = json!({});
        let change = async |from| store.change_one_time(code.kind, &code.digest, from, &approved).await;
        assert_eq!(change(&another).await.expect("answers"), Changed::Overtaken, "{name}");
        assert_eq!(change(&code.payload).await.expect("writes"), Changed::Done, "{name}");
        assert_eq!(
            change(&code.payload).await.expect("answers"),
            Changed::Overtaken,
            "{name}"
        );
        let used = store
            .use_one_time(code.kind, &code.digest, &grant_id("g"), None)
            .await
            .expect("writes");
        assert!(
            matches!(used, Used::First(thing) if thing.payload == approved),
            "{name}"
        );
        assert_eq!(change(&approved).await.expect("answers"), Changed::Overtaken, "{name}");
    }
}
