//! What a change makes of the directory, of tokens, and of other nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::Clock as _;
use crate::issuer::change::{Change, ChangeError};
use crate::issuer::fixture::{TestIssuer, quick_bank, settings};
use crate::issuer::{FormRequest, Issuer, StartError};
use crate::model::digest::Digest;
use crate::model::time::Timestamp;
use crate::oauth::declared::ClientKind;
use crate::oauth::sample::{client, server_id};
use crate::revocation::CLOCKS_APART_MAX;
use crate::store::memory::MemoryStore;
use crate::store::objects::{ObjectChange, ObjectKind, StoredObject};
use crate::store::seal::SealingKey;

fn object(kind: ObjectKind, id: &str, body: Value) -> ObjectChange {
    let at = Timestamp::from_unix_seconds(1);
    ObjectChange::Insert(StoredObject {
        kind,
        id: id.to_owned(),
        revision: 1,
        body,
        created_at: at,
        updated_at: at,
    })
}

#[expect(clippy::needless_pass_by_value, reason = "called with what `json!` makes")]
fn pay(clients: Value, groups: Value) -> Value {
    json!({
        "name": "Payments", "audiences": ["https://pay.example"], "signing": { "algorithm": "ES256" },
        "scopes": [{ "id": "scp1", "name": "pay:read", "created_at": 1, "updated_at": 1 }],
        "policies": [{
            "id": "00p1", "name": "P", "clients": clients, "created_at": 1, "updated_at": 1,
            "rules": [{ "id": "0pr1", "name": "R", "grants": ["client_credentials"], "groups": groups,
                "scopes": ["pay:read"], "access_token_seconds": 60, "created_at": 1, "updated_at": 1 }],
        }],
    })
}

fn service() -> Value {
    json!({
        "name": "Batch", "kind": "service", "grants": ["client_credentials"],
        "secrets": [{ "id": "ocs1", "sha256": Digest::of(b"secret").to_base64url(), "created_at": 1, "updated_at": 1 }],
    })
}

fn change(changes: Vec<ObjectChange>) -> Change {
    Change {
        changes,
        ..Change::default()
    }
}

fn replace(kind: ObjectKind, id: &str, from: i64, body: Value) -> ObjectChange {
    ObjectChange::Replace {
        kind,
        id: id.to_owned(),
        from,
        body,
        at: Timestamp::from_unix_seconds(2),
    }
}

fn remove(kind: ObjectKind, id: &str, from: i64) -> ObjectChange {
    ObjectChange::Remove {
        kind,
        id: id.to_owned(),
        from,
    }
}

/// A server `aus1` that lets the client `0oa1` in.
fn first() -> Change {
    change(vec![
        object(ObjectKind::Client, "0oa1", service()),
        object(ObjectKind::AuthorizationServer, "aus1", pay(json!(["0oa1"]), json!([]))),
    ])
}

async fn with_first() -> TestIssuer {
    let test = TestIssuer::start().await;
    test.issuer.change(first(), false).await.expect("changed");
    test
}

async fn mint(issuer: &Issuer) -> Result<String, String> {
    let request = FormRequest {
        authorization: &[],
        content_type: Some("application/x-www-form-urlencoded"),
        has_query: false,
        accept: None,
        certificate: None,
        dpop: &[],
        body: b"grant_type=client_credentials&client_id=0oa1&client_secret=secret&scope=pay:read",
    };
    let answer = issuer.token("aus1", &request).await;
    answer
        .map(|answer| answer.access_token.expose_secret().clone())
        .map_err(|failure| failure.error.error_code().to_owned())
}

fn codes(error: ChangeError) -> Vec<&'static str> {
    let ChangeError::Findings(findings) = error else {
        panic!("{error:?}");
    };
    findings.iter().map(|finding| finding.code).collect()
}

/// Whether the gate refuses the token.
fn is_dead(test: &TestIssuer, token: &str) -> bool {
    let keys = test.issuer.live_keys(&server_id("aus1")).expect("keys").load();
    let mut unverified = crate::jose::unverified::Unverified::parse(token).expect("a token");
    let issuer = crate::model::id::Issuer::parse("https://127.0.0.1:8443/oauth2/aus1").expect("valid");
    let expectations = crate::jose::verify::Expectations {
        issuer: &issuer,
        audiences: &["https://pay.example".to_owned()],
        algorithms: &crate::jose::sign::SigningKey::ALGORITHMS,
        token_types: &crate::jose::verify::TokenTypes::Only(vec!["at+jwt".to_owned()]),
        leeway: Duration::ZERO,
        now: test.clock.now(),
    };
    let claims = crate::jose::verify::verify(&mut unverified, &keys, &expectations).expect("verifies");
    let claims = claims.get();
    let client = crate::oauth::sample::client_id("0oa1");
    let (jti, subject) = (claims.jti(), claims.subject());
    let life = crate::revocation::Life {
        server: &server_id("aus1"),
        jti: jti.as_ref(),
        session: None,
        subject: subject.as_ref(),
        client: Some(&client),
        kid: claims.kid.as_ref(),
        issued_at: claims.issued_at,
    };
    test.revocations.dead(&life).is_some()
}

#[tokio::test]
async fn a_server_that_is_made_has_keys_and_mints_at_once() {
    let test = with_first().await;
    assert!(test.issuer.keys("aus1").expect("published").body.contains("\"kty\""));
    let token = mint(&test.issuer).await.expect("granted");
    assert!(!is_dead(&test, &token));
    // What the file declares goes on beside it.
    assert!(test.issuer.has_server("transfers"));
}

#[tokio::test]
async fn a_dry_run_compiles_and_changes_nothing() {
    let test = TestIssuer::start().await;
    let would = test.issuer.change(first(), true).await.expect("it would do");
    assert!(would.directory.server("aus1").is_some());
    assert!(!test.issuer.has_server("aus1"));
    assert!(test.issuer.directory().server("aus1").is_none());
    test.issuer.change(first(), false).await.expect("nothing is in its way");
}

#[tokio::test]
async fn a_change_with_an_error_is_refused_whole() {
    let test = TestIssuer::start().await;
    let mut bad = pay(json!(["0oa1"]), json!([]));
    bad["policies"][0]["rules"][0]["scopes"] = json!(["pay:raed"]);
    let two = vec![
        object(ObjectKind::Client, "0oa1", service()),
        object(ObjectKind::AuthorizationServer, "aus1", bad),
    ];
    let error = test.issuer.change(change(two), false).await.expect_err("refused");
    assert_eq!(codes(error), ["unknown_scope"]);
    assert!(test.issuer.directory().client("0oa1").is_none());
}

#[tokio::test]
async fn an_identifier_or_name_of_the_file_is_refused() {
    let test = TestIssuer::start().await;
    let insert = |kind, id: &str, body| change(vec![object(kind, id, body)]);
    let server = insert(ObjectKind::AuthorizationServer, "transfers", pay(json!([]), json!([])));
    let error = test.issuer.change(server, false).await.expect_err("refused");
    assert_eq!(codes(error), ["declared_in_file"]);
    let client = insert(ObjectKind::Client, "mobile", service());
    let error = test.issuer.change(client, false).await.expect_err("refused");
    assert_eq!(codes(error), ["declared_in_file"]);
    for (id, name) in [("00g1", "customers"), ("customers", "Other"), ("00g1", "EVERYONE")] {
        let group = insert(ObjectKind::Group, id, json!({ "name": name }));
        let error = test.issuer.change(group, false).await.expect_err("refused");
        assert_eq!(codes(error), ["duplicate_name"], "{id} {name}");
    }
    let mut named = pay(json!([]), json!([]));
    named["name"] = json!("transfers");
    let server = insert(ObjectKind::AuthorizationServer, "aus1", named);
    assert_eq!(
        codes(test.issuer.change(server, false).await.expect_err("refused")),
        ["duplicate_name"]
    );
}

#[tokio::test]
async fn two_who_change_the_same_revision_have_one_winner() {
    let test = with_first().await;
    let rename = |name: &str| {
        let mut body = pay(json!(["0oa1"]), json!([]));
        body["name"] = json!(name);
        change(vec![replace(ObjectKind::AuthorizationServer, "aus1", 1, body)])
    };
    test.issuer.change(rename("One"), false).await.expect("first");
    let second = test.issuer.change(rename("Two"), false).await;
    assert!(matches!(second, Err(ChangeError::Overtaken)), "{second:?}");
    let directory = test.issuer.directory();
    let server = directory.server("aus1").expect("there");
    assert_eq!((server.document.name.as_str(), server.revision), ("One", 2));
}

#[tokio::test]
async fn case_157_a_deactivated_server_is_gone_and_its_tokens_stay_dead_when_it_returns() {
    let test = with_first().await;
    let token = mint(&test.issuer).await.expect("granted");
    let mut off = pay(json!(["0oa1"]), json!([]));
    off["status"] = json!("INACTIVE");
    let deactivate = change(vec![replace(ObjectKind::AuthorizationServer, "aus1", 1, off)]);
    let applied = test.issuer.change(deactivate, false).await.expect("changed");
    assert_eq!(applied.revocations.len(), 1);
    assert!(!test.issuer.has_server("aus1") && test.issuer.keys("aus1").is_none());
    assert!(is_dead(&test, &token));
    test.clock.advance(CLOCKS_APART_MAX + Duration::from_secs(1));
    let on = change(vec![replace(
        ObjectKind::AuthorizationServer,
        "aus1",
        2,
        pay(json!(["0oa1"]), json!([])),
    )]);
    test.issuer.change(on, false).await.expect("changed");
    assert!(is_dead(&test, &token), "for good");
    let new = mint(&test.issuer).await.expect("granted");
    assert!(!is_dead(&test, &new));
}

#[tokio::test]
async fn case_075_an_inactive_client_does_not_authenticate_and_its_tokens_are_dead() {
    let test = with_first().await;
    let token = mint(&test.issuer).await.expect("granted");
    let mut off = service();
    off["status"] = json!("INACTIVE");
    test.issuer
        .change(change(vec![replace(ObjectKind::Client, "0oa1", 1, off)]), false)
        .await
        .expect("changed");
    assert_eq!(mint(&test.issuer).await, Err("client_authentication_failed".to_owned()));
    assert!(is_dead(&test, &token));
}

#[tokio::test]
async fn case_075_a_deleted_client_goes_out_of_policies_and_roles() {
    let test = with_first().await;
    let token = mint(&test.issuer).await.expect("granted");
    let role = json!({ "assignee": { "client": "0oa1" }, "role": "SUPER_ADMIN" });
    test.issuer
        .change(change(vec![object(ObjectKind::RoleBinding, "irb1", role)]), false)
        .await
        .expect("bound");
    test.issuer
        .change(change(vec![remove(ObjectKind::Client, "0oa1", 1)]), false)
        .await
        .expect("deleted");
    assert!(is_dead(&test, &token));
    let directory = test.issuer.directory();
    let server = directory.server("aus1").expect("there");
    assert_eq!(server.document.policies[0].clients.as_deref(), Some(&[][..]));
    assert_eq!((server.revision, directory.roles().count()), (2, 0));
}

#[tokio::test]
async fn a_group_that_a_rule_names_is_not_deleted_from_under_it() {
    let test = TestIssuer::start().await;
    let mut named = pay(json!(["0oa1"]), json!(["00g1"]));
    named["policies"][0]["rules"][0]["grants"] = json!(["authorization_code"]);
    let changes = vec![
        object(ObjectKind::Group, "00g1", json!({ "name": "Tellers" })),
        object(ObjectKind::Client, "0oa1", service()),
        object(ObjectKind::AuthorizationServer, "aus1", named),
    ];
    test.issuer.change(change(changes), false).await.expect("made");
    let removal = change(vec![remove(ObjectKind::Group, "00g1", 1)]);
    let error = test.issuer.change(removal, false).await.expect_err("refused");
    assert_eq!(codes(error), ["unknown_group"]);
    assert_eq!(
        test.issuer.group_names(&["00g1".to_owned(), "customers".to_owned()]),
        ["Tellers", "customers"]
    );
}

#[tokio::test]
async fn what_another_node_changes_is_read_and_compiled() {
    let sealing = Arc::new(SealingKey::generate().0);
    let store = Arc::new(MemoryStore::new());
    let one = TestIssuer::on(quick_bank(), store.clone(), sealing.clone())
        .await
        .expect("starts");
    let two = TestIssuer::on(quick_bank(), store, sealing).await.expect("starts");
    one.issuer.change(first(), false).await.expect("changed");
    assert!(!two.issuer.has_server("aus1"));
    two.issuer.reread().await.expect("read");
    mint(&two.issuer).await.expect("granted by the other node");
    // A change decided upon an older state is overtaken, whatever node made the newer one.
    let stale = change(vec![remove(ObjectKind::Client, "0oa1", 7)]);
    assert!(matches!(
        one.issuer.change(stale, false).await,
        Err(ChangeError::Overtaken)
    ));
}

#[tokio::test]
async fn case_154_what_a_node_mints_before_it_hears_of_a_deactivation_is_dead_once_it_has_heard() {
    let sealing = Arc::new(SealingKey::generate().0);
    let store = Arc::new(MemoryStore::new());
    let one = TestIssuer::on(quick_bank(), store.clone(), sealing.clone())
        .await
        .expect("starts");
    let two = TestIssuer::on(quick_bank(), store, sealing).await.expect("starts");
    one.issuer.change(first(), false).await.expect("changed");
    two.issuer.follow_once().await.expect("looks");
    let mut off = service();
    off["status"] = json!("INACTIVE");
    let deactivate = change(vec![replace(ObjectKind::Client, "0oa1", 1, off)]);
    one.issuer.change(deactivate, false).await.expect("changed");
    // The second node's clock is in the next second already, and nobody has told it.
    two.clock.advance(Duration::from_secs(1));
    let late = mint(&two.issuer).await.expect("granted by what it knows");
    two.issuer.follow_once().await.expect("looks");
    assert_eq!(mint(&two.issuer).await, Err("client_authentication_failed".to_owned()));
    assert!(is_dead(&two, &late));
    one.clock.advance(Duration::from_secs(1));
    one.issuer.follow_once().await.expect("looks");
    assert!(is_dead(&one, &late), "at the first node too");
}

#[tokio::test]
async fn a_file_that_takes_a_name_away_sets_aside_what_needs_it_and_starts() {
    let test = TestIssuer::start().await;
    let mut named = pay(json!([]), json!(["tellers"]));
    named["policies"][0]["rules"][0]["grants"] = json!(["authorization_code"]);
    let made = change(vec![
        object(ObjectKind::AuthorizationServer, "aus1", named),
        object(ObjectKind::AuthorizationServer, "aus2", {
            let mut other = pay(json!([]), json!([]));
            other["name"] = json!("Other");
            other
        }),
    ]);
    test.issuer.change(made, false).await.expect("made");
    let mut without = quick_bank();
    without.groups.retain(|group| group.value != "tellers");
    without.users.clear();
    test.issuer.reload(&settings(without)).await.expect("the file is right");
    assert!(!test.issuer.has_server("aus1") && test.issuer.has_server("aus2"));
    let directory = test.issuer.directory();
    assert!(directory.server("aus1").expect("listed").is_broken());
    // It blocks nobody, and can be repaired.
    let rest = change(vec![object(ObjectKind::Client, "0oa1", service())]);
    test.issuer.change(rest, false).await.expect("changed");
    let repaired = change(vec![replace(
        ObjectKind::AuthorizationServer,
        "aus1",
        1,
        pay(json!(["0oa1"]), json!([])),
    )]);
    test.issuer.change(repaired, false).await.expect("repaired");
    mint(&test.issuer).await.expect("granted");
}

#[tokio::test]
async fn case_075_case_157_what_the_file_declares_no_more_is_dead_after_the_reload() {
    let mut declared = quick_bank();
    declared
        .clients
        .push(client("gone", ClientKind::Service, &["client_credentials"]));
    let test = TestIssuer::with(declared).await;
    test.issuer.reload(&settings(quick_bank())).await.expect("reloaded");
    let client = crate::oauth::sample::client_id("gone");
    let life = crate::revocation::Life {
        server: &server_id("transfers"),
        jti: None,
        session: None,
        subject: None,
        client: Some(&client),
        kid: None,
        issued_at: Some(test.clock.now()),
    };
    assert!(test.revocations.dead(&life).is_some());
    let mut one = quick_bank();
    one.servers.truncate(1);
    test.issuer.reload(&settings(one)).await.expect("reloaded");
    let life = crate::revocation::Life {
        server: &server_id("transactions"),
        client: None,
        ..life
    };
    assert!(test.revocations.dead(&life).is_some());
}

#[tokio::test]
async fn a_client_cannot_come_into_what_an_older_one_of_its_name_was_allowed() {
    let mut declared = quick_bank();
    declared
        .clients
        .push(client("legacy", ClientKind::Service, &["client_credentials"]));
    let test = TestIssuer::with(declared).await;
    let made = change(vec![object(
        ObjectKind::AuthorizationServer,
        "aus1",
        pay(json!(["legacy"]), json!([])),
    )]);
    test.issuer.change(made, false).await.expect("made");
    test.issuer.reload(&settings(quick_bank())).await.expect("reloaded");
    let revived = change(vec![object(ObjectKind::Client, "legacy", service())]);
    let error = test.issuer.change(revived, false).await.expect_err("refused");
    assert_eq!(codes(error), ["client_named_already"]);
}

#[tokio::test]
async fn a_file_with_errors_leaves_everything_as_it_is() {
    let test = with_first().await;
    let mut bad = quick_bank();
    bad.servers[0].audience.value.clear();
    let refused = test.issuer.reload(&settings(bad)).await;
    assert!(matches!(refused, Err(StartError::Declaration(_))));
    mint(&test.issuer).await.expect("granted");
}

#[tokio::test]
async fn a_user_is_assigned_by_identifier_login_group_or_as_everyone() {
    let assigned = |user: Value, group: Value| {
        let mut body = service();
        let list = |id: &Value| {
            if id.is_null() {
                json!([])
            } else {
                json!([{ "id": id, "created_at": 1 }])
            }
        };
        body["users"] = list(&user);
        body["groups"] = list(&group);
        body
    };
    for (user, group, expected) in [
        (Value::Null, Value::Null, false),
        (json!("00uAda"), Value::Null, true),
        (json!("ada@bank.example"), Value::Null, true),
        (json!("00uBob"), Value::Null, false),
        (Value::Null, json!("customers"), true),
        (Value::Null, json!("tellers"), false),
        (Value::Null, json!("EVERYONE"), true),
    ] {
        let test = TestIssuer::start().await;
        let made = change(vec![object(
            ObjectKind::Client,
            "0oa1",
            assigned(user.clone(), group.clone()),
        )]);
        test.issuer.change(made, false).await.expect("made");
        let directory = test.issuer.directory();
        let client = directory
            .client("0oa1")
            .expect("there")
            .compiled
            .clone()
            .expect("sound");
        let is = client.is_assigned("00uAda", "ada@bank.example", &["customers".to_owned()]);
        assert_eq!(is, expected, "{user} {group}");
    }
}

#[tokio::test]
async fn what_is_administered_survives_a_restart() {
    let sealing = Arc::new(SealingKey::generate().0);
    let store = Arc::new(MemoryStore::new());
    let before = TestIssuer::on(quick_bank(), store.clone(), sealing.clone())
        .await
        .expect("starts");
    before.issuer.change(first(), false).await.expect("made");
    let keys = before.issuer.keys("aus1").expect("published");
    drop(before);
    let after = TestIssuer::on(quick_bank(), store, sealing).await.expect("starts");
    assert_eq!(after.issuer.keys("aus1").expect("published").body, keys.body);
    mint(&after.issuer).await.expect("granted");
}

/// Measures; run by name: `cargo test --release --lib measures_a_change -- --ignored --nocapture`.
#[tokio::test]
#[ignore = "a measurement"]
#[expect(clippy::disallowed_methods, reason = "a measurement")]
async fn measures_a_change_among_hundreds_of_servers_and_thousands_of_clients() {
    let test = TestIssuer::start().await;
    let clients = (0..5000)
        .map(|n| object(ObjectKind::Client, &format!("0oa{n}"), service()))
        .collect();
    test.issuer.change(change(clients), false).await.expect("made");
    let servers = (0..300).map(|n| {
        let mut body = pay(json!(["0oa1", "0oa2"]), json!([]));
        body["name"] = json!(format!("Server {n}"));
        let policy = body["policies"][0].clone();
        let many = (0..20).map(|n| {
            let mut policy = policy.clone();
            policy["name"] = json!(format!("P{n}"));
            policy
        });
        body["policies"] = many.collect();
        object(ObjectKind::AuthorizationServer, &format!("aus{n}"), body)
    });
    let started = Instant::now();
    test.issuer
        .change(change(servers.collect()), false)
        .await
        .expect("made");
    println!("300 servers at once: {:?}", started.elapsed());
    let started = Instant::now();
    let mut body = pay(json!(["0oa1"]), json!([]));
    body["name"] = json!("Server 7");
    test.issuer
        .change(
            change(vec![replace(ObjectKind::AuthorizationServer, "aus7", 1, body)]),
            false,
        )
        .await
        .expect("changed");
    println!("one of 300 servers beside 5000 clients: {:?}", started.elapsed());
    let started = Instant::now();
    test.issuer.reload(&settings(quick_bank())).await.expect("reloaded");
    println!("the file again: {:?}", started.elapsed());
}
