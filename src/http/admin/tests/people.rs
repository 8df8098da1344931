//! Apps, users, groups and what they hold, as administrators see them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::house::{House, SERVERS};
use crate::issuer::fixture::NOW;
use crate::model::id::{AuthorizationServerId, ClientId, GrantId, Subject, UserId};
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::refresh::GrantRecord;
use crate::revocation::Life;
use crate::store::objects::AuditQuery;

pub(super) const APPS: &str = "/api/v1/apps";
pub(super) const USERS: &str = "/api/v1/users";
pub(super) const GROUPS: &str = "/api/v1/groups";

pub(super) fn web_app(label: &str) -> Value {
    json!({
        "label": label, "name": "oidc_client", "signOnMode": "OPENID_CONNECT",
        "credentials": { "oauthClient": { "token_endpoint_auth_method": "client_secret_basic" } },
        "settings": { "oauthClient": {
            "application_type": "web",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "redirect_uris": ["https://app.example/cb"],
        } },
    })
}

pub(super) fn alice() -> Value {
    json!({ "profile": { "login": "Alice@bank.example", "email": "alice@bank.example", "firstName": "Alice" },
        "credentials": { "password": { "value": "correct horse battery" } } })
}

/// An app with its secret.
pub(super) async fn app(house: &House, label: &str) -> (String, String) {
    let made = house.post(APPS, &web_app(label)).await.ok();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (
        text(&made["id"]),
        text(&made["credentials"]["oauthClient"]["client_secret"]),
    )
}

async fn user(house: &House) -> String {
    house.post(USERS, &alice()).await.id()
}

/// A server whose policy is for every client; its issuer's token endpoint.
async fn server(house: &House) -> String {
    let id = house.server().await;
    let policies = format!("{SERVERS}/{id}/policies");
    let policy = json!({ "type": "OAUTH_AUTHORIZATION_POLICY", "name": "P", "description": "d",
        "conditions": { "clients": { "include": ["ALL_CLIENTS"] } } });
    let policy = house.post(&policies, &policy).await.id();
    let rule = json!({ "type": "RESOURCE_ACCESS", "name": "R",
        "conditions": { "people": { "groups": { "include": ["EVERYONE"] } },
            "grantTypes": { "include": ["client_credentials"] }, "scopes": { "include": ["*"] } },
        "actions": { "token": { "accessTokenLifetimeMinutes": 5 } } });
    house.post(&format!("{policies}/{policy}/rules"), &rule).await.ok();
    id
}

/// The status of a token request by client credentials.
pub(super) async fn mint(house: &House, server: &str, client: &str, secret: &str) -> u16 {
    let body = "grant_type=client_credentials&scope=pay:read";
    let basic = STANDARD.encode(format!("{client}:{secret}"));
    let request = Request::post(format!("/oauth2/{server}/v1/token"))
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .expect("a request");
    let router = crate::http::router(Arc::clone(&house.test.issuer));
    let response = router.oneshot(request).await.expect("it answers");
    let status = response.status().as_u16();
    let _ = response.into_body().collect().await;
    status
}

/// Whether the gate would refuse a token of this client, subject or grant that was issued now.
fn is_dead(house: &House, client: Option<&str>, subject: Option<&str>, session: Option<&str>) -> bool {
    let server = AuthorizationServerId::parse("transfers").expect("valid");
    let client = client.map(|client| ClientId::parse(client).expect("valid"));
    let subject = subject.map(|subject| Subject::parse(subject).expect("valid"));
    let life = Life {
        server: &server,
        jti: None,
        session,
        subject: subject.as_ref(),
        client: client.as_ref(),
        kid: None,
        issued_at: Some(Timestamp::from_unix_seconds(NOW)),
    };
    house.test.revocations.dead(&life).is_some()
}

/// A grant of this user at this client, as a sign-in would leave it.
pub(super) async fn grant(house: &House, id: &str, client: &str, user: &str) {
    let at = Timestamp::from_unix_seconds(NOW);
    let record = GrantRecord {
        id: GrantId::parse(id).expect("valid"),
        server: AuthorizationServerId::parse("transfers").expect("valid"),
        client: ClientId::parse(client).expect("valid"),
        user: Some(UserId::parse(user).expect("valid")),
        subject: Subject::parse("alice@bank.example").expect("valid"),
        scopes: ScopeSet::parse("transfers:read").expect("valid"),
        resources: Vec::new(),
        auth_time: at,
        amr: Vec::new(),
        acr: None,
        binding: None,
        created_at: at,
        expires_at: at.plus(Duration::from_secs(3600)),
        generation: 0,
        rotated_at: at,
        idle_expires_at: at.plus(Duration::from_secs(3600)),
        revoked_at: None,
    };
    let store = &house.test.issuer.services().store.store;
    store.insert_grant(&record).await.expect("kept");
}

async fn is_live(house: &House, id: &str) -> bool {
    let store = &house.test.issuer.services().store.store;
    let id = GrantId::parse(id).expect("valid");
    let grant = store.grant(&id).await.expect("read").expect("known");
    let live = grant.revoked_at.is_none();
    assert_eq!(
        live,
        !is_dead(house, None, None, Some(id.as_str())),
        "grant and access tokens end together"
    );
    live
}

#[tokio::test]
async fn an_app_is_made_read_changed_and_deleted_when_inactive() {
    let house = House::open().await;
    let (id, secret) = app(&house, "Batch").await;
    let at = format!("{APPS}/{id}");
    let read = house.get(&at).await;
    let tag = read.tag();
    let read = read.ok();
    assert_eq!((&read["label"], &read["status"]), (&json!("Batch"), &json!("ACTIVE")));
    assert!(!read.to_string().contains(&secret), "a secret is shown once");

    // What was read is sent back, with a change: members that only describe do not matter.
    let mut changed = read.clone();
    changed["label"] = json!("Nightly");
    let put = house.put_if(&at, &tag, &changed).await;
    assert_eq!(put.tag(), house.get(&at).await.tag());
    assert_eq!(house.put_if(&at, &tag, &changed).await.status, 412);
    let mut renamed = changed.clone();
    renamed["credentials"]["oauthClient"]["client_id"] = json!("another-one");
    assert_eq!(house.put(&at, &renamed).await.error().1, "E0000001");

    assert_eq!(house.delete(&at).await.error().1, "E0000056");
    assert!(!is_dead(&house, Some(&id), None, None));
    house.act(&format!("{at}/lifecycle/deactivate")).await.ok();
    assert!(is_dead(&house, Some(&id), None, None), "what it was given is dead");
    house.test.clock.advance(Duration::from_secs(1));
    house.act(&format!("{at}/lifecycle/activate")).await.ok();
    assert!(
        is_dead(&house, Some(&id), None, None),
        "and stays dead when it comes back"
    );
    house.act(&format!("{at}/lifecycle/deactivate")).await.ok();
    assert_eq!(house.delete(&at).await.status, 204);
    assert_eq!(house.get(&at).await.error().1, "E0000007");
}

#[tokio::test]
async fn a_dry_run_of_a_change_checks_everything_and_changes_nothing() {
    let house = House::open().await;
    let before = house.get(APPS).await.ok();
    let entries = || async {
        let store = &house.test.issuer.services().store.store;
        let query = AuditQuery {
            limit: 1000,
            ..AuditQuery::default()
        };
        store.audit_entries(&query).await.expect("read").len()
    };
    let recorded = entries().await;
    house.post(&format!("{APPS}?dryRun=true"), &web_app("Batch")).await.ok();
    house.post(&format!("{USERS}?dryRun=true"), &alice()).await.ok();
    house
        .post(
            &format!("{GROUPS}?dryRun=true"),
            &json!({ "profile": { "name": "auditors" } }),
        )
        .await
        .ok();
    assert_eq!(house.get(APPS).await.ok(), before);
    assert_eq!(house.get(&format!("{USERS}/alice@bank.example")).await.status, 404);
    let mut bad = web_app("Batch");
    bad["settings"]["oauthClient"]["redirect_uris"] = json!(["javascript:alert(1)"]);
    assert_eq!(house.post(&format!("{APPS}?dryRun=true"), &bad).await.status, 400);
    assert_eq!(entries().await, recorded);
}

#[tokio::test]
async fn what_the_file_declares_is_seen_and_read_only() {
    let house = House::open().await;
    for (path, list) in [
        ("/api/v1/apps/mobile", APPS),
        ("/api/v1/groups/customers", GROUPS),
        ("/api/v1/users/ada@bank.example", USERS),
    ] {
        let read = house.get(path).await.ok();
        assert_eq!(read["readOnly"], true, "{path}");
        let listed = house.get(list).await.ok();
        assert!(listed.as_array().expect("a list").contains(&read), "{list}");
        for (method, body) in [(Method::PUT, Some(&read)), (Method::DELETE, None)] {
            let mut body = body.cloned();
            if let (Some(body), true) = (&mut body, path.contains("/apps/")) {
                body["credentials"]["oauthClient"]["token_endpoint_auth_method"] = json!("none");
            }
            let refused = house.ask(method, path, &house.token, &[], body.as_ref()).await;
            assert_eq!(refused.error().1, "SG0000004", "{path}");
        }
    }
    let members = house.get("/api/v1/groups/customers/users").await.ok();
    assert_eq!(members[0]["id"], "ada@bank.example");
    let put = house.ask(
        Method::PUT,
        "/api/v1/groups/customers/users/ada@bank.example",
        &house.token,
        &[],
        None,
    );
    assert_eq!(put.await.error().1, "SG0000004");
}

#[tokio::test]
async fn case_074_two_secrets_overlap_and_the_last_one_stays() {
    let house = House::open().await;
    let server = server(&house).await;
    let (id, first) = app(&house, "Batch").await;
    let secrets = format!("{APPS}/{id}/credentials/secrets");
    let made = house.post(&secrets, &json!({})).await.ok();
    let second = made["client_secret"].as_str().expect("shown once").to_owned();
    for secret in [&first, &second] {
        assert_eq!(mint(&house, &server, &id, secret).await, 200);
    }
    assert_eq!(house.post(&secrets, &json!({})).await.status, 400, "two at most");
    let listed = house.get(&secrets).await.ok();
    for secret in [&first, &second] {
        assert!(!listed.to_string().contains(secret.as_str()));
    }
    let old = listed[0]["id"].as_str().expect("an id").to_owned();
    let new = listed[1]["id"].as_str().expect("an id").to_owned();
    assert_eq!(house.delete(&format!("{secrets}/{old}")).await.error().1, "E0000056");
    house.act(&format!("{secrets}/{old}/lifecycle/deactivate")).await.ok();
    assert_eq!(mint(&house, &server, &id, &first).await, 401);
    assert_eq!(mint(&house, &server, &id, &second).await, 200);
    assert_eq!(house.delete(&format!("{secrets}/{old}")).await.status, 204);
    let last = house.act(&format!("{secrets}/{new}/lifecycle/deactivate")).await;
    assert_eq!(last.error().1, "E0000056");
    // Somebody else's secret is none of this app's (attack F44).
    let (other, _) = app(&house, "Other").await;
    let foreign = house
        .act(&format!(
            "{APPS}/{other}/credentials/secrets/{new}/lifecycle/deactivate"
        ))
        .await;
    assert_eq!(foreign.status, 404);
}

#[tokio::test]
async fn attack_e18_no_secret_and_no_password_is_in_the_audit_log_or_in_an_answer() {
    let house = House::open().await;
    let (id, secret) = app(&house, "Batch").await;
    let user = user(&house).await;
    let renewed = house
        .act(&format!("/oauth2/v1/clients/{id}/lifecycle/newSecret"))
        .await
        .ok();
    let renewed = renewed["client_secret"].as_str().expect("shown once").to_owned();
    let store = &house.test.issuer.services().store.store;
    let query = AuditQuery {
        limit: 1000,
        ..AuditQuery::default()
    };
    let entries = format!("{:?}", store.audit_entries(&query).await.expect("read"));
    let logs = house.get("/api/v1/logs").await.ok().to_string();
    let shown = house.get(&format!("{USERS}/{user}")).await.ok().to_string();
    for text in [&secret, &renewed, "correct horse battery", "argon2"] {
        for place in [&entries, &logs, &shown] {
            assert!(!place.contains(text), "{text}");
        }
    }
    assert!(logs.contains("user.lifecycle.create") && logs.contains("app.oauth2.credentials.lifecycle.create"));
}

#[tokio::test]
async fn a_user_moves_through_its_states_and_loses_everything_when_kept_out() {
    let house = House::open().await;
    let user = user(&house).await;
    let (client, _) = app(&house, "Batch").await;
    let at = format!("{USERS}/{user}");
    let moved = |operation: &'static str| {
        let path = format!("{at}/lifecycle/{operation}");
        let house = &house;
        async move { house.act(&path).await.status }
    };
    for (operation, status) in [
        ("activate", 403),
        ("unsuspend", 403),
        ("suspend", 200),
        ("suspend", 403),
        ("unsuspend", 200),
        ("deactivate", 200),
        ("deactivate", 403),
        ("suspend", 403),
        ("activate", 200),
        ("nonsense", 404),
    ] {
        assert_eq!(moved(operation).await, status, "{operation}");
    }
    for operation in ["suspend", "deactivate"] {
        house.test.clock.advance(Duration::from_secs(10));
        let id = format!("g-{operation}");
        grant(&house, &id, &client, &user).await;
        assert!(is_live(&house, &id).await);
        assert_eq!(moved(operation).await, 200);
        assert!(!is_live(&house, &id).await, "{operation}");
        assert!(is_dead(&house, None, Some("alice@bank.example"), None), "{operation}");
        let back = if operation == "suspend" {
            "unsuspend"
        } else {
            "activate"
        };
        assert_eq!(moved(back).await, 200);
        assert!(!is_live(&house, &id).await, "what is dead stays dead");
    }
    assert_eq!(house.delete(&at).await.status, 204);
    assert_eq!(
        house.get(&at).await.ok()["status"],
        "DEPROVISIONED",
        "the first deletion deactivates"
    );
    assert_eq!(house.delete(&at).await.status, 204);
    assert_eq!(house.get(&at).await.status, 404);
}

#[tokio::test]
async fn a_login_belongs_to_one_user_and_a_profile_to_the_schema() {
    let house = House::open().await;
    let id = user(&house).await;
    for login in [
        "alice@bank.example",
        "ALICE@bank.example",
        "ada@bank.example",
        "ADA@BANK.EXAMPLE",
    ] {
        let taken = house
            .post(USERS, &json!({ "profile": { "login": login, "email": "x@y.example" } }))
            .await;
        assert_eq!(taken.error().1, "E0000001", "{login}");
    }
    let at = format!("{USERS}/{id}");
    let update = |profile: Value| json!({ "profile": profile });
    assert_eq!(house.post(&at, &update(json!({ "shoe": 44 }))).await.status, 400);
    let schema = json!({ "definitions": { "custom": { "properties": { "shoe": { "type": "integer" } } } } });
    house.post("/api/v1/meta/schemas/user/default", &schema).await.ok();
    let changed = house
        .post(&at, &update(json!({ "shoe": 44, "firstName": null })))
        .await
        .ok();
    assert_eq!(
        (&changed["profile"]["shoe"], changed["profile"].get("firstName")),
        (&json!(44), None)
    );
    assert_eq!(
        changed["profile"]["email"], "alice@bank.example",
        "what is not sent stays"
    );
    // PUT is the whole profile; a password alone ends what began with the old one.
    let whole = house
        .put(
            &at,
            &update(json!({ "login": "alice@bank.example", "email": "a@b.example" })),
        )
        .await
        .ok();
    assert_eq!(whole["profile"].get("shoe"), None);
    assert!(!is_dead(&house, None, Some("alice@bank.example"), None));
    house
        .post(
            &at,
            &json!({ "credentials": { "password": { "value": "another long password" } } }),
        )
        .await
        .ok();
    assert!(is_dead(&house, None, Some("alice@bank.example"), None));
    let nothing = update(json!({}));
    let condition = [(header::IF_MATCH, "\"x\"")];
    let stale = house
        .ask(Method::POST, &at, &house.token, &condition, Some(&nothing))
        .await;
    assert_eq!(stale.status, 412);
}

#[tokio::test]
async fn attack_f13_who_may_not_use_an_app_any_more_loses_its_grants_there_and_no_other() {
    let house = House::open().await;
    let alice = user(&house).await;
    let (one, _) = app(&house, "One").await;
    let (other, _) = app(&house, "Other").await;
    let group = house
        .post(GROUPS, &json!({ "profile": { "name": "auditors" } }))
        .await
        .id();
    let member = format!("{GROUPS}/{group}/users/{alice}");
    let put = |path: String| {
        let house = &house;
        async move { house.ask(Method::PUT, &path, &house.token, &[], None).await.status }
    };
    assert_eq!(put(member.clone()).await, 204);
    for client in [&one, &other] {
        house
            .post(&format!("{APPS}/{client}/users"), &json!({ "id": alice }))
            .await
            .ok();
        assert_eq!(put(format!("{APPS}/{client}/groups/{group}")).await, 200);
    }
    grant(&house, "g-one", &one, &alice).await;
    grant(&house, "g-other", &other, &alice).await;
    // Still assigned by the group.
    assert_eq!(house.delete(&format!("{APPS}/{one}/users/{alice}")).await.status, 204);
    assert!(is_live(&house, "g-one").await);
    // Not any more.
    assert_eq!(house.delete(&member).await.status, 204);
    assert!(!is_live(&house, "g-one").await);
    assert!(is_live(&house, "g-other").await, "assigned by itself");
    assert_eq!(house.delete(&format!("{APPS}/{other}/users/{alice}")).await.status, 204);
    assert!(!is_live(&house, "g-other").await);
    assert_eq!(house.delete(&format!("{GROUPS}/{group}")).await.status, 204);
    assert_eq!(house.get(&format!("{APPS}/{one}/groups")).await.ok(), json!([]));
}

#[tokio::test]
async fn attack_f44_grants_are_seen_and_ended_by_their_holder_alone() {
    let house = House::open().await;
    let alice = user(&house).await;
    let (one, _) = app(&house, "One").await;
    let (other, _) = app(&house, "Other").await;
    grant(&house, "g1", &one, &alice).await;
    grant(&house, "g2", &other, &alice).await;
    let at = |client: &str| format!("{USERS}/{alice}/clients/{client}/tokens");
    assert_eq!(house.get(&at(&one)).await.ok()[0]["id"], "g1");
    assert_eq!(house.get(&format!("{}/g2", at(&one))).await.status, 404);
    assert_eq!(house.delete(&format!("{}/g2", at(&one))).await.status, 404);
    assert_eq!(
        house
            .delete(&format!("{USERS}/ada@bank.example/clients/{one}/tokens/g1"))
            .await
            .status,
        404
    );
    assert!(is_live(&house, "g1").await && is_live(&house, "g2").await);
    assert_eq!(house.delete(&format!("{}/g1", at(&one))).await.status, 204);
    assert!(!is_live(&house, "g1").await && is_live(&house, "g2").await);
    assert_eq!(house.delete(&format!("{APPS}/{other}/tokens")).await.status, 204);
    assert!(!is_live(&house, "g2").await);
    assert_eq!(house.get(&format!("{USERS}/{alice}/grants")).await.ok(), json!([]));
}
