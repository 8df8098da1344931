//! Authorization servers and what is in them: made, read, ordered, changed, deleted, by those who may.

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::house::{House, SERVERS};
use crate::audit::AuditKind;
use crate::store::objects::AuditQuery;

pub(super) fn policy(name: &str) -> Value {
    json!({ "type": "OAUTH_AUTHORIZATION_POLICY", "name": name, "description": "d",
        "conditions": { "clients": { "include": ["root"] } } })
}

pub(super) fn rule(name: &str) -> Value {
    json!({ "type": "RESOURCE_ACCESS", "name": name,
        "conditions": { "people": { "groups": { "include": ["EVERYONE"] }, "users": { "include": [] } },
            "grantTypes": { "include": ["client_credentials"] }, "scopes": { "include": ["pay:read"] } },
        "actions": { "token": { "accessTokenLifetimeMinutes": 5 } } })
}

async fn names(house: &House, path: &str) -> Vec<String> {
    let list = house.get(path).await.ok();
    let names = list.as_array().expect("a list").iter().map(|item| {
        let name = item["name"].as_str().expect("a name");
        match item.get("priority") {
            Some(priority) => format!("{priority} {name}"),
            None => name.to_owned(),
        }
    });
    names.collect()
}

#[tokio::test]
async fn a_server_is_made_of_its_parts_and_mints() {
    let house = House::open().await;
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    let policy = house.post(&format!("{at}/policies"), &policy("P")).await.id();
    let rules = format!("{at}/policies/{policy}/rules");
    let mut short = rule("R");
    short["actions"]["token"] = json!({ "accessTokenLifetimeMinutes": 60, "accessTokenLifetimeSeconds": 45 });
    let made = house.post(&rules, &short).await.ok();
    let token = &made["actions"]["token"];
    assert_eq!(
        (
            &token["accessTokenLifetimeSeconds"],
            &token["accessTokenLifetimeMinutes"]
        ),
        (&json!(45), &json!(1))
    );
    let claim = json!({ "name": "tier", "claimType": "RESOURCE", "valueType": "EXPRESSION", "value": "'gold'",
        "status": "ACTIVE", "conditions": { "scopes": ["pay:read"] }, "alwaysIncludeInToken": true });
    house.post(&format!("{at}/claims"), &claim).await.ok();
    let preview = json!({ "clientId": "root", "grantType": "client_credentials", "scopes": ["pay:read"] });
    let preview = house.post(&format!("{at}/preview"), &preview).await.ok();
    assert_eq!(preview["rule"], "R", "{preview}");
    assert_eq!(preview["access_token"]["tier"], "gold");
    let refresh = json!({ "clientId": "root", "grantType": "refresh_token" });
    let (status, _, causes) = house.post(&format!("{at}/preview"), &refresh).await.error();
    assert!(status == 400 && causes.contains("beganBy"), "{status} {causes}");

    let shown = house.get(&at).await.ok();
    assert_eq!(shown["issuer"], format!("https://127.0.0.1:8443/oauth2/{id}"));
    assert_eq!(
        (&shown["status"], &shown["tokenProfile"]),
        (&json!("ACTIVE"), &json!("okta"))
    );
    assert!(shown["credentials"]["signing"]["kid"].is_string());
    let created: jiff::Timestamp = shown["created"].as_str().expect("a time").parse().expect("RFC 3339");
    assert_eq!(created.as_second(), crate::issuer::fixture::NOW);
    let mut more = json!({ "name": "Payments", "audiences": ["https://pay.example", "https://pay.example/v2"],
        "associatedServers": ["transfers"], "actorsMax": 2,
        "trustedIssuers": [{ "issuer": "https://i.example", "jwksUri": "https://i.example/keys" }] });
    let put = house.put(&at, &more).await.ok();
    assert_eq!(
        (&put["associatedServers"], &put["actorsMax"]),
        (&json!(["transfers"]), &json!(2)),
        "{put}"
    );
    assert_eq!(put["trustedIssuers"], more["trustedIssuers"]);
    more["trustedIssuers"][0]["jwks"] = json!({ "keys": [] });
    assert_eq!(house.put(&at, &more).await.error().0, 400);
}

#[tokio::test]
async fn case_157_case_155_a_lifecycle_ends_tokens_and_is_in_the_audit_chain() {
    let house = House::open().await;
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    assert_eq!(house.act(&format!("{at}/lifecycle/deactivate")).await.status, 204);
    assert!(!house.test.issuer.has_server(&id));
    assert_eq!(house.get(&at).await.ok()["status"], "INACTIVE");
    house.act(&format!("{at}/lifecycle/activate")).await.ok();
    assert!(house.test.issuer.has_server(&id));
    assert_eq!(house.delete(&at).await.status, 204);
    assert_eq!(house.get(&at).await.error().0, 404);
    let query = AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    };
    let entries = house
        .test
        .issuer
        .services()
        .store
        .store
        .audit_entries(&query)
        .await
        .expect("entries");
    let of = |kind| entries.iter().find(|entry| entry.event.kind == kind).expect("an entry");
    let deactivated = of(AuditKind::ServerDeactivated);
    assert_eq!(deactivated.event.actor.as_deref(), Some("root"));
    assert_eq!(deactivated.event.detail["before"]["status"], "ACTIVE");
    assert_eq!(deactivated.event.detail["after"]["status"], "INACTIVE");
    assert!(of(AuditKind::ServerDeleted).event.detail["after"].is_null());
    assert!(of(AuditKind::ScopeCreated).event.detail["before"].is_null());
}

#[tokio::test]
async fn priorities_are_places_in_a_list_and_never_drift() {
    let house = House::open().await;
    let id = house.server().await;
    let policies = format!("{SERVERS}/{id}/policies");
    let mut ids = Vec::new();
    for name in ["A", "B", "C", "D"] {
        ids.push(house.post(&policies, &policy(name)).await.id());
    }
    assert_eq!(names(&house, &policies).await, ["1 A", "2 B", "3 C", "4 D"]);
    let moved = |name: &str, priority: u64| {
        let mut body = policy(name);
        body["priority"] = json!(priority);
        body
    };
    // Up, down, beyond the end, and to where it is.
    for (index, name, priority, expected) in [
        (3, "D", 1, ["1 D", "2 A", "3 B", "4 C"]),
        (3, "D", 3, ["1 A", "2 B", "3 D", "4 C"]),
        (0, "A", 99, ["1 B", "2 D", "3 C", "4 A"]),
        (1, "B", 1, ["1 B", "2 D", "3 C", "4 A"]),
    ] {
        let answer = house
            .put(&format!("{policies}/{}", ids[index]), &moved(name, priority))
            .await
            .ok();
        assert_eq!(answer["priority"], json!(priority.min(4)), "{name}");
        assert_eq!(names(&house, &policies).await, expected, "{name} to {priority}");
    }
    // Without a priority it stays; a new one with a priority makes room.
    house.put(&format!("{policies}/{}", ids[3]), &policy("D2")).await.ok();
    house.post(&policies, &moved("E", 2)).await.ok();
    assert_eq!(names(&house, &policies).await, ["1 B", "2 E", "3 D2", "4 C", "5 A"]);
    house.delete(&format!("{policies}/{}", ids[1])).await;
    assert_eq!(names(&house, &policies).await, ["1 E", "2 D2", "3 C", "4 A"]);

    let rules = format!("{policies}/{}/rules", ids[0]);
    let first = house.post(&rules, &rule("One")).await.id();
    house.post(&rules, &rule("Two")).await.ok();
    let mut down = rule("One");
    down["priority"] = json!(2);
    house.put(&format!("{rules}/{first}"), &down).await.ok();
    assert_eq!(names(&house, &rules).await, ["1 Two", "2 One"]);
    house.act(&format!("{rules}/{first}/lifecycle/deactivate")).await.ok();
    assert_eq!(house.get(&format!("{rules}/{first}")).await.ok()["status"], "INACTIVE");
    assert_eq!(
        names(&house, &rules).await,
        ["1 Two", "2 One"],
        "an inactive rule keeps its place"
    );
}

#[tokio::test]
async fn two_administrators_with_one_tag_have_one_winner_and_one_412() {
    let house = House::open().await;
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    let tag = house.get(&at).await.tag();
    let named = |name: &str| json!({ "name": name, "audiences": ["https://pay.example"] });
    let (one, two) = (named("One"), named("Two"));
    let (first, second) = tokio::join!(house.put_if(&at, &tag, &one), house.put_if(&at, &tag, &two));
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let winner = if first.status == 200 { first } else { second };
    assert_eq!(house.get(&at).await.tag(), winner.tag());
    // The tag of a part does not move with its neighbours.
    let scopes = format!("{at}/scopes");
    let scope = house.get(&scopes).await.ok()[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let tag = house.get(&format!("{scopes}/{scope}")).await.tag();
    house.post(&scopes, &json!({ "name": "pay:write" })).await.ok();
    let renamed = house
        .put_if(&format!("{scopes}/{scope}"), &tag, &json!({ "name": "pay:look" }))
        .await;
    assert_eq!(renamed.status, 200);
    let again = house
        .put_if(&format!("{scopes}/{scope}"), &tag, &json!({ "name": "pay:see" }))
        .await;
    assert_eq!(again.error().0, 412);
    for method in [Method::DELETE, Method::POST] {
        let path = if method == Method::DELETE {
            at.clone()
        } else {
            format!("{at}/lifecycle/deactivate")
        };
        let refused = house
            .ask(method, &path, &house.token, &[(header::IF_MATCH, "\"other\"")], None)
            .await;
        assert_eq!(refused.error().0, 412, "{path}");
    }
}

#[tokio::test]
async fn a_dry_run_answers_as_if_and_changes_nothing() {
    let house = House::open().await;
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    let generation = async || {
        house
            .test
            .issuer
            .services()
            .store
            .store
            .objects_generation()
            .await
            .expect("a number")
    };
    let (before, was) = (house.get(&at).await.ok(), generation().await);
    let would = house
        .post(
            &format!("{SERVERS}?dryRun=true"),
            &json!({ "name": "X", "audiences": ["x"], "signingAlgorithm": "ES256" }),
        )
        .await;
    assert_eq!((would.status, would.body["name"].as_str()), (201, Some("X")));
    let would = house
        .put(
            &format!("{at}?dryRun=true"),
            &json!({ "name": "Y", "audiences": ["x"] }),
        )
        .await;
    assert_eq!((would.status, would.body["name"].as_str()), (200, Some("Y")));
    for path in [format!("{at}/scopes"), format!("{at}/policies"), format!("{at}/claims")] {
        let body = json!({ "name": "z", "claimType": "RESOURCE", "valueType": "EXPRESSION", "value": "1",
            "conditions": { "clients": { "include": ["ALL_CLIENTS"] } } });
        let would = house.post(&format!("{path}?dryRun=true"), &body).await;
        assert_eq!(would.status, 201, "{}", would.body);
    }
    assert_eq!(
        house
            .act(&format!("{at}/lifecycle/deactivate?dryRun=true"))
            .await
            .status,
        204
    );
    assert_eq!(house.delete(&format!("{at}?dryRun=true")).await.status, 204);
    let rotate = house
        .post(
            &format!("{at}/credentials/lifecycle/keyRotate?dryRun=true"),
            &json!({ "use": "sig" }),
        )
        .await;
    assert_eq!(rotate.status, 200);
    assert_eq!((house.get(&at).await.ok(), generation().await), (before, was));
    // An error is the same error.
    let refused = house
        .post(&format!("{at}/scopes?dryRun=true"), &json!({ "name": "pay:read" }))
        .await;
    assert_eq!(refused.error().0, 400);
    let odd = house.delete(&format!("{at}?dryRun=yes")).await;
    assert_eq!(odd.error().0, 400);
}

#[tokio::test]
async fn what_does_not_compile_is_400_with_each_cause() {
    let house = House::open().await;
    let id = house.server().await;
    let at = format!("{SERVERS}/{id}");
    let policy = house.post(&format!("{at}/policies"), &policy("P")).await.id();
    let mut bad = rule("R");
    bad["conditions"]["scopes"]["include"] = json!(["pay:raed"]);
    bad["conditions"]["people"]["groups"]["include"] = json!(["00gNobody"]);
    let (status, code, causes) = house.post(&format!("{at}/policies/{policy}/rules"), &bad).await.error();
    assert_eq!((status, code.as_str()), (400, "E0000001"));
    assert!(
        causes.contains("did you mean `pay:read`?") && causes.contains("`00gNobody`"),
        "{causes}"
    );
    for (path, body, expected) in [
        ("scopes", json!({ "name": "a b" }), "no scope name"),
        ("scopes", json!({ "name": "okta.x" }), "reserved"),
        ("scopes", json!({ "name": "openid" }), "reserved"),
        (
            "claims",
            json!({ "name": "sub", "claimType": "RESOURCE", "valueType": "EXPRESSION", "value": "1" }),
            "reserved",
        ),
        (
            "claims",
            json!({ "name": "x", "claimType": "RESOURCE", "valueType": "EXPRESSION", "value": "usr.x" }),
            "`user`",
        ),
        (
            "claims",
            json!({ "name": "x", "claimType": "RESOURCE", "valueType": "GROUPS", "value": "a" }),
            "group_filter_type",
        ),
        ("policies", json!({ "name": "P2" }), "conditions.clients.include"),
        (
            "policies",
            json!({ "name": "P2", "conditions": { "clients": { "include": ["0oaNone"] } } }),
            "0oaNone",
        ),
        (
            "policies",
            json!({ "name": "P", "conditions": { "clients": { "include": ["root"] } } }),
            "declared twice",
        ),
        ("", json!({ "name": "", "audiences": [] }), "audiences"),
    ] {
        let url = if path.is_empty() {
            SERVERS.to_owned()
        } else {
            format!("{at}/{path}")
        };
        let (status, _, causes) = house.post(&url, &body).await.error();
        assert!(
            status == 400 && causes.contains(expected),
            "{path} {body}: {status} {causes}"
        );
    }
    // What would narrow who gets in, and is not done here, is refused and not read over.
    let mut narrowing = rule("R");
    narrowing["conditions"]["people"]["users"]["exclude"] = json!(["00u1"]);
    let refused = house
        .post(&format!("{at}/policies/{policy}/rules"), &narrowing)
        .await
        .error();
    assert!(refused.2.contains("exclude"), "{refused:?}");
}

#[tokio::test]
async fn keys_are_shown_rotated_and_revoked() {
    let house = House::open().await;
    let id = house.server().await;
    let keys = format!("{SERVERS}/{id}/credentials/keys");
    let rotate = format!("{SERVERS}/{id}/credentials/lifecycle/keyRotate");
    let states = |list: &Value| -> Vec<(String, String)> {
        let text = |key: &Value, name: &str| key[name].as_str().expect("text").to_owned();
        let keys = list.as_array().expect("a list").iter();
        keys.map(|key| (text(key, "kid"), text(key, "status"))).collect()
    };
    let before = states(&house.get(&keys).await.ok());
    assert_eq!(
        before.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>(),
        ["ACTIVE", "NEXT"]
    );
    for body in [json!({}), json!({ "use": "enc" }), json!({ "use": 1 })] {
        assert_eq!(house.post(&rotate, &body).await.error().0, 400);
    }
    let after = states(&house.post(&rotate, &json!({ "use": "sig" })).await.ok());
    assert_eq!(
        after[0],
        (before[1].0.clone(), "ACTIVE".to_owned()),
        "NEXT has taken over"
    );
    assert!(after.contains(&(before[0].0.clone(), "EXPIRED".to_owned())));
    let revoked = house.act(&format!("{keys}/{}/lifecycle/revoke", after[0].0)).await.ok();
    assert!(states(&revoked).iter().all(|(kid, _)| *kid != after[0].0));
    assert_eq!(house.get(&format!("{keys}/{}", after[0].0)).await.error().0, 404);
}

#[tokio::test]
async fn what_the_file_declares_is_shown_and_read_only() {
    let house = House::open().await;
    let shown = house.get(&format!("{SERVERS}/transfers")).await.ok();
    assert_eq!(
        (&shown["readOnly"], &shown["declaredIn"]),
        (&json!(true), &json!("file"))
    );
    let listed = names(&house, SERVERS).await;
    assert!(listed.contains(&"transfers".to_owned()), "{listed:?}");
    let policies = house.get(&format!("{SERVERS}/transfers/policies")).await.ok();
    let policy = policies[0]["id"].as_str().expect("an id");
    let rules = house
        .get(&format!("{SERVERS}/transfers/policies/{policy}/rules"))
        .await
        .ok();
    assert_eq!(rules[0]["readOnly"], true);
    let rule = rules[0]["id"].as_str().expect("an id");
    for (method, path) in [
        (Method::DELETE, format!("{SERVERS}/transfers")),
        (Method::POST, format!("{SERVERS}/transfers/lifecycle/deactivate")),
        (Method::DELETE, format!("{SERVERS}/transfers/policies/{policy}")),
        (
            Method::DELETE,
            format!("{SERVERS}/transfers/policies/{policy}/rules/{rule}"),
        ),
    ] {
        let (status, _, causes) = house.ask(method, &path, &house.token, &[], None).await.error();
        assert!(status == 403 && causes.contains("in the file"), "{path}: {causes}");
    }
    let body = json!({ "name": "a", "audiences": ["x"] });
    assert_eq!(house.put(&format!("{SERVERS}/transfers"), &body).await.error().0, 403);
    // Keys are no part of the file.
    let rotate = format!("{SERVERS}/transfers/credentials/lifecycle/keyRotate");
    house.post(&rotate, &json!({ "use": "sig" })).await.ok();
}

#[tokio::test]
async fn lists_go_on_where_the_last_page_ended() {
    let house = House::open().await;
    let id = house.server().await;
    let policies = format!("{SERVERS}/{id}/policies");
    for name in ["A", "B", "C"] {
        house.post(&policies, &policy(name)).await.ok();
    }
    let mut url = format!("{policies}?limit=2");
    let mut seen = Vec::new();
    loop {
        let page = house.get(&url).await;
        seen.extend(
            page.body
                .as_array()
                .expect("a list")
                .iter()
                .map(|policy| policy["name"].clone()),
        );
        let links = page
            .headers
            .get_all(header::LINK)
            .iter()
            .filter_map(|link| link.to_str().ok());
        let Some(next) = links
            .filter(|link| link.ends_with("rel=\"next\""))
            .map(ToOwned::to_owned)
            .next()
        else {
            break;
        };
        let next = next
            .trim_start_matches('<')
            .split('>')
            .next()
            .expect("a URL")
            .to_owned();
        url = next.trim_start_matches("https://127.0.0.1:8443").to_owned();
    }
    assert_eq!(seen, ["A", "B", "C"]);
}
