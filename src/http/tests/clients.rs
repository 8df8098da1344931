//! What of a request's head reaches the issuer: proofs, certificates, and how an answer is wanted.

use axum::http::HeaderName;

use super::*;
use crate::jose::alg::Algorithm;
use crate::jose::forge::{forge, key};
use crate::model::certificate::ClientCertificate;
use crate::model::location::Located;
use crate::oauth::declared::{AuthenticationMethod, TlsSubject};
use crate::oauth::sample::texts;

const INTROSPECT: &str = "/oauth2/transfers/v1/introspect";

fn proof(jti: &str, nonce: Option<&str>) -> String {
    let signer = key(Algorithm::Es256);
    let mut jwk = signer.public_jwk();
    jwk.as_object_mut().expect("a key").remove("alg");
    let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
    let mut claims = json!({
        "htm": "POST", "htu": "https://127.0.0.1:8443/oauth2/transfers/v1/token", "jti": jti,
        "iat": crate::issuer::fixture::NOW,
    });
    if let Some(nonce) = nonce {
        claims["nonce"] = json!(nonce);
    }
    forge(signer, &header.to_string(), &claims.to_string())
}

fn with_headers(mut request: Request<Body>, headers: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    request
}

#[tokio::test]
async fn case_126_case_127_a_proof_in_the_head_binds_the_token_and_two_are_refused() {
    let (_test, router) = bank().await;
    let (one, two, three) = (proof("1", None), proof("2", None), proof("3", None));
    let answer = send(&router, with_headers(post(TOKEN, BATCH), &[("DPOP", &one)])).await;
    assert_eq!(answer.json()["token_type"], "DPoP", "{}", answer.body);
    assert!(answer.headers.get("dpop-nonce").is_none());
    let twice = with_headers(post(TOKEN, BATCH), &[("dpop", &two), ("DPoP", &three)]);
    let refused = (400, "invalid_dpop_proof".to_owned(), "dpop_multiple_headers".to_owned());
    assert_eq!(send(&router, twice).await.error(), refused);
}

#[tokio::test]
async fn case_129_a_nonce_comes_with_the_refusal_and_with_the_token() {
    let mut declaration = quick_bank();
    declaration.servers[0].options.dpop_nonce_required = true;
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let refused = send(
        &router,
        with_headers(post(TOKEN, BATCH), &[("dpop", &proof("1", None))]),
    )
    .await;
    assert_eq!(refused.error().1, "use_dpop_nonce");
    let nonce = refused.headers["dpop-nonce"].to_str().expect("text").to_owned();
    let granted = with_headers(post(TOKEN, BATCH), &[("dpop", &proof("1", Some(&nonce)))]);
    let granted = send(&router, granted).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
    assert_eq!(granted.headers["dpop-nonce"].to_str().expect("text"), nonce);
}

#[tokio::test]
async fn case_076_a_certificate_comes_from_the_connection_and_from_no_header() {
    let mut made = rcgen::CertificateParams::new(vec!["batch.bank.example".to_owned()]).expect("a name");
    made.not_before = rcgen::date_time_ymd(2020, 1, 1);
    made.not_after = rcgen::date_time_ymd(2099, 1, 1);
    let made = made
        .self_signed(&rcgen::KeyPair::generate().expect("a key"))
        .expect("a certificate");
    let mut declaration = quick_bank();
    let batch = &mut declaration.clients[2];
    batch.secrets.clear();
    batch.options.authentication = Some(Located::nowhere(AuthenticationMethod::TlsClientAuth));
    batch.options.tls_subject = Some(TlsSubject::SanDns("batch.bank.example".to_owned()));
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let body = "grant_type=client_credentials&client_id=nightly-batch&scope=transfers:read";

    let pem: String = url::form_urlencoded::byte_serialize(made.pem().as_bytes()).collect();
    let xfcc = format!("Cert=\"{pem}\"");
    let headers = [
        ("x-forwarded-client-cert", xfcc.as_str()),
        ("ssl-client-cert", pem.as_str()),
        ("client-cert", pem.as_str()),
    ];
    let spoofed = send(&router, with_headers(post(TOKEN, body), &headers)).await;
    assert_eq!(spoofed.error().1, "invalid_client");

    let mut request = post(TOKEN, body);
    request.extensions_mut().insert(ClientCertificate {
        der: Arc::from(made.der().as_ref()),
        is_vouched_for: true,
    });
    let granted = send(&router, request).await;
    assert_eq!(granted.status, 200, "{}", granted.body);
}

#[tokio::test]
async fn case_111_case_112_attack_f38_introspection_answers_json_or_a_jwt_and_is_kept_by_nobody() {
    let mut declaration = quick_bank();
    let mut api = client("api", ClientKind::Service, &["client_credentials"]);
    api.options.audiences = texts(&["*"]);
    declaration.clients.push(api);
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let token = minted(&router).await;
    let body = format!("token={token}&token_type_hint=refresh_token");
    let ask =
        |headers: &[(&str, &str)]| with_headers(post_with(INTROSPECT, &[&basic("api", "secret")], &body), headers);
    let answer = send(&router, ask(&[])).await;
    assert_eq!(
        (answer.status, answer.json()["active"].clone()),
        (StatusCode::OK, json!(true))
    );
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
    assert_eq!(answer.header(header::CONTENT_TYPE), Some("application/json"));
    let signed = send(&router, ask(&[("accept", "application/token-introspection+jwt")])).await;
    assert_eq!(
        signed.header(header::CONTENT_TYPE),
        Some("application/token-introspection+jwt")
    );
    assert_eq!(signed.header(header::CACHE_CONTROL), Some("no-store"));
    assert_eq!(signed.body.split('.').count(), 3);
    let unknown = send(&router, post_with(INTROSPECT, &[&basic("api", "secret")], "token=x")).await;
    assert_eq!(unknown.json(), json!({ "active": false }));
    let nobody = send(&router, post_with(INTROSPECT, &[&basic("api", "wrong")], &body)).await;
    assert_eq!(nobody.error().0, 401);
    assert!(nobody.header(header::WWW_AUTHENTICATE).is_some());
    let get = Request::get(format!("{INTROSPECT}?token={token}"))
        .body(Body::empty())
        .expect("a request");
    assert_eq!(send(&router, get).await.status, 405);
}

#[tokio::test]
async fn case_079_attack_f37_only_pages_of_a_registered_app_may_read_answers() {
    let mut declaration = quick_bank();
    let mut app = client("app", ClientKind::Browser, &["authorization_code"]);
    app.redirect_uris = texts(&["https://app.example/cb", "http://127.0.0.1:3000/cb"]);
    declaration.clients.push(app);
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    let preflight = |origin: &str| {
        let request = Request::options(TOKEN)
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "dpop,content-type");
        request.body(Body::empty()).expect("a request")
    };
    let wrong = "grant_type=client_credentials&client_id=nightly-batch&client_secret=wrong";
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://127.0.0.1:3000", true),
        ("null", false),
        ("http://app.example", false),
        ("https://sub.app.example", false),
        ("https://app.example:444", false),
        ("https://app.example.evil.example", false),
        ("https://quickbooks.example", false),
        ("https://APP.example", false),
        ("*", false),
        ("", false),
    ] {
        let asked = send(&router, preflight(origin)).await;
        let methods = asked.header(header::ACCESS_CONTROL_ALLOW_METHODS).is_some();
        assert_eq!((asked.status, methods), (StatusCode::NO_CONTENT, allowed), "{origin}");
        // An answer that is an error can be read too: an app has to see why.
        for (request, status) in [(post(TOKEN, BATCH), 200), (post(TOKEN, wrong), 401)] {
            let answer = send(&router, with_headers(request, &[("origin", origin)])).await;
            assert_eq!(answer.status, status);
            let readable = answer.header(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(readable, allowed.then_some(origin), "{origin}");
            assert_eq!(answer.header(header::VARY), Some("origin"));
            assert!(answer.header(header::ACCESS_CONTROL_ALLOW_CREDENTIALS).is_none());
        }
    }
    let plain = send(&router, post(TOKEN, BATCH)).await;
    assert!(plain.header(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
}
