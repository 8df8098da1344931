//! Tests of unknown `kid`s: what a flood costs, and who waits for whom.

use super::*;

#[tokio::test]
async fn attack_b01_edge_j05_a_flood_of_unknown_kids_costs_one_fetch_per_cooldown() {
    let known = key();
    let world = World::with(keys_of(&[&known]));
    world.scheduled().await;
    let generation = world.generation();
    let before = world.script.asked();
    for window in 1..=3 {
        world.clock.advance(COOLDOWN);
        for _ in 0..10_000 {
            world.server.refresh_for_unknown_kid().await;
            assert!(world.has(&known), "attack B03: the set is never empty in between");
        }
        assert_eq!(world.script.asked() - before, window);
        assert!(!world.server.may_refresh());
    }
    assert_eq!(world.generation(), generation, "the same document is no new generation");
}

#[tokio::test]
async fn attack_b01_waiters_at_the_same_time_share_one_fetch() {
    let world = World::new(settings(jwks_uri()), Script::with_permits(keys_of(&[&key()]), 0));
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let server = Arc::clone(&world.server);
            tokio::spawn(async move { server.refresh_for_unknown_kid().await })
        })
        .collect();
    until(|| world.script.asked() == 1).await;
    world.script.gate.add_permits(1);
    for waiter in waiters {
        assert_eq!(waiter.await.expect("no panic"), Refreshed::Fetched);
    }
    assert_eq!(world.script.asked(), 1);
}

#[tokio::test]
async fn attack_b02_attack_b04_failures_cool_down_like_successes() {
    let table = [
        ("an empty set", answer(200, document(&[]))),
        ("status 500", answer(500, "")),
        ("a time-out", Err(FetchError::Timeout)),
    ];
    for (name, bad) in table {
        let world = World::with(bad);
        for window in 1..=3 {
            for _ in 0..1_000 {
                assert_ne!(
                    world.server.refresh_for_unknown_kid().await,
                    Refreshed::Fetched,
                    "{name}"
                );
            }
            assert_eq!(world.script.asked(), window, "{name}");
            world.clock.advance(COOLDOWN);
        }
        assert_eq!(world.events.failures.lock().len(), 3, "{name}");
    }
}

#[tokio::test]
async fn attack_b04_known_kids_stay_usable_while_a_fetch_hangs() {
    let known = key();
    let world = World::new(settings(jwks_uri()), Script::with_permits(keys_of(&[&known]), 1));
    world.scheduled().await;
    let server = Arc::clone(&world.server);
    let waiter = tokio::spawn(async move { server.refresh_for_unknown_kid().await });
    until(|| world.script.asked() == 2).await;
    assert_eq!(world.server.keys_state(), KeysState::Ready);
    assert!(check(&world.server.keys().load(), &token(&known), &world.server.settings).is_ok());
    world.script.gate.add_permits(1);
    assert_eq!(waiter.await.expect("no panic"), Refreshed::Fetched);
}

#[tokio::test]
async fn attack_b15_a_waiter_that_goes_away_takes_no_other_with_it() {
    let world = World::new(settings(jwks_uri()), Script::with_permits(keys_of(&[&key()]), 0));
    let ask = || {
        let server = Arc::clone(&world.server);
        tokio::spawn(async move { server.refresh_for_unknown_kid().await })
    };
    let first = ask();
    until(|| world.script.asked() == 1).await;
    let second = ask();
    first.abort();
    assert!(first.await.expect_err("aborted").is_cancelled());
    world.script.gate.add_permits(1);
    assert_eq!(second.await.expect("no panic"), Refreshed::Fetched);
    assert_eq!(world.script.asked(), 1);
}

#[tokio::test]
async fn attack_b15_a_fetch_that_panics_ends_and_the_next_one_works() {
    let world = World::with(keys_of(&[&key()]));
    world.script.panics.store(true, Ordering::SeqCst);
    assert_eq!(world.server.refresh_for_unknown_kid().await, Refreshed::Failed);
    assert_eq!(world.server.refresh_for_unknown_kid().await, Refreshed::CoolingDown);
    world.script.panics.store(false, Ordering::SeqCst);
    world.clock.advance(COOLDOWN);
    assert!(world.server.may_refresh());
    assert_eq!(world.server.refresh_for_unknown_kid().await, Refreshed::Fetched);
}
