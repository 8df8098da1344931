//! Clients that register themselves, through the endpoints that they find.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};

use super::house::{Answer, House};
use crate::admin::Administration;
use crate::issuer::settings::RegistrationPolicy;

const CLIENTS: &str = "/oauth2/v1/clients";

async fn house(open: bool) -> House {
    let house = House::open().await;
    let policy = RegistrationPolicy {
        open,
        ..RegistrationPolicy::default()
    };
    house.test.issuer.allow_registration(Some(policy));
    house
}

async fn ask(house: &House, method: Method, path: &str, token: Option<&str>, body: Option<&Value>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let body = match body {
        None => Body::empty(),
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Body::from(body.to_string())
        }
    };
    house.send(request.body(body).expect("a request")).await
}

async fn register(house: &House, token: Option<&str>, metadata: &Value) -> Answer {
    ask(house, Method::POST, CLIENTS, token, Some(metadata)).await
}

fn minimal() -> Value {
    json!({ "redirect_uris": ["https://app.example/cb"] })
}

fn public(name: &str) -> Value {
    json!({ "client_name": name, "software_id": "s-1", "token_endpoint_auth_method": "none",
        "redirect_uris": ["https://app.example/cb"] })
}

fn text(answer: &Answer, name: &str) -> String {
    assert!(answer.status < 300, "{} {}", answer.status, answer.body);
    answer.body[name]
        .as_str()
        .unwrap_or_else(|| panic!("no `{name}` in {}", answer.body))
        .to_owned()
}

async fn initial_token(house: &House, uses: u32) -> (String, String) {
    let made = house
        .post(
            "/api/v1/registrationTokens",
            &json!({ "uses": uses, "expiresInSeconds": 600 }),
        )
        .await
        .ok();
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    (text("id"), text("token"))
}

#[tokio::test]
async fn case_141_a_minimal_registration_gives_the_defaults_and_the_means_to_change_them() {
    let house = house(true).await;
    let answer = register(&house, None, &minimal()).await;
    assert_eq!(answer.status, 201);
    for (name, value) in [
        ("token_endpoint_auth_method", json!("client_secret_basic")),
        ("grant_types", json!(["authorization_code"])),
        ("response_types", json!(["code"])),
        ("client_secret_expires_at", json!(0)),
        ("consent_method", json!("REQUIRED")),
    ] {
        assert_eq!(answer.body[name], value, "{name}");
    }
    let id = text(&answer, "client_id");
    assert_eq!(
        text(&answer, "registration_client_uri"),
        format!("https://127.0.0.1:8443{CLIENTS}/{id}")
    );
    for (metadata, error) in [
        (
            json!({ "redirect_uris": ["https://app.example/cb#x"] }),
            "invalid_redirect_uri",
        ),
        (
            json!({ "redirect_uris": ["javascript:alert(1)"] }),
            "invalid_redirect_uri",
        ),
        (json!({ "redirect_uris": [] }), "invalid_client_metadata"),
        (
            json!({ "redirect_uris": ["https://a.example/"], "response_types": ["token"] }),
            "invalid_client_metadata",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/"], "id_token_signed_response_alg": "none" }),
            "invalid_client_metadata",
        ),
        (
            json!({ "redirect_uris": ["https://a.example/"], "logo_uri": "javascript:1" }),
            "invalid_client_metadata",
        ),
    ] {
        let answer = register(&house, None, &metadata).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!(error)),
            "{metadata}"
        );
    }
}

#[tokio::test]
async fn case_142_nobody_registers_unless_it_is_allowed_and_a_token_is_good_for_what_it_says() {
    // Off by default, with or without a token.
    let house = House::open().await;
    assert_eq!(register(&house, None, &minimal()).await.status, 401);
    let (_, token) = initial_token(&house, 1).await;
    assert_eq!(register(&house, Some(&token), &minimal()).await.status, 401);

    house
        .test
        .issuer
        .allow_registration(Some(RegistrationPolicy::default()));
    let without = register(&house, None, &minimal()).await;
    assert_eq!((without.status, &without.body["error"]), (401, &json!("invalid_token")));
    for wrong in ["iat_nonsense", "a.b.c", ""] {
        assert_eq!(register(&house, Some(wrong), &minimal()).await.status, 401, "{wrong}");
    }
    // Refused metadata spends nothing; a registration does.
    assert_eq!(
        register(&house, Some(&token), &json!({ "redirect_uris": ["/x"] }))
            .await
            .status,
        400
    );
    assert_eq!(register(&house, Some(&token), &minimal()).await.status, 201);
    assert_eq!(register(&house, Some(&token), &minimal()).await.status, 401, "spent");

    let (_, twice) = initial_token(&house, 2).await;
    let metadata = minimal();
    let (one, two, three) = tokio::join!(
        register(&house, Some(&twice), &metadata),
        register(&house, Some(&twice), &metadata),
        register(&house, Some(&twice), &metadata)
    );
    let mut statuses = [one.status, two.status, three.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 401], "two uses, however many come at once");

    let (id, revoked) = initial_token(&house, 5).await;
    assert_eq!(
        house.delete(&format!("/api/v1/registrationTokens/{id}")).await.status,
        204
    );
    assert_eq!(register(&house, Some(&revoked), &minimal()).await.status, 401);
    let (_, expired) = initial_token(&house, 5).await;
    house.test.clock.advance(Duration::from_secs(600));
    assert_eq!(register(&house, Some(&expired), &minimal()).await.status, 401);
}

#[tokio::test]
async fn case_142_a_public_client_that_registers_again_is_the_same_and_cannot_be_taken_over() {
    let house = house(true).await;
    let first = register(&house, None, &public("App")).await;
    assert_eq!(first.status, 201);
    let again = register(&house, None, &public("App")).await;
    assert_eq!(
        (again.status, text(&again, "client_id")),
        (200, text(&first, "client_id"))
    );
    assert_eq!(
        again.body.get("registration_access_token"),
        None,
        "its identifier is public, the right to change it is not"
    );
    let other = register(&house, None, &public("Other")).await;
    assert_ne!(text(&other, "client_id"), text(&first, "client_id"));
    // A confidential client gets a secret, so each is its own.
    let (one, two) = (
        register(&house, None, &minimal()).await,
        register(&house, None, &minimal()).await,
    );
    assert_ne!(text(&one, "client_id"), text(&two, "client_id"));
    house.test.clock.advance(Duration::from_secs(3601));
    assert_ne!(
        text(&register(&house, None, &public("App")).await, "client_id"),
        text(&first, "client_id")
    );
}

#[tokio::test]
async fn case_143_a_client_keeps_itself_up_to_date_with_a_token_that_changes() {
    let house = house(true).await;
    let made = register(
        &house,
        None,
        &json!({ "redirect_uris": ["https://a.example/"], "logo_uri": "https://a.example/l",
        "grant_types": ["authorization_code", "refresh_token"] }),
    )
    .await;
    let (id, token, secret) = (
        text(&made, "client_id"),
        text(&made, "registration_access_token"),
        text(&made, "client_secret"),
    );
    let at = format!("{CLIENTS}/{id}");
    let read = ask(&house, Method::GET, &at, Some(&token), None).await;
    assert_eq!((read.status, read.body.get("client_secret")), (200, None));
    let other = register(&house, None, &minimal()).await;
    for wrong in [
        None,
        Some("rat_x"),
        Some(text(&other, "registration_access_token").as_str()),
    ] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = json!({ "client_id": id, "redirect_uris": ["https://a.example/"] });
            let answer = ask(&house, method.clone(), &at, wrong, Some(&body)).await;
            assert_eq!(answer.status, 401, "{method} {wrong:?}");
        }
    }
    assert_eq!(
        ask(&house, Method::GET, &format!("{CLIENTS}/nobody"), Some(&token), None)
            .await
            .status,
        401
    );
    // The same client at an authorization server is another resource.
    assert_eq!(
        ask(
            &house,
            Method::GET,
            &format!("/oauth2/transfers/v1/clients/{id}"),
            Some(&token),
            None
        )
        .await
        .status,
        401
    );

    for (body, status) in [
        (
            json!({ "client_id": "another", "redirect_uris": ["https://a.example/"] }),
            400,
        ),
        (json!({ "redirect_uris": ["https://a.example/"] }), 400),
        (
            json!({ "client_id": id, "client_secret": "chosen-by-me", "redirect_uris": ["https://a.example/"] }),
            400,
        ),
    ] {
        assert_eq!(
            ask(&house, Method::PUT, &at, Some(&token), Some(&body)).await.status,
            status,
            "{body}"
        );
    }
    let update = json!({ "client_id": id, "client_secret": secret, "redirect_uris": ["https://b.example/"] });
    let updated = ask(&house, Method::PUT, &at, Some(&token), Some(&update)).await;
    assert_eq!(updated.body["redirect_uris"], json!(["https://b.example/"]));
    assert_eq!(
        updated.body["grant_types"],
        json!(["authorization_code"]),
        "what is left out has its default again"
    );
    assert_eq!(updated.body.get("logo_uri"), None);
    let next = text(&updated, "registration_access_token");
    assert_eq!(
        ask(&house, Method::GET, &at, Some(&token), None).await.status,
        401,
        "the old token is dead"
    );
    assert_eq!(ask(&house, Method::DELETE, &at, Some(&next), None).await.status, 204);
    assert_eq!(
        ask(&house, Method::GET, &at, Some(&next), None).await.status,
        401,
        "and so is the new one now"
    );
    let client = crate::model::id::ClientId::parse(&id).expect("valid");
    let server = crate::oauth::sample::server_id("transfers");
    let life = crate::revocation::Life {
        server: &server,
        jti: None,
        session: None,
        subject: None,
        client: Some(&client),
        kid: None,
        issued_at: Some(crate::model::time::Timestamp::from_unix_seconds(
            crate::issuer::fixture::NOW,
        )),
    };
    assert!(house.test.revocations.dead(&life).is_some(), "its tokens are dead");
}

#[tokio::test]
async fn case_144_software_statements_of_nobody_that_is_trusted_are_refused() {
    let house = house(true).await;
    for (statement, error) in [
        ("nonsense", "invalid_software_statement"),
        ("a.b", "invalid_software_statement"),
        (
            "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJodHRwczovL3guZXhhbXBsZSJ9.c2ln",
            "unapproved_software_statement",
        ),
    ] {
        let mut metadata = minimal();
        metadata["software_statement"] = json!(statement);
        let answer = register(&house, None, &metadata).await;
        assert_eq!(
            (answer.status, &answer.body["error"]),
            (400, &json!(error)),
            "{statement}"
        );
    }
}

#[tokio::test]
async fn attack_f19_the_policy_is_asked_about_the_client_as_it_would_be() {
    let house = house(true).await;
    // Not registered outright, nor updated into.
    let forbidden = [
        json!({ "grant_types": ["client_credentials"] }),
        json!({ "grant_types": ["password"], "redirect_uris": ["https://a.example/"] }),
        json!({ "grant_types": ["authorization_code", "client_credentials"], "redirect_uris": ["https://a.example/"] }),
        json!({ "token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "a.example", "redirect_uris": ["https://a.example/"] }),
        json!({ "token_endpoint_auth_method": "client_secret_jwt", "redirect_uris": ["https://a.example/"] }),
    ];
    let made = register(&house, None, &minimal()).await;
    let (id, token) = (text(&made, "client_id"), text(&made, "registration_access_token"));
    let at = format!("{CLIENTS}/{id}");
    for metadata in &forbidden {
        let refused = register(&house, None, metadata).await;
        assert_eq!(
            (refused.status, &refused.body["error"]),
            (400, &json!("invalid_client_metadata")),
            "{metadata}"
        );
        let mut update = metadata.clone();
        update["client_id"] = json!(id);
        assert_eq!(
            ask(&house, Method::PUT, &at, Some(&token), Some(&update)).await.status,
            400,
            "{metadata}"
        );
    }
    // Members that only an administrator may say are not taken from anybody else.
    let mut pushy = minimal();
    for (name, value) in [
        ("audiences", json!(["*"])),
        ("consent_method", json!("TRUSTED")),
        ("client_id", json!("root")),
        ("status", json!("ACTIVE")),
    ] {
        pushy[name] = value;
    }
    let answer = register(&house, None, &pushy).await;
    assert_eq!(
        (&answer.body["consent_method"], answer.body.get("audiences")),
        (&json!("REQUIRED"), None)
    );
    assert_ne!(answer.body["client_id"], "root");
    // An administrator's word is the last: who is deactivated cannot come back by itself.
    house.act(&format!("/api/v1/apps/{id}/lifecycle/deactivate")).await.ok();
    let update = json!({ "client_id": id, "redirect_uris": ["https://a.example/"] });
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        assert_eq!(ask(&house, method, &at, Some(&token), Some(&update)).await.status, 401);
    }
    assert_eq!(
        house.get(&format!("/api/v1/apps/{id}")).await.ok()["status"],
        "INACTIVE"
    );
    // Nor does it administer anything.
    assert_eq!(ask(&house, Method::GET, CLIENTS, Some(&token), None).await.status, 401);
}

#[tokio::test]
async fn registrations_end_at_the_quota_and_unused_ones_are_forgotten() {
    let house = House::open().await;
    let policy = RegistrationPolicy {
        open: true,
        clients_max: 3,
        unused_for: Duration::from_secs(1000),
        ..RegistrationPolicy::default()
    };
    house.test.issuer.allow_registration(Some(policy));
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(text(&register(&house, None, &minimal()).await, "client_id"));
    }
    let full = register(&house, None, &minimal()).await;
    assert_eq!(full.status, 429, "{}", full.body);
    let administration = Administration::new(house.test.issuer.clone());
    house.test.clock.advance(Duration::from_secs(999));
    assert_eq!(administration.tend_registrations().await.expect("looked through"), 0);
    // One is used, one has a grant, one has neither.
    let client = crate::model::id::ClientId::parse(&ids[0]).expect("valid");
    house.test.issuer.note_use_for_test(&client);
    super::people::grant(&house, "g", &ids[1], "00uSomebody").await;
    house.test.clock.advance(Duration::from_secs(2));
    assert_eq!(administration.tend_registrations().await.expect("looked through"), 1);
    for (id, status) in [(&ids[0], 200), (&ids[1], 200), (&ids[2], 404)] {
        assert_eq!(house.get(&format!("/api/v1/apps/{id}")).await.status, status);
    }
    assert_eq!(
        register(&house, None, &minimal()).await.status,
        201,
        "there is room again"
    );
}

#[tokio::test]
async fn an_administrator_registers_what_the_policy_does_not_let_others() {
    let house = House::open().await;
    let metadata = json!({ "client_name": "Batch", "grant_types": ["client_credentials"] });
    let made = ask(&house, Method::POST, CLIENTS, Some(&house.token), Some(&metadata)).await;
    assert_eq!((made.status, &made.body["application_type"]), (201, &json!("service")));
    let id = text(&made, "client_id");
    let listed = ask(&house, Method::GET, CLIENTS, Some(&house.token), None).await;
    assert!(
        listed
            .body
            .as_array()
            .expect("a list")
            .iter()
            .any(|client| client["client_id"] == id.as_str())
    );
    let reader = house.token_of("root", "okta.clients.read").await;
    let refused = ask(&house, Method::POST, CLIENTS, Some(&reader), Some(&metadata)).await;
    assert_eq!(
        (refused.status, &refused.body["error"]),
        (403, &json!("insufficient_scope"))
    );
    assert_eq!(
        ask(
            &house,
            Method::DELETE,
            &format!("{CLIENTS}/{id}"),
            Some(&house.token),
            None
        )
        .await
        .status,
        204
    );
}
