//! How grants end: by the client, by an administrator; and what a dump of the store holds.

use std::time::Duration;

use crate::audit::{AuditEvent, AuditKind};
use crate::issuer::fixture::TestIssuer;
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    ADA, BOTH, READ, bank, claims, code, credentials, declared, is_dead, recorded, refresh, refresh_token, refused,
    request, sign_in,
};
use crate::model::id::{GrantId, UserId};
use crate::oauth::sample::{client_id, server_id};
use crate::store::grants::GrantSelector;

async fn give_back(test: &TestIssuer, client: &str, token: &str, more: &str) {
    let body = format!("{}&token={token}{more}", credentials(client));
    test.issuer.revoke("transfers", &form(&body)).await.expect("answered");
}

#[tokio::test]
async fn case_115_attack_f13_a_refresh_token_that_is_given_back_ends_the_grant_and_its_access_tokens() {
    for hint in [
        "",
        "&token_type_hint=refresh_token",
        "&token_type_hint=access_token",
        "&token_type_hint=x",
    ] {
        let test = bank().await;
        let first = sign_in(&test, "mobile", BOTH).await;
        let second = refresh(&test, "mobile", &refresh_token(&first)).await.expect("granted");
        let other = sign_in(&test, "mobile", BOTH).await;
        for _ in 0..2 {
            give_back(&test, "mobile", &refresh_token(&second), hint).await;
            assert!(is_dead(&test, &first) && is_dead(&test, &second), "case 117: {hint:?}");
        }
        assert!(!is_dead(&test, &other));
        let outcome = refresh(&test, "mobile", &refresh_token(&second)).await;
        assert_eq!(refused(&test, outcome).1, "refresh_token_revoked");
        assert_eq!(recorded(&test, AuditKind::TokenRevoked).await, 1, "once");
    }
}

#[tokio::test]
async fn case_115_an_older_token_of_the_grant_ends_it_just_as_well() {
    let test = bank().await;
    let first = sign_in(&test, "mobile", BOTH).await;
    let second = refresh(&test, "mobile", &refresh_token(&first)).await.expect("granted");
    give_back(&test, "mobile", &refresh_token(&first), "").await;
    assert!(is_dead(&test, &second));
}

#[tokio::test]
async fn case_116_case_117_an_access_token_dies_alone() {
    for hint in ["", "&token_type_hint=refresh_token"] {
        let test = bank().await;
        let first = sign_in(&test, "mobile", BOTH).await;
        give_back(&test, "mobile", first.access_token.expose_secret(), hint).await;
        assert!(is_dead(&test, &first));
        let next = refresh(&test, "mobile", &refresh_token(&first))
            .await
            .expect("it lives");
        assert!(!is_dead(&test, &next));
    }
    let test = bank().await;
    let failure = test.issuer.revoke("transfers", &form(&credentials("mobile"))).await;
    assert_eq!(failure.expect_err("no token").error.code().as_str(), "invalid_request");
}

#[tokio::test]
async fn case_116_attack_f13_attack_f42_the_token_of_another_or_an_altered_one_has_no_effect() {
    let test = bank().await;
    let answer = sign_in(&test, "mobile", READ).await;
    let token = refresh_token(&answer);
    let epoch = test.revocations.epoch();
    give_back(&test, "quickbooks", &token, "").await;
    give_back(&test, "quickbooks", answer.access_token.expose_secret(), "").await;
    let elsewhere = format!("{}&token={token}", credentials("mobile"));
    test.issuer
        .revoke("transactions", &form(&elsewhere))
        .await
        .expect("answered");
    for altered in [
        &token[..token.len() - 1],
        &token.replace(".0.", ".1."),
        &format!("{token}x"),
    ] {
        give_back(&test, "mobile", altered, "").await;
    }
    assert_eq!(test.revocations.epoch(), epoch);
    assert!(refresh(&test, "mobile", &token).await.is_ok());
}

#[tokio::test]
async fn attack_f13_administration_ends_the_grants_of_a_user_a_client_or_one_alone() {
    let of = |server: Option<&str>, client: Option<&str>, user: Option<&str>| GrantSelector::Where {
        server: server.map(server_id),
        client: client.map(client_id),
        user: user.map(|user| UserId::parse(user).expect("valid")),
    };
    let rows = [
        ("one", None, true, false),
        ("the client", Some(of(None, Some("mobile"), None)), true, false),
        (
            "the client here",
            Some(of(Some("transfers"), Some("mobile"), None)),
            true,
            false,
        ),
        ("the user", Some(of(None, None, Some(ADA))), true, true),
        ("the server", Some(of(Some("transfers"), None, None)), true, true),
        (
            "another user",
            Some(of(None, None, Some("bob@bank.example"))),
            false,
            false,
        ),
        (
            "another server",
            Some(of(Some("transactions"), Some("mobile"), None)),
            false,
            false,
        ),
    ];
    for (name, which, mobile_dies, partner_dies) in rows {
        let test = bank().await;
        let mobile = sign_in(&test, "mobile", READ).await;
        let partner = sign_in(&test, "quickbooks", READ).await;
        let sid = claims(&test, &mobile).map()["sid"].as_str().expect("text").to_owned();
        let which = which.unwrap_or_else(|| GrantSelector::One(GrantId::parse(&sid).expect("valid")));
        let event = AuditEvent {
            at: crate::clock::Clock::now(&*test.clock),
            kind: AuditKind::GrantRevoked,
            server: None,
            client: None,
            error_id: None,
            actor: Some("root".to_owned()),
            target: None,
            detail: serde_json::json!({}),
        };
        let ended = test.issuer.end_grants(&which, &event).await.expect("ended");
        assert_eq!(ended, usize::from(mobile_dies) + usize::from(partner_dies), "{name}");
        test.clock.advance(Duration::from_secs(1));
        for (answer, client, dies) in [(&mobile, "mobile", mobile_dies), (&partner, "quickbooks", partner_dies)] {
            assert_eq!(is_dead(&test, answer), dies, "{name}: the access token of {client}");
            assert_eq!(
                refresh(&test, client, &refresh_token(answer)).await.is_err(),
                dies,
                "{name}: {client}"
            );
        }
        assert_eq!(recorded(&test, AuditKind::GrantRevoked).await, 1, "{name}");
    }
}

#[tokio::test]
async fn attack_f42_case_001_a_dump_of_the_database_holds_no_code_and_no_refresh_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let store = crate::store::sqlite::SqliteStore::open(&path).await.expect("opens");
    let sealing = std::sync::Arc::new(crate::store::seal::SealingKey::generate().0);
    let test = TestIssuer::on(declared(), std::sync::Arc::new(store), sealing)
        .await
        .expect("starts");
    let unused = code(&test, request("mobile", BOTH)).await;
    let first = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let second = refresh_token(&refresh(&test, "mobile", &first).await.expect("granted"));
    let mut dump = Vec::new();
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        dump.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
    }
    let grant = first.split('.').next().expect("an id").to_owned();
    let holds = |text: &str| dump.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&grant), "the dump is of this store");
    for secret in [&unused, &first, &second] {
        let tail = secret.rsplit('.').next().expect("a text");
        assert!(!holds(tail), "{secret}");
    }
}

#[tokio::test]
async fn case_153_case_052_a_reply_that_is_lost_doubles_nothing_and_a_restart_brings_nothing_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let sealing = std::sync::Arc::new(crate::store::seal::SealingKey::generate().0);
    let start = async || {
        let store = crate::store::sqlite::SqliteStore::open(&path).await.expect("opens");
        TestIssuer::on(declared(), std::sync::Arc::new(store), sealing.clone())
            .await
            .expect("starts")
    };
    let test = start().await;
    let lost = code(&test, request("mobile", BOTH)).await;
    let body = crate::issuer::tests::world::redemption("mobile", &lost);
    let first = crate::issuer::tests::world::ask(&test, &body).await.expect("granted");
    let living = sign_in(&test, "mobile", BOTH).await;
    let rotated = refresh(&test, "mobile", &refresh_token(&living))
        .await
        .expect("granted");
    let ended = sign_in(&test, "mobile", BOTH).await;
    give_back(&test, "mobile", &refresh_token(&ended), "").await;
    drop(test);

    let test = start().await;
    // The client has no reply and tries again: the code is used, and what came of it ends.
    let again = crate::issuer::tests::world::ask(&test, &body).await;
    assert_eq!(refused(&test, again), ("invalid_grant", "code_replayed".to_owned()));
    assert!(is_dead(&test, &first) && is_dead(&test, &ended) && !is_dead(&test, &rotated));
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &refresh_token(&ended)).await).1,
        "refresh_token_revoked"
    );
    // The rotation whose reply was lost is told again, the same as before.
    let told = refresh(&test, "mobile", &refresh_token(&living))
        .await
        .expect("within the grace");
    assert_eq!(refresh_token(&told), refresh_token(&rotated));
    assert_eq!(claims(&test, &told).jti(), claims(&test, &rotated).jti());
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &refresh_token(&living)).await).1,
        "refresh_token_reused"
    );
}
