//! Holds `proto/` to Envoy's own files, by the crate `envoy-types`: what one encodes the other decodes, both ways.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3 as their_core;
use envoy_types::pb::envoy::service::auth::v3 as theirs;
use envoy_types::pb::envoy::r#type::v3 as their_type;
use envoy_types::pb::google as their_google;
use prost::Message as _;

use crate::envoy::pb::envoy::config::core::v3 as our_core;
use crate::envoy::pb::envoy::service::auth::v3 as ours;
use crate::envoy::pb::envoy::r#type::v3 as our_type;
use crate::envoy::pb::google as our_google;
use crate::envoy::view;
use crate::policy::facts::Occurrence;

fn map() -> HashMap<String, String> {
    HashMap::from([("k".to_owned(), "v".to_owned())])
}

fn our_check() -> ours::CheckRequest {
    use ours::attribute_context::{HttpRequest, Peer, Request, TlsSession};
    let peer = |name: &str| Peer {
        service: format!("{name} service"),
        principal: format!("{name} principal"),
        certificate: format!("{name} certificate"),
    };
    let metadata = |name: &str| our_core::Metadata {
        filter_metadata: HashMap::from([(name.to_owned(), prost_types::Struct::default())]),
    };
    ours::CheckRequest {
        attributes: Some(ours::AttributeContext {
            source: Some(peer("source")),
            destination: Some(peer("destination")),
            request: Some(Request {
                time: Some(prost_types::Timestamp { seconds: 5, nanos: 6 }),
                http: Some(HttpRequest {
                    id: "1".into(),
                    method: "2".into(),
                    headers: map(),
                    path: "4".into(),
                    host: "5".into(),
                    scheme: "6".into(),
                    query: "7".into(),
                    fragment: "8".into(),
                    size: 9,
                    protocol: "10".into(),
                    body: "11".into(),
                    raw_body: b"12".to_vec(),
                    header_map: Some(our_core::HeaderMap {
                        headers: vec![our_core::HeaderValue {
                            key: "k".into(),
                            value: "v".into(),
                            raw_value: b"r".to_vec(),
                        }],
                    }),
                }),
            }),
            context_extensions: map(),
            metadata_context: Some(metadata("m")),
            tls_session: Some(TlsSession { sni: "sni".into() }),
            route_metadata_context: Some(metadata("r")),
        }),
    }
}

fn their_check() -> theirs::CheckRequest {
    use theirs::attribute_context::{HttpRequest, Peer, Request, TlsSession};
    let peer = |name: &str| Peer {
        service: format!("{name} service"),
        principal: format!("{name} principal"),
        certificate: format!("{name} certificate"),
        ..Peer::default()
    };
    let metadata = |name: &str| their_core::Metadata {
        filter_metadata: HashMap::from([(name.to_owned(), their_google::protobuf::Struct::default())]),
        ..their_core::Metadata::default()
    };
    theirs::CheckRequest {
        attributes: Some(theirs::AttributeContext {
            source: Some(peer("source")),
            destination: Some(peer("destination")),
            request: Some(Request {
                time: Some(their_google::protobuf::Timestamp { seconds: 5, nanos: 6 }),
                http: Some(HttpRequest {
                    id: "1".into(),
                    method: "2".into(),
                    headers: map(),
                    path: "4".into(),
                    host: "5".into(),
                    scheme: "6".into(),
                    query: "7".into(),
                    fragment: "8".into(),
                    size: 9,
                    protocol: "10".into(),
                    body: "11".into(),
                    raw_body: b"12".to_vec(),
                    header_map: Some(their_core::HeaderMap {
                        headers: vec![their_core::HeaderValue {
                            key: "k".into(),
                            value: "v".into(),
                            raw_value: b"r".to_vec(),
                        }],
                    }),
                }),
            }),
            context_extensions: map(),
            metadata_context: Some(metadata("m")),
            tls_session: Some(TlsSession { sni: "sni".into() }),
            route_metadata_context: Some(metadata("r")),
        }),
    }
}

#[test]
fn a_check_request_means_the_same_to_both() {
    let (ours, theirs) = (our_check(), their_check());
    assert_eq!(
        theirs::CheckRequest::decode(ours.encode_to_vec().as_slice()),
        Ok(theirs.clone())
    );
    assert_eq!(ours::CheckRequest::decode(theirs.encode_to_vec().as_slice()), Ok(ours));
}

#[test]
fn the_view_reads_what_they_encode() {
    let mut check = their_check();
    let attributes = check.attributes.as_mut().expect("set");
    attributes.context_extensions = HashMap::from([(view::PINNED_API.to_owned(), "pin".to_owned())]);
    let http = attributes
        .request
        .as_mut()
        .and_then(|request| request.http.as_mut())
        .expect("set");
    http.header_map = None;
    let bytes = check.encode_to_vec();
    let facts = view::read(&bytes).expect("decodes");
    assert_eq!(
        (facts.request_id, facts.method, facts.target, facts.host, facts.scheme),
        ("1", "2", "4", "5", "6")
    );
    assert_eq!(facts.header("k"), Occurrence::Once(b"v"));
    assert_eq!(facts.peer_certificate, Some("source certificate"));
    assert_eq!(facts.tls_server_name, Some("sni"));
    assert_eq!(facts.pinned_api, Some("pin"));
}

fn our_header(action: i32) -> our_core::HeaderValueOption {
    our_core::HeaderValueOption {
        header: Some(our_core::HeaderValue {
            key: "k".into(),
            value: "v".into(),
            raw_value: b"r".to_vec(),
        }),
        append: Some(true),
        append_action: action,
        keep_empty_value: true,
    }
}

#[expect(
    deprecated,
    reason = "`append` is read by older releases of Envoy, so that we write it"
)]
fn their_header(action: i32) -> their_core::HeaderValueOption {
    their_core::HeaderValueOption {
        header: Some(their_core::HeaderValue {
            key: "k".into(),
            value: "v".into(),
            raw_value: b"r".to_vec(),
        }),
        append: Some(their_google::protobuf::BoolValue { value: true }),
        append_action: action,
        keep_empty_value: true,
    }
}

#[expect(
    deprecated,
    reason = "the struct literal names every field, `dynamic_metadata` of OkHttpResponse too"
)]
fn their_ok() -> theirs::OkHttpResponse {
    theirs::OkHttpResponse {
        headers: (0..4).map(their_header).collect(),
        headers_to_remove: vec!["r".into()],
        dynamic_metadata: None,
        response_headers_to_add: vec![their_header(2)],
        query_parameters_to_set: vec![their_core::QueryParameter {
            key: "k".into(),
            value: "v".into(),
        }],
        query_parameters_to_remove: vec!["q".into()],
    }
}

fn our_ok() -> ours::OkHttpResponse {
    ours::OkHttpResponse {
        headers: (0..4).map(our_header).collect(),
        headers_to_remove: vec!["r".into()],
        response_headers_to_add: vec![our_header(2)],
        query_parameters_to_set: vec![our_core::QueryParameter {
            key: "k".into(),
            value: "v".into(),
        }],
        query_parameters_to_remove: vec!["q".into()],
    }
}

#[test]
fn a_check_response_means_the_same_to_both() {
    use ours::check_response::HttpResponse as Our;
    use theirs::check_response::HttpResponse as Their;
    let our_denied = ours::DeniedHttpResponse {
        status: Some(our_type::HttpStatus { code: 403 }),
        headers: vec![our_header(2)],
        body: "b".into(),
    };
    let their_denied = theirs::DeniedHttpResponse {
        status: Some(their_type::HttpStatus { code: 403 }),
        headers: vec![their_header(2)],
        body: "b".into(),
    };
    for (our_http, their_http) in [
        (
            Our::DeniedResponse(our_denied.clone()),
            Their::DeniedResponse(their_denied.clone()),
        ),
        (Our::OkResponse(our_ok()), Their::OkResponse(their_ok())),
        (Our::ErrorResponse(our_denied), Their::ErrorResponse(their_denied)),
    ] {
        let our_response = ours::CheckResponse {
            status: Some(our_google::rpc::Status {
                code: 16,
                message: "m".into(),
            }),
            dynamic_metadata: Some(prost_types::Struct {
                fields: [(
                    "k".to_owned(),
                    prost_types::Value {
                        kind: Some(prost_types::value::Kind::NumberValue(1.5)),
                    },
                )]
                .into(),
            }),
            http_response: Some(our_http),
        };
        let their_response = theirs::CheckResponse {
            status: Some(their_google::rpc::Status {
                code: 16,
                message: "m".into(),
                details: Vec::new(),
            }),
            dynamic_metadata: Some(their_google::protobuf::Struct {
                fields: [(
                    "k".to_owned(),
                    their_google::protobuf::Value {
                        kind: Some(their_google::protobuf::value::Kind::NumberValue(1.5)),
                    },
                )]
                .into(),
            }),
            http_response: Some(their_http),
        };
        let decoded = theirs::CheckResponse::decode(our_response.encode_to_vec().as_slice());
        assert_eq!(decoded, Ok(their_response.clone()));
        let decoded = ours::CheckResponse::decode(their_response.encode_to_vec().as_slice());
        assert_eq!(decoded, Ok(our_response));
    }
}

#[test]
fn the_names_of_service_and_method_are_envoys() {
    assert_eq!(
        ours::authorization_server::SERVICE_NAME,
        "envoy.service.auth.v3.Authorization"
    );
}
