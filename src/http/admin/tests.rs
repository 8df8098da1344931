//! What all resources of the management API share, against a router of two paths.

mod authority;
pub(in crate::http) mod house;
mod oversight;
mod people;
mod registration;
mod servers;

use axum::Router;
use axum::body::Body as RawBody;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use url::Url;

use super::error::ApiError;
use super::etag::{self, DryRun, EntityTag, IfMatch};
use super::paging::Page;
use super::request::{BODY_BYTES_MAX, Body, Ids, request_id};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

async fn list(page: Page) -> Response {
    let public_url = Url::parse("https://issuer.example").unwrap();
    let items = page.cut(NAMES, |name| (*name).to_owned());
    page.answer(
        &public_url,
        items,
        |name| (*name).to_owned(),
        |name| json!({ "id": name }),
    )
}

async fn change(Ids(id): Ids<String>, condition: IfMatch, DryRun(dry): DryRun, Body(body): Body) -> Response {
    let now = EntityTag::of(&json!({ "id": id }));
    if let Err(error) = condition.check(&now) {
        return error.into_response();
    }
    etag::object(StatusCode::OK, &json!({ "id": id, "dry": dry, "body": body }))
}

async fn read(Ids(id): Ids<String>) -> Response {
    match id.as_str() {
        "missing" => ApiError::not_found("Thing", &id).into_response(),
        "private" => ApiError::insufficient_scope("okta.apps.read").into_response(),
        _ => etag::object(StatusCode::OK, &json!({ "id": id })),
    }
}

fn router() -> Router {
    Router::new()
        .route("/api/v1/things", get(list))
        .route("/api/v1/things/{id}", get(read).put(change))
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(from_fn(request_id))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn link(&self, relation: &str) -> Option<String> {
        let wanted = format!("; rel=\"{relation}\"");
        let links = self.headers.get_all(header::LINK);
        links.iter().find_map(|link| {
            let url = link.to_str().unwrap().strip_suffix(&wanted)?;
            Some(url.trim_matches(['<', '>']).to_owned())
        })
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn ask(request: Request) -> Answer {
    let response = router().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status, headers, body }
}

async fn read_at(path: &str) -> Answer {
    ask(Request::get(path).body(RawBody::empty()).unwrap()).await
}

async fn put(path: &str, headers: &[(&str, &str)], body: impl Into<RawBody>) -> Answer {
    let mut request = Request::put(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    ask(request.body(body.into()).unwrap()).await
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn attack_f26_links_lead_through_every_page_at_the_public_url_alone() {
    let mut seen = Vec::new();
    let mut next = Some("/api/v1/things?limit=2&q=x".to_owned());
    while let Some(path) = next {
        let request = Request::get(&path)
            .header(header::HOST, "evil.example")
            .header("x-forwarded-host", "evil.example")
            .body(RawBody::empty())
            .unwrap();
        let answer = ask(request).await;
        assert_eq!(answer.link("self"), Some(format!("https://issuer.example{path}")));
        let page = answer.body.as_array().unwrap();
        assert!(page.len() <= 2);
        seen.extend(page.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        next = answer.link("next").map(|url| {
            assert!(url.contains("limit=2&q=x&after="), "{url}");
            url.strip_prefix("https://issuer.example").unwrap().to_owned()
        });
    }
    assert_eq!(seen, NAMES);
    // A path that looks like another host stays a path.
    let public_url = Url::parse("https://issuer.example").unwrap();
    let page = Page::of("//evil.example/x".parse().unwrap()).unwrap();
    let response = page.answer_array(&public_url, &json!([]), None);
    assert_eq!(
        response.headers()[header::LINK],
        "<https://issuer.example//evil.example/x>; rel=\"self\""
    );
}

#[tokio::test]
async fn attack_f45_a_cursor_that_somebody_made_up_is_refused() {
    // "a" NUL, no form, another form, no base64url, a quote
    for forged in ["MTphAA", "YQ", "Mjph", "a'--", "MTo", "MTph%00"] {
        let answer = read_at(&format!("/api/v1/things?after={forged}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{forged}");
        assert_eq!(answer.body["errorCode"], "E0000001");
    }
    assert_eq!(read_at("/api/v1/things?after=MTph").await.body[0]["id"], "b");
}

#[tokio::test]
async fn a_limit_is_a_positive_number_and_at_most_a_page() {
    for wrong in ["0", "-1", "x", "1.5", "99999999999"] {
        let answer = read_at(&format!("/api/v1/things?limit={wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let many = read_at("/api/v1/things?limit=5000").await;
    assert_eq!((many.status, many.body.as_array().unwrap().len()), (StatusCode::OK, 5));
}

#[tokio::test]
async fn attack_f39_a_parameter_that_stands_there_twice_is_refused() {
    for query in [
        "limit=1&limit=2",
        "after=MTph&after=MTph",
        "x=1&x=1",
        "dryRun=true&dryRun=false",
    ] {
        let answer = read_at(&format!("/api/v1/things?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn if_match_lets_only_the_state_that_was_read_be_changed() {
    let read = read_at("/api/v1/things/a").await;
    let tag = read.header("etag").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for (condition, status) in [
        (tag.as_str(), StatusCode::OK),
        ("*", StatusCode::OK),
        (&format!("\"other\", {tag}"), StatusCode::OK),
        ("\"other\"", StatusCode::PRECONDITION_FAILED),
        (&format!("W/{tag}"), StatusCode::PRECONDITION_FAILED),
        ("", StatusCode::PRECONDITION_FAILED),
        (tag.trim_matches('"'), StatusCode::PRECONDITION_FAILED),
    ] {
        let answer = put("/api/v1/things/a", &[JSON, ("if-match", condition)], "{}").await;
        assert_eq!(answer.status, status, "{condition}");
    }
    assert_eq!(put("/api/v1/things/a", &[JSON], "{}").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_dry_run_is_true_or_false_and_nothing_else() {
    for (query, status, dry) in [
        ("", StatusCode::OK, json!(false)),
        ("?dryRun=true", StatusCode::OK, json!(true)),
        ("?dryRun=false", StatusCode::OK, json!(false)),
        ("?dryRun=yes", StatusCode::BAD_REQUEST, Value::Null),
        ("?dryRun", StatusCode::BAD_REQUEST, Value::Null),
    ] {
        let answer = put(&format!("/api/v1/things/a{query}"), &[JSON], "{}").await;
        assert_eq!((answer.status, &answer.body["dry"]), (status, &dry), "{query}");
    }
}

#[tokio::test]
async fn a_body_is_one_json_object_within_bounds() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    for (name, headers, body, status) in [
        ("empty", vec![JSON], String::new(), 400),
        ("an array", vec![JSON], "[]".to_owned(), 400),
        ("a member twice", vec![JSON], r#"{"a":1,"\u0061":2}"#.to_owned(), 400),
        ("cut short", vec![JSON], r#"{"a":"#.to_owned(), 400),
        ("something behind", vec![JSON], "{} {}".to_owned(), 400),
        ("too deep", vec![JSON], deep, 400),
        ("no content type", vec![], "{}".to_owned(), 400),
        (
            "a form",
            vec![("content-type", "application/x-www-form-urlencoded")],
            "{}".to_owned(),
            400,
        ),
        ("too large", vec![JSON], large, 413),
        (
            "fine, with a member that nobody knows",
            vec![JSON],
            r#"{"_links":{}}"#.to_owned(),
            200,
        ),
    ] {
        let answer = put("/api/v1/things/a", &headers, body).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
    }
}

#[tokio::test]
async fn an_error_has_the_shape_of_okta_and_the_id_of_its_request() {
    let answer = read_at("/api/v1/things/missing").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(answer.body["errorCode"], "E0000007");
    assert_eq!(answer.body["errorLink"], "E0000007");
    assert_eq!(
        answer.body["errorSummary"],
        "Not found: Resource not found: missing (Thing)"
    );
    assert_eq!(answer.body["errorCauses"], json!([]));
    assert_eq!(answer.body["errorId"], answer.header("x-okta-request-id"));
    let other = read_at("/api/v1/things/missing").await;
    assert_ne!(answer.body["errorId"], other.body["errorId"]);

    let lacks = read_at("/api/v1/things/private").await;
    assert_eq!(
        (lacks.status, &lacks.body["errorCode"]),
        (StatusCode::FORBIDDEN, &json!("E0000006"))
    );
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"okta.apps.read\"";
    assert_eq!(lacks.header("www-authenticate"), challenge);

    let post = Request::post("/api/v1/things").body(RawBody::empty()).unwrap();
    let refused = ask(post).await;
    assert_eq!(
        (refused.status, &refused.body["errorCode"]),
        (StatusCode::METHOD_NOT_ALLOWED, &json!("E0000022"))
    );
    assert!(!read_at("/api/v1/things").await.header("x-okta-request-id").is_empty());
}
