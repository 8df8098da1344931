//! Authorization servers and what is in them: made, read, ordered, changed, deleted, by those who may.

use std::time::Duration;

use axum::http::{Method, header};
use serde_json::{Value, json};

use super::house::{ALL, House, SERVERS};
use crate::audit::AuditKind;
use crate::store::objects::AuditQuery;

fn policy(name: &str) -> Value {
    json!({ "type": "OAUTH_AUTHORIZATION_POLICY", "name": name, "description": "d",
        "conditions": { "clients": { "include": ["root"] } } })
}

fn rule(name: &str) -> Value {
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

    let shown = house.get(&at).await.ok();
    assert_eq!(shown["issuer"], format!("https://127.0.0.1:8443/oauth2/{id}"));
    assert_eq!(
        (&shown["status"], &shown["tokenProfile"]),
        (&json!("ACTIVE"), &json!("okta"))
    );
    assert!(shown["credentials"]["signing"]["kid"].is_string());
    assert!(shown["created"].as_str().expect("a time").ends_with(".000Z"), "{shown}");
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
