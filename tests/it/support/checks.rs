//! CheckRequests sent to the gate directly, where Envoy would not send what a test needs.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::Message;

use super::h2_client::Client;

/// A check of this request, with the id that Envoy gave its stream.
pub(crate) fn check(method: &str, host: &str, path: &str, id: &str, headers: &[(&str, &str)]) -> CheckRequest {
    let headers: HashMap<String, String> = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let http = HttpRequest {
        id: id.to_owned(),
        method: method.to_owned(),
        host: host.to_owned(),
        path: path.to_owned(),
        scheme: "https".to_owned(),
        headers,
        ..HttpRequest::default()
    };
    CheckRequest {
        attributes: Some(AttributeContext {
            request: Some(Request {
                http: Some(http),
                ..Request::default()
            }),
            ..AttributeContext::default()
        }),
    }
}

/// The status code of the gate's answer: 0 is an allow.
pub(crate) async fn status(client: &Client, check: &CheckRequest) -> i32 {
    let path = "/envoy.service.auth.v3.Authorization/Check";
    let reply = client.grpc("gate", path, &check.encode_to_vec(), &[]).await;
    assert_eq!(reply.grpc_status(), Some(0), "{:?}", reply.grpc_field("grpc-message"));
    let response = CheckResponse::decode(reply.grpc_message()).expect("the gate's answers decode");
    response.status.expect("a status").code
}
