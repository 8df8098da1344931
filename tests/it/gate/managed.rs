//! An authorization server that is made over the management API while the gate runs: from the moment of a change on,
//! the next check follows it, without a restart or a reload.

use serde_json::json;

use crate::support::envoy::EnvoyBuilder;
use crate::support::http1::{Reply, Request};
use crate::support::managed::{Team, with_payments};
use crate::support::scopegate::{ScopegateBuilder, bank};
use crate::support::upstream::Upstream;
use crate::support::wait;

fn refused(reply: &Reply, why: &str) {
    assert_eq!(
        (reply.status, &reply.json()["reason"]),
        (401, &json!("invalid_token")),
        "{why}: {}",
        reply.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_made_over_the_api_is_believed_from_the_next_check_on_and_dies_at_once() {
    let file = with_payments(&bank(), "{ id: payments, managed: true }");
    let gate = ScopegateBuilder::new(&file).start().await;
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let get = async |token: &str| Request::get("/payments").bearer(token).send(envoy.address).await;
    assert!(
        gate.output()
            .contains("there is no active managed authorization server named `payments`"),
        "{}",
        gate.output()
    );
    refused(&get(&gate.mint().await).await, "nobody vouches yet");
    let transfers = Request::get("/transfers").bearer(&gate.mint().await);
    assert_eq!(
        transfers.send(envoy.address).await.status,
        200,
        "others are not held up"
    );

    let team = Team::new(&gate);
    let product = team.make("payments");
    let first = product.mint(&gate, "payments:read").await;
    let reply = get(&first).await;
    assert_eq!(reply.status, 200, "{}\n{}", reply.text(), gate.output());
    refused(
        &get(&gate.mint().await).await,
        "a token of another server of ours is none here",
    );
    let other = Request::get("/transfers").bearer(&first).send(envoy.address).await;
    refused(&other, "nor is this one elsewhere");

    // Its keys rotate, and both keys count.
    team.run(&["keys", "rotate", &product.server]);
    let second = product.mint(&gate, "payments:read").await;
    assert_eq!((get(&second).await.status, get(&first).await.status), (200, 200));

    // A scope that comes later opens the route that has been waiting for it.
    team.run(&["servers", "add-scope", &product.server, "payments:write"]);
    team.allow(&product, "By day", "payments:write");
    let write = product.mint(&gate, "payments:write").await;
    assert_eq!(
        Request::post("/payments")
            .bearer(&write)
            .send(envoy.address)
            .await
            .status,
        200
    );
    let short = get(&write).await;
    assert_eq!(
        (short.status, &short.json()["reason"]),
        (403, &json!("insufficient_scope"))
    );

    // Another audience: what was minted for the old one is no good any more.
    team.change(&product.server, |server| {
        server["audiences"] = json!(["https://api.bank.example/payments/v2"]);
    });
    refused(&get(&second).await, "it is for another audience");
    let third = product.mint(&gate, "payments:read").await;
    assert_eq!(get(&third).await.status, 200);

    // A reload of the file changes nothing.
    gate.rewrite_config(&format!("{file}\n# the same\n"));
    wait::until("the file is read again", || async {
        gate.output().contains("is in force").then_some(())
    })
    .await;
    assert_eq!(get(&third).await.status, 200);

    team.run(&["servers", "deactivate", &product.server]);
    refused(&get(&third).await, "it is inactive");
    team.run(&["servers", "activate", &product.server]);
    refused(&get(&third).await, "what was dead stays dead");
    let fourth = product.mint(&gate, "payments:read").await;
    assert_eq!(get(&fourth).await.status, 200);

    // The file names it: under another name it is not the one that the file means.
    team.change(&product.server, |server| server["name"] = json!("invoices"));
    refused(&get(&fourth).await, "it has another name");
    let heir = team.make("payments");
    let fifth = heir.mint(&gate, "payments:read").await;
    assert_eq!(get(&fifth).await.status, 200);
    refused(&get(&fourth).await, "another server has the name");

    team.run(&["servers", "deactivate", &heir.server]);
    team.run(&["servers", "delete", &heir.server]);
    refused(&get(&fifth).await, "it is deleted");
    assert!(
        gate.output().contains("`payments` is gone or inactive"),
        "{}",
        gate.output()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_the_file_names_by_its_identifier_is_that_one_under_every_name() {
    let gate = ScopegateBuilder::new(&bank()).start().await;
    let team = Team::new(&gate);
    let product = team.make("anything");
    let named = format!("{{ id: payments, managed: true, server_id: {} }}", product.server);
    gate.rewrite_config(&with_payments(&bank(), &named));
    let upstream = Upstream::start().await;
    let envoy = EnvoyBuilder::recommended(gate.service(), upstream.address)
        .start()
        .await;
    let token = product.mint(&gate, "payments:read").await;
    let get = async || Request::get("/payments").bearer(&token).send(envoy.address).await;
    wait::until("the file is read again", || async {
        (get().await.status == 200).then_some(())
    })
    .await;
    team.change(&product.server, |server| server["name"] = json!("something else"));
    assert_eq!(get().await.status, 200);
    // The revocation speaks of the server by its own name, not by the one in the file.
    let revoked = gate.https().post(gate.issuer_url(&product.server, "v1/revoke"));
    let revoked = product.sign(revoked).form(&[("token", &token)]).send().await;
    assert_eq!(revoked.expect("it answers").status(), 200);
    refused(&get().await, "it is revoked");
}
