//! Keys that rotate every second beneath the built program, by the clock of the machine.
//!
//! The in-process proof (`src/testing/keys.rs`) checks more often; this one shows that nothing between the sockets
//! and the file keeps an older key for longer than it may.

use std::collections::BTreeSet;

use base64::Engine as _;
use serde_json::Value;

use crate::support::checks;
use crate::support::h2_client::Client;
use crate::support::scopegate::{ScopegateBuilder, bank};

/// A minute of rotations.
const ROTATIONS: usize = 60;

/// The longest that it may take: a second each, and as much again for a machine that is busy.
const ROUNDS_MAX: usize = 100_000;

fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("a header");
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(header)
        .expect("base64url");
    let header: Value = serde_json::from_slice(&json).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

#[tokio::test]
async fn case_148_rotating_every_second_for_a_minute_fails_no_mint_and_no_check() {
    let config = bank()
        .replace(
            "algorithm: ES256, rotate_every: 90d",
            "algorithm: ES256, rotate_every: 1s",
        )
        .replace("access_token: 5m", "access_token: 25s")
        .replace("access_token: 10m", "access_token: 25s");
    let gate = ScopegateBuilder::new(&config).start().await;
    let (issuer, client) = (gate.https(), Client::open(gate.ports.ext_authz).await);
    let mut kids = BTreeSet::new();
    let mut living: Vec<(usize, String)> = Vec::new();
    for round in 0..ROUNDS_MAX {
        let response = issuer
            .post(gate.issuer_url("transfers", "v1/token"))
            .basic_auth("nightly-batch", Some("secret"))
            .form(&[("grant_type", "client_credentials"), ("scope", "transfers:read")])
            .send()
            .await
            .expect("the token endpoint answers");
        assert_eq!(response.status(), 200, "round {round}");
        let answer: Value = response.json().await.expect("JSON");
        let token = answer["access_token"].as_str().expect("a token").to_owned();
        kids.insert(kid(&token));
        // Tokens of the last few keys too: the newest signs, the others are EXPIRED and published still.
        living.push((kids.len(), token));
        living.retain(|(made, _)| kids.len() < made + 8);
        let step = living.len().div_ceil(16);
        for (_, token) in living.iter().rev().step_by(step) {
            let value = format!("Bearer {token}");
            let check = checks::check(
                "GET",
                "api.bank.example",
                "/transfers",
                "1",
                &[("authorization", &value)],
            );
            assert_eq!(checks::status(&client, &check).await, 0, "round {round}");
        }
        if kids.len() > ROTATIONS {
            return;
        }
    }
    panic!("{} keys have signed in {ROUNDS_MAX} rounds", kids.len());
}
