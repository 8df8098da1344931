//! What the caches keep, what ends it, and what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::fixture::{NOW, Seen, World, new_key, policy, request, server, set_of};
use crate::authz::cache::{Known, Refusal, Verdict, VerdictKey, Verdicts};
use crate::authz::{GateSettings, Step, token};
use crate::clock::{Clock as _, Now};
use crate::model::digest::Digest;
use crate::model::event::CacheOutcome;
use crate::model::id::{ClientId, Jti, Kid, Subject};
use crate::model::reason::Reason;
use crate::model::time::Timestamp;
use crate::policy::caller::VerifiedToken;
use crate::policy::declared::DpopOptions;
use crate::revocation::Revocation;
use crate::trust::settings::TrustedServerSettings;

const BANK: &[(&str, &[&str])] = &[("bank", &["bank"])];

#[tokio::test]
async fn attack_c01_attack_c04_no_cut_and_no_other_tail_of_a_cached_token_passes() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    for length in 0..token.len() {
        assert!(!world.check(&token[..length]).await.allowed(), "cut at {length}");
    }
    for index in (0..token.len()).step_by(7) {
        let mut other = token.clone().into_bytes();
        other[index] = if other[index] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(other).unwrap();
        assert!(!world.check(&other).await.allowed(), "changed at {index}");
    }
    assert!(world.check(&token).await.allowed());
}

#[tokio::test]
async fn attack_c06_a_cached_verdict_dies_with_the_token() {
    let world = World::local();
    let token = world.token(json!({"exp": NOW.unix_seconds() + 2}));
    assert!(world.check(&token).await.allowed());
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(
        world.check(&token).await.cache,
        CacheOutcome::Hit,
        "2 s of life and 10 s of leeway"
    );
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.check(&token).await.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn edge_j25_steps_of_the_wall_clock_keep_no_verdict_alive() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    world.clock.step_wall_clock(3600);
    assert_eq!(
        world.check(&token).await.reason(),
        Some(Reason::InvalidToken),
        "exp by the wall clock"
    );
    world.clock.step_wall_clock(-3600);
    world.clock.advance(Duration::from_secs(20));
    let token = world.token(json!({"jti": "t2"}));
    assert!(world.check(&token).await.allowed());
    world.clock.step_wall_clock(-3600);
    world.clock.advance(Duration::from_secs(309));
    assert_eq!(world.check(&token).await.cache, CacheOutcome::Hit);
    world.clock.advance(Duration::from_secs(1));
    let seen = world.check(&token).await;
    assert_eq!(
        seen.cache,
        CacheOutcome::Miss,
        "its age ends it, and it is judged anew: {}",
        seen.detail()
    );
}

#[tokio::test]
async fn a_server_that_its_issuer_calls_otherwise_is_revoked_by_that_name() {
    let named = TrustedServerSettings {
        issued_as: Some(server("aus1").id),
        ..server("bank")
    };
    let world = World::new(vec![named], &[("bank", &["bank"])], &DpopOptions::default());
    let token = world.token(json!({"jti": "t1"}));
    assert!(world.check(&token).await.allowed());
    let ends = |server| Revocation::Server { server, before: NOW };
    world.revocations.revoke(ends(server("bank").id));
    assert!(
        world.check(&token).await.allowed(),
        "another server has that name there"
    );
    world.revocations.revoke(ends(server("aus1").id));
    assert_eq!(world.check(&token).await.reason(), Some(Reason::InvalidToken));
}

#[tokio::test]
async fn tokens_of_a_server_that_is_absent_are_refused_until_it_is_there_and_again_when_it_is_gone() {
    let world = World::new(
        vec![server("bank"), server("shop")],
        &[("bank", &["bank"]), ("shop", &["shop"])],
        &DpopOptions::default(),
    );
    let token = world.token(json!({}));
    let snapshot = world.gate.snapshot();
    let there = Arc::clone(snapshot.trust());
    let without = world.snapshot(
        &[server("shop")],
        policy(&[("shop", &["shop"])], &DpopOptions::default()),
    );
    let absent = without.trust().without([server("bank").id]);
    for _ in 0..2 {
        assert!(world.check(&token).await.allowed());
        world.gate.install(snapshot.with_trust(Arc::clone(&absent)).unwrap());
        for _ in 0..2 {
            let seen = world.check(&token).await;
            assert_eq!(seen.reason(), Some(Reason::InvalidToken));
            assert!(
                seen.detail().contains("a managed one is not made, or inactive"),
                "{}",
                seen.detail()
            );
        }
        // No refusal that was kept outlives the absence.
        world.gate.install(snapshot.with_trust(Arc::clone(&there)).unwrap());
    }
    assert!(
        snapshot.with_trust(Arc::clone(without.trust())).is_err(),
        "absent, and nobody says so"
    );
}

#[tokio::test]
async fn a_store_that_is_silent_for_too_long_denies_our_own_tokens_cached_or_not_and_no_others() {
    let world = World::local();
    let (cached, fresh) = (world.token(json!({"jti": "t1"})), world.token(json!({"jti": "t2"})));
    world.revocations.trust_silence_for(Duration::from_secs(60));
    assert_eq!(
        world.check(&cached).await.reason(),
        Some(Reason::Unavailable),
        "nothing was heard yet"
    );
    world.revocations.heard_at(world.clock.monotonic());
    assert!(world.check(&cached).await.allowed());
    world.clock.advance(Duration::from_secs(60));
    assert!(world.check(&cached).await.allowed(), "within the bound");
    world.clock.advance(Duration::from_secs(1));
    for token in [&cached, &fresh] {
        let seen = world.check(token).await;
        assert_eq!(seen.reason(), Some(Reason::Unavailable));
        assert!(
            seen.detail().contains("revocations have not been heard of"),
            "{}",
            seen.detail()
        );
    }
    let bad = format!("{fresh}x");
    assert_eq!(
        world.check(&bad).await.reason(),
        Some(Reason::InvalidToken),
        "a bad token stays one"
    );
    world.revocations.heard_at(world.clock.monotonic());
    assert!(world.check(&cached).await.allowed() && world.check(&fresh).await.allowed());

    let theirs = TrustedServerSettings {
        is_ours: false,
        ..server("bank")
    };
    let world = World::new(vec![theirs], &[("bank", &["bank"])], &DpopOptions::default());
    world.revocations.trust_silence_for(Duration::from_secs(60));
    assert!(
        world.check(&world.token(json!({}))).await.allowed(),
        "whom we revoke nothing of"
    );
}

/// Makes the fact that kills the token of a world.
type Fact = Box<dyn Fn(&World) -> Revocation>;

#[tokio::test]
async fn edge_j23_attack_c11_every_kind_of_revocation_ends_a_cached_verdict_at_once() {
    let kid = |world: &World| Kid::parse(world.signer.kid().as_str()).unwrap();
    let server = || server("bank").id;
    let facts: [(&str, Fact); 6] = [
        (
            "token",
            Box::new(move |_| Revocation::Token {
                server: server(),
                jti: Jti::parse("t1").unwrap(),
                until: NOW,
            }),
        ),
        (
            "session",
            Box::new(move |_| Revocation::Session {
                server: server(),
                session: "s1".to_owned(),
                before: NOW,
            }),
        ),
        (
            "subject",
            Box::new(|_| Revocation::Subject {
                server: None,
                subject: Subject::parse("alice").unwrap(),
                before: NOW,
            }),
        ),
        (
            "client",
            Box::new(|_| Revocation::Client {
                client: ClientId::parse("mobile").unwrap(),
                before: NOW,
            }),
        ),
        (
            "key",
            Box::new(move |world| Revocation::Key {
                server: server(),
                kid: kid(world),
            }),
        ),
        (
            "server",
            Box::new(move |_| Revocation::Server {
                server: server(),
                before: NOW,
            }),
        ),
    ];
    for (what, fact) in facts {
        let world = World::local();
        let token = world.token(json!({}));
        let cold = world.token(json!({"nonce": "cold"}));
        assert!(world.check(&token).await.allowed(), "{what}");
        world.revocations.revoke(fact(&world));
        for _ in 0..2 {
            assert_eq!(
                world.check(&token).await.reason(),
                Some(Reason::InvalidToken),
                "{what}, cached"
            );
            assert_eq!(
                world.check(&cold).await.reason(),
                Some(Reason::InvalidToken),
                "{what}, cold"
            );
        }
        assert_eq!(
            world.gate.stats().verifications,
            2,
            "{what}: a dead token is verified once"
        );
    }
}

#[tokio::test]
async fn a_revocation_of_something_else_costs_a_cached_token_no_verification() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    for number in 0..10 {
        world.revocations.revoke(Revocation::Token {
            server: server("bank").id,
            jti: Jti::parse(&format!("other{number}")).unwrap(),
            until: NOW,
        });
        assert_eq!(world.check(&token).await.cache, CacheOutcome::Hit);
    }
}

#[tokio::test]
async fn attack_c10_edge_j24_other_settings_of_the_server_end_its_verdicts() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    let stricter = TrustedServerSettings {
        audiences: vec!["api://other".to_owned()],
        ..server("bank")
    };
    world
        .gate
        .install(world.snapshot(&[stricter], policy(BANK, &DpopOptions::default())));
    assert_eq!(world.check(&token).await.reason(), Some(Reason::InvalidToken));
    world
        .gate
        .install(world.snapshot(&world.servers(), policy(BANK, &DpopOptions::default())));
    assert!(world.check(&token).await.allowed());
}

#[tokio::test]
async fn a_reload_that_leaves_the_servers_alone_keeps_their_verdicts() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    let same = world.snapshot(&world.servers(), policy(BANK, &DpopOptions::default()));
    world.gate.install(same);
    assert_eq!(world.check(&token).await.cache, CacheOutcome::Hit);
}

#[tokio::test]
async fn other_rules_over_the_same_servers_keep_the_verdicts() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    let trust = Arc::clone(world.gate.snapshot().trust());
    let observer = Arc::clone(world.gate.snapshot().observer());
    let again = crate::authz::Snapshot::new(policy(BANK, &DpopOptions::default()), trust, observer).unwrap();
    world.gate.install(again);
    assert_eq!(world.check(&token).await.cache, CacheOutcome::Hit);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_c09_ten_thousand_checks_of_a_cold_token_verify_it_once() {
    let world = Arc::new(World::local());
    let token = world.token(json!({}));
    let checks: Vec<_> = (0..10_000)
        .map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.check(&token).await.allowed() })
        })
        .collect();
    for check in checks {
        assert!(check.await.unwrap());
    }
    assert_eq!(world.gate.stats().verifications, 1);
}

#[tokio::test]
async fn attack_c09_workers_that_meet_at_a_cold_token_verify_it_once() {
    const WORKERS: usize = 4;
    const TOKENS: u64 = 300;
    let world = World::local();
    let tokens: Vec<String> = (0..TOKENS)
        .map(|number| world.token(json!({"jti": format!("t{number}")})))
        .collect();
    let start = std::sync::Barrier::new(WORKERS);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                for token in &tokens {
                    start.wait();
                    assert!(matches!(world.try_once(token), Step::Decided(_)));
                }
            });
        }
    });
    assert_eq!(world.gate.stats().verifications, TOKENS);
}

#[tokio::test]
async fn edge_o05_attack_c08_a_flood_of_tokens_is_bounded_and_bad_ones_push_out_no_good_one() {
    let settings = GateSettings {
        verdict_bytes_max: 4 * 1024 * 1024,
        refusal_bytes_max: 256 * 1024,
        ..GateSettings::default()
    };
    let world = World::with(
        vec![server("bank")],
        BANK,
        &DpopOptions::default(),
        &settings,
        |_, _| {},
    );
    let good = world.token(json!({}));
    assert!(world.check(&good).await.allowed());
    for number in 0..20_000 {
        assert!(!world.check(&format!("bad{number}")).await.allowed());
    }
    assert_eq!(world.check(&good).await.cache, CacheOutcome::Hit);
    for number in 0..3_000 {
        assert!(
            world
                .check(&world.token(json!({"jti": format!("t{number}")})))
                .await
                .allowed()
        );
    }
    let stats = world.gate.stats();
    assert!(
        stats.verdicts.bytes <= 4 * 1024 * 1024 && stats.refusals.bytes <= 256 * 1024,
        "{stats:?}"
    );
    assert!(
        stats.verdicts.entries > 100 && stats.refusals.entries > 100,
        "{stats:?}"
    );
}

/// The whole gate, raced: one thread checks and re-checks, another revokes.
#[tokio::test]
async fn attack_c05_edge_j23_a_raced_check_never_passes_after_the_acknowledgement() {
    let world = World::local();
    let revoked = AtomicI64::new(-1);
    let done = AtomicBool::new(false);
    let stale = AtomicU64::new(0);
    let tokens: Vec<String> = (0..200)
        .map(|number| world.token(json!({"jti": format!("t{number}"), "sub": format!("u{number}")})))
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (number, _) in tokens.iter().enumerate() {
                std::thread::yield_now();
                world.revocations.revoke(Revocation::Token {
                    server: server("bank").id,
                    jti: Jti::parse(&format!("t{number}")).unwrap(),
                    until: NOW.plus(Duration::from_secs(300)),
                });
                revoked.store(i64::try_from(number).unwrap(), Ordering::SeqCst);
            }
            done.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            let mut last_round = false;
            while !last_round {
                last_round = done.load(Ordering::SeqCst);
                for (number, token) in tokens.iter().enumerate() {
                    let acknowledged = revoked.load(Ordering::SeqCst) >= i64::try_from(number).unwrap();
                    let allowed = match world.try_once(token) {
                        Step::Decided(decided) => Seen::of(decided).allowed(),
                        Step::Wait(_) => false,
                    };
                    stale.fetch_add(u64::from(acknowledged && allowed), Ordering::SeqCst);
                }
            }
        });
    });
    assert_eq!(stale.into_inner(), 0);
}

/// The cache alone, raced a million times: each verdict is made and read while its token is revoked.
#[test]
fn attack_c05_a_million_verdicts_raced_with_their_revocation_leave_none_alive() {
    const RACES: i64 = 1_000_000;
    let clock = Arc::new(crate::clock::ManualClock::at(NOW));
    let revocations = crate::revocation::Revocations::new(clock);
    let verdicts = Verdicts::new(16 * 1024 * 1024, 1024 * 1024, Arc::clone(&revocations));
    let now = Now {
        wall: NOW,
        monotonic: Duration::ZERO,
    };
    let settings = server("bank");
    let subject = Subject::parse("alice").unwrap();
    // Token number n was issued at second n; one "dead since" kills it and all before it.
    let make = |number: i64| {
        let claims = json!({"sub": "alice", "iat": number})
            .as_object()
            .unwrap()
            .clone()
            .into();
        let statement = token::statement(&settings, &claims, None, NOW.plus(Duration::from_secs(300))).unwrap();
        let facts = statement.lay_out().unwrap();
        Arc::new(Verdict::new(
            Arc::new(VerifiedToken::assertion_by_authz(facts)),
            0,
            now,
            Duration::ZERO,
        ))
    };
    let key = VerdictKey {
        token: Digest::of(b"token"),
        servers: 1,
    };
    let announced = AtomicI64::new(-1);
    let acknowledged = AtomicI64::new(-1);
    let stale = AtomicU64::new(0);
    let noise = Revocation::Server {
        server: server("other").id,
        before: NOW,
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..RACES {
                while announced.load(Ordering::Acquire) < number {
                    std::thread::yield_now();
                }
                // Moves the epoch on, so that the other thread is looking the token up when it dies.
                revocations.revoke(noise.clone());
                revocations.revoke(Revocation::Subject {
                    server: None,
                    subject: subject.clone(),
                    before: Timestamp::from_unix_seconds(number),
                });
                acknowledged.store(number, Ordering::Release);
            }
        });
        scope.spawn(|| {
            for number in 0..RACES {
                let verdict = make(number);
                let token = number.to_be_bytes();
                announced.store(number, Ordering::Release);
                let _ = verdict.revoked(&revocations);
                verdicts.keep(key, verdict);
                for tries in 1_u32.. {
                    let dead = acknowledged.load(Ordering::Acquire) >= number;
                    // As a check looks: first without the digest.
                    let known = verdicts
                        .find_recent(&token, key.servers, now)
                        .or_else(|| verdicts.find(&key, &token, || 0, now));
                    let good = matches!(known, Some(Known::Good(..)));
                    stale.fetch_add(u64::from(dead && good), Ordering::Relaxed);
                    if dead {
                        break;
                    }
                    if tries.is_multiple_of(32) {
                        std::thread::yield_now();
                    }
                }
            }
        });
    });
    assert_eq!(stale.into_inner(), 0);
}

#[test]
fn attack_c13_a_leader_that_panics_lets_the_next_one_in() {
    let clock = Arc::new(crate::clock::ManualClock::at(NOW));
    let verdicts = Verdicts::new(1 << 20, 1 << 20, crate::revocation::Revocations::new(clock));
    let key = VerdictKey {
        token: Digest::of(b"token"),
        servers: 1,
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _lead = verdicts.lead(key);
        panic!("scripted");
    }));
    assert!(outcome.is_err());
    assert!(verdicts.lead(key).own, "nobody to wait for");
}

#[test]
fn attack_c02_attack_c03_a_verdict_is_found_by_the_whole_digest_and_the_server_set() {
    let clock = Arc::new(crate::clock::ManualClock::at(NOW));
    let verdicts = Verdicts::new(1 << 20, 1 << 20, crate::revocation::Revocations::new(clock));
    let now = Now {
        wall: NOW,
        monotonic: Duration::ZERO,
    };
    let mut bytes = *Digest::of(b"token").as_bytes();
    let key = |bytes: [u8; 32], servers| VerdictKey {
        token: Digest::from_bytes(bytes),
        servers,
    };
    verdicts.keep_refusal(key(bytes, 1), Refusal::Refused("no"), 0, Duration::from_secs(5), now);
    assert!(verdicts.find(&key(bytes, 1), b"", || 0, now).is_some());
    assert!(verdicts.find(&key(bytes, 2), b"", || 0, now).is_none());
    for index in 0..32 {
        bytes[index] ^= 1;
        assert!(verdicts.find(&key(bytes, 1), b"", || 0, now).is_none(), "byte {index}");
        bytes[index] ^= 1;
    }
    let later = Now {
        monotonic: Duration::from_secs(5),
        ..now
    };
    assert!(
        verdicts.find(&key(bytes, 1), b"", || 0, later).is_none(),
        "refusals are kept briefly"
    );
}

#[tokio::test]
async fn a_key_set_that_is_published_again_with_the_token_s_key_keeps_it_good() {
    let world = World::local();
    let token = world.token(json!({}));
    assert!(world.check(&token).await.allowed());
    world.live.publish(set_of(&[&new_key(), &world.signer]));
    let seen = world.check(&token).await;
    assert!(seen.allowed());
    assert_eq!(seen.cache, CacheOutcome::Miss, "judged anew under the new set");
    let value = format!("Bearer {token}");
    assert!(
        world
            .decide(&request("bank", "GET", "/items", &[("authorization", &value)]))
            .await
            .allowed()
    );
}
