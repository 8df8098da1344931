//! Keys at a `jwks_uri`.

use std::time::Duration;

use super::*;
use crate::trust::fetch::FetchError;

const URL: &str = "https://client.example/jwks";

async fn remote() -> TestIssuer {
    let uri = KeysDeclaration::JwksUri(Located::nowhere(URL.parse().expect("a URL")));
    TestIssuer::with(bank_with(vec![by_key("remote", uri)])).await
}

async fn ask(test: &TestIssuer, key: &SigningKey, jti: &str) -> String {
    // The clock of some tests has moved on by minutes.
    let late = json!({ "exp": NOW + 3600 });
    Asked::assertion(&signed(key, "remote", jti, &late)).outcome(test).await
}

#[tokio::test]
async fn case_071_case_145_a_key_that_the_client_rolls_to_is_taken_at_the_price_of_one_fetch() {
    let test = remote().await;
    let (old, new) = (es256(), key(Algorithm::EdDsa));
    test.documents.serve(URL, &jwks(&[old]));
    assert_eq!(ask(&test, old, "1").await, "granted");
    assert_eq!(ask(&test, old, "2").await, "granted");
    assert_eq!(test.documents.count(), 1, "what is known is not asked for again");
    test.documents.serve(URL, &jwks(&[old, new]));
    assert_eq!(
        ask(&test, new, "3").await,
        "assertion_invalid_kid",
        "too soon after the first fetch"
    );
    test.clock.advance(Duration::from_secs(30));
    assert_eq!(ask(&test, new, "4").await, "granted", "within 60 s of the change");
    assert_eq!(ask(&test, old, "5").await, "granted");
    assert_eq!(test.documents.count(), 2);
}

#[tokio::test]
async fn case_071_a_flood_of_unknown_keys_costs_one_fetch_and_the_known_ones_do_not_wait() {
    let test = remote().await;
    test.documents.serve(URL, &jwks(&[es256()]));
    assert_eq!(ask(&test, es256(), "1").await, "granted");
    test.clock.advance(Duration::from_secs(31));
    test.documents.fail(URL, FetchError::Timeout);
    for number in 0..50 {
        let header = header(es256(), &json!({ "kid": format!("unknown-{number}") }));
        let unknown = forge(es256(), &header, &claims("remote", &format!("u{number}"), &json!({})));
        assert_eq!(Asked::assertion(&unknown).outcome(&test).await, "assertion_invalid_kid");
    }
    assert_eq!(test.documents.count(), 2, "a fetch that fails cools down as well");
    assert_eq!(ask(&test, es256(), "2").await, "granted", "the last good set stays");
}

#[tokio::test]
async fn case_071_an_assertion_that_is_dead_by_its_claims_costs_no_fetch() {
    let test = remote().await;
    for changes in [
        json!({"exp": NOW}),
        json!({"aud": "https://elsewhere.example"}),
        json!({"sub": "x"}),
    ] {
        let dead = Asked::assertion(&signed(es256(), "remote", "d", &changes));
        assert!(dead.outcome(&test).await.starts_with("assertion_"));
    }
    assert_eq!(test.documents.count(), 0);
}

#[tokio::test]
async fn case_072_attack_f18_what_cannot_be_fetched_is_invalid_client() {
    let errors = [
        FetchError::PrivateAddress,
        FetchError::Redirect,
        FetchError::TooLong,
        FetchError::Timeout,
        FetchError::Scheme,
    ];
    for error in errors {
        let test = remote().await;
        test.documents.fail(URL, error.clone());
        assert_eq!(ask(&test, es256(), "1").await, "assertion_keys_unavailable", "{error}");
        assert_eq!(
            ask(&test, es256(), "1").await,
            "assertion_keys_unavailable",
            "and again, at once"
        );
        let asked = test.documents.asked.lock();
        assert_eq!(asked.len(), 1);
        assert!(
            !asked[0].1.allow_private_addresses && !asked[0].1.allow_http,
            "strangers' hosts are public"
        );
    }
}

#[tokio::test]
async fn case_071_case_072_a_set_that_is_refused_takes_no_place_of_a_good_one() {
    let test = remote().await;
    test.documents.serve(URL, &jwks(&[es256()]));
    assert_eq!(ask(&test, es256(), "1").await, "granted");
    let mut twice = jwks(&[es256(), key(Algorithm::EdDsa)]);
    twice["keys"][1]["kid"] = twice["keys"][0]["kid"].clone();
    for (number, bad) in [twice, json!([]), json!({ "keys": "none" })].into_iter().enumerate() {
        test.documents.serve(URL, &bad);
        test.clock.advance(Duration::from_secs(301));
        assert_eq!(ask(&test, es256(), &format!("b{number}")).await, "granted", "{bad}");
        assert_eq!(test.documents.count(), number + 2);
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_dead_when_its_set_has_grown_old_and_a_set_that_is_gone_in_a_day() {
    let test = remote().await;
    test.documents.serve(URL, &jwks(&[es256()]));
    assert_eq!(ask(&test, es256(), "1").await, "granted");
    test.documents.serve(URL, &jwks(&[key(Algorithm::EdDsa)]));
    test.clock.advance(Duration::from_secs(301));
    assert_eq!(ask(&test, es256(), "2").await, "assertion_invalid_kid");
    test.documents.fail(URL, FetchError::Timeout);
    test.clock.advance(Duration::from_secs(24 * 3600));
    let late = json!({ "exp": NOW + 25 * 3600 });
    let asked = Asked::assertion(&signed(key(Algorithm::EdDsa), "remote", "3", &late));
    assert_eq!(asked.outcome(&test).await, "assertion_keys_unavailable");
}

#[tokio::test]
async fn case_071_a_key_without_a_name_is_found_again_after_a_roll() {
    let test = remote().await;
    let unnamed = |key: &SigningKey| {
        let mut set = jwks(&[key]);
        set["keys"][0].as_object_mut().expect("a key").remove("kid");
        set
    };
    let ask = async |key: &SigningKey, jti: &str| {
        let header = header(key, &json!({ "kid": null }));
        let assertion = forge(key, &header, &claims("remote", jti, &json!({})));
        Asked::assertion(&assertion).outcome(&test).await
    };
    let new = SigningKey::generate(Algorithm::Es256).expect("a key");
    test.documents.serve(URL, &unnamed(es256()));
    assert_eq!(ask(es256(), "1").await, "granted");
    test.documents.serve(URL, &unnamed(&new));
    assert_eq!(ask(&new, "2").await, "assertion_invalid_signature");
    test.clock.advance(Duration::from_secs(30));
    assert_eq!(ask(&new, "3").await, "granted");
    assert_eq!(test.documents.count(), 2);
}
