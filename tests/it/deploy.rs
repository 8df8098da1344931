//! What is shipped under `deploy/` is what the peers accept, and what the code knows.

use std::process::Command;

use envoy_types::pb::envoy::service::auth::v3::OkHttpResponse;
use serde_json::json;

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::Request;
use crate::support::peers::{Release, python_tool, repository};
use crate::support::standin::{StandIn, allow};
use crate::support::upstream::Upstream;
use crate::support::{wait, yaml};

/// Every shipped Envoy configuration, with the releases that it is for.
#[test]
fn every_shipped_envoy_configuration_is_accepted_by_every_release() {
    let folder = repository("deploy/envoy");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("deploy/envoy is there") {
        let path = entry.expect("an entry can be read").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        for release in Release::OLDER.into_iter().chain([Release::V1_40_0]) {
            let mut command = Command::new(release.binary());
            command
                .args(["--mode", "validate", "--disable-hot-restart", "-l", "error", "-c"])
                .arg(&path);
            let output = command.output().expect("Envoy runs");
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{} on {}: {errors}",
                path.display(),
                release.as_str()
            );
        }
    }
    assert!(count >= 2, "TCP and a unix socket at least");
}

/// The filter that the Istio patch inserts is one that Envoy takes.
#[tokio::test]
async fn the_istio_patch_inserts_a_filter_that_envoy_accepts() {
    let text = std::fs::read_to_string(repository("deploy/istio/envoy-filter.yaml")).unwrap();
    let patches = yaml::parse(&text)["spec"]["configPatches"].clone();
    let merged = &patches[0]["patch"]["value"]["typed_config"];
    let inserted = &patches[1]["patch"]["value"]["typed_config"];
    assert_eq!(patches[1]["patch"]["operation"], "INSERT_BEFORE");
    let upstream = Upstream::start().await;
    let service = StandIn::start(allow(OkHttpResponse::default())).await;
    let mut filter = inserted.clone();
    filter["grpc_service"]["envoy_grpc"]["cluster_name"] = json!("ext_authz");
    let envoy = EnvoyBuilder::plain(service.service(), upstream.address)
        .manager(merged)
        .filter(&filter)
        .start()
        .await;
    assert_eq!(Request::get("/").send(envoy.address).await.status, 200);
    let http = service
        .take_one()
        .attributes
        .and_then(|a| a.request)
        .and_then(|r| r.http)
        .unwrap();
    assert!(http.header_map.is_some(), "raw headers are on");
}

/// The JSON Schema that the program prints takes every example that must load, and refuses the unknown key.
#[tokio::test]
async fn the_printed_schema_judges_the_examples_as_the_program_does() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.json");
    let printed = wait::bounded("scopegate schema", async {
        Command::new(env!("CARGO_BIN_EXE_scopegate"))
            .arg("schema")
            .output()
            .expect("the program runs")
    })
    .await;
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    std::fs::write(&schema, &printed.stdout).unwrap();
    for (example, valid) in [("bank", true), ("external", true), ("broken", false)] {
        let file = repository(&format!("tests/examples/{example}/scopegate.yaml"));
        let mut command = Command::new(python_tool("check-jsonschema"));
        let output = command
            .arg("--schemafile")
            .arg(&schema)
            .arg(file)
            .output()
            .expect("check-jsonschema runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            output.status.success(),
            valid,
            "{example}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        if !valid {
            assert!(said.contains("paht"), "the unknown key is named: {said}");
        }
    }
}
