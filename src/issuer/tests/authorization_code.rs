//! The code grant, from the approval on.

use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::AuditKind;
use crate::issuer::fixture::{TestIssuer, settings};
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    ADA, BOTH, READ, VERIFIER, ask, bank, claims, code, credentials, declared, is_dead, now, recorded, redemption,
    refresh, refresh_token, refused, request, sign_in,
};
use crate::jose::sign::SigningKey;
use crate::jose::unverified::Unverified;
use crate::jose::verify::{Expectations, TokenTypes, verify};
use crate::model::digest::Digest;
use crate::model::id::Issuer as IssuerId;
use crate::oauth::id_token::half_hash;
use crate::oauth::sample::server_id;
use crate::store::grants::{OneTime, OneTimeKind};

/// The claims of an ID token, verified as a client does.
pub(super) fn id_token(test: &TestIssuer, client: &str, token: &str) -> serde_json::Map<String, Value> {
    let keys = test
        .issuer
        .live_keys(&server_id("transfers"))
        .expect("it exists")
        .load();
    let issuer = IssuerId::parse("https://127.0.0.1:8443/oauth2/transfers").expect("valid");
    let expectations = Expectations {
        issuer: &issuer,
        audiences: &[client.to_owned()],
        algorithms: &SigningKey::ALGORITHMS,
        token_types: &TokenTypes::Only(vec!["JWT".to_owned()]),
        leeway: Duration::ZERO,
        now: now(test),
    };
    let mut unverified = Unverified::parse(token).expect("compact");
    verify(&mut unverified, &keys, &expectations)
        .expect("verifies")
        .into_inner()
        .map()
}

#[tokio::test]
async fn case_046_case_100_a_code_gives_tokens_that_say_who_signed_in() {
    let test = bank().await;
    let answer = sign_in(&test, "mobile", BOTH).await;
    assert_eq!((answer.token_type(), answer.scope.as_str()), ("Bearer", BOTH));
    assert_eq!(answer.expires_in_seconds, 300);
    assert!(answer.id_token.is_none(), "no `openid`, no ID token");
    let claims = claims(&test, &answer);
    let said = |name: &str| claims.map()[name].as_str().expect("text").to_owned();
    assert_eq!((said("sub").as_str(), said("uid").as_str()), (ADA, ADA));
    assert_eq!(claims.map()["auth_time"], now(&test).unix_seconds());
    assert_eq!(
        (claims.map()["amr"].clone(), said("tier").as_str()),
        (json!(["pwd"]), "gold")
    );
    let refresh = refresh_token(&answer);
    assert_eq!(
        refresh.split('.').next(),
        Some(said("sid").as_str()),
        "the grant is the session"
    );
}

#[tokio::test]
async fn case_103_case_101_openid_gives_an_id_token_for_the_client_alone() {
    let test = bank().await;
    let answer = sign_in(&test, "mobile", "openid profile transfers:read").await;
    let token = answer.id_token.as_ref().expect("an ID token").expose_secret();
    let said = id_token(&test, "mobile", token);
    let session = claims(&test, &answer).map()["sid"].clone();
    let at_hash = half_hash(crate::jose::alg::Algorithm::Es256, answer.access_token.expose_secret());
    for (name, value) in [
        ("sub", json!(ADA)),
        ("aud", json!("mobile")),
        ("azp", json!("mobile")),
        ("nonce", json!("n-0S6")),
        ("auth_time", json!(now(&test).unix_seconds())),
        ("sid", session),
        ("at_hash", json!(at_hash)),
        ("amr", json!(["pwd"])),
    ] {
        assert_eq!(said[name], value, "{name}");
    }
    assert!(!said.contains_key("preferred_username"), "thin: userinfo tells it");
    assert!(
        test.verified("transfers", token).is_err(),
        "no API takes it for an access token"
    );
}

#[tokio::test]
async fn case_099_a_refresh_token_needs_offline_access_where_openid_is_asked_for() {
    let test = bank().await;
    let without = sign_in(&test, "mobile", "openid transfers:read").await;
    assert!(without.refresh_token.is_none());
    let with = sign_in(&test, "mobile", "openid offline_access transfers:read").await;
    assert!(with.refresh_token.is_some());
    // A client without the grant type gets none, whatever it asks for.
    let mut declared = declared();
    declared.clients[1].grants.truncate(1);
    let test = TestIssuer::with(declared).await;
    assert!(sign_in(&test, "quickbooks", READ).await.refresh_token.is_none());
    let code = code(&test, request("quickbooks", "offline_access transfers:read")).await;
    assert_eq!(
        refused(&test, ask(&test, &redemption("quickbooks", &code)).await),
        ("invalid_grant", "denied_by_policy".to_owned())
    );
}

#[tokio::test]
async fn case_052_case_053_attack_f04_a_replay_ends_everything_that_the_code_gave() {
    for asked in [BOTH, "openid transfers:read"] {
        let test = bank().await;
        let code = code(&test, request("mobile", asked)).await;
        let first = ask(&test, &redemption("mobile", &code)).await.expect("granted");
        let other = sign_in(&test, "mobile", asked).await;
        test.clock.advance(Duration::from_secs(3));
        for _ in 0..3 {
            let again = ask(&test, &redemption("mobile", &code)).await;
            assert_eq!(refused(&test, again), ("invalid_grant", "code_replayed".to_owned()));
            assert!(is_dead(&test, &first));
        }
        if let Some(token) = &first.refresh_token {
            let outcome = refresh(&test, "mobile", token.expose_secret()).await;
            assert_eq!(refused(&test, outcome).1, "refresh_token_revoked");
        }
        assert!(!is_dead(&test, &other), "another sign-in of hers goes on");
        assert_eq!(
            recorded(&test, AuditKind::CodeReplayed).await,
            1,
            "a loop of replays fills nothing"
        );
        test.clock.advance(Duration::from_secs(100));
        let late = ask(&test, &redemption("mobile", &code)).await;
        assert_eq!(
            refused(&test, late).1,
            "code_replayed",
            "and so it is after the code's end"
        );
    }
}

#[tokio::test]
async fn case_053_attack_f04_of_a_hundred_redemptions_at_once_exactly_one_succeeds_and_its_tokens_die() {
    let test = bank().await;
    let code = code(&test, request("mobile", BOTH)).await;
    let body = std::sync::Arc::new(redemption("mobile", &code));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (issuer, body) = (test.issuer.clone(), body.clone());
        tasks.spawn(async move { issuer.token("transfers", &form(&body)).await });
    }
    let outcomes = tasks.join_all().await;
    let (granted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (1, 99));
    let granted = granted.into_iter().next().expect("one").expect("granted");
    assert!(is_dead(&test, &granted));
}

#[tokio::test]
async fn case_055_case_056_case_049_attack_f05_attack_f07_attack_f08_what_does_not_fit_burns_the_code() {
    const REDIRECT: &str = "&redirect_uri=https://app.example/cb";
    let rows: [(&str, &str, fn(&str) -> String, &str); 5] = [
        ("another client", "quickbooks", str::to_owned, "code_of_another_client"),
        (
            "another redirect",
            "mobile",
            |body| body.replace(REDIRECT, &format!("{REDIRECT}/")),
            "redirect_uri_mismatch",
        ),
        (
            "no redirect",
            "mobile",
            |body| body.replace(REDIRECT, ""),
            "redirect_uri_mismatch",
        ),
        (
            "no verifier",
            "mobile",
            |body| body.replace(&format!("&code_verifier={VERIFIER}"), ""),
            "pkce_missing_verifier",
        ),
        (
            "another verifier",
            "mobile",
            |body| body.replace(VERIFIER, &VERIFIER.replace('d', "~")),
            "pkce_verification_failed",
        ),
    ];
    for (name, client, change, reason) in rows {
        let test = bank().await;
        let code = code(&test, request("mobile", BOTH)).await;
        let body = change(&redemption(client, &code));
        assert_eq!(
            refused(&test, ask(&test, &body).await),
            ("invalid_grant", reason.to_owned()),
            "{name}"
        );
        let owner = ask(&test, &redemption("mobile", &code)).await;
        assert_eq!(refused(&test, owner).0, "invalid_grant", "{name}: the code is burnt");
    }
}

#[tokio::test]
async fn case_050_attack_f08_a_malformed_verifier_is_an_invalid_request_and_burns_nothing() {
    let test = bank().await;
    let code = code(&test, request("mobile", BOTH)).await;
    for verifier in ["a".repeat(42), "a".repeat(129), "%20".repeat(43)] {
        let body = redemption("mobile", &code).replace(VERIFIER, &verifier);
        let failure = ask(&test, &body).await.expect_err("refused");
        assert_eq!(
            (failure.error.code().as_str(), failure.error.error_code()),
            ("invalid_request", "pkce_invalid_verifier")
        );
    }
    assert!(ask(&test, &redemption("mobile", &code)).await.is_ok());
}

#[tokio::test]
async fn attack_f08_a_verifier_for_a_code_without_a_challenge_is_a_downgrade() {
    let test = bank().await;
    let mut plain = request("quickbooks", READ);
    plain.challenge = None;
    let code = code(&test, plain).await;
    let outcome = ask(&test, &redemption("quickbooks", &code)).await;
    assert_eq!(refused(&test, outcome).1, "pkce_missing_challenge_verifier_present");
}

#[tokio::test]
async fn case_054_a_code_is_dead_after_a_minute() {
    let test = bank().await;
    let first = code(&test, request("mobile", BOTH)).await;
    test.clock.advance(Duration::from_secs(59));
    assert!(ask(&test, &redemption("mobile", &first)).await.is_ok());
    let second = code(&test, request("mobile", BOTH)).await;
    test.clock.advance(Duration::from_secs(60));
    let outcome = ask(&test, &redemption("mobile", &second)).await;
    assert_eq!(refused(&test, outcome), ("invalid_grant", "code_expired".to_owned()));
}

#[tokio::test]
async fn case_058_case_096_attack_f33_user_client_and_policy_are_looked_at_when_the_code_is_redeemed() {
    let rows: [(&str, fn(&mut crate::oauth::declared::IssuerDeclaration), &str); 4] = [
        (
            "the user is gone",
            |declared| drop(declared.users.remove(0)),
            "user_gone",
        ),
        (
            "the user is not assigned",
            |declared| declared.users[0].groups.clear(),
            "denied_by_policy",
        ),
        (
            "the policy denies",
            |declared| drop(declared.servers[0].policies.remove(0)),
            "denied_by_policy",
        ),
        (
            "the scope is gone",
            |declared| {
                declared.servers[0].scopes.remove(1);
                declared.servers[0].policies[0].rules[0].scopes =
                    crate::oauth::declared::RuleScopes::Any(crate::model::location::Location::default());
            },
            "denied_by_policy",
        ),
    ];
    for (name, change, reason) in rows {
        let test = bank().await;
        let code = code(&test, request("mobile", BOTH)).await;
        let mut changed = declared();
        change(&mut changed);
        test.issuer.reload(&settings(changed)).await.expect("sound");
        let outcome = ask(&test, &redemption("mobile", &code)).await;
        assert_eq!(refused(&test, outcome), ("invalid_grant", reason.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn case_059_the_scope_of_the_token_request_widens_nothing() {
    let test = bank().await;
    let code = code(&test, request("mobile", READ)).await;
    let body = format!("{}&scope=transfers:write", redemption("mobile", &code));
    assert_eq!(ask(&test, &body).await.expect("granted").scope, READ);
}

#[tokio::test]
async fn case_094_case_139_a_token_is_for_a_resource_of_the_request_or_for_the_audience() {
    let mut declared = declared();
    declared.servers[0].options.resources = crate::oauth::sample::texts(&["https://a.example", "https://b.example"]);
    let test = TestIssuer::with(declared).await;
    let mut both = request("mobile", READ);
    both.resources = vec!["https://a.example".to_owned(), "https://b.example".to_owned()];
    let aud = |answer: &crate::issuer::TokenAnswer| {
        let token = answer.access_token.expose_secret();
        Unverified::parse(token).expect("compact").claims_unverified().to_map()["aud"].clone()
    };
    let first = code(&test, both.clone()).await;
    let one = format!("{}&resource=https://b.example", redemption("mobile", &first));
    let one = ask(&test, &one).await.expect("granted");
    assert_eq!(aud(&one), json!("https://b.example"));
    // The refresh token is for both still.
    let again = refresh(&test, "mobile", &refresh_token(&one)).await.expect("granted");
    assert_eq!(aud(&again), json!(["https://a.example", "https://b.example"]));
    let second = code(&test, request("mobile", READ)).await;
    let other = format!("{}&resource=https://a.example", redemption("mobile", &second));
    let failure = ask(&test, &other).await.expect_err("the request named none");
    assert_eq!(failure.error.code().as_str(), "invalid_target");
}

#[tokio::test]
async fn attack_f06_a_code_is_no_other_thing_that_is_good_for_one_use() {
    let test = bank().await;
    let now = now(&test);
    let store = &test.issuer.services.store.store;
    let payload = crate::issuer::tests::world::approved(&test, request("mobile", BOTH)).to_payload();
    for kind in OneTimeKind::ALL {
        if kind == OneTimeKind::AuthorizationCode {
            continue;
        }
        let thing = OneTime {
            kind,
            digest: Digest::of(b"the-same-text"),
            expires_at: now.plus(Duration::from_secs(60)),
            payload: payload.clone(),
            used_by: None,
        };
        store.put_one_time(&thing).await.expect("kept");
        let outcome = ask(&test, &redemption("mobile", "the-same-text")).await;
        assert_eq!(
            refused(&test, outcome),
            ("invalid_grant", "code_unknown".to_owned()),
            "{kind:?}"
        );
    }
    let signed_in = sign_in(&test, "mobile", BOTH).await;
    for other in [
        refresh_token(&signed_in),
        signed_in.access_token.expose_secret().clone(),
    ] {
        let outcome = ask(&test, &redemption("mobile", &other)).await;
        assert_eq!(refused(&test, outcome).1, "code_unknown");
    }
}

#[tokio::test]
async fn attack_f34_case_077_case_110_a_client_without_the_grant_gets_nowhere() {
    let test = bank().await;
    for grant in [
        "authorization_code&code=x",
        "refresh_token&refresh_token=x",
        "password&username=a&password=b",
    ] {
        let body = format!("grant_type={grant}&{}", credentials("nightly-batch"));
        let failure = ask(&test, &body).await.expect_err("refused");
        assert_eq!(failure.error.code().as_str(), "unauthorized_client", "{grant}");
    }
    let implicit = format!("grant_type=implicit&{}", credentials("mobile"));
    assert_eq!(
        ask(&test, &implicit).await.expect_err("refused").error.code().as_str(),
        "unsupported_grant_type"
    );
}
