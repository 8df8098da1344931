//! Refresh: one successor, no widening, everything looked at again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::AuditKind;
use crate::issuer::TokenAnswer;
use crate::issuer::fixture::{TestIssuer, settings};
use crate::issuer::tests::authorization_code::id_token;
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    BOTH, READ, ask, bank, claims, credentials, declared, is_dead, now, recorded, refresh, refresh_body, refresh_token,
    refused, scopes, sign_in,
};
use crate::model::id::GrantId;
use crate::oauth::declared::{IssuerDeclaration, RefreshDeclaration, RefreshRotation};
use crate::oauth::sample::{rule, texts};
use crate::store::grants::Rotation;

fn pass(test: &TestIssuer, seconds: u64) {
    test.clock.advance(Duration::from_secs(seconds));
}

fn with_rotation(rotates: bool, grace: u64) -> IssuerDeclaration {
    let mut declared = declared();
    declared.clients[0].options.refresh = RefreshRotation {
        rotates,
        grace: Duration::from_secs(grace),
    };
    declared
}

#[tokio::test]
async fn case_087_case_090_the_last_token_brings_the_same_pair_again_within_the_grace() {
    let test = bank().await;
    let first = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    pass(&test, 5);
    let second = refresh(&test, "mobile", &first).await.expect("granted");
    assert_ne!(refresh_token(&second), first);
    assert_eq!(second.scope, BOTH);
    pass(&test, 29);
    let again = refresh(&test, "mobile", &first).await.expect("the reply was lost");
    assert_eq!(refresh_token(&again), refresh_token(&second));
    let (one, other) = (claims(&test, &second).map(), claims(&test, &again).map());
    assert_eq!(one, other, "the same access token, to the last claim");
    assert_eq!((second.expires_in_seconds, again.expires_in_seconds), (300, 271));
    // The successor works, and is one: no third branch.
    let third = refresh(&test, "mobile", &refresh_token(&second))
        .await
        .expect("granted");
    assert_ne!(claims(&test, &third).jti(), claims(&test, &second).jti());
}

#[tokio::test]
async fn case_088_attack_f11_the_last_token_after_the_grace_ends_the_family() {
    let test = bank().await;
    let signed_in = sign_in(&test, "mobile", BOTH).await;
    let first = refresh_token(&signed_in);
    let second = refresh(&test, "mobile", &first).await.expect("granted");
    let other = sign_in(&test, "mobile", BOTH).await;
    pass(&test, 30);
    let stolen = refresh(&test, "mobile", &first).await;
    assert_eq!(
        refused(&test, stolen),
        ("invalid_grant", "refresh_token_reused".to_owned())
    );
    for answer in [&signed_in, &second] {
        assert!(is_dead(&test, answer), "also the access tokens");
    }
    let owner = refresh(&test, "mobile", &refresh_token(&second)).await;
    assert_eq!(
        refused(&test, owner),
        ("invalid_grant", "refresh_token_revoked".to_owned())
    );
    assert_eq!(recorded(&test, AuditKind::RefreshReuseDetected).await, 1);
    // Another sign-in of the same user and client goes on.
    assert!(!is_dead(&test, &other));
    assert!(refresh(&test, "mobile", &refresh_token(&other)).await.is_ok());
    // The table that a restart starts from has it too.
    let kept = test
        .issuer
        .services
        .store
        .store
        .revocations_after(crate::store::Cursor::default(), 10);
    assert_eq!(kept.await.expect("read").len(), 1);
}

#[tokio::test]
async fn case_088_attack_f11_an_older_token_ends_the_family_at_once() {
    let test = bank().await;
    let first = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let second = refresh_token(&refresh(&test, "mobile", &first).await.expect("granted"));
    let third = refresh(&test, "mobile", &second).await.expect("granted");
    let outcome = refresh(&test, "mobile", &first).await;
    assert_eq!(refused(&test, outcome).1, "refresh_token_reused");
    assert!(is_dead(&test, &third));
}

async fn at_once(test: &TestIssuer, body: &str, callers: usize) -> Vec<Result<TokenAnswer, crate::issuer::Failure>> {
    let body = Arc::new(body.to_owned());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (issuer, body) = (test.issuer.clone(), body.clone());
        tasks.spawn(async move { issuer.token("transfers", &form(&body)).await });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn case_089_attack_f11_a_hundred_callers_with_one_token_get_one_successor() {
    let test = bank().await;
    let mut token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    for round in 0..5 {
        let outcomes = at_once(&test, &refresh_body("mobile", &token), 100).await;
        let answers: Vec<TokenAnswer> = outcomes.into_iter().map(|outcome| outcome.expect("granted")).collect();
        let successor = refresh_token(&answers[0]);
        let id = claims(&test, &answers[0]).jti();
        for answer in &answers {
            assert_eq!(refresh_token(answer), successor, "round {round}");
            assert_eq!(claims(&test, answer).jti(), id, "round {round}: one access token");
            assert!(!is_dead(&test, answer));
        }
        token = successor;
    }
    assert_eq!(recorded(&test, AuditKind::RefreshReuseDetected).await, 0);
}

#[tokio::test]
async fn case_088_without_a_grace_a_second_use_is_reuse() {
    let test = TestIssuer::with(with_rotation(true, 0)).await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let outcomes = at_once(&test, &refresh_body("mobile", &token), 10).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(recorded(&test, AuditKind::RefreshReuseDetected).await, 1);
}

#[tokio::test]
async fn case_091_attack_f12_a_stranger_is_refused_and_the_grant_of_its_owner_lives() {
    let test = bank().await;
    let first = refresh_token(&sign_in(&test, "mobile", READ).await);
    let second = refresh(&test, "mobile", &first).await.expect("granted");
    pass(&test, 60);
    // Also where the owner's showing it would end the grant.
    for token in [&first, &refresh_token(&second)] {
        let stranger = refresh(&test, "quickbooks", token).await;
        assert_eq!(
            refused(&test, stranger),
            ("invalid_grant", "refresh_token_of_another_client".to_owned())
        );
    }
    let body = refresh_body("mobile", &refresh_token(&second));
    let elsewhere = test.issuer.token("transactions", &form(&body)).await;
    assert_eq!(refused(&test, elsewhere).1, "refresh_token_of_another_server");
    assert!(!is_dead(&test, &second));
    assert!(refresh(&test, "mobile", &refresh_token(&second)).await.is_ok());
}

#[tokio::test]
async fn case_093_a_narrower_scope_narrows_the_access_token_and_never_the_grant() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let narrow = format!("{}&scope=transfers:read", refresh_body("mobile", &token));
    let narrow = ask(&test, &narrow).await.expect("granted");
    assert_eq!(narrow.scope, READ);
    assert_eq!(claims(&test, &narrow).map()["scope"], READ);
    let whole = refresh(&test, "mobile", &refresh_token(&narrow))
        .await
        .expect("granted");
    assert_eq!(whole.scope, BOTH, "the refresh token keeps the full grant");
}

#[tokio::test]
async fn case_093_attack_f12_nothing_beyond_the_grant_is_given_and_asking_costs_nothing() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", READ).await);
    for wider in [
        "transfers:write",
        BOTH,
        "openid",
        "unknown",
        "transfers:read offline_access",
    ] {
        let body = format!("{}&scope={wider}", refresh_body("mobile", &token));
        let failure = ask(&test, &body).await.expect_err("refused");
        assert_eq!(failure.error.code().as_str(), "invalid_scope", "{wider}");
    }
    let body = format!("{}&resource=https://a.example", refresh_body("mobile", &token));
    let failure = ask(&test, &body).await.expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "invalid_target");
    // The token was not used up by it.
    pass(&test, 60);
    assert!(refresh(&test, "mobile", &token).await.is_ok());
}

#[tokio::test]
async fn case_095_the_idle_time_starts_again_with_each_use_and_the_end_stays_where_it_was() {
    let test = bank().await;
    let mut token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    // 12 hours from the sign-in, an hour without use.
    for _ in 0..12 {
        pass(&test, 3540);
        token = refresh_token(&refresh(&test, "mobile", &token).await.expect("used in time"));
    }
    pass(&test, 12 * 3600 - 12 * 3540 - 100);
    let last = refresh(&test, "mobile", &token).await.expect("granted");
    assert_eq!(last.expires_in_seconds, 100, "no access token outlives the grant");
    pass(&test, 100);
    let over = refresh(&test, "mobile", &refresh_token(&last)).await;
    assert_eq!(
        refused(&test, over),
        ("invalid_grant", "refresh_token_expired".to_owned())
    );

    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    pass(&test, 3600);
    let idle = refresh(&test, "mobile", &token).await;
    assert_eq!(
        refused(&test, idle),
        ("invalid_grant", "refresh_token_idle_expired".to_owned())
    );
}

#[tokio::test]
async fn case_095_the_rule_of_today_may_shorten_a_grant_and_never_lengthens_it() {
    let lifetimes = |lifetime, idle| {
        let mut changed = declared();
        let rule = &mut changed.servers[0].policies[0].rules[0];
        rule.refresh_token = Some(RefreshDeclaration {
            lifetime: Duration::from_secs(lifetime),
            idle: Some(Duration::from_secs(idle)),
        });
        rule.access_token.value = Duration::from_secs(60);
        settings(changed)
    };
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    test.issuer
        .reload(&lifetimes(100 * 3600, 50 * 3600))
        .await
        .expect("sound");
    let answer = refresh(&test, "mobile", &token).await.expect("granted");
    assert_eq!(answer.expires_in_seconds, 60, "the access token is today's");
    pass(&test, 12 * 3600);
    let over = refresh(&test, "mobile", &refresh_token(&answer)).await;
    assert_eq!(refused(&test, over).1, "refresh_token_expired");

    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    test.issuer.reload(&lifetimes(1000, 900)).await.expect("sound");
    pass(&test, 1000);
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &token).await).1,
        "refresh_token_expired"
    );
}

#[tokio::test]
async fn case_096_case_075_attack_f12_everything_is_looked_at_again() {
    type Change = fn(&mut IssuerDeclaration);
    let rows: [(&str, Change, &str, &str); 7] = [
        ("user gone", |d| drop(d.users.remove(0)), "invalid_grant", "user_gone"),
        (
            "user not assigned",
            |d| d.users[0].groups.clear(),
            "invalid_grant",
            "denied_by_policy",
        ),
        (
            "client not assigned",
            |d| d.clients[0].assigned_groups.clear(),
            "invalid_grant",
            "denied_by_policy",
        ),
        (
            "policy gone",
            |d| drop(d.servers[0].policies.remove(0)),
            "invalid_grant",
            "denied_by_policy",
        ),
        (
            "scope not allowed",
            |d| {
                let allowed = texts(&["transfers:read"]);
                d.servers[0].policies[0].rules[0].scopes = crate::oauth::declared::RuleScopes::Only(allowed);
            },
            "invalid_grant",
            "denied_by_policy",
        ),
        (
            "no refresh token any more",
            |d| d.servers[0].policies[0].rules[0].refresh_token = None,
            "invalid_grant",
            "refresh_token_not_given",
        ),
        (
            "client without the grant",
            |d| d.clients[0].grants.truncate(1),
            "unauthorized_client",
            "",
        ),
    ];
    for (name, change, code, reason) in rows {
        let test = bank().await;
        let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
        let mut changed = declared();
        change(&mut changed);
        test.issuer.reload(&settings(changed)).await.expect("sound");
        let outcome = refresh(&test, "mobile", &token).await;
        assert_eq!(refused(&test, outcome), (code, reason.to_owned()), "{name}");
        // What was refused was not used up: the grant lives where its ground does.
        test.issuer.reload(&settings(declared())).await.expect("sound");
        assert!(refresh(&test, "mobile", &token).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn case_075_case_096_attack_f12_the_grants_of_a_client_that_is_gone_do_not_come_back_with_it() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let mut without = declared();
    without.clients.remove(0);
    without.servers[0].policies.remove(0);
    without.servers[1].policies.clear();
    test.issuer.reload(&settings(without)).await.expect("sound");
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &token).await).0,
        "invalid_client"
    );
    test.issuer.reload(&settings(declared())).await.expect("sound");
    pass(&test, 1);
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &token).await).1,
        "refresh_token_revoked"
    );
}

#[tokio::test]
async fn case_096_a_narrower_refresh_goes_on_where_the_policy_has_become_narrower() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let mut changed = declared();
    changed.servers[0].policies[0].rules[0].scopes =
        crate::oauth::declared::RuleScopes::Only(texts(&["transfers:read"]));
    test.issuer.reload(&settings(changed)).await.expect("sound");
    let body = format!("{}&scope=transfers:read", refresh_body("mobile", &token));
    assert_eq!(ask(&test, &body).await.expect("granted").scope, READ);
}

#[tokio::test]
async fn a_rule_of_the_grant_that_it_began_by_goes_on_and_one_of_another_does_not() {
    // `Partners` lists `authorization_code` alone.
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "quickbooks", READ).await);
    assert!(refresh(&test, "quickbooks", &token).await.is_ok());
    let mut changed = declared();
    let policies = &mut changed.servers[0].policies;
    policies[3].rules[0].grants = texts(&["device_code"]);
    test.issuer.reload(&settings(changed)).await.expect("sound");
    let token = refresh_token(&sign_in_before_reload(&test, &token).await);
    let outcome = refresh(&test, "quickbooks", &token).await;
    assert_eq!(refused(&test, outcome).1, "denied_by_policy");
    // A rule for refreshes comes first where it is put first.
    let mut changed = declared();
    let mut own = rule("Refreshes", &["refresh_token"], &[], None, 77);
    own.refresh_token = changed.servers[0].policies[3].rules[0].refresh_token;
    changed.servers[0].policies[3].rules.insert(0, own);
    test.issuer.reload(&settings(changed)).await.expect("sound");
    let answer = refresh(&test, "quickbooks", &token).await.expect("granted");
    assert_eq!(answer.expires_in_seconds, 77);
}

/// The successor of a token, told again within the grace by the rules that hold by then.
async fn sign_in_before_reload(test: &TestIssuer, token: &str) -> TokenAnswer {
    test.issuer.reload(&settings(declared())).await.expect("sound");
    let answer = refresh(test, "quickbooks", token).await.expect("within the grace");
    let mut changed = declared();
    changed.servers[0].policies[3].rules[0].grants = texts(&["device_code"]);
    test.issuer.reload(&settings(changed)).await.expect("sound");
    answer
}

#[tokio::test]
async fn case_097_an_id_token_of_a_refresh_tells_of_the_same_sign_in() {
    let test = bank().await;
    let first = sign_in(&test, "mobile", "openid offline_access transfers:read").await;
    let said = id_token(&test, "mobile", first.id_token.as_ref().expect("one").expose_secret());
    pass(&test, 100);
    let second = refresh(&test, "mobile", &refresh_token(&first)).await.expect("granted");
    let again = id_token(&test, "mobile", second.id_token.as_ref().expect("one").expose_secret());
    for name in ["iss", "sub", "aud", "azp", "auth_time", "sid"] {
        assert_eq!(said[name], again[name], "{name}");
    }
    assert_eq!(again["iat"], json!(now(&test).unix_seconds()));
    assert_eq!(said["nonce"], "n-0S6");
    assert!(!again.contains_key("nonce"));
    let narrow = format!(
        "{}&scope=transfers:read",
        refresh_body("mobile", &refresh_token(&second))
    );
    assert!(ask(&test, &narrow).await.expect("granted").id_token.is_none());
}

#[tokio::test]
async fn a_static_token_stays_the_same_and_its_idle_time_starts_again() {
    let test = TestIssuer::with(with_rotation(false, 30)).await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..4 {
        pass(&test, 3500);
        let answer = refresh(&test, "mobile", &token).await.expect("granted");
        assert_eq!(refresh_token(&answer), token);
        ids.insert(claims(&test, &answer).jti());
    }
    assert_eq!(ids.len(), 4, "each use gives another access token");
    for outcome in at_once(&test, &refresh_body("mobile", &token), 20).await {
        assert_eq!(refresh_token(&outcome.expect("granted")), token);
    }
    pass(&test, 3600);
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &token).await).1,
        "refresh_token_idle_expired"
    );
}

#[tokio::test]
async fn a_client_that_begins_or_ceases_to_rotate_brings_no_given_up_token_back() {
    let test = bank().await;
    let first = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let second = refresh_token(&refresh(&test, "mobile", &first).await.expect("granted"));
    pass(&test, 31);
    test.issuer
        .reload(&settings(with_rotation(false, 30)))
        .await
        .expect("sound");
    let fixed = refresh_token(&refresh(&test, "mobile", &second).await.expect("granted"));
    assert_eq!(
        refresh_token(&refresh(&test, "mobile", &fixed).await.expect("granted")),
        fixed
    );
    test.issuer
        .reload(&settings(with_rotation(true, 30)))
        .await
        .expect("sound");
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &fixed).await).1,
        "refresh_token_not_rotating"
    );
    test.issuer
        .reload(&settings(with_rotation(false, 30)))
        .await
        .expect("sound");
    assert!(
        refresh(&test, "mobile", &fixed).await.is_ok(),
        "nothing was revoked by it"
    );
    assert_eq!(
        refused(&test, refresh(&test, "mobile", &first).await).1,
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn attack_g06_a_token_that_the_store_has_not_given_yet_is_refused_and_nothing_is_revoked() {
    let test = bank().await;
    let signed_in = sign_in(&test, "mobile", BOTH).await;
    let backup = refresh_token(&signed_in);
    let id = GrantId::parse(backup.split('.').next().expect("an id")).expect("valid");
    let sealing = &test.issuer.services.store.sealing;
    let shown = crate::oauth::refresh::Shown::Generation(3);
    let message = crate::oauth::refresh::RefreshToken::message(&id, shown);
    let digest = sealing.mac(crate::oauth::refresh::RefreshToken::PURPOSE, &message);
    let later = crate::oauth::refresh::RefreshToken::text(&id, shown, &digest);
    let outcome = refresh(&test, "mobile", later.expose_secret()).await;
    assert_eq!(
        refused(&test, outcome),
        ("invalid_grant", "refresh_token_from_the_future".to_owned())
    );
    assert!(!is_dead(&test, &signed_in));
    assert!(refresh(&test, "mobile", &backup).await.is_ok());
}

#[tokio::test]
async fn attack_f42_an_altered_refresh_token_is_no_refresh_token() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let epoch = test.revocations.epoch();
    let mut altered: Vec<String> = (1..token.len()).map(|length| token[..length].to_owned()).collect();
    for index in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            altered.push(String::from_utf8(bytes).expect("ASCII"));
        }
    }
    altered.extend([
        token.to_uppercase(),
        format!("{token}A"),
        format!("{token}."),
        format!("{token}="),
    ]);
    for text in altered {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let outcome = refresh(&test, "mobile", &encoded).await;
        let failure = outcome.expect_err("refused");
        let code = failure.error.code().as_str();
        assert!(matches!(code, "invalid_grant" | "invalid_request"), "{text:?}: {code}");
    }
    assert_eq!(test.revocations.epoch(), epoch, "nobody is revoked by it");
    assert!(refresh(&test, "mobile", &token).await.is_ok());
}

#[tokio::test]
async fn case_090_a_claim_that_fails_costs_nobody_the_grant() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let mut broken = declared();
    broken.servers[0]
        .claims
        .push(crate::oauth::sample::claim("broken", "1 / 0", &[]));
    test.issuer.reload(&settings(broken)).await.expect("sound");
    let failure = refresh(&test, "mobile", &token).await.expect_err("no half token");
    assert_eq!(failure.error.error_code(), "claim_evaluation_failure");
    pass(&test, 60);
    test.issuer.reload(&settings(declared())).await.expect("sound");
    assert!(
        refresh(&test, "mobile", &token).await.is_ok(),
        "the token was not used up"
    );
}

#[tokio::test]
async fn attack_f11_who_rotated_on_another_node_is_seen_here() {
    let test = bank().await;
    let token = refresh_token(&sign_in(&test, "mobile", BOTH).await);
    let id = GrantId::parse(token.split('.').next().expect("an id")).expect("valid");
    let rotation = Rotation {
        id: &id,
        from: 0,
        at: now(&test),
        idle_expires_at: now(&test).plus(Duration::from_secs(3600)),
    };
    let rotated = test.issuer.services.store.store.rotate_grant(&rotation).await;
    assert!(matches!(rotated, Ok(crate::store::grants::Rotated::Done(_))));
    let told = refresh(&test, "mobile", &token).await.expect("the same successor");
    assert!(refresh_token(&told).contains(".1."));
    assert_eq!(scopes(&told.scope), scopes(BOTH));
    let body = format!("grant_type=refresh_token&{}", credentials("mobile"));
    assert_eq!(
        ask(&test, &body).await.expect_err("none").error.error_code(),
        "missing_parameter"
    );
}
