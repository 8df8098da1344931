//! A smoke set on the older Envoys: the meaning of answers has changed between releases, the gate's must not.

use serde_json::json;

use super::stage::{Lab, strict};
use crate::support::h2_client::Client;
use crate::support::http1::Request;
use crate::support::peers::Release;

#[tokio::test]
async fn edge_o10_edge_i01_edge_i02_edge_d03_edge_m09_edge_p06_every_release_gets_the_same_answers() {
    let lab = Lab::start().await;
    let (reader, writer) = (lab.reader(), lab.writer());
    // All of them at once before one gate.
    let mut envoys = Vec::new();
    for release in Release::OLDER.into_iter().chain([Release::V1_40_0]) {
        let raw = json!({ "encode_raw_headers": true, "validate_mutations": true });
        envoys.push((
            release.as_str(),
            lab.another_envoy(|envoy| envoy.release(release).filter(&raw)).await,
        ));
    }
    for (release, envoy) in &envoys {
        let ask = async |request: Request| request.send(envoy.address).await;

        let allowed = ask(strict("/items")
            .bearer(&reader)
            .header("X-Auth-Subject", "admin")
            .header("X_Auth_Subject", "admin"))
        .await;
        assert_eq!(allowed.status, 200, "{release}");
        let seen = lab.upstream.take_one();
        assert_eq!(seen.headers("x-auth-subject"), ["ada"], "{release}");
        assert_eq!(seen.header("x_auth_subject"), None, "{release}");

        let public = ask(strict("/public")
            .header("X-Auth-Subject", "admin")
            .header("X-Auth-Tier", "gold"))
        .await;
        assert_eq!(public.status, 200, "{release}");
        let seen = lab.upstream.take_one();
        assert_eq!(
            (seen.header("x-auth-subject"), seen.header("x-auth-tier")),
            (None, None),
            "{release}"
        );

        let missing = ask(strict("/items")).await;
        assert_eq!(
            (missing.status, missing.header("www-authenticate")),
            (401, Some("Bearer realm=\"strict\"")),
            "{release}"
        );
        assert_eq!(missing.header("cache-control"), Some("no-store"), "{release}");
        let short = ask(strict("/items").bearer(&writer)).await;
        assert_eq!(
            (short.status, &short.json()["reason"]),
            (403, &json!("insufficient_scope")),
            "{release}"
        );
        let twice = ask(strict("/items").bearer(&reader).bearer(&reader)).await;
        assert_eq!(
            (twice.status, &twice.json()["reason"]),
            (400, &json!("invalid_request")),
            "{release}"
        );
        for path in ["/items;x=1", "/files/..;/items", "/files/a%2fb"] {
            assert_eq!(
                ask(strict(path).bearer(&reader)).await.status,
                400,
                "{path} on {release}"
            );
        }

        let both = ask(Request::get("/dpop/1").host("bound.example")).await;
        assert_eq!(both.status, 401, "{release}");
        let challenges = both.headers("www-authenticate").join(", ");
        assert!(challenges.contains("DPoP"), "{release}: {challenges}");

        let client = Client::open(envoy.address).await;
        let call = client.grpc("strict.example", "/lab.v1.Items/List", b"", &[]).await;
        assert_eq!((call.status, call.grpc_status()), (200, Some(16)), "{release}");
        assert_eq!(lab.upstream.count(), 0, "{release}");
    }
}
