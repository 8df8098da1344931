//! Several processes on one PostgreSQL database, as they are deployed: what one does is in force at every other, and
//! none of them needs the database to check.

use std::time::Duration;

use serde_json::Value;

use crate::support::checks;
use crate::support::h2_client::Client;
use crate::support::managed::{Team, with_payments};
use crate::support::postgres::{Cluster, Database, PASSWORD, database};
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};
use crate::support::wait;

/// What a revocation may take to be in force at every other node.
const REACH: Duration = Duration::from_millis(250);

/// The longest that an answer may take while the database is away.
const ANSWER_MAX: Duration = Duration::from_secs(12);

/// 32 bytes of this test's own, in base64.
const SEALING_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const OTHER_SEALING_KEY: &str = "/////////////////////////////////////////w8=";

/// A node of the bank on this database, to be started. All nodes say the same of themselves.
fn node(database: &Database, sealing_key: &str) -> ScopegateBuilder {
    node_of(&bank(), database, sealing_key)
}

fn node_of(file: &str, database: &Database, sealing_key: &str) -> ScopegateBuilder {
    let store = format!(
        "store: {{ url: \"{}\", password_file: database.password, sealing_key: {{ env: BANK_SEALING_KEY }} }}",
        database.url
    );
    let config = file
        .replace(
            "public_url: https://127.0.0.1:8443",
            "public_url: https://bank.localhost:9443",
        )
        .replace("store: sqlite://data/scopegate.db", &store);
    assert!(config.contains("bank.localhost") && config.contains("BANK_SEALING_KEY"));
    ScopegateBuilder::new(&config)
        .file("database.password", PASSWORD)
        .environment("BANK_SEALING_KEY", sealing_key)
}

/// Two nodes that start at once on one database.
async fn pair(database: &Database) -> [Scopegate; 2] {
    // Both run before either has made the tables.
    let nodes = [node(database, SEALING_KEY), node(database, SEALING_KEY)].map(ScopegateBuilder::start_without_waiting);
    for node in &nodes {
        node.ready().await;
    }
    nodes
}

/// Whether this gate lets a token through.
async fn allows(gate: &Client, token: &str) -> bool {
    allows_at(gate, "/transfers", token).await
}

async fn allows_at(gate: &Client, path: &str, token: &str) -> bool {
    let value = format!("Bearer {token}");
    let headers = [("authorization", value.as_str())];
    let check = checks::check("GET", "api.bank.example", path, "1", &headers);
    checks::status(gate, &check).await == 0
}

/// Asks an endpoint of a node's issuer and gives the status.
async fn post(node: &Scopegate, endpoint: &str, form: &[(&str, &str)]) -> u16 {
    let response = node
        .https()
        .post(node.issuer_url("transfers", endpoint))
        .basic_auth("nightly-batch", Some("secret"))
        .form(form)
        .send();
    let response = tokio::time::timeout(ANSWER_MAX, response).await;
    response
        .expect("it does not hang")
        .expect("it answers")
        .status()
        .as_u16()
}

#[tokio::test]
async fn case_154_attack_g08_nodes_that_start_at_once_share_keys_and_revocations() {
    let [one, other] = pair(&database()).await;
    let jwks = async |node: &Scopegate| {
        let url = node.issuer_url("transfers", "v1/keys");
        let response = node.https().get(url).send().await.expect("it answers");
        response.json::<Value>().await.expect("JSON")
    };
    assert_eq!(jwks(&one).await, jwks(&other).await);
    let (gate, other_gate) = (
        Client::open(one.ports.ext_authz).await,
        Client::open(other.ports.ext_authz).await,
    );
    let mut times = Vec::new();
    for _ in 0..15 {
        let (token, living) = (one.mint().await, one.mint().await);
        // The verdicts are in both caches now.
        for gate in [&gate, &other_gate] {
            assert!(allows(gate, &token).await && allows(gate, &living).await);
        }
        one.revoke(&token).await;
        let acknowledged = tokio::time::Instant::now();
        assert!(!allows(&gate, &token).await);
        wait::until("the other node refuses it", || async {
            (!allows(&other_gate, &token).await).then_some(())
        })
        .await;
        times.push(acknowledged.elapsed());
        assert!(allows(&other_gate, &living).await);
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "refused by the other node after {median:?} (median), {worst:?} (worst of {})",
        times.len()
    );
    // The median: the machine that runs the tests has other things to do.
    assert!(median < REACH, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_made_and_deactivated_at_one_node_is_heard_of_by_the_gate_of_another() {
    let database = database();
    let file = with_payments(&bank(), "{ id: payments, managed: true }");
    let [one, other] = [(); 2].map(|()| node_of(&file, &database, SEALING_KEY).start_without_waiting());
    for node in [&one, &other] {
        node.ready().await;
    }
    let (gate, other_gate) = (
        Client::open(one.ports.ext_authz).await,
        Client::open(other.ports.ext_authz).await,
    );
    let team = Team::in_environment(&one, &[("BANK_SEALING_KEY", SEALING_KEY)]);
    let product = team.make("payments");
    let token = product.mint(&one, "payments:read").await;
    assert!(allows_at(&gate, "/payments", &token).await, "at once where it was made");
    wait::until("the other node believes it", || async {
        allows_at(&other_gate, "/payments", &token).await.then_some(())
    })
    .await;
    let mut times = Vec::new();
    for _ in 0..7 {
        let token = product.mint(&other, "payments:read").await;
        assert!(allows_at(&other_gate, "/payments", &token).await);
        team.run(&["servers", "deactivate", &product.server]);
        // The command ends a moment after it has the answer.
        let acknowledged = tokio::time::Instant::now();
        assert!(!allows_at(&gate, "/payments", &token).await);
        wait::until("the other node refuses it", || async {
            (!allows_at(&other_gate, "/payments", &token).await).then_some(())
        })
        .await;
        times.push(acknowledged.elapsed());
        team.run(&["servers", "activate", &product.server]);
        let next = product.mint(&one, "payments:read").await;
        wait::until("the other node believes it again", || async {
            allows_at(&other_gate, "/payments", &next).await.then_some(())
        })
        .await;
        assert!(
            !allows_at(&other_gate, "/payments", &token).await,
            "what was dead stays dead"
        );
    }
    times.sort();
    println!("refused by the other node after {times:?}");
    // The median: the machine that runs the tests has other things to do.
    assert!(times[times.len() / 2] < REACH, "{times:?}");
}

#[tokio::test]
async fn attack_g03_without_its_database_a_node_checks_on_and_refuses_what_it_cannot_keep() {
    let mut cluster = Cluster::start();
    let database = cluster.database();
    let [one, other] = pair(&database).await;
    let gate = Client::open(other.ports.ext_authz).await;
    let token = one.mint().await;
    assert!(allows(&gate, &token).await);

    cluster.stop();
    for _ in 0..5 {
        assert!(allows(&gate, &token).await);
    }
    let minted = post(
        &one,
        "v1/token",
        &[("grant_type", "client_credentials"), ("scope", "transfers:read")],
    );
    let minted = minted.await;
    assert!(matches!(minted, 200 | 500 | 503), "{minted}");
    let revoked = post(&one, "v1/revoke", &[("token", &token)]).await;
    assert!(matches!(revoked, 500 | 503), "{revoked}");
    assert!(allows(&gate, &token).await, "what was not acknowledged is not in force");

    cluster.resume();
    wait::until("the store is back", || async {
        (post(&one, "v1/revoke", &[("token", &token)]).await == 200).then_some(())
    })
    .await;
    wait::until("the other node follows again", || async {
        (!allows(&gate, &token).await).then_some(())
    })
    .await;
    let said = other.output().matches("other nodes cannot be followed").count();
    assert!(said <= 1, "said {said} times");
}

#[tokio::test]
async fn a_node_with_another_sealing_key_does_not_start_and_says_why() {
    let database = database();
    let _first = node(&database, SEALING_KEY).start().await;
    let mut second = node(&database, OTHER_SEALING_KEY).start_without_waiting();
    assert!(!second.ended().await.success());
    let output = second.output();
    assert!(
        output.contains("`BANK_SEALING_KEY` is not the one of this database"),
        "{output}"
    );
    assert!(
        !output.contains(OTHER_SEALING_KEY) && !output.contains(PASSWORD),
        "{output}"
    );
}
