//! What everybody may read: keys and metadata.

use super::*;

#[tokio::test]
async fn case_147_both_documents_stand_at_every_url_shape_and_name_their_issuer() {
    let (_test, router) = bank().await;
    let issuer = "https://127.0.0.1:8443/oauth2/transfers";
    for document in ["oauth-authorization-server", "openid-configuration"] {
        let suffix = fetch(&router, &format!("/oauth2/transfers/.well-known/{document}")).await;
        let insert = fetch(&router, &format!("/.well-known/{document}/oauth2/transfers")).await;
        assert_eq!(suffix.status, 200);
        assert_eq!(suffix.body, insert.body);
        assert_eq!(suffix.header(header::ACCESS_CONTROL_ALLOW_ORIGIN), Some("*"));
        assert_eq!(suffix.header(header::CACHE_CONTROL), Some("public, max-age=300"));
        let body = suffix.json();
        assert_eq!(body["issuer"], issuer);
        for (name, path) in [
            ("token_endpoint", "token"),
            ("jwks_uri", "keys"),
            ("revocation_endpoint", "revoke"),
            ("introspection_endpoint", "introspect"),
            ("registration_endpoint", "clients"),
        ] {
            assert_eq!(body[name], format!("{issuer}/v1/{path}"));
        }
        let proving = json!([
            "client_secret_basic",
            "client_secret_post",
            "client_secret_jwt",
            "private_key_jwt"
        ]);
        let mut methods = proving.clone();
        methods.as_array_mut().expect("a list").insert(0, json!("none"));
        let signing = json!([
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512"
        ]);
        for (name, expected) in [
            ("grant_types_supported", json!(["client_credentials", "refresh_token"])),
            ("response_types_supported", json!([])),
            ("token_endpoint_auth_methods_supported", methods.clone()),
            ("token_endpoint_auth_signing_alg_values_supported", signing.clone()),
            ("revocation_endpoint_auth_methods_supported", methods),
            ("revocation_endpoint_auth_signing_alg_values_supported", signing.clone()),
            ("introspection_endpoint_auth_methods_supported", proving),
            ("introspection_endpoint_auth_signing_alg_values_supported", signing),
            ("introspection_signing_alg_values_supported", json!(["ES256"])),
            (
                "dpop_signing_alg_values_supported",
                json!(["ES256", "ES384", "EdDSA", "PS256", "PS384", "PS512"]),
            ),
            ("tls_client_certificate_bound_access_tokens", json!(false)),
        ] {
            assert_eq!(body[name], expected, "{name}");
        }
    }
}

#[tokio::test]
async fn case_147_attack_f34_a_grant_that_is_not_listed_is_refused() {
    let (_test, router) = bank().await;
    let body = fetch(&router, "/oauth2/transfers/.well-known/oauth-authorization-server")
        .await
        .json();
    let listed = body["grant_types_supported"].as_array().expect("a list").clone();
    for grant in crate::oauth::grant::GrantType::ALL {
        let name = grant.wire_name();
        if listed.contains(&json!(name)) {
            continue;
        }
        let request = format!("grant_type={name}&client_id=nightly-batch&client_secret=secret&scope=transfers:read");
        let (status, error, _) = send(&router, post(TOKEN, request)).await.error();
        assert_eq!(status, 400);
        assert!(
            matches!(error.as_str(), "unsupported_grant_type" | "unauthorized_client"),
            "{name}: {error}"
        );
    }
}

#[tokio::test]
async fn case_147_every_listed_endpoint_answers() {
    let (_test, router) = bank().await;
    let body = fetch(&router, "/oauth2/transfers/.well-known/openid-configuration")
        .await
        .json();
    for (name, value) in body.as_object().expect("an object") {
        let Some(url) = value
            .as_str()
            .filter(|value| name.ends_with("_endpoint") || value.contains("/v1/"))
        else {
            continue;
        };
        let path = url
            .strip_prefix("https://127.0.0.1:8443")
            .expect("below the public URL");
        assert_ne!(fetch(&router, path).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_public_url_with_a_path_moves_every_endpoint_below_it() {
    let test = TestIssuer::start().await;
    let mut moved = settings(quick_bank());
    moved.public_url = url::Url::parse("https://bank.example/auth/").expect("a URL");
    test.issuer.reload(&moved).await.expect("taken over");
    let router = router(Arc::clone(&test.issuer));
    for path in [
        "/auth/oauth2/transfers/.well-known/openid-configuration",
        "/.well-known/openid-configuration/auth/oauth2/transfers",
    ] {
        let answer = fetch(&router, path).await;
        assert_eq!(
            answer.json()["issuer"],
            "https://bank.example/auth/oauth2/transfers",
            "{path}"
        );
    }
    assert_eq!(fetch(&router, "/oauth2/transfers/v1/keys").await.status, 404);
}

#[tokio::test]
async fn keys_are_cacheable_and_a_known_entity_tag_is_answered_without_them() {
    let (_test, router) = bank().await;
    let path = "/oauth2/transfers/v1/keys";
    let answer = fetch(&router, path).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("public, max-age=300"));
    let etag = answer.header(header::ETAG).expect("an entity tag").to_owned();
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let request = Request::get(path)
            .header(header::IF_NONE_MATCH, &known)
            .body(Body::empty())
            .expect("a request");
        let again = send(&router, request).await;
        assert_eq!((again.status.as_u16(), again.body.as_str()), (304, ""), "{known}");
        assert_eq!(again.header(header::ETAG), Some(etag.as_str()));
    }
    let request = Request::get(path)
        .header(header::IF_NONE_MATCH, "\"other\"")
        .body(Body::empty())
        .expect("a request");
    assert_eq!(send(&router, request).await.status, 200);
}

#[tokio::test]
async fn case_157_what_does_not_exist_is_404_in_json() {
    let (_test, router) = bank().await;
    for path in [
        "/",
        "/oauth2",
        "/oauth2/nowhere/v1/keys",
        "/oauth2/nowhere/.well-known/openid-configuration",
        "/oauth2/%ff/v1/keys",
        "/oauth2/transfers/v1/authorize",
    ] {
        let answer = fetch(&router, path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"], "not_found", "{path}");
    }
    for path in ["/oauth2/nowhere/v1/token", "/oauth2/nowhere/v1/revoke"] {
        assert_eq!(send(&router, post(path, BATCH)).await.status, 404, "{path}");
    }
}
