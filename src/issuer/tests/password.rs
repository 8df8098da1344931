//! The password grant: legacy, by name, and hard to guess at.

use std::time::Duration;

use crate::audit::AuditKind;
use crate::issuer::fixture::TestIssuer;
use crate::issuer::passwords::hash_password;
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    ADA, READ, ask, bank, claims, credentials, declared, now, refresh, refresh_token, refused,
};
use crate::model::id::UserId;
use crate::model::secret::Secret;
use crate::oauth::user::{UserRecord, UserStatus};
use crate::store::objects::UserChange;

fn body(login: &str, password: &str) -> String {
    let password = password.replace(' ', "+");
    format!(
        "grant_type=password&{}&username={login}&password={password}&scope=transfers:read",
        credentials("legacy")
    )
}

/// Grace is a user of the store, in the group of those who may.
async fn with_grace(test: &TestIssuer, status: UserStatus) -> UserId {
    let id = UserId::parse("00u-grace").expect("valid");
    let user = UserRecord {
        id: id.clone(),
        login: "grace@bank.example".to_owned(),
        status,
        profile: serde_json::Map::new(),
        password: Some(hash_password(&Secret::new("battery staple".to_owned())).expect("hashed")),
        revision: 1,
        created_at: now(test),
        updated_at: now(test),
    };
    let store = &test.issuer.services.store.store;
    let made = store.change_user(&UserChange::Insert(user), &[], &[]).await;
    assert_eq!(made.expect("made"), crate::store::Changed::Done);
    store
        .set_membership(&id, "customers", true, &[])
        .await
        .expect("a member");
    id
}

#[tokio::test]
async fn case_085_a_client_that_is_given_it_by_name_gets_tokens_by_password() {
    let test = bank().await;
    with_grace(&test, UserStatus::Active).await;
    for (login, password, uid) in [
        (ADA, "correct horse", ADA),
        ("GRACE@bank.example", "battery staple", "00u-grace"),
    ] {
        let answer = ask(&test, &body(login, password)).await.expect("granted");
        let claims = claims(&test, &answer);
        assert_eq!(claims.map()["uid"], uid);
        assert_eq!(claims.map()["sub"], login.to_lowercase());
        assert_eq!(claims.map()["amr"], serde_json::json!(["pwd"]));
        assert!(refresh(&test, "legacy", &refresh_token(&answer)).await.is_ok());
    }
}

#[tokio::test]
async fn case_085_attack_f34_no_other_client_gets_anything_by_password() {
    let test = bank().await;
    for client in ["mobile", "quickbooks", "nightly-batch"] {
        let body = body(ADA, "correct horse").replace(&credentials("legacy"), &credentials(client));
        let failure = ask(&test, &body).await.expect_err("refused");
        assert_eq!(failure.error.code().as_str(), "unauthorized_client", "{client}");
    }
}

#[tokio::test]
async fn case_086_attack_f33_every_failed_sign_in_looks_the_same_from_outside() {
    let test = bank().await;
    with_grace(&test, UserStatus::Suspended).await;
    let long = "a".repeat(2000);
    let rows = [
        (ADA, "wrong", "wrong_password"),
        (ADA, &long, "wrong_password"),
        ("nobody@bank.example", "correct horse", "unknown_user"),
        (&long, "correct horse", "unknown_user"),
        ("grace@bank.example", "battery staple", "user_not_active"),
    ];
    let mut outside = std::collections::BTreeSet::new();
    for (login, password, reason) in rows {
        let failure = ask(&test, &body(login, password)).await.expect_err("refused");
        let error = &failure.error;
        outside.insert((error.http_status(), error.error_code(), error.description()));
        assert_eq!(refused(&test, Err(failure)), ("invalid_grant", reason.to_owned()));
    }
    assert_eq!(outside.len(), 1, "{outside:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_086_attack_f40_a_hundred_guesses_at_once_are_all_counted_and_few_are_verified() {
    let test = bank().await;
    let mut tasks = tokio::task::JoinSet::new();
    for guess in 0..100 {
        let (issuer, body) = (test.issuer.clone(), body(ADA, &format!("guess-{guess}")));
        tasks.spawn(async move { issuer.token("transfers", &form(&body)).await });
    }
    let statuses: Vec<u16> = tasks
        .join_all()
        .await
        .into_iter()
        .map(|outcome| outcome.expect_err("a guess").error.http_status())
        .collect();
    let verified = statuses.iter().filter(|status| **status == 400).count();
    assert!(verified <= 10, "{verified} guesses were verified");
    assert_eq!(verified + statuses.iter().filter(|status| **status == 429).count(), 100);
    // Locked: the right password is refused as well, at every client and in every spelling.
    for login in [ADA, "ADA@bank.example"] {
        let failure = ask(&test, &body(login, "correct horse")).await.expect_err("locked");
        assert_eq!(
            (failure.error.http_status(), failure.error.error_code()),
            (429, "user_rate_limited")
        );
    }
    let locks = test
        .records
        .audit
        .lock()
        .iter()
        .filter(|event| event.kind == AuditKind::UserLocked)
        .count();
    assert_eq!(
        locks, 2,
        "under the login, and under the client and the login; each told once"
    );
    // It ends some time after the last guess that was counted; asking meanwhile does not prolong it.
    test.clock.advance(Duration::from_secs(15 * 60));
    assert!(ask(&test, &body(ADA, "correct horse")).await.is_ok());
}

#[tokio::test]
async fn case_086_a_success_forgets_the_failures_before_it() {
    let test = bank().await;
    for _ in 0..3 {
        for _ in 0..9 {
            assert_eq!(
                ask(&test, &body(ADA, "wrong"))
                    .await
                    .expect_err("wrong")
                    .error
                    .http_status(),
                400
            );
        }
        assert!(ask(&test, &body(ADA, "correct horse")).await.is_ok());
    }
}

#[tokio::test]
async fn case_085_a_scope_that_needs_consent_is_refused_where_nobody_can_be_asked() {
    let test = bank().await;
    let write = body(ADA, "correct horse").replace(READ, "transfers:write");
    let failure = ask(&test, &write).await.expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "consent_required");
    let mut declared = declared();
    declared.servers[0].scopes[0].consent = crate::oauth::declared::Consent::Flexible;
    let test = TestIssuer::with(declared).await;
    assert!(
        ask(&test, &body(ADA, "correct horse")).await.is_ok(),
        "a client that does not ask"
    );
}

#[tokio::test]
async fn case_096_attack_f33_a_user_of_the_store_who_is_disabled_gets_nothing_more() {
    let test = bank().await;
    let id = with_grace(&test, UserStatus::Active).await;
    let answer = ask(&test, &body("grace@bank.example", "battery staple"))
        .await
        .expect("granted");
    let store = &test.issuer.services.store.store;
    let mut user = store.user(&id).await.expect("read").expect("there");
    user.status = UserStatus::Suspended;
    let change = UserChange::Replace {
        from: user.revision,
        user,
    };
    assert_eq!(
        store.change_user(&change, &[], &[]).await.expect("changed"),
        crate::store::Changed::Done
    );
    let outcome = refresh(&test, "legacy", &refresh_token(&answer)).await;
    assert_eq!(
        refused(&test, outcome),
        ("invalid_grant", "denied_by_policy".to_owned())
    );
}

#[tokio::test]
async fn attack_f42_case_086_nothing_that_the_store_keeps_names_who_was_guessed_at_or_what() {
    let test = bank().await;
    let answer = ask(&test, &body(ADA, "correct horse")).await.expect("granted");
    assert_eq!(
        ask(&test, &body("nobody@bank.example", "hunter2"))
            .await
            .expect_err("wrong")
            .error
            .http_status(),
        400
    );
    let recorded = format!("{:?}", test.records.audit.lock());
    for secret in [
        "correct horse",
        "hunter2",
        refresh_token(&answer).as_str(),
        answer.access_token.expose_secret(),
    ] {
        assert!(!recorded.contains(secret));
    }
}
