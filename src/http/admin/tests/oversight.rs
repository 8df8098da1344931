//! What administrators do is logged, and what each of them may not do is refused.

use std::time::Duration;

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::house::House;
use super::people::{APPS, GROUPS, USERS, alice, app, web_app};
use crate::issuer::fixture::NOW;

#[tokio::test]
async fn the_log_is_read_by_type_and_time_and_page() {
    let house = House::open().await;
    for name in ["a", "b", "c"] {
        house.post(GROUPS, &json!({ "profile": { "name": name } })).await.ok();
        house.test.clock.advance(Duration::from_secs(60));
    }
    let names = |list: &Value| -> Vec<String> {
        let events = list.as_array().expect("a list").iter();
        events
            .map(|event| {
                event["target"][0]["changeDetails"]["to"]["name"]
                    .as_str()
                    .expect("a name")
                    .to_owned()
            })
            .collect()
    };
    let filter = "filter=eventType%20eq%20%22group.lifecycle.create%22";
    let all = house.get(&format!("/api/v1/logs?{filter}")).await.ok();
    assert_eq!(names(&all), ["a", "b", "c"]);
    assert_eq!(all[0]["actor"]["id"], "root");
    let newest = house
        .get(&format!("/api/v1/logs?{filter}&sortOrder=DESCENDING&limit=2"))
        .await;
    assert_eq!(names(&newest.body), ["c", "b"]);
    let next = newest.headers.get_all(header::LINK).iter().find_map(|link| {
        let link = link.to_str().expect("text");
        Some(link.strip_suffix("; rel=\"next\"")?.trim_matches(['<', '>']).to_owned())
    });
    let next = next.expect("there is more");
    let path = next.split_once("8443").expect("the base").1;
    assert_eq!(names(&house.get(path).await.ok()), ["a"]);
    let second = jiff::Timestamp::from_second(NOW + 60).expect("a time");
    let third = jiff::Timestamp::from_second(NOW + 120).expect("a time");
    let between = house
        .get(&format!("/api/v1/logs?{filter}&since={second}&until={third}"))
        .await
        .ok();
    assert_eq!(names(&between), ["b"]);
    for wrong in [
        "filter=actor.id%20eq%20%22root%22",
        "since=yesterday",
        "q=x",
        "sortOrder=UP",
        "after=MTp4",
    ] {
        assert_eq!(house.get(&format!("/api/v1/logs?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn case_155_an_api_administrator_manages_apps_and_nobody_and_no_other_administrator() {
    let house = House::open().await;
    house
        .administrator("api", "API_ACCESS_MANAGEMENT_ADMIN", &Value::Null)
        .await;
    house.administrator("reader", "READ_ONLY_ADMIN", &Value::Null).await;
    let token = house.token_of("api", super::house::ALL).await;
    let ask = |method: Method, path: &'static str, body: Value| {
        let (house, token) = (&house, token.clone());
        async move { house.ask(method, path, &token, &[], Some(&body)).await.status }
    };
    assert_eq!(ask(Method::POST, APPS, web_app("Batch")).await, 200);
    for (method, path, body) in [
        (Method::POST, USERS, alice()),
        (Method::DELETE, "/api/v1/users/ada@bank.example", Value::Null),
        (Method::POST, GROUPS, json!({ "profile": { "name": "g" } })),
        (Method::POST, "/api/v1/meta/schemas/user/default", json!({})),
        (
            Method::POST,
            "/oauth2/v1/clients/api/roles",
            json!({ "type": "SUPER_ADMIN" }),
        ),
        // SECURITY: who has the credentials of an administrator is that administrator.
        (Method::POST, "/api/v1/apps/root/credentials/secrets", json!({})),
        (
            Method::POST,
            "/api/v1/apps/root/credentials/jwks",
            json!({ "kty": "EC" }),
        ),
        (Method::POST, "/oauth2/v1/clients/root/lifecycle/newSecret", json!({})),
        (Method::PUT, "/api/v1/apps/root", web_app("root")),
        (Method::POST, "/api/v1/apps/root/lifecycle/deactivate", json!({})),
        (Method::DELETE, "/oauth2/v1/clients/root", Value::Null),
    ] {
        assert_eq!(ask(method.clone(), path, body).await, 403, "{method} {path}");
    }
    let token = house.token_of("reader", super::house::ALL).await;
    for (method, path) in [(Method::POST, APPS), (Method::DELETE, "/oauth2/v1/clients/mobile")] {
        let refused = house.ask(method, path, &token, &[], Some(&web_app("x"))).await;
        assert_eq!(refused.status, 403, "{path}");
    }
    assert_eq!(house.ask(Method::GET, USERS, &token, &[], None).await.status, 200);
}

#[tokio::test]
async fn roles_are_given_and_taken_and_the_last_super_administrator_stays() {
    let house = House::open().await;
    let (id, _) = app(&house, "Team").await;
    let roles = format!("/oauth2/v1/clients/{id}/roles");
    let bound = house
        .post(
            &roles,
            &json!({ "type": "API_ACCESS_MANAGEMENT_ADMIN", "servers": ["transfers"] }),
        )
        .await;
    assert_eq!(bound.status, 201);
    let bound = bound.id();
    assert_eq!(house.get(&roles).await.ok()[0]["servers"], json!(["transfers"]));
    assert_eq!(house.post(&roles, &json!({ "type": "KING" })).await.status, 400);
    assert_eq!(
        house
            .post(&roles, &json!({ "type": "SUPER_ADMIN", "servers": ["nowhere"] }))
            .await
            .status,
        404
    );
    assert_eq!(house.delete(&format!("{roles}/{bound}")).await.status, 204);
    let last = house.delete("/oauth2/v1/clients/root/roles/irb-root").await;
    assert_eq!(last.error().1, "E0000056");
    house.post(&roles, &json!({ "type": "SUPER_ADMIN" })).await.ok();
    assert_eq!(house.delete("/oauth2/v1/clients/root/roles/irb-root").await.status, 204);
    assert_eq!(
        house.get(APPS).await.status,
        403,
        "a role that is gone is gone for tokens that are there"
    );
}
