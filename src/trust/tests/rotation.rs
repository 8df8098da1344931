//! Tests of keys that come and go.

use super::*;

#[tokio::test]
async fn attack_b10_edge_j06_a_new_kid_is_had_on_first_use() {
    let (old, new) = (key(), key());
    let world = World::with(keys_of(&[&old]));
    world.scheduled().await;
    let unknown = check(&world.server.keys().load(), &token(&new), &world.server.settings);
    assert_eq!(unknown, Err(VerifyError::UnknownKid));
    world.script.set(keys_of(&[&old, &new]));
    assert_eq!(world.server.refresh_for_unknown_kid().await, Refreshed::Fetched);
    for key in [&old, &new] {
        assert_eq!(
            check(&world.server.keys().load(), &token(key), &world.server.settings),
            Ok(())
        );
    }
}

#[tokio::test]
async fn attack_b07_a_removed_key_is_gone_at_the_next_refresh() {
    let (one, two) = (key(), key());
    let world = World::with(keys_of(&[&one, &two]));
    world.scheduled().await;
    let generation = world.generation();
    world.script.set(keys_of(&[&two]));
    world.scheduled().await;
    assert!(!world.has(&one) && world.has(&two));
    assert_eq!(world.generation(), generation + 1, "cached verdicts are judged anew");
    let refused = check(&world.server.keys().load(), &token(&one), &world.server.settings);
    assert_eq!(refused, Err(VerifyError::UnknownKid));
}

#[tokio::test]
async fn attack_b11_the_same_kid_with_new_material_converges_and_never_serves_both() {
    let (old, new) = (key(), key());
    let under_one_kid = |key: &SigningKey| {
        let mut jwk = key.public_jwk();
        jwk["kid"] = json!(old.kid().as_str());
        jwk
    };
    // The new key's token names its own thumbprint: written anew under the old name it verifies by material alone.
    let judged = |world: &World| {
        let set = world.server.keys().load();
        let key = set.iter().next().expect("one key").clone();
        assert_eq!(set.len(), 1);
        [&old, &new].map(|signer| key.thumbprint() == signer.verifying_key().thumbprint())
    };
    let world = World::with(answer(200, document(&[under_one_kid(&old)])));
    world.scheduled().await;
    assert_eq!(judged(&world), [true, false]);
    assert_eq!(
        check(&world.server.keys().load(), &token(&old), &world.server.settings),
        Ok(())
    );
    world
        .script
        .set(answer(200, document(&[under_one_kid(&old), under_one_kid(&new)])));
    world.scheduled().await;
    assert_eq!(judged(&world), [true, false], "a set with both is refused whole");
    world.script.set(answer(200, document(&[under_one_kid(&new)])));
    world.scheduled().await;
    assert_eq!(judged(&world), [false, true]);
    let refused = check(&world.server.keys().load(), &token(&old), &world.server.settings);
    assert_eq!(refused, Err(VerifyError::BadSignature));
}

#[tokio::test]
async fn attack_b12_one_unsupported_key_spoils_no_other() {
    let (one, two) = (key(), key());
    let odd = json!({"kty": "OKP", "crv": "X448", "kid": "odd", "x": "AA"});
    let world = World::with(answer(200, document(&[one.public_jwk(), odd, two.public_jwk()])));
    world.scheduled().await;
    assert!(world.has(&one) && world.has(&two));
    assert_eq!(world.server.keys().load().len(), 2);
}

/// The first answer comes when the test says so, the second at once.
struct Overtaken {
    asked: AtomicUsize,
    release: Semaphore,
    answers: [Result<Fetched, FetchError>; 2],
}

impl Fetch for Overtaken {
    fn get<'a>(&'a self, _: &'a Url, _: &'a FetchPolicy) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async {
            let number = self.asked.fetch_add(1, Ordering::SeqCst);
            if number == 0 {
                self.release.acquire().await.expect("never closed").forget();
            }
            self.answers[number].clone()
        })
    }

    fn post_form<'a>(
        &'a self,
        _: &'a Url,
        _: &'a FetchPolicy,
        _: (&'a str, &'a Secret<String>),
        _: &'a [(&'a str, &'a str)],
    ) -> BoxFuture<'a, Result<Fetched, FetchError>> {
        Box::pin(async { Err(FetchError::Timeout) })
    }
}

#[tokio::test]
async fn attack_b07_an_answer_that_was_overtaken_brings_no_removed_key_back() {
    let (removed, current) = (key(), key());
    let fetch = Arc::new(Overtaken {
        asked: AtomicUsize::new(0),
        release: Semaphore::new(0),
        answers: [keys_of(&[&removed]), keys_of(&[&current])],
    });
    let around = Surroundings {
        fetch: fetch.clone(),
        clock: Arc::new(ManualClock::at(NOW)),
        events: Arc::new(Events::default()),
        io: Handle::current(),
    };
    let server = TrustedServer::new(settings(jwks_uri()), &|_| None, around).expect("valid");
    let slow = Arc::clone(&server);
    let scheduled = tokio::spawn(async move { slow.fetch_on_schedule(&mut Duration::from_secs(1)).await });
    until(|| fetch.asked.load(Ordering::SeqCst) == 1).await;
    assert_eq!(server.refresh_for_unknown_kid().await, Refreshed::Fetched);
    fetch.release.add_permits(1);
    scheduled.await.expect("no panic");
    let set = server.keys().load();
    assert!(set.contains_kid(current.kid().as_str()) && !set.contains_kid(removed.kid().as_str()));
    assert_eq!(server.keys().generation(), 1);
}
