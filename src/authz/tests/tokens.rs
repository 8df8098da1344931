//! Signed tokens: who is asked, what is refused, and how keys come.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use super::fixture::{Answer, COOLDOWN, JWKS, NOW, World, jwks, new_key, ok, policy, remote, request, server, set_of};
use crate::authz::explain::{Assumed, explain};
use crate::authz::{GateSettings, Step};
use crate::model::event::CacheOutcome;
use crate::model::reason::Reason;
use crate::policy::decision::Decision;
use crate::policy::declared::DpopOptions;
use crate::policy::trace::{Trace, Untraced};
use crate::trust::fetch::FetchError;
use crate::trust::settings::TrustedServerSettings;

const BANK: &[(&str, &[&str])] = &[("bank", &["bank"])];

fn remote_world(script: impl FnOnce(&super::fixture::Web, &crate::jose::sign::SigningKey)) -> World {
    World::with(
        vec![remote("bank")],
        BANK,
        &DpopOptions::default(),
        &GateSettings::default(),
        script,
    )
}

#[tokio::test]
async fn a_good_token_passes_and_is_verified_once() {
    let world = World::local();
    let token = world.token(json!({}));
    assert_eq!(world.check(&token).await.cache, CacheOutcome::Miss);
    let again = world.check(&token).await;
    assert!(again.allowed());
    assert_eq!((again.cache, world.gate.stats().verifications), (CacheOutcome::Hit, 1));
}

#[tokio::test]
async fn edge_e15_edge_c01_without_a_token_the_challenge_has_no_error_code() {
    let world = World::local();
    for value in [None, Some(""), Some("Basic dXNlcjpwYXNz"), Some("Bearer-x y")] {
        let headers: Vec<_> = value.map(|value| ("authorization", value)).into_iter().collect();
        let seen = world.decide(&request("bank", "GET", "/items", &headers)).await;
        let denial = seen.denial.expect("denied");
        assert_eq!(
            (denial.reason(), denial.status()),
            (Reason::MissingToken, 401),
            "{value:?}"
        );
        assert!(denial.challenges[0].starts_with("Bearer realm=") && !denial.challenges[0].contains("error"));
    }
}

#[tokio::test]
async fn edge_e13_edge_c05_edge_c06_a_credential_in_a_wrong_form_is_400() {
    let world = World::local();
    let token = world.token(json!({}));
    let good = format!("Bearer {token}");
    let joined = format!("{good},{good}");
    let basic = format!("Basic xx, {good}");
    let long = format!("Bearer {}", "a".repeat(8193));
    let query = format!("/items?access_token={token}");
    for (target, value) in [
        ("/items", "Bearer"),
        ("/items", joined.as_str()),
        ("/items", basic.as_str()),
        ("/items", long.as_str()),
        (query.as_str(), good.as_str()),
        ("/items?%61ccess_token=x", good.as_str()),
    ] {
        let seen = world
            .decide(&request("bank", "GET", target, &[("authorization", value)]))
            .await;
        assert_eq!(seen.reason(), Some(Reason::InvalidRequest), "{target} {value:.20}");
    }
    assert_eq!(world.gate.stats().verifications, 0);
}

#[tokio::test]
async fn attack_a42_bad_tokens_of_every_kind_get_one_answer() {
    let world = World::local();
    let good = world.token(json!({}));
    let stranger = new_key();
    let mut answers = Vec::new();
    for (what, token) in [
        ("garbage", "x".to_owned()),
        ("two dots", "a.b.c".to_owned()),
        ("bad signature", format!("{}AAAA", &good[..good.len() - 4])),
        ("unknown kid", world.token_by(&stranger, json!({}))),
        ("expired", world.token(json!({"exp": NOW.unix_seconds() - 10}))),
        ("audience", world.token(json!({"aud": "api://other"}))),
        ("issuer", world.token(json!({"iss": "https://evil.example"}))),
        ("no issuer", world.token(json!({"iss": null}))),
    ] {
        let denial = world.check(&token).await.denial.expect(what);
        assert!(denial.detail.is_some(), "{what}");
        answers.push((denial.reason(), denial.status(), denial.challenges, denial.headers));
    }
    assert_eq!(answers[0].0, Reason::InvalidToken);
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn edge_j26_edge_j15_attack_c03_a_token_of_one_product_is_none_at_another() {
    let shop = TrustedServerSettings {
        issuer: crate::model::id::Issuer::parse("https://shop.example").unwrap(),
        ..server("shop")
    };
    let apis: &[(&str, &[&str])] = &[("bank", &["bank"]), ("shop", &["shop"])];
    let world = World::new(vec![server("bank"), shop], apis, &DpopOptions::default());
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed(), "primed at its own product");
    let value = format!("Bearer {token}");
    let seen = world
        .decide(&request("shop", "GET", "/items", &[("authorization", &value)]))
        .await;
    assert_eq!(seen.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn servers_of_one_issuer_are_told_apart_by_audience() {
    let second = TrustedServerSettings {
        issuer: server("bank").issuer,
        audiences: vec!["api://second".to_owned()],
        ..server("shop")
    };
    let world = World::new(
        vec![server("bank"), second],
        &[("bank", &["bank", "shop"])],
        &DpopOptions::default(),
    );
    assert!(world.check(&world.token(json!({}))).await.allowed());
    assert!(
        world
            .check(&world.token(json!({"aud": "api://second"})))
            .await
            .allowed()
    );
    let seen = world.check(&world.token(json!({"aud": "api://third"}))).await;
    assert_eq!(seen.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn attack_b10_edge_j06_a_new_kid_costs_one_fetch_and_passes_on_first_use() {
    let world = remote_world(|web, signer| web.set(JWKS, jwks(&[signer])));
    assert!(world.check(&world.token(json!({}))).await.allowed());
    world.clock.advance(COOLDOWN);
    let next = new_key();
    world.web.set(JWKS, jwks(&[&world.signer, &next]));
    let before = world.web.count();
    assert!(world.check(&world.token_by(&next, json!({}))).await.allowed());
    assert_eq!(world.web.count(), before + 1);
}

#[tokio::test]
async fn attack_b01_attack_b03_edge_j05_a_flood_of_unknown_kids_costs_one_fetch_per_cooldown() {
    let world = remote_world(|web, signer| web.set(JWKS, jwks(&[signer])));
    let good = world.token(json!({}));
    assert!(world.check(&good).await.allowed());
    world.clock.advance(COOLDOWN);
    let before = world.web.count();
    for _ in 0..200 {
        let stranger = new_key();
        let seen = world.check(&world.token_by(&stranger, json!({}))).await;
        assert_eq!(seen.reason(), Some(Reason::InvalidToken));
        let Step::Decided(decided) = world.try_once(&good) else {
            panic!("known kids never wait");
        };
        assert_eq!(decided.cache, CacheOutcome::Hit);
    }
    assert_eq!(world.web.count(), before + 1);
}

#[tokio::test]
async fn attack_b02_attack_b04_edge_j07_bad_answers_cool_down_too_and_the_last_good_set_stays() {
    let answers = [
        ("no keys", ok(&json!({"keys": []}))),
        ("500", Answer::Status(500, String::new(), None)),
        ("html", Answer::Status(200, "<html></html>".to_owned(), None)),
        ("redirect", Answer::Fails(FetchError::Redirect)),
        ("too long", Answer::Fails(FetchError::TooLong)),
        ("timeout", Answer::Fails(FetchError::Timeout)),
    ];
    for (what, answer) in answers {
        let world = remote_world(|web, signer| web.set(JWKS, jwks(&[signer])));
        assert!(world.check(&world.token(json!({}))).await.allowed());
        world.web.set(JWKS, answer);
        world.clock.advance(COOLDOWN);
        let before = world.web.count();
        for _ in 0..20 {
            let seen = world.check(&world.token_by(&new_key(), json!({}))).await;
            assert_eq!(seen.reason(), Some(Reason::InvalidToken), "{what}");
        }
        assert_eq!(world.web.count(), before + 1, "{what}");
        assert!(
            world.check(&world.token(json!({"jti": "cold"}))).await.allowed(),
            "{what}"
        );
    }
}

#[tokio::test]
async fn attack_b06_edge_d06_keys_that_were_never_had_are_503_and_other_servers_work() {
    let apis: &[(&str, &[&str])] = &[("bank", &["bank"]), ("shop", &["shop"])];
    let world = World::new(vec![remote("bank"), server("shop")], apis, &DpopOptions::default());
    let seen = world.check(&world.token(json!({}))).await;
    assert_eq!(seen.reason(), Some(Reason::Unavailable));
    assert!(seen.header("retry-after").is_some());
    let shop = world.token(json!({"iss": "https://shop.example", "aud": "api://shop"}));
    let value = format!("Bearer {shop}");
    let seen = world
        .decide(&request("shop", "GET", "/items", &[("authorization", &value)]))
        .await;
    assert!(seen.allowed(), "{seen:?}");
}

#[tokio::test]
async fn attack_b15_a_cancelled_check_takes_nobody_with_it() {
    let world = remote_world(|web, signer| web.set(JWKS, jwks(&[signer])));
    assert!(world.check(&world.token(json!({}))).await.allowed());
    world.clock.advance(COOLDOWN);
    let next = new_key();
    let token = world.token_by(&next, json!({}));
    world.web.set(JWKS, jwks(&[&next]));
    world.web.close(true);
    let Step::Wait(lookup) = world.try_once(&token) else {
        panic!("an unknown kid waits");
    };
    let first = tokio::spawn(world.gate.finish(lookup));
    let Step::Wait(lookup) = world.try_once(&token) else {
        panic!("so does the next");
    };
    let second = tokio::spawn(world.gate.finish(lookup));
    tokio::task::yield_now().await;
    first.abort();
    world.web.close(false);
    second.await.unwrap();
    assert!(world.check(&token).await.allowed());
}

#[tokio::test]
async fn attack_b15_a_fetch_that_panics_leaves_nobody_waiting_and_cools_down_like_another() {
    let world = remote_world(|web, signer| web.set(JWKS, jwks(&[signer])));
    assert!(world.check(&world.token(json!({}))).await.allowed());
    world.clock.advance(COOLDOWN);
    world.web.set(JWKS, Answer::Panics);
    for _ in 0..3 {
        let seen = world.check(&world.token_by(&new_key(), json!({}))).await;
        assert_eq!(seen.reason(), Some(Reason::InvalidToken));
    }
    let next = new_key();
    world.web.set(JWKS, jwks(&[&next]));
    world.clock.advance(COOLDOWN);
    assert!(world.check(&world.token_by(&next, json!({}))).await.allowed());
}

#[tokio::test]
async fn attack_b07_edge_j24_a_removed_key_ends_its_cached_verdicts() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    world.live.publish(set_of(&[&new_key()]));
    assert_eq!(world.check(&token).await.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn attack_c07_a_refusal_ends_when_new_keys_come() {
    let world = World::local();
    let next = new_key();
    let token = world.token_by(&next, json!({}));
    assert!(!world.check(&token).await.allowed());
    assert_eq!(world.check(&token).await.cache, CacheOutcome::NegativeHit);
    world.live.publish(set_of(&[&world.signer, &next]));
    assert!(world.check(&token).await.allowed());
}

#[tokio::test]
async fn edge_c12_a_bad_token_on_a_public_route_that_denies_it_is_401() {
    let world = World::local();
    let seen = world
        .decide(&request("bank", "GET", "/open", &[("authorization", "Bearer x")]))
        .await;
    assert_eq!(seen.reason(), Some(Reason::InvalidToken));
    assert!(world.decide(&request("bank", "GET", "/open", &[])).await.allowed());
}

#[tokio::test]
async fn scope_is_judged_anew_on_each_route() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    let value = format!("Bearer {token}");
    let seen = world
        .decide(&request("bank", "POST", "/items", &[("authorization", &value)]))
        .await;
    assert_eq!(
        (seen.reason(), seen.cache),
        (Some(Reason::InsufficientScope), CacheOutcome::Hit)
    );
}

#[test]
fn explain_runs_the_same_pipeline_before_an_assumed_caller() {
    let servers = [server("bank")];
    let policy = policy(BANK, &DpopOptions::default());
    let decide = |claims: serde_json::Value, method: &'static str| {
        let assumed = match claims {
            serde_json::Value::Object(claims) => Assumed::Token(claims),
            _ => Assumed::Nobody,
        };
        let facts = request("bank", method, "/items", &[]);
        match explain(&policy, &servers, &facts, &assumed, NOW, &mut Untraced) {
            Decision::Allow(_) => None,
            Decision::Deny(denial) => Some(denial.reason()),
        }
    };
    let key = crate::model::digest::Digest::of(b"k").to_base64url();
    let cases = [
        (json!({"scope": "read"}), "GET", None),
        (json!({"scope": "read"}), "POST", Some(Reason::InsufficientScope)),
        (json!({"scope": "read", "cnf": {"jkt": key}}), "GET", None),
        (json!({"scope": "read", "cnf": {"x5t#S256": key}}), "GET", None),
        (
            json!({"scope": "read", "cnf": {"other": key}}),
            "GET",
            Some(Reason::InvalidToken),
        ),
        (
            json!({"scope": "read", "iss": "https://other.example"}),
            "GET",
            Some(Reason::InvalidToken),
        ),
        (
            json!({"scope": "read", "aud": "api://other"}),
            "GET",
            Some(Reason::InvalidToken),
        ),
        (json!({"scope": "read", "exp": 1}), "GET", Some(Reason::InvalidToken)),
        (json!(null), "GET", Some(Reason::MissingToken)),
    ];
    for (claims, method, expected) in cases {
        assert_eq!(decide(claims.clone(), method), expected, "{claims}");
    }
    let mut trace = Trace::default();
    let facts = request("bank", "GET", "/items", &[]);
    let claims = json!({"scope": "read"}).as_object().unwrap().clone();
    let _ = explain(&policy, &servers, &facts, &Assumed::Token(claims), NOW, &mut trace);
    assert!(trace.steps.iter().any(|step| step.text.contains("`bank` vouches")));
}

#[tokio::test]
async fn keys_that_grew_too_old_end_their_verdicts() {
    let stale = TrustedServerSettings {
        keys_stale_max: Duration::from_secs(100),
        ..remote("bank")
    };
    let world = World::with(
        vec![stale],
        BANK,
        &DpopOptions::default(),
        &GateSettings::default(),
        |web, signer| {
            web.set(JWKS, jwks(&[signer]));
        },
    );
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    world.web.set(JWKS, Answer::Fails(FetchError::Timeout));
    world.clock.advance(Duration::from_secs(99));
    assert!(world.check(&token).await.allowed());
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(world.check(&token).await.reason(), Some(Reason::Unavailable));
    assert!(world.web.fetches.load(Ordering::SeqCst) >= 2);
}
