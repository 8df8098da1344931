//! Codes and refresh tokens that are bound to a key.

use crate::issuer::tests::world::{
    BOTH, READ, ask, ask_with_key, bank, claims, code, dpop_key, redemption, refresh, refresh_body, refresh_token,
    refused, request,
};
use crate::model::digest::Digest;

fn thumbprint(number: usize) -> Digest {
    Digest::from_base64url(dpop_key(number).kid().as_str()).expect("a thumbprint")
}

#[tokio::test]
async fn case_057_attack_f07_a_code_that_is_bound_to_a_key_is_for_who_holds_it() {
    let test = bank().await;
    for (number, is_good) in [(None, false), (Some(1), false), (Some(0), true)] {
        let mut bound = request("mobile", BOTH);
        bound.dpop_key = Some(thumbprint(0));
        let code = code(&test, bound).await;
        let body = redemption("mobile", &code);
        let outcome = match number {
            None => ask(&test, &body).await,
            Some(number) => ask_with_key(&test, number, &body).await,
        };
        if is_good {
            let answer = outcome.expect("granted");
            assert_eq!(answer.token_type(), "DPoP");
            assert_eq!(claims(&test, &answer).map()["cnf"]["jkt"], thumbprint(0).to_base64url());
        } else {
            assert_eq!(refused(&test, outcome), ("invalid_grant", "key_mismatch".to_owned()));
            let owner = ask_with_key(&test, 0, &body).await;
            assert_eq!(refused(&test, owner).0, "invalid_grant", "the code is burnt");
        }
    }
}

#[tokio::test]
async fn case_092_attack_f12_the_refresh_token_of_a_public_client_is_for_the_key_that_it_was_given_to() {
    let test = bank().await;
    let code = code(&test, request("mobile", BOTH)).await;
    let answer = ask_with_key(&test, 0, &redemption("mobile", &code))
        .await
        .expect("granted");
    let token = refresh_token(&answer);
    let body = refresh_body("mobile", &token);
    assert_eq!(
        refused(&test, ask_with_key(&test, 1, &body).await),
        ("invalid_grant", "key_mismatch".to_owned())
    );
    assert_eq!(
        refused(&test, ask(&test, &body).await),
        ("invalid_grant", "key_mismatch".to_owned())
    );
    let next = ask_with_key(&test, 0, &body).await.expect("granted");
    assert_eq!(claims(&test, &next).map()["cnf"]["jkt"], thumbprint(0).to_base64url());
    // Who has stolen an old token and not the key cannot end the grant by showing it.
    test.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(refused(&test, ask_with_key(&test, 1, &body).await).1, "key_mismatch");
    assert!(
        ask_with_key(&test, 0, &refresh_body("mobile", &refresh_token(&next)))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn case_092_a_confidential_client_may_change_its_key() {
    let test = bank().await;
    let code = code(&test, request("quickbooks", READ)).await;
    let answer = ask_with_key(&test, 0, &redemption("quickbooks", &code))
        .await
        .expect("granted");
    let next = ask_with_key(&test, 1, &refresh_body("quickbooks", &refresh_token(&answer)))
        .await
        .expect("granted");
    assert_eq!(claims(&test, &next).map()["cnf"]["jkt"], thumbprint(1).to_base64url());
    let plain = refresh(&test, "quickbooks", &refresh_token(&next))
        .await
        .expect("granted");
    assert_eq!(plain.token_type(), "Bearer");
}
