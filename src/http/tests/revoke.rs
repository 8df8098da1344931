//! The revocation endpoint.

use super::*;

#[tokio::test]
async fn attack_f13_case_115_case_116_case_117_revocation_at_the_endpoint() {
    let (test, router) = bank().await;
    let token = minted(&router).await;
    let claims = test.verified("transfers", &token).expect("verifies");
    let auth = basic("nightly-batch", "secret");

    assert_eq!(
        send(&router, post(REVOKE, format!("token={token}"))).await.error().0,
        401
    );
    assert_eq!(
        send(
            &router,
            post_with(REVOKE, &[&basic("nightly-batch", "x")], &format!("token={token}"))
        )
        .await
        .error()
        .0,
        401
    );
    assert_eq!(
        send(&router, post_with(REVOKE, &[&auth], "")).await.error().2,
        "missing_parameter"
    );
    // A public client names itself only; it has no token of that other client's.
    assert_eq!(
        send(&router, post(REVOKE, format!("client_id=mobile&token={token}")))
            .await
            .status,
        200
    );
    assert!(!test.is_dead("transfers", &claims));

    for _ in 0..2 {
        let answer = send(
            &router,
            post_with(
                REVOKE,
                &[&auth],
                &format!("token={token}&token_type_hint=refresh_token"),
            ),
        )
        .await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
        assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
        assert!(test.is_dead("transfers", &claims));
    }
    assert_eq!(
        send(&router, post_with(REVOKE, &[&auth], "token=nonsense"))
            .await
            .status,
        200
    );
}
