//! Opaque tokens: who is asked, how often, and what an answer is worth.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::fixture::{Answer, INTROSPECT, JWKS, NOW, World, jwks, ok, opaque, remote, request, server};
use crate::authz::{GateSettings, Step};
use crate::model::event::CacheOutcome;
use crate::model::reason::Reason;
use crate::policy::declared::DpopOptions;
use crate::revocation::Revocation;
use crate::trust::fetch::FetchError;

const BANK: &[(&str, &[&str])] = &[("bank", &["bank"])];

fn world(cache: u64) -> World {
    World::new(vec![opaque("bank", cache)], BANK, &DpopOptions::default())
}

fn active() -> serde_json::Value {
    json!({"active": true, "scope": "read", "client_id": "mobile", "sub": "alice", "jti": "o1",
           "iat": NOW.unix_seconds(), "exp": NOW.unix_seconds() + 300})
}

#[tokio::test]
async fn an_active_token_passes_and_is_asked_about_once() {
    let world = world(60);
    world.web.set(INTROSPECT, ok(&active()));
    let first = world.check("opaque").await;
    assert!(first.allowed(), "{first:?}");
    assert_eq!(first.cache, CacheOutcome::Miss);
    assert_eq!(world.check("opaque").await.cache, CacheOutcome::Hit);
    assert_eq!(world.web.count(), 1);
    world.clock.advance(Duration::from_secs(60));
    assert!(world.check("opaque").await.allowed());
    assert_eq!(world.web.count(), 2, "kept for as long as the settings say");
}

#[tokio::test]
async fn an_answer_lives_no_longer_than_its_exp() {
    let world = world(3600);
    world.web.set(INTROSPECT, ok(&active()));
    assert!(world.check("opaque").await.allowed());
    world.clock.advance(Duration::from_secs(310));
    assert_eq!(world.check("opaque").await.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn edge_j27_attack_c12_nothing_but_a_true_active_passes_and_it_is_kept_briefly() {
    let unavailable = Some(Reason::Unavailable);
    let invalid = Some(Reason::InvalidToken);
    let with = |name: &str, value: serde_json::Value| {
        let mut answer = active();
        answer[name] = value;
        ok(&answer)
    };
    let cases = [
        ("false", ok(&json!({"active": false})), invalid),
        ("missing", ok(&json!({"scope": "read"})), unavailable),
        ("string", with("active", json!("true")), unavailable),
        ("number", with("active", json!(1)), unavailable),
        ("500", Answer::Status(500, active().to_string(), None), unavailable),
        ("401", Answer::Status(401, active().to_string(), None), unavailable),
        (
            "html",
            Answer::Status(200, "<html>active</html>".to_owned(), None),
            unavailable,
        ),
        (
            "cut",
            Answer::Status(200, active().to_string()[..40].to_owned(), None),
            unavailable,
        ),
        ("timeout", Answer::Fails(FetchError::Timeout), unavailable),
        ("other issuer", with("iss", json!("https://evil.example")), invalid),
        ("other audience", with("aud", json!("api://other")), invalid),
        ("expired", with("exp", json!(NOW.unix_seconds() - 10)), invalid),
        ("exp as string", with("exp", json!("never")), invalid),
        ("cnf unknown", with("cnf", json!({"other": "x"})), invalid),
    ];
    for (what, answer, expected) in cases {
        let world = world(60);
        world.web.set(INTROSPECT, answer);
        let seen = world.check("opaque").await;
        assert_eq!(seen.reason(), expected, "{what}: {seen:?}");
        assert_eq!(seen.header("retry-after").is_some(), expected == unavailable, "{what}");
        // It recovers (C07).
        world.web.set(INTROSPECT, ok(&active()));
        world.clock.advance(Duration::from_secs(30));
        assert!(world.check("opaque").await.allowed(), "{what}");
    }
}

#[tokio::test]
async fn edge_j27_a_429_is_503_with_its_retry_after_and_a_pause_for_all_tokens() {
    let world = world(60);
    let pause = Duration::from_secs(7);
    world
        .web
        .set(INTROSPECT, Answer::Status(429, String::new(), Some(pause)));
    let seen = world.check("one").await;
    assert_eq!(
        (seen.reason(), seen.header("retry-after")),
        (Some(Reason::Unavailable), Some("7"))
    );
    world.web.set(INTROSPECT, ok(&active()));
    world.clock.advance(Duration::from_secs(3));
    let seen = world.check("two").await;
    assert_eq!(
        (seen.reason(), seen.header("retry-after")),
        (Some(Reason::Unavailable), Some("4"))
    );
    assert_eq!(world.web.count(), 1);
    world.clock.advance(Duration::from_secs(4));
    assert!(world.check("one").await.allowed());
}

#[tokio::test]
async fn attack_c09_many_checks_of_one_token_ask_once() {
    let world = Arc::new(world(60));
    world.web.set(INTROSPECT, ok(&active()));
    world.web.close(true);
    let checks: Vec<_> = (0..10_000)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.check("opaque").await.allowed() })
        })
        .collect();
    while world.web.count() == 0 {
        tokio::task::yield_now().await;
    }
    world.web.close(false);
    for check in checks {
        assert!(check.await.unwrap());
    }
    assert_eq!(world.web.count(), 1);
}

#[tokio::test]
async fn edge_o02_a_cancelled_question_leaves_nothing_and_the_others_go_on() {
    let world = world(60);
    world.web.set(INTROSPECT, ok(&active()));
    world.web.close(true);
    let wait = || match world.try_once("opaque") {
        Step::Wait(lookup) => tokio::spawn(world.gate.finish(lookup)),
        Step::Decided(decided) => panic!("{:?}", decided.decision),
    };
    let first = wait();
    tokio::task::yield_now().await;
    let second = wait();
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    second.await.unwrap();
    assert!(
        matches!(world.try_once("opaque"), Step::Wait(_)),
        "nothing is half-known"
    );
    world.web.close(false);
    assert!(world.check("opaque").await.allowed());
}

#[tokio::test]
async fn a_token_that_names_another_issuer_is_never_sent_to_an_endpoint() {
    let world = world(60);
    world.web.set(INTROSPECT, ok(&active()));
    let foreign = world.token(json!({"iss": "https://elsewhere.example"}));
    assert_eq!(world.check(&foreign).await.reason(), Some(Reason::InvalidToken));
    assert!(world.web.tokens_asked_about().is_empty());
    // One that names this issuer, or none, is this server's to judge.
    assert!(world.check(&world.token(json!({}))).await.allowed());
    assert!(world.check(&world.token(json!({"iss": null}))).await.allowed());
}

#[tokio::test]
async fn several_servers_are_asked_in_order_and_signed_tokens_go_to_none() {
    let apis: &[(&str, &[&str])] = &[("bank", &["first", "bank", "shop"])];
    let servers = vec![opaque("first", 60), server("bank"), opaque("shop", 60)];
    let world = World::new(servers, apis, &DpopOptions::default());
    world
        .web
        .set("https://first.example/introspect", ok(&json!({"active": false})));
    world.web.set("https://shop.example/introspect", ok(&active()));
    assert!(world.check("opaque").await.allowed());
    let asked = world.web.tokens_asked_about();
    assert_eq!(asked, ["first.example opaque", "shop.example opaque"]);
    assert!(world.check(&world.token(json!({}))).await.allowed());
    assert_eq!(world.web.tokens_asked_about().len(), 2);
    // Without introspection an opaque token is refused at once.
    let local = World::local();
    let seen = local
        .decide(&request("bank", "GET", "/items", &[("authorization", "Bearer opaque")]))
        .await;
    assert_eq!(seen.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn edge_j27_a_refusal_is_found_again_beside_a_server_whose_keys_were_fetched() {
    let apis: &[(&str, &[&str])] = &[("bank", &["bank", "shop"])];
    let world = World::with(
        vec![remote("bank"), opaque("shop", 60)],
        apis,
        &DpopOptions::default(),
        &GateSettings::default(),
        |web, signer| {
            web.set(JWKS, jwks(&[signer]));
            web.set("https://shop.example/introspect", ok(&json!({"active": false})));
        },
    );
    assert!(
        world.check(&world.token(json!({}))).await.allowed(),
        "the keys are there"
    );
    let seen = world.check("unknown").await;
    assert_eq!(seen.reason(), Some(Reason::InvalidToken), "{seen:?}");
    assert_eq!(world.check("unknown").await.cache, CacheOutcome::NegativeHit);
    assert_eq!(world.web.tokens_asked_about().len(), 1, "nobody is asked twice");
}

#[tokio::test]
async fn an_introspected_token_dies_by_revocation_too() {
    let world = world(60);
    world.web.set(INTROSPECT, ok(&active()));
    assert!(world.check("opaque").await.allowed());
    world.revocations.revoke(Revocation::Client {
        client: crate::model::id::ClientId::parse("mobile").unwrap(),
        before: NOW,
    });
    assert_eq!(world.check("opaque").await.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn attack_b15_attack_c13_a_question_that_panics_leaves_nothing_and_nobody_waiting() {
    let world = world(60);
    world.web.set(INTROSPECT, Answer::Panics);
    let Step::Wait(lookup) = world.try_once("opaque") else {
        panic!("an opaque token waits");
    };
    assert!(tokio::spawn(world.gate.finish(lookup)).await.unwrap_err().is_panic());
    world.web.set(INTROSPECT, ok(&active()));
    assert!(world.check("opaque").await.allowed());
}
