mod authorization_code;
mod bound;
mod device;
mod ending;
mod introspection;
mod jwt_bearer;
mod password;
mod properties;
mod refresh;
mod resources;
mod token_exchange;
mod userinfo;
mod world;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::audit::{AuditKind, AuditSink as _};
use crate::issuer::fixture::{TestIssuer, quick_bank, settings};
use crate::issuer::{Document, Failure, FormRequest, Issuer, Journal, StartError, TokenAnswer};
use crate::oauth::sample::{bank, claim, policy, rule, server_id, text};
use crate::store::Store;
use crate::store::failing::FailingStore;
use crate::store::memory::MemoryStore;
use crate::store::seal::SealingKey;
use crate::store::sqlite::SqliteStore;

const CREDENTIALS: &str = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret";

fn form(body: &str) -> FormRequest<'_> {
    FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: body.as_bytes(),
        ..FormRequest::default()
    }
}

pub(super) async fn mint(issuer: &Issuer) -> TokenAnswer {
    let body = format!("{CREDENTIALS}&scope=transfers:read");
    issuer.token("transfers", &form(&body)).await.expect("granted")
}

pub(super) async fn revoke(issuer: &Issuer, token: &str) -> Result<(), Failure> {
    let body = format!("client_id=nightly-batch&client_secret=secret&token={token}");
    issuer.revoke("transfers", &form(&body)).await
}

#[tokio::test]
async fn case_100_case_109_a_token_verifies_with_the_keys_that_the_gate_reads() {
    let test = TestIssuer::with(bank()).await;
    let answer = mint(&test.issuer).await;
    assert_eq!(
        (answer.expires_in_seconds, answer.scope.as_str()),
        (600, "transfers:read")
    );
    let claims = test
        .verified("transfers", answer.access_token.expose_secret())
        .expect("verifies");
    let jti = claims.members.text("jti").expect("a jti");
    assert!(jti.starts_with("AT.") && jti.len() == 30, "{jti}");
    assert_eq!(
        claims.expires_at.since(claims.issued_at.expect("an iat")),
        Duration::from_secs(600)
    );
    assert!(!claims.members.contains("tier"), "case 81: no user, no claim of one");
    let second = mint(&test.issuer).await;
    let second = test
        .verified("transfers", second.access_token.expose_secret())
        .expect("verifies");
    assert_ne!(second.jti(), claims.jti());
}

#[tokio::test]
async fn every_algorithm_signs_what_the_gate_verifies() {
    for algorithm in ["RS256", "PS256", "ES256", "ES384", "EdDSA"] {
        let mut declaration = quick_bank();
        declaration.servers[0].signing.algorithm = text(algorithm);
        let test = TestIssuer::with(declaration).await;
        let answer = mint(&test.issuer).await;
        let verified = test.verified("transfers", answer.access_token.expose_secret());
        assert!(verified.is_ok(), "{algorithm}: {verified:?}");
        let jwks = test.issuer.keys("transfers").expect("the server exists");
        let document: serde_json::Value = serde_json::from_str(&jwks.body).expect("JSON");
        let keys = document["keys"].as_array().expect("a list");
        assert_eq!(keys.len(), 2, "active and next");
        for key in keys {
            assert_eq!((&key["alg"], &key["use"]), (&json!(algorithm), &json!("sig")));
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert!(key.get(private).is_none(), "{algorithm}: {private}");
            }
        }
    }
}

#[tokio::test]
async fn attack_f13_case_116_a_revoked_token_is_dead_once_it_is_acknowledged_and_others_live() {
    let test = TestIssuer::start().await;
    let (first, second) = (mint(&test.issuer).await, mint(&test.issuer).await);
    let first_claims = test
        .verified("transfers", first.access_token.expose_secret())
        .expect("verifies");
    let second_claims = test
        .verified("transfers", second.access_token.expose_secret())
        .expect("verifies");
    assert!(!test.is_dead("transfers", &first_claims));
    for _ in 0..2 {
        revoke(&test.issuer, first.access_token.expose_secret())
            .await
            .expect("twice is fine");
        assert!(test.is_dead("transfers", &first_claims));
    }
    assert!(!test.is_dead("transfers", &second_claims));
}

#[tokio::test]
async fn attack_f13_case_116_attack_f42_a_token_of_another_or_none_at_all_is_answered_alike_without_effect() {
    let mut declaration = quick_bank();
    let mut other = crate::oauth::sample::client(
        "other",
        crate::oauth::declared::ClientKind::Service,
        &["client_credentials"],
    );
    other.secrets[0].sha256 = crate::model::digest::Digest::of(b"other secret");
    declaration.clients.push(other);
    let test = TestIssuer::with(declaration).await;
    let minted = mint(&test.issuer).await;
    let token = minted.access_token.expose_secret();
    let claims = test.verified("transfers", token).expect("verifies");
    let epoch = test.revocations.epoch();

    let foreign_client = format!("client_id=other&client_secret=other+secret&token={token}");
    test.issuer
        .revoke("transfers", &form(&foreign_client))
        .await
        .expect("200");
    let foreign_server = format!("client_id=nightly-batch&client_secret=secret&token={token}");
    test.issuer
        .revoke("transactions", &form(&foreign_server))
        .await
        .expect("200");
    let mut altered: Vec<String> = vec![
        "nonsense".to_owned(),
        "a.b.c".to_owned(),
        format!("{token}A"),
        token[..token.len() - 1].to_owned(),
        token.to_lowercase(),
    ];
    let middle = token.len() / 2;
    let flipped = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    altered.push(format!("{}{flipped}{}", &token[..middle], &token[middle + 1..]));
    for token in &altered {
        revoke(&test.issuer, token).await.expect("200");
    }
    assert_eq!(test.revocations.epoch(), epoch, "nothing was revoked");
    assert!(!test.is_dead("transfers", &claims));

    // An expired token needs no revocation.
    test.clock.advance(Duration::from_secs(661));
    revoke(&test.issuer, token).await.expect("200");
    assert_eq!(test.revocations.epoch(), epoch);
}

#[tokio::test]
async fn a_token_that_only_the_leeway_keeps_alive_can_still_be_revoked() {
    let test = TestIssuer::start().await;
    let minted = mint(&test.issuer).await;
    let claims = test
        .verified("transfers", minted.access_token.expose_secret())
        .expect("verifies");
    test.clock.advance(Duration::from_secs(659));
    revoke(&test.issuer, minted.access_token.expose_secret())
        .await
        .expect("acknowledged");
    assert!(test.is_dead("transfers", &claims));
}

#[tokio::test]
async fn case_153_case_115_keys_and_revocations_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let sealing = Arc::new(SealingKey::generate().0);
    let store = || async { Arc::new(SqliteStore::open(&path).await.expect("opens")) };
    let first = TestIssuer::on(quick_bank(), store().await, Arc::clone(&sealing))
        .await
        .expect("starts");
    let (dead, alive) = (mint(&first.issuer).await, mint(&first.issuer).await);
    revoke(&first.issuer, dead.access_token.expose_secret())
        .await
        .expect("acknowledged");
    let keys = first.issuer.keys("transfers").expect("the server exists");
    drop(first);

    let second = TestIssuer::on(quick_bank(), store().await, sealing)
        .await
        .expect("starts");
    assert_eq!(second.issuer.keys("transfers").expect("the server exists"), keys);
    let claims = |token: &TokenAnswer| {
        second
            .verified("transfers", token.access_token.expose_secret())
            .expect("verifies")
    };
    assert!(second.is_dead("transfers", &claims(&dead)));
    assert!(!second.is_dead("transfers", &claims(&alive)));
}

#[tokio::test]
async fn attack_f42_a_dump_of_the_database_signs_nothing_and_names_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("scopegate.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("opens"));
    let sealing = Arc::new(SealingKey::generate().0);
    let test = TestIssuer::on(quick_bank(), store.clone(), Arc::clone(&sealing))
        .await
        .expect("starts");
    let minted = mint(&test.issuer).await;
    revoke(&test.issuer, minted.access_token.expose_secret())
        .await
        .expect("acknowledged");
    let private: Vec<Vec<u8>> = store
        .keys(&server_id("transfers"))
        .await
        .expect("reads")
        .iter()
        .map(|key| {
            let context = format!("signing_key/transfers/{}", key.record.kid);
            sealing
                .open(&context, &key.sealed)
                .expect("opens")
                .expose_secret()
                .clone()
        })
        .collect();
    store.close().await;
    let dump = std::fs::read(&path).expect("reads");
    let holds = |needle: &[u8]| dump.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"nightly-batch"), "the dump is the database");
    // The private scalar stands at the end of the first part of the PKCS #8 document.
    assert!(private.iter().all(|pkcs8| pkcs8.len() > 68 && !holds(&pkcs8[36..68])));
    assert!(!holds(minted.access_token.expose_secret().as_bytes()));
}

#[tokio::test]
async fn another_key_file_stops_the_start_with_a_message() {
    let store = Arc::new(MemoryStore::new());
    let first = TestIssuer::on(quick_bank(), store.clone(), Arc::new(SealingKey::generate().0)).await;
    assert!(first.is_ok());
    let second = TestIssuer::on(quick_bank(), store, Arc::new(SealingKey::generate().0)).await;
    // Whichever server's keys are opened first, the management server's among them: it is named.
    let error = second.err().expect("refused");
    let StartError::Keys { server, .. } = &error else {
        panic!("{error}")
    };
    assert!(error.to_string().contains(&format!("`{server}`")), "{error}");
}

#[tokio::test]
async fn two_nodes_that_start_on_one_store_sign_with_one_key() {
    let store = Arc::new(MemoryStore::new());
    let sealing = Arc::new(SealingKey::generate().0);
    let (one, two) = tokio::join!(
        TestIssuer::on(quick_bank(), store.clone(), Arc::clone(&sealing)),
        TestIssuer::on(quick_bank(), store.clone(), Arc::clone(&sealing)),
    );
    let (one, two) = (one.expect("starts"), two.expect("starts"));
    let token = mint(&one.issuer).await;
    assert!(two.verified("transfers", token.access_token.expose_secret()).is_ok());
    assert_eq!(one.issuer.keys("transfers"), two.issuer.keys("transfers"));
}

#[tokio::test]
async fn case_148_rotation_keeps_old_tokens_good_and_forgets_the_key_when_they_are_dead() {
    let mut declaration = quick_bank();
    declaration.servers[0].signing.rotate_every = Some(Duration::from_secs(3600));
    let test = TestIssuer::with(declaration).await;
    let before = test.issuer.keys("transfers").expect("the server exists");
    let old = mint(&test.issuer).await;
    let old_kid = test
        .verified("transfers", old.access_token.expose_secret())
        .expect("verifies")
        .kid;

    test.clock.advance(Duration::from_secs(3300));
    test.issuer.tend_once().await;
    assert_eq!(
        test.issuer.keys("transfers").expect("the server exists"),
        before,
        "not due"
    );
    let last = mint(&test.issuer).await;
    test.clock.advance(Duration::from_secs(300));
    test.issuer.tend_once().await;

    let new = mint(&test.issuer).await;
    let new_kid = test
        .verified("transfers", new.access_token.expose_secret())
        .expect("verifies")
        .kid;
    assert_ne!(new_kid, old_kid);
    let kid = new_kid.expect("a kid");
    assert!(
        before.body.contains(kid.as_str()),
        "NEXT was published before it signed"
    );
    assert!(
        test.verified("transfers", last.access_token.expose_secret()).is_ok(),
        "the old key verifies still"
    );
    let rollover = test.issuer.keys("transfers").expect("the server exists");
    assert_ne!(rollover.etag, before.etag);

    test.clock.advance(Duration::from_secs(661));
    test.issuer.tend_once().await;
    let after = test.issuer.keys("transfers").expect("the server exists");
    assert!(!after.body.contains(old_kid.expect("a kid").as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load_fails_no_mint_and_no_check() {
    let mut declaration = quick_bank();
    declaration.servers[0].signing.rotate_every = Some(Duration::from_secs(10));
    let test = Arc::new(TestIssuer::with(declaration).await);
    let minting: Vec<_> = (0..2)
        .map(|_| {
            let test = Arc::clone(&test);
            tokio::spawn(async move {
                let mut kids = std::collections::BTreeSet::new();
                for _ in 0..300 {
                    let token = mint(&test.issuer).await;
                    let claims = test
                        .verified("transfers", token.access_token.expose_secret())
                        .expect("verifies");
                    kids.insert(claims.kid);
                    tokio::task::yield_now().await;
                }
                kids.len()
            })
        })
        .collect();
    for _ in 0..40 {
        test.clock.advance(Duration::from_secs(10));
        test.issuer.tend_once().await;
    }
    for task in minting {
        assert!(task.await.expect("no panic") >= 1);
    }
    let body = &test.issuer.keys("transfers").expect("the server exists").body;
    let document: serde_json::Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        document["keys"].as_array().expect("a list").len(),
        42,
        "40 expired, one active, one next"
    );
}

#[tokio::test]
async fn a_reload_keeps_keys_adds_servers_and_is_whole_or_not_at_all() {
    let test = TestIssuer::start().await;
    let keys = test.issuer.keys("transfers");
    let live = test
        .issuer
        .live_keys(&server_id("transfers"))
        .expect("the server exists");
    let token = mint(&test.issuer).await;

    let mut broken = quick_bank();
    broken.servers.pop();
    broken.servers[0].policies[1].clients = crate::oauth::declared::PolicyClients::Only(vec![text("nobody")]);
    let error = test.issuer.reload(&settings(broken)).await.expect_err("refused");
    assert!(matches!(&error, StartError::Declaration(findings) if findings[0].code == "unknown_client"));
    assert!(test.issuer.has_server("transactions"));
    mint(&test.issuer).await;

    let mut changed = quick_bank();
    changed.servers.pop();
    changed.servers[0].policies.truncate(1);
    changed
        .servers
        .push(crate::oauth::sample::server("new", vec![], vec![]));
    test.issuer.reload(&settings(changed)).await.expect("taken over");
    assert!(!test.issuer.has_server("transactions") && test.issuer.has_server("new"));
    assert_eq!(test.issuer.keys("transfers"), keys);
    assert!(Arc::ptr_eq(
        &live,
        &test
            .issuer
            .live_keys(&server_id("transfers"))
            .expect("the server exists")
    ));
    assert!(test.verified("transfers", token.access_token.expose_secret()).is_ok());
    let body = format!("{CREDENTIALS}&scope=transfers:read");
    let denied = test
        .issuer
        .token("transfers", &form(&body))
        .await
        .expect_err("the policy is gone");
    assert_eq!(denied.error.error_code(), "no_matching_policy");
}

#[tokio::test]
async fn a_longer_life_is_written_down_before_it_is_granted() {
    let store = Arc::new(MemoryStore::new());
    let sealing = Arc::new(SealingKey::generate().0);
    let test = TestIssuer::on(quick_bank(), store.clone(), sealing)
        .await
        .expect("starts");
    let mut longer = quick_bank();
    longer.servers[0].policies = vec![policy(
        "Services",
        Some(&["nightly-batch"]),
        vec![rule("r", &["client_credentials"], &[], None, 7200)],
    )];
    test.issuer.reload(&settings(longer)).await.expect("taken over");
    test.issuer.reload(&settings(quick_bank())).await.expect("taken over");
    let keys = store.keys(&server_id("transfers")).await.expect("reads");
    assert!(
        keys.iter()
            .all(|key| key.record.lifetime_max == Duration::from_secs(7200))
    );
}

#[tokio::test]
async fn case_106_a_claim_that_fails_ends_the_request_without_a_token() {
    let mut declaration = quick_bank();
    declaration.servers[0].claims = vec![claim("bad", "1 / 0", &[])];
    let test = TestIssuer::with(declaration).await;
    let body = format!("{CREDENTIALS}&scope=transfers:read");
    let failure = test.issuer.token("transfers", &form(&body)).await.expect_err("fails");
    assert_eq!(
        (failure.error.http_status(), failure.error.error_code()),
        (500, "claim_evaluation_failure")
    );
}

#[tokio::test]
async fn a_denial_is_in_the_audit_log_under_its_error_id_with_the_trace_and_a_grant_is_no_row() {
    let store = Arc::new(MemoryStore::new());
    let test = TestIssuer::on(quick_bank(), store.clone(), Arc::new(SealingKey::generate().0))
        .await
        .expect("starts");
    let (journal, writing) = Journal::start(store.clone());
    mint(&test.issuer).await;
    let body = format!("{CREDENTIALS}&scope=transfers:approve");
    let failure = test.issuer.token("transfers", &form(&body)).await.expect_err("denied");
    let wrong = "grant_type=client_credentials&client_id=nightly-batch&client_secret=canary-secret";
    let refused = test.issuer.token("transfers", &form(wrong)).await.expect_err("refused");
    let records: Vec<_> = std::mem::take(&mut *test.records.audit.lock());
    assert!(!format!("{records:?}").contains("canary-secret"));
    for record in records {
        journal.record(record);
    }
    assert_eq!(journal.dropped(), 0);
    drop(journal);
    writing.await;

    let kept = store.audit_of_error(&failure.error_id).await.expect("reads");
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].kind, AuditKind::AccessDenied);
    assert_eq!(
        kept[0].client.as_ref().map(ToString::to_string).as_deref(),
        Some("nightly-batch")
    );
    let rules = &kept[0].detail["trace"][1]["rules"][0];
    assert_eq!(rules["rule"], "Reading at night");
    assert_eq!(
        rules["failed"],
        "the rule does not allow the scopes `transfers:approve`"
    );
    assert_eq!(store.audit_of_error(&refused.error_id).await.expect("reads"), []);
}

#[tokio::test]
async fn the_outcome_of_each_request_is_told_once_with_closed_words() {
    let test = TestIssuer::start().await;
    mint(&test.issuer).await;
    let unknown = test
        .issuer
        .token(
            "transfers",
            &form("grant_type=x&client_id=nightly-batch&client_secret=secret"),
        )
        .await;
    assert_eq!(
        unknown.expect_err("refused").error.code().as_str(),
        "unsupported_grant_type"
    );
    let nowhere = test.issuer.token("a-name-from-a-peer", &form(CREDENTIALS)).await;
    assert!(nowhere.is_err());
    let events = test.records.events.lock().join("\n");
    let lines: Vec<&str> = events.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].contains("\"client_credentials\"") && lines[0].contains("\"granted\""),
        "{events}"
    );
    assert!(
        lines[1].contains("\"other\"") && lines[1].contains("\"unsupported_grant_type\""),
        "{events}"
    );
    assert!(!events.contains("a-name-from-a-peer"), "{events}");
}

#[tokio::test]
async fn the_metadata_lists_what_is_built_and_nothing_else() {
    let test = TestIssuer::start().await;
    let published = test
        .issuer
        .metadata("transfers", Document::AuthorizationServer)
        .expect("the server exists");
    let document: serde_json::Value = serde_json::from_str(&published).expect("JSON");
    let grants = json!(["client_credentials", "refresh_token"]);
    assert_eq!(
        document["grant_types_supported"], grants,
        "those that a rule of the server gives"
    );
    assert_eq!(document["issuer"], "https://127.0.0.1:8443/oauth2/transfers");
    assert!(document.get("authorization_endpoint").is_none());
    assert!(test.issuer.metadata("nowhere", Document::OpenidConfiguration).is_none());
}

#[tokio::test]
async fn a_revocation_that_cannot_be_kept_is_not_acknowledged_and_minting_goes_on() {
    let store = Arc::new(FailingStore::over(MemoryStore::new()));
    let test = TestIssuer::on(quick_bank(), store.clone(), Arc::new(SealingKey::generate().0))
        .await
        .expect("starts");
    let token = mint(&test.issuer).await;
    store.fail_after(0);
    let failure = revoke(&test.issuer, token.access_token.expose_secret())
        .await
        .expect_err("not acknowledged");
    assert_eq!(failure.error.http_status(), 500);
    assert!(!failure.error.description().contains("disk"));
    test.issuer.tend_once().await;
    mint(&test.issuer).await;
    store.recover();
    revoke(&test.issuer, token.access_token.expose_secret())
        .await
        .expect("acknowledged");
}
