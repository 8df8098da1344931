//! RFC 8707: what the tokens of a refresh are for.

use super::world::*;
use crate::issuer::TokenAnswer;
use crate::issuer::fixture::TestIssuer;
use crate::oauth::sample::texts;
use serde_json::json;

const OWN: &str = "https://api.bank.example/transfers";
const MCP: &str = "https://mcp.bank.example";
const LEDGER: &str = "https://ledger.bank.example";
const OTHER: &str = "https://other.bank.example";

async fn resourceful() -> TestIssuer {
    let mut declared = declared();
    declared.servers[0].options.resources = texts(&[MCP, LEDGER, OTHER]);
    TestIssuer::with(declared).await
}

/// Ada signs in at the app for these resources.
async fn sign_in_for(test: &TestIssuer, resources: &[&str]) -> TokenAnswer {
    let mut pending = request("mobile", READ);
    pending.resources = resources.iter().map(|resource| (*resource).to_owned()).collect();
    let code = code(test, pending).await;
    ask(test, &redemption("mobile", &code)).await.expect("granted")
}

/// A refresh that names these resources.
async fn refresh_for(
    test: &TestIssuer,
    token: &str,
    resources: &[&str],
) -> Result<TokenAnswer, crate::issuer::Failure> {
    let mut body = refresh_body("mobile", token);
    for resource in resources {
        body.push_str("&resource=");
        body.push_str(resource);
    }
    ask(test, &body).await
}

/// `aud` as it was signed: the server itself takes no token that is not for it.
fn audience(answer: &TokenAnswer) -> serde_json::Value {
    let token = crate::jose::unverified::Unverified::parse(answer.access_token.expose_secret()).expect("a token");
    token.claims_unverified().to_map()["aud"].clone()
}

#[tokio::test]
async fn case_094_a_narrower_resource_narrows_the_access_token_and_never_the_grant() {
    let test = resourceful().await;
    let signed_in = sign_in_for(&test, &[MCP, LEDGER]).await;
    assert_eq!(audience(&signed_in), json!([MCP, LEDGER]));
    let narrow = refresh_for(&test, &refresh_token(&signed_in), &[LEDGER]).await;
    let narrow = narrow.expect("one of them");
    assert_eq!(audience(&narrow), json!(LEDGER));
    let whole = refresh_for(&test, &refresh_token(&narrow), &[])
        .await
        .expect("all of them");
    assert_eq!(
        audience(&whole),
        json!([MCP, LEDGER]),
        "the refresh token keeps the full grant"
    );
    let named = refresh_for(&test, &refresh_token(&whole), &[LEDGER, MCP]).await;
    let named = named.expect("all of them by name");
    assert_eq!(audience(&named), json!([LEDGER, MCP]));
    let other = refresh_for(&test, &refresh_token(&named), &[MCP])
        .await
        .expect("the other one");
    assert_eq!(audience(&other), json!(MCP));
}

#[tokio::test]
async fn case_094_attack_f12_a_refresh_is_for_no_resource_beyond_the_grant_and_asking_costs_nothing() {
    let test = resourceful().await;
    let token = refresh_token(&sign_in_for(&test, &[MCP, LEDGER]).await);
    let slash = format!("{MCP}/");
    for wider in [
        &[OTHER][..],
        &[MCP, OTHER],
        // Not even what a token is for that was asked for without a resource.
        &[OWN],
        &[MCP, LEDGER, OWN],
        &["https://unknown.bank.example"],
        &[slash.as_str()],
        &["mcp.bank.example"],
    ] {
        let failure = refresh_for(&test, &token, wider).await.expect_err("refused");
        assert_eq!(failure.error.code().as_str(), "invalid_target", "{wider:?}");
    }
    // Whoever narrowed once may not go beyond the grant the next time either.
    let narrow = refresh_for(&test, &token, &[MCP])
        .await
        .expect("the token was not used up");
    let failure = refresh_for(&test, &refresh_token(&narrow), &[OTHER])
        .await
        .expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "invalid_target");
    assert!(refresh_for(&test, &refresh_token(&narrow), &[LEDGER]).await.is_ok());
}

#[tokio::test]
async fn attack_f12_a_grant_without_resources_is_for_the_server_alone() {
    let test = resourceful().await;
    let token = refresh_token(&sign_in_for(&test, &[]).await);
    let failure = refresh_for(&test, &token, &[MCP]).await.expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "invalid_target");
    let own = refresh_for(&test, &token, &[OWN]).await.expect("its own audience");
    assert_eq!(audience(&own), json!(OWN));
}

#[tokio::test]
async fn attack_f12_a_resource_that_the_server_has_lost_is_in_no_token_any_more() {
    let test = resourceful().await;
    let token = refresh_token(&sign_in_for(&test, &[MCP, LEDGER]).await);
    let mut declared = declared();
    declared.servers[0].options.resources = texts(&[LEDGER]);
    let settings = crate::issuer::fixture::settings(declared);
    test.issuer.reload(&settings).await.expect("taken over");
    let answer = refresh_for(&test, &token, &[]).await.expect("what is left");
    assert_eq!(audience(&answer), json!(LEDGER));
    let failure = refresh_for(&test, &refresh_token(&answer), &[MCP])
        .await
        .expect_err("refused");
    assert_eq!(failure.error.code().as_str(), "invalid_target");
}
