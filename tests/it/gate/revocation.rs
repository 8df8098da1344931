//! Revocation through Envoy: dead on the next check after the acknowledgement, whatever is cached.

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::{Connection, Request};
use crate::support::scopegate::Scopegate;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn edge_j23_attack_c05_attack_c11_case_115_a_revoked_token_is_dead_on_the_next_request() {
    let gate = Scopegate::bank().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    for round in 0..20 {
        let (token, other) = (gate.mint().await, gate.mint().await);
        let request = Request::get("/transfers").bearer(&token).bytes();
        let mut connection = Connection::open(envoy.address).await.unwrap();
        for _ in 0..5 {
            // The verdict is in the cache now.
            assert_eq!(connection.exchange(&request).await.unwrap().status, 200);
        }
        gate.revoke(&token).await;
        let reply = connection.exchange(&request).await.unwrap();
        assert_eq!(reply.status, 401, "round {round}");
        assert_eq!(reply.json()["reason"], "invalid_token");
        let other = Request::get("/transfers").bearer(&other).send(envoy.address).await;
        assert_eq!(other.status, 200, "another token of the same client lives");
    }
}

#[tokio::test]
async fn attack_a31_a_revoked_token_has_no_second_spelling() {
    let gate = Scopegate::bank().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let token = gate.mint().await;
    gate.revoke(&token).await;
    for spelling in [
        token.clone(),
        format!("{token}="),
        format!("{token}=="),
        token.replace('-', "+").replace('_', "/"),
    ] {
        let reply = Request::get("/transfers").bearer(&spelling).send(envoy.address).await;
        assert!(matches!(reply.status, 400 | 401), "{}", reply.text());
    }
    assert_eq!(upstream.count(), 0);
}

#[tokio::test]
async fn case_153_a_revocation_outlives_a_crash() {
    let mut gate = Scopegate::bank().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let (revoked, living) = (gate.mint().await, gate.mint().await);
    gate.revoke(&revoked).await;
    gate.signal("KILL");
    gate.ended().await;
    let gate = gate.restart().await;
    let ask = async |token: &str| {
        Request::get("/transfers")
            .bearer(token)
            .send(envoy.address)
            .await
            .status
    };
    assert_eq!(ask(&revoked).await, 401);
    assert_eq!(ask(&living).await, 200, "the keys outlive it too");
    drop(gate);
}
