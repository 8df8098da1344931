use std::sync::Arc;

use proptest::prelude::*;
use prost::Message as _;
use prost_types::value::Kind;
use serde_json::json;

use super::*;
use crate::envoy::pb::envoy::config::core::v3::HeaderValueOption;
use crate::envoy::pb::envoy::service::auth::v3::check_response::HttpResponse;
use crate::envoy::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use crate::model::event::RouteIndex;
use crate::model::id::{ApiName, AuthorizationServerId, ClientId, Issuer, RouteName};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::policy::caller::{Confirmation, Reading, TokenFacts};
use crate::policy::decision::{RouteRef, Written};

const ID: &str = "abc-1";

pub(crate) fn route() -> Arc<RouteRef> {
    Arc::new(RouteRef {
        index: RouteIndex(0),
        api: ApiName::parse("transfers").expect("valid"),
        name: RouteName::parse("GET /transfers/{id}").expect("valid"),
        allowed: Written::default(),
    })
}

fn token(claims: serde_json::Value) -> Arc<VerifiedToken> {
    let serde_json::Value::Object(mut claims) = claims else {
        panic!("claims are an object")
    };
    claims.entry("sub").or_insert_with(|| "ada".into());
    Arc::new(VerifiedToken::assertion_by_authz(TokenFacts::new(Reading {
        server: AuthorizationServerId::parse("transfers").expect("valid"),
        issued_as: None,
        issuer: Issuer::parse("https://issuer.example").expect("valid"),
        client: ClientId::parse("mobile").ok(),
        scopes: ScopeSet::default(),
        kid: None,
        expires_at: Timestamp::from_unix_seconds(2_000_000_000),
        confirmation: Confirmation::default(),
        claims,
        mark: None,
    })))
}

fn permit(headers: &[(&str, &str)], remove: &[&'static str], caller: Option<Arc<VerifiedToken>>) -> Decision {
    Decision::Allow(Permit::assertion_for_test(
        route(),
        caller,
        headers
            .iter()
            .map(|(name, value)| (Arc::from(*name), (*value).to_owned()))
            .collect(),
        remove.iter().map(|name| Arc::from(*name)).collect(),
        Vec::new(),
    ))
}

fn answer(decision: Decision, audience: Audience) -> CheckResponse {
    let mut bytes = Vec::new();
    Sendable::new(decision).encode(ID, audience, &mut bytes);
    CheckResponse::decode(bytes.as_slice()).expect("decodes")
}

fn denied(denial: Denial, audience: Audience) -> DeniedHttpResponse {
    match answer(Decision::Deny(denial), audience).http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied,
        other => panic!("no denied response: {other:?}"),
    }
}

fn allowed(decision: Decision) -> OkHttpResponse {
    match answer(decision, Audience::Http).http_response {
        Some(HttpResponse::OkResponse(ok)) => ok,
        other => panic!("no ok response: {other:?}"),
    }
}

fn pairs(options: &[HeaderValueOption]) -> Vec<(String, String)> {
    options
        .iter()
        .map(|option| {
            let header = option.header.clone().expect("has a header");
            (header.key, header.value)
        })
        .collect()
}

fn value_of(options: &[HeaderValueOption], name: &str) -> Option<String> {
    pairs(options)
        .into_iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value)
}

fn metadata(response: &CheckResponse) -> serde_json::Value {
    fn plain(kind: Option<Kind>) -> serde_json::Value {
        match kind.expect("a value has a kind") {
            Kind::NullValue(_) => json!(null),
            Kind::NumberValue(number) => json!(number),
            Kind::StringValue(text) => json!(text),
            Kind::BoolValue(value) => json!(value),
            Kind::StructValue(fields) => structure(fields),
            Kind::ListValue(list) => list.values.into_iter().map(|value| plain(value.kind)).collect(),
        }
    }
    fn structure(fields: prost_types::Struct) -> serde_json::Value {
        let members = fields.fields.into_iter().map(|(name, value)| (name, plain(value.kind)));
        serde_json::Value::Object(members.collect())
    }
    structure(response.dynamic_metadata.clone().expect("has metadata"))
}

#[test]
fn an_allow_overwrites_headers_in_both_spellings_and_removes_the_rest() {
    let ok = allowed(permit(
        &[("x-auth-subject", "ada")],
        &["x-auth-client", "x_auth_subject"],
        None,
    ));
    assert_eq!(pairs(&ok.headers), [("x-auth-subject".to_owned(), "ada".to_owned())]);
    assert_eq!(ok.headers[0].append, Some(false));
    assert_eq!(ok.headers[0].append_action, 2);
    assert!(ok.headers[0].header.as_ref().expect("header").raw_value.is_empty());
    assert_eq!(ok.headers_to_remove, ["x-auth-client", "x_auth_subject"]);
}

#[test]
fn edge_i03_a_header_that_is_set_is_never_removed() {
    let ok = allowed(permit(
        &[("x-auth-subject", "ada")],
        &["X-Auth-Subject", "x-auth-client"],
        None,
    ));
    assert_eq!(ok.headers_to_remove, ["x-auth-client"]);
}

#[test]
fn a_header_that_could_break_out_of_its_line_turns_the_permit_into_a_denial() {
    let long = "a".repeat(HEADER_BYTES_MAX + 1);
    for (name, value) in [
        ("x-a", "a\r\nx-admin: 1"),
        ("x-a", "a\0"),
        ("x-a", "Zoë"),
        ("x-a", long.as_str()),
        ("x-a:", "a"),
        (":path", "/a"),
        ("", "a"),
    ] {
        let response = answer(permit(&[(name, value)], &[], None), Audience::Http);
        assert_eq!(response.status.expect("status").code, 7, "{name:?}");
        assert!(matches!(response.http_response, Some(HttpResponse::DeniedResponse(_))));
    }
}

#[test]
fn edge_d03_every_challenge_reaches_the_client_as_a_header_of_its_own() {
    let mut denial = Denial::new(Reason::MissingToken);
    denial.challenges = vec!["DPoP algs=\"ES256\"".to_owned(), "Bearer realm=\"a\"".to_owned()];
    for audience in [Audience::Http, Audience::Head, Audience::Grpc] {
        let denied = denied(denial.clone(), audience);
        let challenges: Vec<String> = pairs(&denied.headers)
            .into_iter()
            .filter(|(name, _)| name == "www-authenticate")
            .map(|(_, value)| value)
            .collect();
        assert_eq!(challenges, denial.challenges, "{audience:?}");
    }
}

#[test]
fn edge_e21_edge_d08_attack_d26_the_body_is_a_small_problem_document_of_constants() {
    for reason in Reason::ALL {
        let denied = denied(Denial::new(reason), Audience::Http);
        assert!(denied.body.len() <= 1024);
        let body: serde_json::Value = serde_json::from_str(&denied.body).expect("valid JSON");
        assert_eq!(body["status"], reason.http_status());
        assert_eq!(body["reason"], reason.as_str());
        assert_eq!(body["decision_id"], ID);
        assert_eq!(
            value_of(&denied.headers, "content-type").as_deref(),
            Some("application/problem+json")
        );
        assert_eq!(value_of(&denied.headers, "cache-control").as_deref(), Some("no-store"));
        let waits = value_of(&denied.headers, "retry-after").is_some();
        assert_eq!(waits, reason.http_status() == 503, "{reason:?}");
    }
}

#[test]
fn what_exactly_failed_is_told_to_no_client() {
    let denial = Denial::because(Reason::InvalidToken, "canary");
    let mut bytes = Vec::new();
    Sendable::new(Decision::Deny(denial)).encode(ID, Audience::Http, &mut bytes);
    assert!(!bytes.windows(6).any(|window| window == b"canary"));
}

#[test]
fn edge_m03_a_denial_of_head_has_headers_and_no_body() {
    let denied = denied(Denial::new(Reason::NoRoute), Audience::Head);
    assert_eq!(denied.body, "");
    assert_eq!(denied.status.expect("status").code, 403);
    assert_eq!(value_of(&denied.headers, "cache-control").as_deref(), Some("no-store"));
}

#[test]
fn edge_m09_edge_e08_a_grpc_caller_gets_a_status_and_a_plain_sentence() {
    for (reason, code) in [
        (Reason::MissingToken, "16"),
        (Reason::InsufficientScope, "7"),
        (Reason::AmbiguousPath, "3"),
        (Reason::Timeout, "14"),
        (Reason::MisdirectedRequest, "7"),
    ] {
        let denied = denied(Denial::new(reason), Audience::Grpc);
        assert_eq!(value_of(&denied.headers, "grpc-status").as_deref(), Some(code));
        assert_eq!(value_of(&denied.headers, "grpc-message"), Some(denied.body.clone()));
        assert_eq!(value_of(&denied.headers, "content-type"), None);
        assert!(
            denied
                .body
                .bytes()
                .all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\%{".contains(&byte))
        );
    }
}

#[test]
fn edge_d09_a_hidden_api_answers_the_same_whatever_the_reason() {
    let hidden = |reason| {
        let mut denial = Denial::new(reason).hidden();
        denial.challenges = vec![format!("Bearer error=\"{}\"", Reason::as_str(reason))];
        denied(denial, Audience::Http)
    };
    assert_eq!(hidden(Reason::NoRoute), hidden(Reason::InsufficientScope));
}

#[test]
fn edge_i13_edge_e20_the_metadata_has_one_shape_on_allow_and_deny() {
    let caller = token(json!({"scope": "a b", "exp": 9_007_199_254_740_993_i64, "auth_time": 5, "iss": "https://i"}));
    let allow = metadata(&answer(permit(&[], &[], Some(caller.clone())), Audience::Http));
    assert_eq!(
        allow,
        json!({
            "api": "transfers", "route": "GET /transfers/{id}", "decision_id": ID, "outcome": "allow", "reason": "",
            "sub": "ada", "client_id": "mobile", "scope": "a b",
            "claims": {"exp": "9007199254740993", "auth_time": 5.0, "iss": "https://i"}, "truncated": false,
        })
    );
    let mut denial = Denial::new(Reason::InsufficientScope);
    denial.route = Some(route());
    denial.caller = Some(caller);
    let deny = metadata(&answer(Decision::Deny(denial), Audience::Http));
    let bare = metadata(&answer(Decision::Deny(Denial::new(Reason::NoRoute)), Audience::Http));
    let shape = |value: &serde_json::Value| {
        let members = value.as_object().expect("object");
        let shape: Vec<(String, std::mem::Discriminant<serde_json::Value>)> = members
            .iter()
            .filter(|(name, _)| *name != "claims")
            .map(|(name, value)| (name.clone(), std::mem::discriminant(value)))
            .collect();
        shape
    };
    assert_eq!(shape(&allow), shape(&deny));
    assert_eq!(shape(&allow), shape(&bare));
    assert_eq!(
        (deny["outcome"].as_str(), deny["reason"].as_str()),
        (Some("deny"), Some("insufficient_scope"))
    );
    assert_eq!(bare["claims"], json!({}));
}

#[test]
fn attack_d27_no_claim_takes_the_place_of_a_key_and_none_names_a_person() {
    let caller =
        token(json!({"api": "evil", "decision_id": "evil", "email": "ada@bank.example", "claims": 1, "acr": "high"}));
    let metadata = metadata(&answer(permit(&[], &[], Some(caller)), Audience::Http));
    assert_eq!(metadata["api"], "transfers");
    assert_eq!(metadata["decision_id"], ID);
    assert_eq!(metadata["claims"], json!({"acr": "high"}));
    assert!(!metadata.to_string().contains("evil") && !metadata.to_string().contains("bank.example"));
}

#[test]
fn edge_i13_the_metadata_is_bounded_and_says_what_it_leaves_out() {
    let long = "a".repeat(METADATA_BYTES_MAX);
    let nested: Vec<serde_json::Value> = (0..2000).map(|n| json!({ "n": n })).collect();
    for claims in [
        json!({"scope": long}),
        json!({"acr": long}),
        json!({"acr": nested, "iss": "i"}),
    ] {
        let response = answer(permit(&[], &[], Some(token(claims))), Audience::Http);
        let size = response.dynamic_metadata.as_ref().expect("metadata").encoded_len();
        assert!(size <= METADATA_BYTES_MAX, "{size}");
        assert_eq!(metadata(&response)["truncated"], true);
    }
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        ".{0,200}".prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|values| json!(values)),
            prop::collection::hash_map(".{0,12}", inner, 0..8).prop_map(|values| json!(values)),
        ]
    })
}

fn any_audience() -> impl Strategy<Value = Audience> {
    prop::sample::select(vec![Audience::Http, Audience::Head, Audience::Grpc])
}

proptest! {
    #[test]
    fn edge_d10_attack_d01_every_denial_encodes_to_an_explicit_denial(
        reason in prop::sample::select(Reason::ALL.to_vec()),
        hidden in any::<bool>(),
        with_route in any::<bool>(),
        claims in prop::option::of(prop::collection::hash_map("acr|iss|scope|[a-z]{1,5}", any_json(), 0..5)),
        challenges in prop::collection::vec(".{0,40}", 0..4),
        value in ".{0,20}",
        audience in any_audience(),
    ) {
        let mut denial = Denial::new(reason);
        if hidden { denial = denial.hidden(); }
        if with_route { denial.route = Some(route()); }
        denial.caller = claims.map(|claims| token(json!(claims)));
        denial.challenges = challenges;
        denial.headers = vec![("DPoP-Nonce", value)];
        let status = i32::from(denial.status());
        let mut bytes = Vec::new();
        Sendable::new(Decision::Deny(denial)).encode(ID, audience, &mut bytes);
        let response = CheckResponse::decode(bytes.as_slice()).expect("decodes");
        prop_assert_ne!(response.status.clone().expect("status").code, 0);
        let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else {
            return Err(TestCaseError::fail("no denied response"));
        };
        prop_assert_eq!(denied.status.as_ref().expect("status").code, status);
        for (name, value) in pairs(&denied.headers) {
            prop_assert!(is_name(&name) && is_value(&value));
        }
        prop_assert!(response.dynamic_metadata.expect("metadata").encoded_len() <= METADATA_BYTES_MAX);
    }

    #[test]
    fn edge_d10_every_allow_encodes_to_an_ok_response(
        headers in prop::collection::vec(("[a-z-]{1,10}", "[ -~]{1,20}"), 0..6),
        claims in prop::option::of(prop::collection::hash_map("acr|iss|scope|[a-z]{1,5}", any_json(), 0..5)),
    ) {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let decision = permit(&headers, &["x-auth-client"], claims.map(|claims| token(json!(claims))));
        let mut bytes = Vec::new();
        Sendable::new(decision).encode(ID, Audience::Http, &mut bytes);
        let response = CheckResponse::decode(bytes.as_slice()).expect("decodes");
        prop_assert_eq!(response.status.clone().expect("status").code, 0);
        let Some(HttpResponse::OkResponse(ok)) = &response.http_response else {
            return Err(TestCaseError::fail("no ok response"));
        };
        let ours: Vec<(String, String)> = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        prop_assert_eq!(pairs(&ok.headers), ours);
        // What prost encodes of the same message is the same message.
        prop_assert_eq!(CheckResponse::decode(response.encode_to_vec().as_slice()).expect("decodes"), response);
    }
}
