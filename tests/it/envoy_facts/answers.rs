//! Each kind of answer, and what the client sees: why a denial of ours is never anything but a status code that is not
//! OK together with a denied response that carries its HTTP status.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction::AppendIfExistsOrAdd;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, OkHttpResponse};
use envoy_types::pb::google::rpc::Status;
use serde_json::json;

use super::{Stage, every_release};
use crate::support::h2_client;
use crate::support::http1::Request;
use crate::support::standin::{Answer, allow, denied, deny, header, set};

/// An answer with this status code (`None`: no status at all) and, if asked, a denied response with 401.
fn answer(code: Option<i32>, denied_401: bool) -> CheckResponse {
    CheckResponse {
        status: code.map(|code| Status {
            code,
            ..Status::default()
        }),
        http_response: denied_401.then(|| HttpResponse::DeniedResponse(denied(401, Vec::new(), "denied"))),
        ..CheckResponse::default()
    }
}

fn error_response() -> CheckResponse {
    CheckResponse {
        status: Some(Status {
            code: 7,
            ..Status::default()
        }),
        http_response: Some(HttpResponse::ErrorResponse(denied(401, Vec::new(), "error"))),
        ..CheckResponse::default()
    }
}

#[tokio::test]
async fn every_release_decides_by_the_status_code_alone_attack_d01() {
    let rows: [(&str, CheckResponse, u16); 8] = [
        ("an empty response", CheckResponse::default(), 200),
        ("a denied response without a status", answer(None, true), 200),
        ("a denied response with status OK", answer(Some(0), true), 200),
        ("PERMISSION_DENIED and nothing else", answer(Some(7), false), 403),
        ("UNAUTHENTICATED and nothing else", answer(Some(16), false), 403),
        ("PERMISSION_DENIED with 401", answer(Some(7), true), 401),
        ("UNAVAILABLE with 503", deny(14, 503, Vec::new(), ""), 503),
        ("an allow", allow(OkHttpResponse::default()), 200),
    ];
    for release in every_release() {
        let stage = Stage::start(Answer::Silence, |envoy| envoy.release(release)).await;
        for (name, response, status) in &rows {
            stage.service.answer_with(response.clone());
            let reply = Request::get("/").send(stage.envoy.address).await;
            assert_eq!(reply.status, *status, "{name} on {}", release.as_str());
            let passed = usize::from(*status == 200);
            assert_eq!(stage.upstream.take().len(), passed, "{name} on {}", release.as_str());
        }
    }
}

#[tokio::test]
async fn envoy_1_40_takes_what_is_no_answer_down_its_error_path_attack_d02() {
    let failures: [(&str, Answer); 5] = [
        ("bytes that do not parse", Answer::Bytes(vec![0x0a, 0xff])),
        ("a gRPC error PERMISSION_DENIED", Answer::Error(7)),
        ("a gRPC error UNAUTHENTICATED", Answer::Error(16)),
        ("a gRPC error UNAVAILABLE", Answer::Error(14)),
        ("an error_response", error_response().into()),
    ];
    for (settings, expected) in [
        (json!({ "failure_mode_allow": false }), 403),
        (
            json!({ "failure_mode_allow": false, "status_on_error": { "code": "ServiceUnavailable" } }),
            503,
        ),
        (json!({ "failure_mode_allow": true }), 200),
    ] {
        let stage = Stage::start(Answer::Silence, |envoy| envoy.filter(&settings)).await;
        for (name, failure) in &failures {
            stage.service.answer_with(failure.clone());
            let reply = Request::get("/").send(stage.envoy.address).await;
            // An error_response brings its own status where it is not turned into an allow.
            let expected = if *name == "an error_response" && expected != 200 {
                401
            } else {
                expected
            };
            assert_eq!(reply.status, expected, "{name} with {settings}");
        }
    }
}

#[tokio::test]
async fn envoy_1_40_lets_a_silent_service_open_the_door_where_failure_mode_allow_says_so_edge_e23() {
    for (failure_mode_allow, expected) in [(false, 403), (true, 200)] {
        let settings = json!({ "failure_mode_allow": failure_mode_allow });
        let stage = Stage::start(Answer::Silence, |envoy| envoy.filter(&settings).check_timeout("0.2s")).await;
        let reply = Request::get("/").send(stage.envoy.address).await;
        assert_eq!(reply.status, expected, "{settings}");
    }
}

#[tokio::test]
async fn envoy_1_40_serves_a_denied_response_with_http_200_as_it_is() {
    let document = deny(7, 200, vec![set("content-type", "application/json")], r#"{"a":1}"#);
    let stage = Stage::start(document, |envoy| envoy).await;
    let reply = Request::get("/.well-known/oauth-protected-resource")
        .send(stage.envoy.address)
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.json(), json!({ "a": 1 }));
    assert_eq!(stage.upstream.count(), 0);
}

#[tokio::test]
async fn envoy_1_40_tells_a_grpc_caller_in_grpc_words_edge_m09() {
    let stage = Stage::start(Answer::Silence, |envoy| envoy).await;
    let client = h2_client::Client::open(stage.envoy.address).await;
    for (http_status, grpc_status) in [(401, 16), (403, 7)] {
        stage.service.answer_with(deny(
            7,
            http_status,
            vec![set("www-authenticate", "Bearer realm=\"x\"")],
            "no",
        ));
        let reply = client.grpc("api.bank.example", "/pkg.Svc/Get", b"", &[]).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.grpc_status(), Some(grpc_status));
        assert_eq!(reply.grpc_field("grpc-message"), Some("no"));
        assert_eq!(reply.grpc_field("www-authenticate"), Some("Bearer realm=\"x\""));
    }
    // Headers of ours win over what Envoy makes of the status; the message does only where there is no body.
    stage.service.answer_with(deny(
        7,
        403,
        vec![set("grpc-status", "8"), set("grpc-message", "ours")],
        "",
    ));
    let reply = client.grpc("api.bank.example", "/pkg.Svc/Get", b"", &[]).await;
    assert_eq!(
        (reply.grpc_status(), reply.grpc_field("grpc-message")),
        (Some(8), Some("ours"))
    );
}

#[tokio::test]
async fn envoy_1_40_denies_head_with_headers_and_no_body_edge_m03() {
    let denial = deny(
        16,
        401,
        vec![set("www-authenticate", "Bearer"), set("cache-control", "no-store")],
        "the body",
    );
    let stage = Stage::start(denial, |envoy| envoy).await;
    let reply = Request::new("HEAD", "/").send(stage.envoy.address).await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("content-length"), Some("8"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn every_release_hands_both_challenges_and_both_cookies_on_edge_d03_edge_d04() {
    // Each said as a replacement: Envoy first clears the names, then adds every line. A line said as an addition
    // (`append: true`) is lost, on every release.
    let headers = vec![
        set("www-authenticate", "Bearer"),
        set("www-authenticate", "DPoP algs=\"ES256\""),
        set("set-cookie", "a=1"),
        set("set-cookie", "b=2"),
        header("x-lost", "1", Some(true), AppendIfExistsOrAdd),
    ];
    for release in every_release() {
        let stage = Stage::start(deny(16, 401, headers.clone(), ""), |envoy| envoy.release(release)).await;
        let reply = Request::get("/").send(stage.envoy.address).await;
        assert_eq!(
            reply.headers("www-authenticate"),
            ["Bearer", "DPoP algs=\"ES256\""],
            "{}",
            release.as_str()
        );
        assert_eq!(reply.headers("set-cookie"), ["a=1", "b=2"], "{}", release.as_str());
        assert_eq!(reply.header("x-lost"), None, "{}", release.as_str());
    }
}
