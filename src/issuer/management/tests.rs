//! The management authorization server and the gate, each useless to the other.

use serde_json::json;

use crate::issuer::change::Change;
use crate::issuer::management::{ID, ManagementTokenError};
use crate::model::time::Timestamp;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::testing::house::House;

/// Gives the client `batch` of the file a role.
async fn appoint(house: &House) {
    let at = Timestamp::from_unix_seconds(1);
    let binding = StoredObject {
        kind: ObjectKind::RoleBinding,
        id: "irb1".to_owned(),
        revision: 1,
        body: json!({ "assignee": { "client": "batch" }, "role": "SUPER_ADMIN" }),
        created_at: at,
        updated_at: at,
    };
    let change = Change {
        changes: vec![ObjectChange::Insert(binding)],
        ..Change::default()
    };
    house.issuer.change(change, false).await.expect("appointed");
}

async fn management_token(house: &House) -> String {
    let body = "grant_type=client_credentials&client_id=batch&client_secret=secret&scope=okta.users.read";
    let answer = house.ask(ID, body).await.expect("granted");
    answer.access_token.expose_secret().clone()
}

#[tokio::test]
async fn a_management_token_is_useless_at_the_gate_and_the_gates_at_the_management_api() {
    let house = House::bank().await;
    appoint(&house).await;
    let token = management_token(&house).await;
    assert_eq!(
        house
            .issuer
            .management_token(&token)
            .expect("good there")
            .client
            .as_str(),
        "batch"
    );
    for server in ["transfers", "payments"] {
        house.assert_dead(server, &token, "no API of the gate takes it");
        let theirs = house.mint(server, "batch").await;
        house.assert_alive(server, &theirs, "good at its own API");
        let refused = house.issuer.management_token(&theirs).err();
        assert_eq!(refused, Some(ManagementTokenError::NotVerified), "{server}");
    }
    assert_eq!(
        house.issuer.management_token("x").err(),
        Some(ManagementTokenError::Malformed)
    );
}

#[tokio::test]
async fn a_management_token_dies_with_its_client() {
    let house = House::bank().await;
    appoint(&house).await;
    let token = management_token(&house).await;
    let line = crate::testing::house::BANK
        .lines()
        .find(|line| line.contains("id: batch"));
    let without = crate::testing::house::BANK
        .replace(line.expect("it is declared"), "")
        .replace("[batch, audit]", "[audit]")
        .replace("clients: [batch],", "clients: [audit],");
    house.reload(&without).await;
    assert_eq!(
        house.issuer.management_token(&token).err(),
        Some(ManagementTokenError::Revoked)
    );
}
