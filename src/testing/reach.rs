//! How far a revocation reaches: what is revoked × where it has to be seen.
//!
//! "Effective on the next check after the acknowledgement": no clock moves between the two here, and the gate
//! has the verdict in its cache.

use std::time::Duration;

use serde_json::{Value, json};

use crate::admin::Administration;
use crate::admin::desk::Desk;
use crate::admin::users::{Lifecycle, NewUser};
use crate::audit::{AuditEvent, AuditKind};
use crate::clock::Clock as _;
use crate::issuer::IntrospectionAnswer;
use crate::jose::unverified::Unverified;
use crate::model::id::{Jti, Kid, Subject, UserId};
use crate::model::secret::Secret;
use crate::oauth::sample::{client_id, server_id};
use crate::revocation::{CLOCKS_APART_MAX, Revocation};
use crate::testing::house::{BANK, House, PEOPLE, Seen, check, form};

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
    let mut claims = Value::Object(unverified.claims_unverified().to_map());
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

#[tokio::test]
async fn attack_f13_case_115_a_grant_that_is_given_back_is_dead_with_all_its_tokens_cached_or_not_and_after_a_restart()
{
    let mut house = House::of(PEOPLE).await;
    let other = house.sign_in().await;
    let first = house.sign_in().await;
    let second = house.refresh(&first.refresh).await.expect("refreshed");
    for token in [&first, &second, &other] {
        house.assert_alive("transfers", &token.access, "before");
    }
    let body = format!("client_id=app&token={}", second.refresh);
    house
        .issuer
        .revoke("transfers", &form(&body))
        .await
        .expect("acknowledged");
    for restarted in [false, true] {
        if restarted {
            house = house.restart(PEOPLE).await;
        }
        let fresh = house.fresh_gate(PEOPLE);
        for token in [&first, &second] {
            house.assert_dead("transfers", &token.access, "of the grant");
            assert_ne!(check(&fresh, "transfers", &token.access), Seen::Allowed, "never seen");
            house.refresh(&token.refresh).await.expect_err("of the grant");
        }
        house.assert_alive("transfers", &other.access, "another grant of the same user and client");
    }
    house.refresh(&other.refresh).await.expect("another grant");
}

#[tokio::test]
async fn case_116_an_access_token_that_is_given_back_dies_alone_and_its_grant_goes_on() {
    let house = House::of(PEOPLE).await;
    let first = house.sign_in().await;
    let second = house.refresh(&first.refresh).await.expect("refreshed");
    let body = format!("client_id=app&token={}", first.access);
    house
        .issuer
        .revoke("transfers", &form(&body))
        .await
        .expect("acknowledged");
    house.assert_dead("transfers", &first.access, "given back");
    house.assert_alive("transfers", &second.access, "of the same grant");
    house.clock.advance(Duration::from_secs(60));
    let third = house.refresh(&second.refresh).await.expect("goes on");
    house.assert_alive("transfers", &third.access, "of the same grant");
}

#[tokio::test]
async fn attack_f12_a_client_or_user_that_goes_out_of_the_file_refreshes_no_more_not_even_when_it_comes_back() {
    let without_app = PEOPLE
        .lines()
        .filter(|line| !line.contains("id: app,"))
        .collect::<Vec<_>>()
        .join("\n")
        .replace("clients: [app, kiosk]", "clients: [kiosk]");
    for by in [By::Reload, By::Restart] {
        let house = House::of(PEOPLE).await;
        let family = house.sign_in().await;
        let kiosk = house.sign_in_as("kiosk", "bob@bank.example", "battery staple").await;
        house.clock.advance(Duration::from_secs(5));
        let house = change_to(house, by, &without_app).await;
        house.assert_dead("transfers", &family.access, "its client is gone");
        house.refresh(&family.refresh).await.expect_err("its client is gone");
        let house = change_to(house, by, PEOPLE).await;
        // Past the moment up to which the clocks of nodes may be apart: a token of before it would be dead at once.
        house.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
        house.assert_dead("transfers", &family.access, "its client was gone");
        house.refresh(&family.refresh).await.expect_err("its client was gone");
        house.refresh_at("kiosk", &kiosk.refresh).await.expect("another client");
        let again = house.sign_in().await;
        house.assert_alive("transfers", &again.access, "a new grant");
    }
}

#[tokio::test]
async fn attack_f13_case_115_what_is_revoked_is_inactive_at_introspection_too() {
    let inactive = json!({ "active": false });
    for way in &WAYS {
        let mut house = House::bank().await;
        let token = house.mint("transfers", "batch").await;
        let body = format!("client_id=batch&client_secret=secret&token={token}");
        assert_eq!(introspect(&house, &body).await["active"], true);
        revoke(&house, (way.fact)(&house, &read(&token))).await;
        assert_eq!(introspect(&house, &body).await, inactive, "{}", way.name);
        house = house.restart(BANK).await;
        assert_eq!(introspect(&house, &body).await, inactive, "{}, restarted", way.name);
    }
}

async fn introspect(house: &House, body: &str) -> Value {
    let answer = house.issuer.introspect("transfers", &form(body)).await;
    match answer.expect("answers") {
        IntrospectionAnswer::Json(document) => document,
        IntrospectionAnswer::Jwt(_) => panic!("JSON was asked for"),
    }
}

/// A user of the directory, who signs in at the app.
async fn eve(house: &House, administration: &Administration) -> UserId {
    let desk = Desk::of_itself(administration, "test");
    let profile = json!({
        "login": "eve@bank.example", "email": "eve@bank.example", "firstName": "Eve", "lastName": "Example",
    });
    let new = NewUser {
        profile: profile.as_object().expect("an object").clone(),
        password: Some(Secret::new("a long pass phrase".to_owned())),
        groups: Vec::new(),
        activate: true,
    };
    let user = desk.create_user(new).await.expect("made");
    let member = house.store.set_membership(&user.id, "customers", true, &[]).await;
    member.expect("kept");
    user.id
}

#[tokio::test]
async fn attack_c11_attack_f12_a_user_who_is_kept_out_is_dead_everywhere_and_old_tokens_stay_dead() {
    for (out, back) in [
        (Lifecycle::Suspend, Lifecycle::Unsuspend),
        (Lifecycle::Deactivate, Lifecycle::Activate),
    ] {
        let mut house = House::of(PEOPLE).await;
        let administration = Administration::new(house.issuer.clone());
        let user = eve(&house, &administration).await;
        let sign_in = async |house: &House| house.sign_in_as("app", "eve@bank.example", "a long pass phrase").await;
        let (family, other) = (sign_in(&house).await, house.sign_in().await);
        house.assert_alive("transfers", &family.access, "before");
        house.clock.advance(Duration::from_secs(5));
        let desk = Desk::of_itself(&administration, "test");
        desk.move_user(user.as_str(), out).await.expect("kept out");
        house.assert_dead("transfers", &family.access, "kept out");
        house.refresh(&family.refresh).await.expect_err("kept out");
        let body = "grant_type=password&client_id=app&username=eve@bank.example&password=a+long+pass+phrase";
        house.ask("transfers", body).await.expect_err("kept out");
        house.assert_alive("transfers", &other.access, "another user");
        drop(administration);
        house = house.restart(PEOPLE).await;
        house.assert_dead("transfers", &family.access, "after a restart");
        let administration = Administration::new(house.issuer.clone());
        let desk = Desk::of_itself(&administration, "test");
        desk.move_user(user.as_str(), back).await.expect("let in");
        house.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
        house.assert_dead("transfers", &family.access, "let in again");
        house.refresh(&family.refresh).await.expect_err("let in again");
        let again = sign_in(&house).await;
        house.assert_alive("transfers", &again.access, "signed in again");
    }
}

#[tokio::test]
async fn attack_g05_a_clock_that_jumps_empties_no_cache_and_prolongs_no_verdict() {
    let house = House::of(PEOPLE).await;
    let family = house.sign_in().await;
    let verifications = || house.gate.stats().verifications;
    house.assert_alive("transfers", &family.access, "fresh");
    for seconds in [300, -3600, 3600, -7200, 6900] {
        house.clock.step_wall_clock(seconds);
        house.assert_alive("transfers", &family.access, "the jump is within its life");
    }
    assert_eq!(verifications(), 1, "no jump has emptied the cache");
    // An hour back; then its life passes by the clock that cannot be set.
    house.clock.step_wall_clock(-3600);
    house.clock.advance(Duration::from_secs(601));
    house.check("transfers", &family.access);
    assert_eq!(verifications(), 2, "its age ends the verdict, and it is judged anew");
    // What is minted now is bounded by the clock of now.
    let next = house.refresh(&family.refresh).await.expect("refreshed");
    house.assert_alive("transfers", &next.access, "fresh");
    house.clock.step_wall_clock(3600 + 601);
    house.assert_dead("transfers", &next.access, "it has ended by the wall clock");
    house.issuer.tend_once().await;
    let next = house.refresh(&next.refresh).await.expect("refreshed");
    house.assert_alive("transfers", &next.access, "fresh");
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
        house.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
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
        house.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
        let new = house.mint("payments", "batch").await;
        house.assert_alive("payments", &new, "a new token");
        let house = house.restart(BANK).await;
        house.assert_alive("payments", &new, "after a restart");
        house.assert_dead("payments", &old, "after a restart");
    }
}
