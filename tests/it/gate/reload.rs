//! Reload: whole or not at all, and no request notices.

use serde_json::json;

use super::drain::Load;
use super::stage::{LAB, Lab, strict};
use crate::support::wait;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edge_o03_reloading_under_load_fails_no_request() {
    let lab = Lab::start().await;
    let load = Load::start(lab.envoy.address, &strict("/items").bearer(&lab.reader()).bytes(), 4);
    for round in 0..20 {
        let config = LAB.replace(
            "{ path: /public,",
            &format!("{{ path: /round/{round}, GET: public }}\n      - {{ path: /public,"),
        );
        lab.gate.rewrite_config(&config);
        lab.gate.signal("HUP");
        wait::until("the new route is open", || async {
            (strict(format!("/round/{round}")).send(lab.envoy.address).await.status == 200).then_some(())
        })
        .await;
    }
    load.more(100).await;
    let failures = load.end().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(
        lab.ask(&strict("/round/0")).await.status,
        403,
        "the first round's route is gone"
    );
}

#[tokio::test]
async fn a_changed_file_is_loaded_without_a_signal() {
    let lab = Lab::start().await;
    assert_eq!(lab.ask(&strict("/new")).await.status, 403);
    lab.gate.rewrite_config(&LAB.replace("path: /public,", "path: /new,"));
    wait::until("the new route is open", || async {
        (strict("/new").send(lab.envoy.address).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn edge_o03_a_broken_file_keeps_the_last_good_one_and_says_where_it_breaks() {
    let lab = Lab::start().await;
    let broken = LAB.replace(
        "\"lab:read\" }\n      - { path: /fresh",
        "\"lab:raed\" }\n      - { path: /fresh",
    );
    assert_ne!(broken, LAB);
    let line = broken.lines().position(|line| line.contains("lab:raed")).unwrap() + 1;
    lab.gate.rewrite_config(&broken);
    lab.gate.signal("HUP");
    wait::until("the gate says what is wrong", || async {
        let output = lab.gate.output();
        (output.contains("lab:raed") && output.contains(&format!("scopegate.yaml:{line}:"))).then_some(())
    })
    .await;
    assert_eq!(lab.ask(&strict("/items").bearer(&lab.reader())).await.status, 200);
    assert_eq!(lab.ask(&strict("/chat").bearer(&lab.reader())).await.status, 200);

    lab.gate.rewrite_config(&LAB.replace("path: /public,", "path: /new,"));
    lab.gate.signal("HUP");
    wait::until("a good file is loaded again", || async {
        (strict("/new").send(lab.envoy.address).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn attack_c10_attack_c03_a_verdict_of_the_old_policy_is_not_served_by_the_new_one() {
    let lab = Lab::start().await;
    let token = lab.reader();
    assert_eq!(lab.ask(&strict("/items").bearer(&token)).await.status, 200);
    lab.gate.rewrite_config(&LAB.replace(
        "- { path: /items, GET: \"lab:read\",",
        "- { path: /items, GET: \"lab:write\",",
    ));
    lab.gate.signal("HUP");
    wait::until("the new requirement holds", || async {
        let reply = strict("/items").bearer(&token).send(lab.envoy.address).await;
        (reply.status == 403).then_some(reply)
    })
    .await;
    let changed = lab.server.token(&json!({ "scope": "lab:write" }));
    assert_eq!(lab.ask(&strict("/items").bearer(&changed)).await.status, 200);
}

#[tokio::test]
async fn attack_b07_a_key_that_left_the_file_is_dead() {
    let lab = Lab::start().await;
    let token = lab.reader();
    assert_eq!(lab.ask(&strict("/items").bearer(&token)).await.status, 200);
    let other = crate::support::tokens::Server::new("lab");
    lab.gate.rewrite("lab.jwks.json", other.jwks().to_string());
    lab.gate.signal("HUP");
    wait::until("the new key counts", || async {
        let token = other.token(&json!({ "scope": "lab:read" }));
        (strict("/items").bearer(&token).send(lab.envoy.address).await.status == 200).then_some(())
    })
    .await;
    let old = lab.ask(&strict("/items").bearer(&token)).await;
    assert_eq!((old.status, &old.json()["reason"]), (401, &json!("invalid_token")));
}

#[tokio::test]
async fn what_only_a_restart_can_change_is_named_and_the_rest_is_in_force() {
    let lab = Lab::start().await;
    let changed = LAB
        .replace("127.0.0.1:9464", "127.0.0.1:1")
        .replace("path: /public,", "path: /new,");
    assert_ne!(changed, LAB);
    lab.gate.rewrite_config(&changed);
    wait::until("the log names the listeners", || async {
        lab.gate
            .output()
            .contains("`listeners` has changed, and waits for a restart")
            .then_some(())
    })
    .await;
    assert_eq!(lab.ask(&strict("/new")).await.status, 200);
}

#[tokio::test]
async fn edge_c10_an_authorization_header_that_never_comes_is_told_once() {
    const TOLD: &str = "no check has had an Authorization header yet";
    let lab = Lab::start().await;
    for _ in 0..120 {
        assert_eq!(lab.ask(&strict("/items")).await.status, 401);
    }
    wait::until("the log tells", || async {
        lab.gate.output().contains(TOLD).then_some(())
    })
    .await;
    assert_eq!(lab.gate.output().matches(TOLD).count(), 1);
    let other = Lab::start().await;
    assert_eq!(other.ask(&strict("/items").bearer(&other.reader())).await.status, 200);
    for _ in 0..120 {
        assert_eq!(other.ask(&strict("/items")).await.status, 401);
    }
    assert!(!other.gate.output().contains(TOLD), "one has come");
}
