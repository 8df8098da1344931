//! How far a revocation reaches: what is revoked × where it has to be seen.
//!
//! "Effective on the next check after the acknowledgement": no clock moves between the two here, and the gate
//! has the verdict in its cache.

use std::time::Duration;

use serde_json::{Value, json};

use crate::audit::{AuditEvent, AuditKind};
use crate::clock::Clock as _;
use crate::jose::unverified::Unverified;
use crate::model::id::{Jti, Kid, Subject};
use crate::oauth::sample::{client_id, server_id};
use crate::revocation::Revocation;
use crate::testing::house::{BANK, House, Seen, check, form};

/// A way to revoke: its name, whether another client's token of the same server dies with it, and whether this
/// client's token of another server does.
struct Way {
    name: &'static str,
    kills_neighbour: bool,
    kills_elsewhere: bool,
    fact: fn(&House, &Value) -> Revocation,
}

const WAYS: [Way; 6] = [
    Way {
        name: "token",
        kills_neighbour: false,
        kills_elsewhere: false,
        fact: |house, claims| Revocation::Token {
            server: server_id("transfers"),
            jti: Jti::parse(claims["jti"].as_str().expect("a jti")).expect("valid"),
            until: house.clock.now().plus(Duration::from_secs(600)),
        },
    },
    Way {
        name: "subject, everywhere",
        kills_neighbour: false,
        kills_elsewhere: true,
        fact: |house, claims| Revocation::Subject {
            server: None,
            subject: Subject::parse(claims["sub"].as_str().expect("a sub")).expect("valid"),
            before: house.clock.now(),
        },
    },
    Way {
        name: "subject, at this server",
        kills_neighbour: false,
        kills_elsewhere: false,
        fact: |house, claims| Revocation::Subject {
            server: Some(server_id("transfers")),
            subject: Subject::parse(claims["sub"].as_str().expect("a sub")).expect("valid"),
            before: house.clock.now(),
        },
    },
    Way {
        name: "client",
        kills_neighbour: false,
        kills_elsewhere: true,
        fact: |house, claims| Revocation::Client {
            client: client_id(claims["cid"].as_str().expect("a cid")),
            before: house.clock.now(),
        },
    },
    Way {
        name: "key",
        kills_neighbour: true,
        kills_elsewhere: false,
        fact: |_, claims| Revocation::Key {
            server: server_id("transfers"),
            kid: Kid::parse(claims["kid"].as_str().expect("a kid")).expect("valid"),
        },
    },
    Way {
        name: "server",
        kills_neighbour: true,
        kills_elsewhere: false,
        fact: |house, _| Revocation::Server {
            server: server_id("transfers"),
            before: house.clock.now(),
        },
    },
];

/// The claims of a token, with its `kid` beside them.
fn read(token: &str) -> Value {
    let unverified = Unverified::parse(token).expect("a token");
    let mut claims = Value::Object(unverified.claims_unverified().clone());
    claims["kid"] = json!(unverified.kid());
    claims
}

/// Revokes as every use case does: durable, then in force, then acknowledged.
async fn revoke(house: &House, fact: Revocation) {
    let event = AuditEvent {
        at: house.clock.now(),
        kind: AuditKind::TokenRevoked,
        server: None,
        client: None,
        error_id: None,
        actor: None,
        target: None,
        detail: Value::Null,
    };
    house.store.revoke(&fact, &event).await.expect("kept");
    house.revocations.revoke(fact);
}

#[tokio::test]
async fn attack_f13_case_115_what_is_revoked_is_dead_cached_or_not_and_after_a_restart() {
    for way in &WAYS {
        let mut house = House::bank().await;
        let cached = house.mint("transfers", "batch").await;
        let unseen = cached.clone();
        let neighbour = house.mint("transfers", "audit").await;
        let elsewhere = house.mint("payments", "batch").await;
        for (server, token) in [
            ("transfers", &cached),
            ("transfers", &neighbour),
            ("payments", &elsewhere),
        ] {
            house.assert_alive(server, token, "before");
        }
        revoke(&house, (way.fact)(&house, &read(&cached))).await;
        for restarted in [false, true] {
            if restarted {
                house = house.restart(BANK).await;
            }
            let name = format!("{}, restarted: {restarted}", way.name);
            house.assert_dead("transfers", &cached, &name);
            let fresh = house.fresh_gate(BANK);
            assert_ne!(check(&fresh, "transfers", &unseen), Seen::Allowed, "{name}: never seen");
            let expect = |dead: bool| move |seen: &Seen| (*seen != Seen::Allowed) == dead;
            assert!(
                expect(way.kills_neighbour)(&house.check("transfers", &neighbour)),
                "{name}: neighbour"
            );
            assert!(
                expect(way.kills_elsewhere)(&house.check("payments", &elsewhere)),
                "{name}: elsewhere"
            );
        }
        // A second later all is well for new tokens, and the old ones stay dead.
        house.clock.advance(Duration::from_secs(1));
        house.issuer.tend_once().await;
        let new = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &new, way.name);
        house.assert_dead("transfers", &cached, way.name);
    }
}

#[tokio::test]
async fn no_token_is_given_out_that_is_dead_on_arrival() {
    let body = "grant_type=client_credentials&client_id=batch&client_secret=secret&scope=transfers:read";
    for way in WAYS.iter().filter(|way| !matches!(way.name, "token" | "key")) {
        let house = House::bank().await;
        let token = house.mint("transfers", "batch").await;
        revoke(&house, (way.fact)(&house, &read(&token))).await;
        let failure = house.ask("transfers", body).await.expect_err(way.name);
        let outside = (
            failure.error.http_status(),
            failure.error.code().as_str(),
            failure.error.retryable(),
        );
        assert_eq!(outside, (503, "temporarily_unavailable", true), "{}", way.name);
        house.clock.advance(Duration::from_secs(1));
        let token = house.mint("transfers", "batch").await;
        house.assert_alive("transfers", &token, way.name);
    }
}

#[tokio::test]
async fn attack_g05_a_clock_that_is_set_back_gives_out_no_dead_token_and_a_late_revocation_still_kills() {
    let house = House::bank().await;
    let token = house.mint("transfers", "batch").await;
    house.assert_alive("transfers", &token, "cached");
    revoke(&house, (WAYS[3].fact)(&house, &read(&token))).await;
    house.clock.step_wall_clock(-3600);
    let body = "grant_type=client_credentials&client_id=batch&client_secret=secret&scope=transfers:read";
    let failure = house
        .ask("transfers", body)
        .await
        .expect_err("it would be older than the revocation");
    assert_eq!(failure.error.http_status(), 503);
    house.assert_dead("transfers", &token, "still");
}

#[tokio::test]
async fn attack_f13_a_client_gives_its_token_back_and_the_cached_verdict_dies_with_the_acknowledgement() {
    let house = House::bank().await;
    let (given_back, kept) = (
        house.mint("transfers", "batch").await,
        house.mint("transfers", "batch").await,
    );
    for token in [&given_back, &kept] {
        house.assert_alive("transfers", token, "before");
    }
    let body = format!("client_id=batch&client_secret=secret&token={given_back}");
    house
        .issuer
        .revoke("transfers", &form(&body))
        .await
        .expect("acknowledged");
    house.assert_dead("transfers", &given_back, "acknowledged");
    house.assert_alive("transfers", &kept, "another token");
}

/// [`BANK`] without the client `audit`.
fn without_client() -> String {
    let line = BANK
        .lines()
        .find(|line| line.contains("id: audit"))
        .expect("it is declared");
    BANK.replace(&format!("{line}\n"), "")
        .replace("[batch, audit]", "[batch]")
}

/// [`BANK`] without the server `payments`, and its API.
fn without_server() -> String {
    let (before, rest) = BANK.split_once("  - id: payments").expect("it is declared");
    let (_, apis) = rest.split_once("apis:").expect("they follow");
    let kept = apis.lines().filter(|line| !line.contains("name: payments"));
    format!("{before}apis:{}\n", kept.collect::<Vec<_>>().join("\n"))
}

/// How another configuration comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Reload,
    Restart,
}

async fn change_to(house: House, by: By, text: &str) -> House {
    match by {
        By::Reload => house.reload(text).await,
        By::Restart => return house.restart(text).await,
    }
    house
}

#[tokio::test]
async fn case_157_a_client_that_goes_out_of_the_file_is_dead_and_its_old_tokens_stay_dead_when_it_comes_back() {
    for (out, back) in [
        (By::Reload, By::Reload),
        (By::Restart, By::Reload),
        (By::Reload, By::Restart),
        (By::Restart, By::Restart),
    ] {
        let house = House::bank().await;
        let name = format!("{out:?}, {back:?}");
        let (old, other) = (
            house.mint("transfers", "audit").await,
            house.mint("transfers", "batch").await,
        );
        house.assert_alive("transfers", &old, &name);
        house.clock.advance(Duration::from_secs(5));
        let house = change_to(house, out, &without_client()).await;
        house.assert_dead("transfers", &old, &name);
        house.assert_alive("transfers", &other, &name);
        let house = change_to(house, back, BANK).await;
        house.assert_dead("transfers", &old, &name);
        house.clock.advance(Duration::from_secs(1));
        let new = house.mint("transfers", "audit").await;
        house.assert_alive("transfers", &new, &name);
        // Nothing has gone out of the file meanwhile: a start ends nobody.
        let house = house.restart(BANK).await;
        house.assert_alive("transfers", &new, &name);
        house.assert_dead("transfers", &old, &name);
    }
}

#[tokio::test]
async fn case_157_a_server_that_goes_out_of_the_file_is_dead_and_its_old_tokens_stay_dead_when_it_comes_back() {
    for out in [By::Reload, By::Restart] {
        let house = House::bank().await;
        let old = house.mint("payments", "batch").await;
        house.assert_alive("payments", &old, "before");
        house.clock.advance(Duration::from_secs(5));
        let house = change_to(house, out, &without_server()).await;
        assert_ne!(house.check("payments", &old), Seen::Allowed);
        assert!(!house.issuer.has_server("payments") && house.issuer.keys("payments").is_none());
        let house = change_to(house, out, BANK).await;
        house.assert_dead("payments", &old, "declared again");
        house.clock.advance(Duration::from_secs(1));
        let new = house.mint("payments", "batch").await;
        house.assert_alive("payments", &new, "a new token");
        let house = house.restart(BANK).await;
        house.assert_alive("payments", &new, "after a restart");
        house.assert_dead("payments", &old, "after a restart");
    }
}
