//! An authorization server that a product team makes over the management API, by the program's own commands.

use std::process::Command;

use serde_json::Value;

use super::scopegate::Scopegate;
use super::wait;

/// Says of a bank's file that it has one more API, whose authorization server is not in it.
pub(crate) fn with_payments(bank: &str, server: &str) -> String {
    let apis = "\napis:\n";
    assert!(bank.contains(apis), "the example has changed");
    let payments = format!(
        "
  - {server}

apis:
  - name: payments
    hosts: [api.bank.example]
    authorization_server: payments
    routes:
      - path: /payments
        GET: \"payments:read\"
        POST: \"payments:write\"
"
    );
    bank.replace(apis, &payments)
}

/// Somebody who may make authorization servers and clients of a running process.
pub(crate) struct Team<'g> {
    gate: &'g Scopegate,
    environment: &'g [(&'g str, &'g str)],
}

/// What the team has made: an authorization server, and a client that it lets in.
pub(crate) struct Product {
    pub(crate) server: String,
    pub(crate) client: String,
    secret: String,
}

impl<'g> Team<'g> {
    /// The team of this process, with credentials of its own.
    pub(crate) fn new(gate: &'g Scopegate) -> Self {
        Self::in_environment(gate, &[])
    }

    /// The same of one whose file names variables.
    pub(crate) fn in_environment(gate: &'g Scopegate, environment: &'g [(&'g str, &'g str)]) -> Self {
        let team = Self { gate, environment };
        let made = team.try_run(&["admin", "bootstrap", "--again", "-c", "scopegate.yaml"]);
        std::fs::write(gate.folder().join("team.json"), made.expect("credentials")).expect("written");
        team
    }

    /// Runs a command; gives what it prints, or why it failed.
    pub(crate) fn try_run(&self, words: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .args(words)
            .current_dir(self.gate.folder())
            .envs(self.environment.iter().copied())
            .output()
            .expect("the program runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// Runs a command of the management API, which must succeed.
    pub(crate) fn run(&self, words: &[&str]) -> String {
        let signed_in = ["-c", "scopegate.yaml", "--credentials", "team.json"];
        let outcome = self.try_run(&[words, &signed_in].concat());
        outcome.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// The same, and reads the object that it prints.
    pub(crate) fn object(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(&[words, &["-o", "json"]].concat())).expect("JSON")
    }

    /// Changes members of the server.
    pub(crate) fn change(&self, server: &str, change: impl FnOnce(&mut Value)) {
        let path = format!("/api/v1/authorizationServers/{server}");
        let mut object = self.object(&["api", "get", &path]);
        change(&mut object);
        std::fs::write(self.gate.folder().join("change.json"), object.to_string()).expect("written");
        self.run(&["api", "put", &path, "--data", "change.json"]);
    }

    /// Makes a server of this name with a scope, a policy, a rule and a client.
    pub(crate) fn make(&self, name: &str) -> Product {
        let audience = "https://api.bank.example/payments";
        let scope = "payments:read";
        let server = self.object(&[
            "servers",
            "create",
            "--name",
            name,
            "--audience",
            audience,
            "--scope",
            scope,
        ]);
        let client = self.object(&["clients", "create", "--name", name, "--type", "service"]);
        let text = |object: &Value, path: &str| {
            let text = object.pointer(path).and_then(Value::as_str);
            text.unwrap_or_else(|| panic!("{path} in {object}")).to_owned()
        };
        let product = Product {
            server: text(&server, "/id"),
            client: text(&client, "/credentials/oauthClient/client_id"),
            secret: text(&client, "/credentials/oauthClient/client_secret"),
        };
        self.allow(&product, "At night", scope);
        product
    }

    /// Lets the client have one more scope.
    pub(crate) fn allow(&self, product: &Product, name: &str, scope: &str) {
        let words = ["servers", "allow", &product.server, "--name", name, "--scope", scope];
        let whom = ["--client", &product.client, "--grant", "client_credentials"];
        self.run(&[&words[..], &whom].concat());
    }
}

impl Product {
    /// The request as one of its client.
    pub(crate) fn sign(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        request.basic_auth(&self.client, Some(&self.secret))
    }

    /// A token with this scope. Who asks in the second of a revocation is told to come back, and does.
    pub(crate) async fn mint(&self, gate: &Scopegate, scope: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        wait::until("a token is given out", || async {
            let request = gate.https().post(gate.issuer_url(&self.server, "v1/token"));
            let response = self.sign(request).form(&form).send();
            let response = response.await.expect("the token endpoint answers");
            let status = response.status();
            let answer: Value = response.json().await.expect("JSON");
            // Another node has made the server and what it allows, and this one has read nothing of it yet, or the half.
            let is_half_read = answer["error_code"] == "no_matching_policy";
            assert!(is_half_read || matches!(status.as_u16(), 200 | 404 | 503), "{answer}");
            Some(answer["access_token"].as_str()?.to_owned())
        })
        .await
    }
}
