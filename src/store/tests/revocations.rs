//! What is dead, and for whom.

use crate::audit::AuditKind;
use crate::model::id::{ClientId, Kid, Subject};
use crate::revocation::Revocation;
use crate::store::Cursor;
use crate::store::tests::{Tested, at, event, server, stores, token};

#[tokio::test]
async fn attack_f45_revocations_of_every_kind_read_back_whatever_their_names() {
    let odd = "'; DROP TABLE revocation; -- \u{fffd}\u{202e}";
    let all = [
        token(odd, 100),
        Revocation::Session {
            server: server(),
            session: odd.to_owned(),
            before: at(1),
        },
        Revocation::Subject {
            server: None,
            subject: Subject::parse(odd).expect("valid"),
            before: at(2),
        },
        Revocation::Subject {
            server: Some(server()),
            subject: Subject::parse(odd).expect("valid"),
            before: at(3),
        },
        Revocation::Client {
            client: ClientId::parse(odd).expect("valid"),
            before: at(4),
        },
        Revocation::Assignment {
            client: ClientId::parse(odd).expect("valid"),
            subject: Subject::parse(odd).expect("valid"),
            before: at(4),
        },
        Revocation::Key {
            server: server(),
            kid: Kid::parse(odd).expect("valid"),
        },
        Revocation::Server {
            server: server(),
            before: at(5),
        },
    ];
    for Tested { name, store, .. } in &stores().await {
        for revocation in &all {
            store
                .revoke(revocation, &event(AuditKind::TokenRevoked, None))
                .await
                .expect("writes");
        }
        let read = store.revocations_after(Cursor::default(), 100).await.expect("reads");
        let facts: Vec<_> = read.iter().map(|(_, fact)| fact.clone()).collect();
        assert_eq!(facts, all, "{name}");
        let rest = store.revocations_after(read[4].0, 1).await.expect("reads");
        assert_eq!(rest, [read[5].clone()], "{name}");
    }
}

#[tokio::test]
async fn a_fact_told_again_takes_no_second_row_never_weakens_and_is_seen_by_who_reads_on() {
    let dead = |before| Revocation::Server {
        server: server(),
        before: at(before),
    };
    for Tested { name, store, .. } in &stores().await {
        let audit = event(AuditKind::TokenRevoked, None);
        let first = store.revoke(&dead(50), &audit).await.expect("writes");
        let second = store.revoke(&dead(20), &audit).await.expect("writes");
        assert!(second > first, "{name}");
        let read = store.revocations_after(first, 100).await.expect("reads");
        assert_eq!(read, [(second, dead(50))], "{name}");
        assert_eq!(
            store
                .revocations_after(Cursor::default(), 100)
                .await
                .expect("reads")
                .len(),
            1,
            "{name}"
        );
    }
}

#[tokio::test]
async fn pruning_forgets_what_can_kill_nothing_any_more() {
    for Tested { name, store, .. } in &stores().await {
        let audit = event(AuditKind::TokenRevoked, None);
        store.revoke(&token("short", 1000), &audit).await.expect("writes");
        store.revoke(&token("long", 5000), &audit).await.expect("writes");
        store
            .revoke(
                &Revocation::Key {
                    server: server(),
                    kid: Kid::parse("k").expect("valid"),
                },
                &audit,
            )
            .await
            .expect("writes");
        assert_eq!(store.prune(at(1119)).await.expect("prunes"), 0, "{name}");
        assert_eq!(store.prune(at(1120)).await.expect("prunes"), 1, "{name}");
        let read = store.revocations_after(Cursor::default(), 100).await.expect("reads");
        assert_eq!(read[0].1, token("long", 5000), "{name}");
        assert_eq!(read.len(), 2, "{name}");
    }
}
