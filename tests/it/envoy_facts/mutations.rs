//! What becomes of the headers that an allow sets and removes: why the gate says both `append` and `append_action` on
//! every header, and never names one header in both lists.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::OkHttpResponse;
use serde_json::json;

use super::{Stage, every_release};
use crate::support::http1::Request;
use crate::support::standin::{Answer, allow, header, set};

fn changes(set: Vec<envoy_types::pb::envoy::config::core::v3::HeaderValueOption>, remove: &[&str]) -> OkHttpResponse {
    OkHttpResponse {
        headers: set,
        headers_to_remove: remove.iter().map(|name| (*name).to_owned()).collect(),
        ..OkHttpResponse::default()
    }
}

#[tokio::test]
async fn every_release_overwrites_what_the_client_sent_edge_i01() {
    let ours = allow(changes(vec![set("x-auth-sub", "ada")], &[]));
    for release in every_release() {
        let stage = Stage::start(ours.clone(), |envoy| envoy.release(release)).await;
        let request = Request::get("/")
            .header("X-Auth-Sub", "admin")
            .header("X-Auth-Sub", "root");
        assert_eq!(request.send(stage.envoy.address).await.status, 200);
        assert_eq!(
            stage.upstream.take_one().headers("x-auth-sub"),
            ["ada"],
            "{}",
            release.as_str()
        );
    }
}

#[tokio::test]
async fn every_release_we_test_reads_append_and_not_append_action() {
    let actions = [
        HeaderAppendAction::AppendIfExistsOrAdd,
        HeaderAppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd,
        HeaderAppendAction::OverwriteIfExists,
    ];
    // `append`, then what the upstream gets where the client sent the header too, and where it did not.
    let rows: [(Option<bool>, &[&str], &[&str]); 3] = [
        (None, &["ours"], &["ours"]),
        (Some(false), &["ours"], &["ours"]),
        (Some(true), &["theirs,ours"], &[]),
    ];
    for release in every_release() {
        let stage = Stage::start(Answer::Silence, |envoy| envoy.release(release)).await;
        for action in actions {
            for (append, beside_theirs, alone) in rows {
                stage
                    .service
                    .answer_with(allow(changes(vec![header("x-auth-sub", "ours", append, action)], &[])));
                let name = format!("{append:?} {action:?} on {}", release.as_str());
                Request::get("/")
                    .header("X-Auth-Sub", "theirs")
                    .send(stage.envoy.address)
                    .await;
                assert_eq!(stage.upstream.take_one().headers("x-auth-sub"), beside_theirs, "{name}");
                Request::get("/").send(stage.envoy.address).await;
                assert_eq!(stage.upstream.take_one().headers("x-auth-sub"), alone, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn every_release_adds_a_header_to_the_answer_as_the_gate_says_it_edge_x10() {
    let nonce = OkHttpResponse {
        response_headers_to_add: vec![set("dpop-nonce", "n1")],
        ..OkHttpResponse::default()
    };
    for release in every_release() {
        let stage = Stage::start(allow(nonce.clone()), |envoy| envoy.release(release)).await;
        let reply = Request::get("/").send(stage.envoy.address).await;
        assert_eq!(reply.header("dpop-nonce"), Some("n1"), "{}", release.as_str());
    }
}

#[tokio::test]
async fn envoy_1_40_removes_a_header_that_is_in_both_lists_edge_i03() {
    let stage = Stage::start(
        allow(changes(vec![set("x-auth-sub", "ada")], &["x-auth-sub"])),
        |envoy| envoy,
    )
    .await;
    assert_eq!(
        Request::get("/")
            .header("X-Auth-Sub", "admin")
            .send(stage.envoy.address)
            .await
            .status,
        200
    );
    assert_eq!(stage.upstream.take_one().headers("x-auth-sub"), [""; 0]);
}

#[tokio::test]
async fn envoy_1_40_hands_on_what_is_neither_set_nor_removed_attack_d16() {
    let stage = Stage::start(
        allow(changes(vec![set("x-auth-sub", "ada")], &["authorization", "host"])),
        |e| e,
    )
    .await;
    let request = Request::get("/")
        .header("X-Other", "1")
        .header("X_Auth_Sub", "admin")
        .bearer("secret");
    assert_eq!(request.send(stage.envoy.address).await.status, 200);
    let seen = stage.upstream.take_one();
    assert_eq!(seen.header("x-other"), Some("1"));
    assert_eq!(
        seen.header("x_auth_sub"),
        Some("admin"),
        "the underscore twin passes unless it is removed by name"
    );
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(
        seen.header("host"),
        Some("api.bank.example"),
        "`host` cannot be removed"
    );
}

#[tokio::test]
async fn envoy_1_40_sets_an_empty_value_as_empty_edge_i10() {
    let stage = Stage::start(allow(changes(vec![set("x-auth-sub", "")], &[])), |envoy| envoy).await;
    assert_eq!(
        Request::get("/")
            .header("X-Auth-Sub", "admin")
            .send(stage.envoy.address)
            .await
            .status,
        200
    );
    assert_eq!(stage.upstream.take_one().headers("x-auth-sub"), [""]);
}

#[tokio::test]
async fn envoy_1_40_refuses_a_value_with_a_line_break_only_if_told_to_validate_edge_i06() {
    let split = allow(changes(vec![set("x-auth-sub", "ada\r\nx-admin: 1")], &[]));
    let validating = Stage::start(split, |envoy| envoy.filter(&json!({ "validate_mutations": true }))).await;
    assert_eq!(Request::get("/").send(validating.envoy.address).await.status, 500);
    assert_eq!(validating.upstream.count(), 0);
}

#[tokio::test]
async fn envoy_1_40_keeps_our_header_though_connection_nominates_it_edge_i05() {
    let stage = Stage::start(allow(changes(vec![set("x-auth-sub", "ada")], &[])), |envoy| {
        envoy.manager(&json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }))
    })
    .await;
    let plain = Request::get("/")
        .header("Connection", "keep-alive, x-auth-sub")
        .header("X-Auth-Sub", "admin");
    assert_eq!(plain.send(stage.envoy.address).await.status, 200);
    assert_eq!(stage.upstream.take_one().headers("x-auth-sub"), ["ada"]);
    let upgrade = Request::get("/")
        .header("Connection", "upgrade, x-auth-sub")
        .header("Upgrade", "websocket")
        .header("X-Auth-Sub", "admin");
    assert_eq!(upgrade.send(stage.envoy.address).await.status, 101);
    let seen = stage.upstream.take_one();
    assert_eq!(seen.headers("x-auth-sub"), ["ada"]);
}
