//! What a denial looks like from outside.

use super::stage::{Lab, problem, strict};
use crate::support::http1::Request;
use crate::support::wait;

#[tokio::test]
async fn edge_e21_edge_d08_attack_d26_a_denial_reflects_nothing_of_the_request() {
    let lab = Lab::start().await;
    let canary = "c4n4ry";
    let requests = [
        strict(format!("/{canary}")),
        strict(format!("/items?x=<script>{canary}</script>")),
        strict("/items").header("X-Name", canary).header("User-Agent", canary),
        Request::get("/public").host(format!("{canary}.example")),
        strict("/items").bearer(canary),
    ];
    for request in requests {
        let reply = lab.ask(&request).await;
        assert!(reply.status >= 400);
        let problem = problem(&reply);
        assert!(problem["title"].is_string(), "{problem}");
        assert!(reply.body.len() <= 1024);
        let whole = format!("{:?}{}", reply.headers, reply.text()).to_lowercase();
        assert!(!whole.contains(canary), "{request:?} came back in {whole}");
    }
}

#[tokio::test]
async fn edge_d09_a_hidden_api_answers_alike_for_what_is_not_there() {
    let lab = Lab::start().await;
    let get = |path: &str| Request::get(path).host("careful.example");
    let (unknown_path, unknown_verb) = (
        lab.ask(&get("/nothing")).await,
        lab.ask(&Request::new("DELETE", "/items").host("careful.example")).await,
    );
    assert_eq!((unknown_path.status, unknown_verb.status), (404, 404));
    let shown = |reply: &crate::support::http1::Reply| {
        let mut problem = problem(reply);
        problem["decision_id"] = serde_json::Value::Null;
        problem
    };
    assert_eq!(shown(&unknown_path), shown(&unknown_verb));
    assert_eq!(lab.ask(&strict("/nothing")).await.status, 403);
}

#[tokio::test]
async fn edge_o12_the_same_request_gets_the_same_answer_but_for_its_id() {
    let lab = Lab::start().await;
    let request = strict("/items");
    let (first, second) = (lab.ask(&request).await, lab.ask(&request).await);
    let (first, second) = (problem(&first), problem(&second));
    assert_ne!(first["decision_id"], second["decision_id"]);
    assert_eq!(first["reason"], second["reason"]);
    assert_eq!(first["title"], second["title"]);
}

#[tokio::test]
async fn attack_e18_edge_o06_a_token_comes_out_nowhere() {
    let lab = Lab::start().await;
    let good = lab.reader();
    let signature = good.rsplit('.').next().unwrap().to_owned();
    lab.ask(&strict("/items").bearer(&good)).await;
    lab.ask(&strict("/closed").bearer(&good)).await;
    lab.ask(&strict("/items?access_token=c4n4ryquery").bearer(&good)).await;
    lab.ask(&strict("/items").bearer("c4n4rytoken")).await;
    lab.ask(&strict("/items").header("Authorization", "Basic c4n4rybasic"))
        .await;
    lab.ask(&strict("/items").header("Cookie", "session=c4n4rycookie"))
        .await;
    wait::until("each decision is logged", || async {
        (lab.gate.decisions().len() >= 6).then_some(())
    })
    .await;
    let metrics = lab.gate.telemetry("/metrics").await.text();
    let log = lab.gate.output();
    let envoys: String = lab
        .envoy
        .access_log(6)
        .await
        .iter()
        .map(|line| line["ext_authz"].to_string())
        .collect();
    for secret in [signature.as_str(), "c4n4ry"] {
        for (channel, text) in [("the metrics", &metrics), ("the log", &log), ("the metadata", &envoys)] {
            assert!(!text.contains(secret), "{secret} came out in {channel}");
        }
    }
}
