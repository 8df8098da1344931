//! A gate in a process of its own, which follows the store of an issuer in another: it hears of what is revoked and
//! managed there, needs no sealing key, and says what it does while the store is away.

use std::time::Duration;

use crate::support::checks;
use crate::support::h2_client::Client;
use crate::support::managed::{Team, with_payments};
use crate::support::postgres::{Cluster, Database, PASSWORD, database};
use crate::support::scopegate::{Scopegate, ScopegateBuilder, bank};
use crate::support::wait;

/// What a revocation may take to be in force at the gate.
const REACH: Duration = Duration::from_millis(250);

/// 32 bytes of this test's own, in base64.
const SEALING_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// gRPC's code for 401, and for 503.
const UNAUTHENTICATED: i32 = 16;
const UNAVAILABLE: i32 = 14;

const SQLITE: &str = "store: sqlite://data/scopegate.db";

fn with_store(file: &str, store: &str) -> String {
    assert!(file.contains(SQLITE), "the example has changed");
    // RSA keys take a while to make, and are no matter here.
    file.replace("algorithm: RS256", "algorithm: ES256")
        .replace(SQLITE, store)
}

fn in_postgres(file: &str, database: &Database) -> String {
    let store = format!(
        "store: {{ url: \"{}\", password_file: database.password, sealing_key: {{ env: BANK_SEALING_KEY }} }}",
        database.url
    );
    with_store(file, &store)
}

/// The issuer alone.
async fn issuer(file: &str) -> Scopegate {
    ScopegateBuilder::new(file)
        .file("database.password", PASSWORD)
        .environment("BANK_SEALING_KEY", SEALING_KEY)
        .only("issuer")
        .start()
        .await
}

/// A gate alone that finds this issuer. It is not given the sealing key.
fn gate_of(issuer: &Scopegate, file: &str) -> ScopegateBuilder {
    let ca = std::fs::read(issuer.ca()).expect("the issuer has made its CA");
    ScopegateBuilder::new(&file.replace("127.0.0.1:8443", &issuer.ports.issuer.to_string()))
        .file("data/dev-ca/ca.pem", ca)
        .file("database.password", PASSWORD)
        .only("gate")
}

async fn ask(gate: &Client, path: &str, token: &str) -> i32 {
    let value = format!("Bearer {token}");
    let headers = [("authorization", value.as_str())];
    checks::status(gate, &checks::check("GET", "api.bank.example", path, "1", &headers)).await
}

/// Revokes tokens at the issuer, and measures until the gate refuses them.
async fn hears_of_revocations(issuer: &Scopegate, gate: &Client) {
    let mut times = Vec::new();
    for _ in 0..15 {
        let (token, living) = (issuer.mint().await, issuer.mint().await);
        assert_eq!(
            (
                ask(gate, "/transfers", &token).await,
                ask(gate, "/transfers", &living).await
            ),
            (0, 0)
        );
        issuer.revoke(&token).await;
        let acknowledged = tokio::time::Instant::now();
        wait::until("the gate refuses it", || async {
            (ask(gate, "/transfers", &token).await == UNAUTHENTICATED).then_some(())
        })
        .await;
        times.push(acknowledged.elapsed());
        assert_eq!(ask(gate, "/transfers", &living).await, 0);
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "refused by the lone gate after {median:?} (median), {worst:?} (worst of {})",
        times.len()
    );
    // The median: the machine that runs the tests has other things to do.
    assert!(median < REACH, "{times:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_gate_on_the_issuers_postgres_hears_of_revocations_and_of_managed_servers() {
    let file = in_postgres(&with_payments(&bank(), "{ id: payments, managed: true }"), &database());
    let issuer = issuer(&file).await;
    // Before the gate runs: it begins with everything that is revoked already.
    let dead = issuer.mint().await;
    issuer.revoke(&dead).await;
    let lone = gate_of(&issuer, &file).start().await;
    assert!(
        lone.output().contains("follows the revocations of its issuer's store") && lone.output().contains("300 s"),
        "{}",
        lone.output()
    );
    let gate = Client::open(lone.ports.ext_authz).await;
    assert_eq!(ask(&gate, "/transfers", &dead).await, UNAUTHENTICATED);
    hears_of_revocations(&issuer, &gate).await;

    let team = Team::in_environment(&issuer, &[("BANK_SEALING_KEY", SEALING_KEY)]);
    let product = team.make("payments");
    let token = product.mint(&issuer, "payments:read").await;
    wait::until("the gate believes the new server", || async {
        (ask(&gate, "/payments", &token).await == 0).then_some(())
    })
    .await;
    team.run(&["servers", "deactivate", &product.server]);
    let acknowledged = tokio::time::Instant::now();
    wait::until("the gate refuses its tokens", || async {
        (ask(&gate, "/payments", &token).await == UNAUTHENTICATED).then_some(())
    })
    .await;
    println!("refused by the lone gate after {:?}", acknowledged.elapsed());
}

#[tokio::test]
async fn a_lone_gate_on_the_issuers_sqlite_file_hears_of_revocations() {
    let issuer = issuer(&with_store(&bank(), SQLITE)).await;
    let database = issuer.folder().join("data/scopegate.db");
    let file = with_store(&bank(), &format!("store: sqlite://{}", database.display()));
    let lone = gate_of(&issuer, &file).start().await;
    hears_of_revocations(&issuer, &Client::open(lone.ports.ext_authz).await).await;
}

#[tokio::test]
async fn attack_g03_a_lone_gate_decides_while_the_store_is_away_within_its_bound_and_denies_beyond_it() {
    let mut cluster = Cluster::start();
    let file = in_postgres(&bank(), &cluster.database());
    let issuer = issuer(&file).await;
    let bounded = format!("{file}\ngate: {{ revocations: {{ stale_after: 3s }} }}\n");
    let lone = gate_of(&issuer, &bounded).start().await;
    let gate = Client::open(lone.ports.ext_authz).await;
    let token = issuer.mint().await;
    assert_eq!(ask(&gate, "/transfers", &token).await, 0);
    cluster.stop();
    let away = tokio::time::Instant::now();
    while away.elapsed() < Duration::from_secs(2) {
        assert_eq!(ask(&gate, "/transfers", &token).await, 0, "after {:?}", away.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    wait::until("the gate denies", || async {
        (ask(&gate, "/transfers", &token).await == UNAVAILABLE).then_some(())
    })
    .await;
    assert_eq!(
        ask(&gate, "/health", "no token").await,
        0,
        "a public route needs no token"
    );
    assert_eq!(ask(&gate, "/transfers", "no.good.token").await, UNAUTHENTICATED);
    wait::until("the log says so", || async {
        (lone.output().contains("not been heard of for 3 s")).then_some(())
    })
    .await;
    cluster.resume();
    wait::until("the gate follows again", || async {
        (ask(&gate, "/transfers", &token).await == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_lone_gate_that_is_told_a_bound_and_has_no_store_to_follow_does_not_start() {
    let file = format!("{}\ngate: {{ revocations: {{ stale_after: 30s }} }}\n", bank());
    let mut lone = ScopegateBuilder::new(&file).only("gate").start_without_waiting();
    assert!(!lone.ended().await.success());
    assert!(
        lone.output().contains("is not here to be followed"),
        "{}",
        lone.output()
    );
}
