//! The management API as a client of somebody else sees it: Okta's own Node SDK administers a running Scopegate, and
//! Okta's own verifier judges a token that it minted.
//!
//! What the SDK does stands in `okta/administer.mjs`; what it must have left behind is looked at here.

use std::process::Command;

use serde_json::Value;

use crate::support::peers::{okta, repository};
use crate::support::process::Process;
use crate::support::scopegate::{Scopegate, ScopegateBuilder};
use crate::support::wait;

/// One small server of its own, so that there is an issuer; everything else is made by the SDK.
const CONFIG: &str = "\
dev: true
public_url: https://127.0.0.1:8443
store: sqlite://data/scopegate.db
listeners:
  issuer: { address: 127.0.0.1:8443 }
  admin: { address: 127.0.0.1:8444 }
  telemetry: { address: 127.0.0.1:9464 }
groups: [staff]
authorization_servers:
  - id: small
    audience: https://small.bank.example
    scopes: [small:read]
    policies:
      - name: batch
        clients: [batch]
        rules:
          - { name: any, grants: [client_credentials], scopes: [small:read], access_token: 5m }
clients:
  - id: batch
    type: service
    grants: [client_credentials]
    secrets: [{ sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b }]
";

/// The steps that `administer.mjs` must have shown.
const STEPS: [&str; 13] = [
    "an authorization server is created",
    "scopes are created and read back",
    "a claim is created and read back",
    "an app is created, and its secret is shown once",
    "a user is created within the schema, read back and changed",
    "a group is created and has a member",
    "the user and the group are assigned to the app",
    "a policy with two rules decides, the first one that matches",
    "the order of the rules is changed, and with it what is decided",
    "the verifier accepts the token with its client and audience, and no other",
    "the keys are rotated, and both old and new tokens verify",
    "the log says who made what",
    "everything is deleted",
];

/// The first administrator, as the command prints it.
fn bootstrap(gate: &Scopegate, again: bool) -> Result<Value, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scopegate"));
    command
        .args(["admin", "bootstrap", "-c", "scopegate.yaml"])
        .args(again.then_some("--again"))
        .current_dir(gate.folder());
    let output = command.output().expect("the program runs");
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("one JSON object"))
    } else {
        assert_eq!(output.stdout, b"", "a refusal prints no credential");
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[tokio::test]
async fn oktas_sdk_administers_a_running_scopegate_and_its_verifier_takes_the_tokens() {
    let gate = ScopegateBuilder::new(CONFIG).start().await;
    let administrator = bootstrap(&gate, false).expect("there is no administrator yet");
    let again = bootstrap(&gate, false).expect_err("there is one");
    assert!(again.contains("--again"), "{again}");

    let (program, folder) = okta();
    let logs = tempfile::tempdir().expect("a temporary folder can be made");
    let mut command = Command::new(program);
    command
        .arg(repository("tests/it/okta/administer.mjs"))
        .current_dir(folder)
        .env("ORG_URL", format!("https://{}", gate.ports.admin))
        .env("ISSUER_URL", format!("https://{}", gate.ports.issuer))
        .env("CLIENT_ID", administrator["client_id"].as_str().expect("an identifier"))
        .env("PRIVATE_KEY", administrator["private_key"].to_string())
        .env("NODE_EXTRA_CA_CERTS", gate.ca());
    let mut sdk = Process::spawn("okta-sdk", command, logs.path());
    let status = sdk.ended().await;
    let output = sdk.output();
    assert!(status.success(), "{output}\n--- scopegate:\n{}", gate.output());
    let shown: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix("shown: ")).collect();
    assert_eq!(shown, STEPS);

    // The administrator's key is nowhere but in what was printed.
    let secret = administrator["private_key"]["d"].as_str().expect("a private key");
    assert!(!gate.output().contains(secret));
}

#[tokio::test]
async fn attack_f50_nobody_administers_before_an_administrator_was_made() {
    let gate = ScopegateBuilder::new(CONFIG).start().await;
    let https = gate.https();
    let url = format!("https://{}/api/v1/apps", gate.ports.admin);
    let without = https.get(&url).send().await.expect("answered");
    assert_eq!(without.status(), 401);
    for (user, password) in [("admin", "admin"), ("scopegate", "scopegate"), ("batch", "secret")] {
        let token = https
            .post(format!("https://{}/oauth2/v1/token", gate.ports.admin))
            .basic_auth(user, Some(password))
            .form(&[("grant_type", "client_credentials"), ("scope", "okta.apps.manage")])
            .send()
            .await
            .expect("answered");
        assert!(token.status().is_client_error(), "{user}: {}", token.status());
    }
    // A token of another authorization server is none of the management's.
    let token = https
        .post(gate.issuer_url("small", "v1/token"))
        .basic_auth("batch", Some("secret"))
        .form(&[("grant_type", "client_credentials"), ("scope", "small:read")])
        .send()
        .await
        .expect("answered");
    assert_eq!(token.status(), 200);
    let token: Value = token.json().await.expect("JSON");
    let token = token["access_token"].as_str().expect("a token");
    wait::bounded("the API answers", async {
        let refused = https.get(&url).bearer_auth(token).send().await.expect("answered");
        assert_eq!(refused.status(), 401);
    })
    .await;
}
