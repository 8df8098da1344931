//! Who may administer what: tokens, scopes and roles at the door of the API.

use std::time::Duration;

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::house::{ALL, House, SERVERS};
use super::servers::{policy, rule};

#[tokio::test]
async fn case_155_an_administrator_of_one_server_reaches_no_other() {
    let house = House::open().await;
    let (own, other) = (house.server().await, {
        let body = json!({ "name": "Other", "audiences": ["https://other.example"], "signingAlgorithm": "ES256" });
        house.post(SERVERS, &body).await.id()
    });
    house
        .administrator("team", "API_ACCESS_MANAGEMENT_ADMIN", &json!([own]))
        .await;
    let token = house.token_of("team", ALL).await;
    let asked = async |method: Method, path: &str, body: Option<Value>| {
        house.ask(method, path, &token, &[], body.as_ref()).await
    };
    let scope = json!({ "name": "pay:write" });
    assert_eq!(
        asked(Method::POST, &format!("{SERVERS}/{own}/scopes"), Some(scope.clone()))
            .await
            .status,
        201
    );
    assert_eq!(
        asked(Method::POST, &format!("{SERVERS}/{other}/scopes"), Some(scope))
            .await
            .error()
            .0,
        403
    );
    assert_eq!(
        asked(Method::GET, &format!("{SERVERS}/{other}"), None).await.error().0,
        403
    );
    assert_eq!(
        asked(Method::DELETE, &format!("{SERVERS}/{other}"), None)
            .await
            .error()
            .0,
        403
    );
    // What there is not is told apart from what there is to nobody who may not know.
    assert_eq!(
        asked(Method::GET, &format!("{SERVERS}/ausNone"), None).await.error().0,
        403
    );
    let new = json!({ "name": "New", "audiences": ["x"] });
    assert_eq!(asked(Method::POST, SERVERS, Some(new)).await.error().0, 403);
    let listed = asked(Method::GET, SERVERS, None).await.ok();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn tokens_of_the_management_server_and_of_others_are_useless_at_each_other() {
    let house = House::open().await;
    // Another server's token, even one with the right words in it.
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    let made = house.post(&format!("{at}/policies"), &policy("P")).await.id();
    house
        .post(&format!("{at}/policies/{made}/rules"), &rule("R"))
        .await
        .ok();
    let request = crate::issuer::FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: b"grant_type=client_credentials&client_id=root&client_secret=secret&scope=pay:read",
        ..crate::issuer::FormRequest::default()
    };
    let foreign = house.test.issuer.token(&id, &request).await.expect("granted");
    let foreign = foreign.access_token.expose_secret().clone();
    for token in [foreign.as_str(), "nonsense", ""] {
        let refused = house.ask(Method::GET, SERVERS, token, &[], None).await;
        assert_eq!(refused.error().0, 401, "{token}");
        assert!(refused.headers.contains_key(header::WWW_AUTHENTICATE));
    }
    // And the management token is none of any server that the gate can have.
    let unverified = crate::jose::unverified::Unverified::parse(&house.token).expect("a token");
    assert_eq!(unverified.issuer(), Some("https://127.0.0.1:8443"));
    assert!(house.test.verified("transfers", &house.token).is_err());
    // It lives for an hour.
    house.test.clock.advance(Duration::from_secs(3599));
    assert_eq!(house.get(SERVERS).await.status, 200);
    house.test.clock.advance(Duration::from_secs(7));
    assert_eq!(house.get(SERVERS).await.error().0, 401);
}

#[tokio::test]
async fn who_holds_no_role_gets_no_token_and_who_loses_it_is_refused_at_once() {
    let house = House::open().await;
    let refused = house.try_token("nightly-batch", "okta.apps.read").await;
    assert_eq!(
        (refused.status, refused.body["error"].as_str()),
        (400, Some("access_denied"))
    );
    house.administrator("temp", "READ_ONLY_ADMIN", &Value::Null).await;
    let token = house.token_of("temp", "okta.authorizationServers.manage").await;
    assert_eq!(house.ask(Method::GET, SERVERS, &token, &[], None).await.status, 200);
    let (status, _, causes) = house
        .ask(
            Method::POST,
            SERVERS,
            &token,
            &[],
            Some(&json!({ "name": "x", "audiences": ["x"] })),
        )
        .await
        .error();
    assert_eq!(status, 403, "{causes}");
    let less = house.token_of("temp", "okta.apps.read").await;
    let answer = house.ask(Method::GET, SERVERS, &less, &[], None).await;
    let challenge = answer.headers[header::WWW_AUTHENTICATE].to_str().expect("text");
    assert!(
        challenge.contains("insufficient_scope") && challenge.contains("okta.authorizationServers.read"),
        "{challenge}"
    );
    let change = crate::issuer::change::Change {
        changes: vec![crate::store::objects::ObjectChange::Remove {
            kind: crate::store::objects::ObjectKind::RoleBinding,
            id: "irb-temp".to_owned(),
            from: 1,
        }],
        ..Default::default()
    };
    house.test.issuer.change(change, false).await.expect("removed");
    assert_eq!(house.ask(Method::GET, SERVERS, &token, &[], None).await.error().0, 403);
}

#[tokio::test]
async fn the_management_server_has_its_own_paths_and_no_others() {
    let house = House::open().await;
    let public = crate::http::router(std::sync::Arc::clone(&house.test.issuer));
    let fetch = async |path: &str| {
        use tower::ServiceExt as _;
        let request = axum::http::Request::get(path)
            .body(axum::body::Body::empty())
            .expect("a request");
        public
            .clone()
            .oneshot(request)
            .await
            .expect("it answers")
            .status()
            .as_u16()
    };
    assert_eq!(fetch("/oauth2/v1/keys").await, 200);
    assert_eq!(fetch("/.well-known/oauth-authorization-server").await, 200);
    assert_eq!(fetch("/oauth2/@management/v1/keys").await, 404);
    assert_eq!(fetch("/oauth2/%40management/v1/keys").await, 404);
    // The management API is on its own listener alone.
    assert_eq!(fetch(SERVERS).await, 404);
    let metadata = house.get("/.well-known/oauth-authorization-server").await.ok();
    assert_eq!(metadata["issuer"], "https://127.0.0.1:8443");
    assert_eq!(metadata["token_endpoint"], "https://127.0.0.1:8443/oauth2/v1/token");
    assert_eq!(house.get("/oauth2/transfers/v1/keys").await.status, 404);
    assert_eq!(house.get("/api/v1/nothing").await.error().1, "E0000022");
}
