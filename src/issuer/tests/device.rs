//! The device grant, with a person who answers by a change of the store.

use std::time::Duration;

use crate::issuer::fixture::TestIssuer;
use crate::issuer::tests::form;
use crate::issuer::tests::world::{
    ADA, READ, ask, claims, credentials, declared, now, refresh, refresh_token, refused, scopes,
};
use crate::issuer::{DeviceAnswer, Failure, TokenAnswer};
use crate::model::id::UserId;
use crate::oauth::authorization::Approval;
use crate::oauth::declared::ClientKind;
use crate::oauth::sample::{client, policy, rule, texts};

async fn world() -> TestIssuer {
    let mut declared = declared();
    for id in ["tv", "other-tv"] {
        let mut tv = client(
            id,
            ClientKind::Native,
            &["authorization_code", "device_code", "refresh_token"],
        );
        tv.redirect_uris = texts(&["com.tv.app:/cb"]);
        declared.clients.push(tv);
    }
    let mut television = rule("Television", &["device_code"], &["customers"], None, 300);
    television.refresh_token = declared.servers[0].policies[0].rules[0].refresh_token;
    declared.servers[0]
        .policies
        .push(policy("Television", Some(&["tv", "other-tv"]), vec![television]));
    TestIssuer::with(declared).await
}

async fn begin(test: &TestIssuer, scope: &str) -> Result<DeviceAnswer, Failure> {
    let body = format!("client_id=tv&scope={scope}");
    test.issuer.authorize_device("transfers", &form(&body)).await
}

async fn poll(test: &TestIssuer, client: &str, code: &str) -> Result<TokenAnswer, Failure> {
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    ask(
        test,
        &format!("grant_type={grant}&client_id={client}&device_code={code}"),
    )
    .await
}

fn approval(test: &TestIssuer, agreed: &str) -> Approval {
    Approval {
        user: UserId::parse(ADA).expect("valid"),
        scopes: scopes(agreed),
        auth_time: now(test),
        amr: vec!["pwd".to_owned()],
        acr: None,
    }
}

#[tokio::test]
async fn case_136_case_137_attack_f27_a_device_waits_is_slowed_down_and_gets_its_tokens_once() {
    let test = world().await;
    let begun = begin(&test, "transfers:read+transfers:write").await.expect("begun");
    let code = begun.device_code.expose_secret().clone();
    assert_eq!((begun.expires_in_seconds, begun.interval_seconds), (600, 5));
    assert_eq!(
        refused(&test, poll(&test, "tv", &code).await).0,
        "authorization_pending"
    );
    test.clock.advance(Duration::from_secs(4));
    assert_eq!(refused(&test, poll(&test, "tv", &code).await).0, "slow_down");
    test.clock.advance(Duration::from_secs(9));
    assert_eq!(
        refused(&test, poll(&test, "tv", &code).await).0,
        "slow_down",
        "ten seconds by now"
    );
    test.clock.advance(Duration::from_secs(15));
    assert_eq!(
        refused(&test, poll(&test, "tv", &code).await).0,
        "authorization_pending"
    );
    // A stranger's polling is nothing.
    assert_eq!(
        refused(&test, poll(&test, "other-tv", &code).await),
        ("invalid_grant", "device_code_unknown".to_owned())
    );
    let shown = test
        .issuer
        .device_request(&begun.user_code.to_lowercase())
        .await
        .expect("read");
    assert_eq!(shown.expect("waiting").client.as_str(), "tv");
    assert!(
        test.issuer
            .answer_device(&begun.user_code, Some(&approval(&test, READ)))
            .await
            .expect("answered")
    );
    assert!(
        !test
            .issuer
            .answer_device(&begun.user_code, None)
            .await
            .expect("too late"),
        "answered once"
    );
    let answer = poll(&test, "tv", &code).await.expect("granted");
    assert_eq!(
        (answer.scope.as_str(), &claims(&test, &answer).map()["sub"]),
        (READ, &serde_json::json!(ADA))
    );
    assert!(
        refresh_tv(&test, &answer).await.is_ok(),
        "the rule for `device_code` goes on"
    );
    let again = poll(&test, "tv", &code).await;
    assert_eq!(refused(&test, again), ("invalid_grant", "device_code_used".to_owned()));
}

async fn refresh_tv(test: &TestIssuer, answer: &TokenAnswer) -> Result<TokenAnswer, Failure> {
    let body = format!(
        "grant_type=refresh_token&client_id=tv&refresh_token={}",
        refresh_token(answer)
    );
    ask(test, &body).await
}

#[tokio::test]
async fn case_136_who_is_refused_or_too_late_is_told_so() {
    let test = world().await;
    let begun = begin(&test, READ).await.expect("begun");
    assert!(
        test.issuer
            .answer_device(&begun.user_code, None)
            .await
            .expect("answered")
    );
    let code = begun.device_code.expose_secret();
    assert_eq!(refused(&test, poll(&test, "tv", code).await).0, "access_denied");
    let begun = begin(&test, READ).await.expect("begun");
    test.clock.advance(Duration::from_secs(600));
    let code = begun.device_code.expose_secret();
    assert_eq!(refused(&test, poll(&test, "tv", code).await).0, "expired_token");
    assert!(
        !test
            .issuer
            .answer_device(&begun.user_code, None)
            .await
            .expect("too late")
    );
    assert_eq!(
        refused(&test, poll(&test, "tv", "nothing").await).1,
        "device_code_unknown"
    );
}

#[tokio::test]
async fn case_077_case_029_a_device_request_is_refused_before_a_person_is_troubled() {
    let test = world().await;
    let failure = begin(&test, "unknown").await.expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "invalid_scope");
    let outcome = test
        .issuer
        .authorize_device("transfers", &form(&credentials("mobile")))
        .await;
    assert_eq!(
        outcome.expect_err("refused").error.code().as_str(),
        "unauthorized_client"
    );
    let wider = begin(&test, READ).await.expect("begun");
    let outcome = test
        .issuer
        .answer_device(&wider.user_code, Some(&approval(&test, "transfers:write")))
        .await;
    assert!(outcome.is_err(), "no more than was asked");
    assert!(test.issuer.device_request("AAAA-AAAA").await.expect("read").is_none());
}

#[tokio::test]
async fn case_058_case_096_attack_f33_the_user_of_a_device_is_looked_at_when_it_gets_its_tokens() {
    let test = world().await;
    let begun = begin(&test, READ).await.expect("begun");
    let mut nobody = approval(&test, READ);
    nobody.user = UserId::parse("nobody").expect("valid");
    assert!(
        test.issuer
            .answer_device(&begun.user_code, Some(&nobody))
            .await
            .expect("answered")
    );
    let code = begun.device_code.expose_secret();
    assert_eq!(
        refused(&test, poll(&test, "tv", code).await),
        ("invalid_grant", "user_gone".to_owned())
    );
    let mut teller = approval(&test, READ);
    teller.user = UserId::parse("bob@bank.example").expect("valid");
    let begun = begin(&test, READ).await.expect("begun");
    assert!(
        test.issuer
            .answer_device(&begun.user_code, Some(&teller))
            .await
            .expect("answered")
    );
    let code = begun.device_code.expose_secret();
    assert_eq!(
        refused(&test, poll(&test, "tv", code).await),
        ("invalid_grant", "denied_by_policy".to_owned())
    );
    let _ = refresh(&test, "tv", "x").await;
}
