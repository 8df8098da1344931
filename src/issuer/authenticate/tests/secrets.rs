//! Secrets that are sent, and clients that are not active.

use super::*;
use crate::issuer::fixture::settings;

#[tokio::test]
async fn case_064_attack_f15_a_secret_counts_in_its_registered_place_alone() {
    let test = TestIssuer::with(bank_with(vec![
        service("basic", AuthenticationMethod::ClientSecretBasic),
        service("post", AuthenticationMethod::ClientSecretPost),
    ]))
    .await;
    let rows = [
        (Asked::basic("basic", "secret"), "granted"),
        (
            Asked::body("client_id=basic&client_secret=secret"),
            "invalid_token_endpoint_auth_method",
        ),
        (Asked::body("client_id=post&client_secret=secret"), "granted"),
        (Asked::basic("post", "secret"), "invalid_token_endpoint_auth_method"),
        (Asked::body("client_id=post"), "client_secret_missing"),
        (Asked::body("client_id=post&client_secret="), "client_secret_missing"),
        (Asked::basic("basic", ""), "invalid_client_secret"),
        (Asked::basic("basic", "wrong"), "invalid_client_secret"),
        // Who says nothing may use either.
        (Asked::basic("nightly-batch", "secret"), "granted"),
        (Asked::body("client_id=nightly-batch&client_secret=secret"), "granted"),
    ];
    for (asked, expected) in rows {
        assert_eq!(
            asked.outcome(&test).await,
            expected,
            "{} {:?}",
            asked.body,
            asked.authorization
        );
    }
}

#[tokio::test]
async fn case_075_an_inactive_client_is_no_client_whatever_it_shows() {
    let mut declaration = bank_with(vec![by_key("signer", here(&[es256()]))]);
    let test = TestIssuer::with(bank_with(vec![by_key("signer", here(&[es256()]))])).await;
    assert_eq!(Asked::basic("nightly-batch", "secret").outcome(&test).await, "granted");
    for client in &mut declaration.clients {
        client.options.inactive = true;
    }
    test.issuer.reload(&settings(declaration)).await.expect("taken over");
    let assertion = signed(es256(), "signer", "1", &json!({}));
    for asked in [
        Asked::basic("nightly-batch", "secret"),
        Asked::basic("nightly-batch", "wrong"),
        Asked::body("client_id=mobile"),
        Asked::assertion(&assertion),
    ] {
        // It is in no model: nothing tells it from one that never was.
        assert_eq!(asked.outcome(&test).await, "unknown_client", "{}", asked.body);
    }
}
