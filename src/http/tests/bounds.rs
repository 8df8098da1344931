//! What no request may do, whatever it holds.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::oauth::request::FORM_BYTES_MAX;

#[tokio::test]
async fn case_060_attack_f39_the_query_is_no_place_for_parameters_and_get_no_method() {
    let (_test, router) = bank().await;
    for query in ["client_secret=secret", "grant_type=client_credentials", "x=1"] {
        let answer = send(&router, post(&format!("{TOKEN}?{query}"), BATCH)).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned(), "parameters_in_query".to_owned()),
            "{query}"
        );
    }
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let request = Request::builder()
            .method(method.clone())
            .uri(format!("{TOKEN}?{BATCH}"))
            .body(Body::empty())
            .expect("a request");
        let answer = send(&router, request).await;
        assert_eq!(answer.error().0, 405, "{method}");
        assert_eq!(answer.header(header::ALLOW), Some("POST"), "{method}");
    }
}

#[tokio::test]
async fn case_080_attack_f39_odd_forms_and_floods_are_refused_in_bounded_time() {
    let (_test, router) = bank().await;
    let many = (0..200)
        .map(|index| format!("p{index}=1"))
        .collect::<Vec<_>>()
        .join("&");
    let rows: [(Vec<u8>, u16, &str); 7] = [
        (
            format!("{BATCH}&scope=transfers:read").into_bytes(),
            400,
            "duplicate_oauth_params",
        ),
        (
            format!("{BATCH}&extra=1&extra=2").into_bytes(),
            400,
            "duplicate_oauth_params",
        ),
        (format!("{BATCH}&x=%ff").into_bytes(), 400, "unreadable_form"),
        (format!("{BATCH}&x=%00").into_bytes(), 400, "unreadable_form"),
        ([BATCH.as_bytes(), b"&x=\xff"].concat(), 400, "unreadable_form"),
        (many.into_bytes(), 400, "too_many_parameters"),
        (vec![b'a'; 1024 * 1024], 413, "request_too_large"),
    ];
    for (body, status, code) in rows {
        let answer = send(&router, post(TOKEN, body)).await;
        assert_eq!(answer.error(), (status, "invalid_request".to_owned(), code.to_owned()));
    }
    assert_eq!(
        send(&router, post(TOKEN, format!("{BATCH}&unknown=1"))).await.status,
        200,
        "case 16"
    );
}

#[tokio::test]
async fn attack_e10_a_body_without_end_is_read_to_its_bound_and_no_further() {
    let (_test, router) = bank().await;
    let chunk = [b'a'; 1024];
    let sent = Arc::new(AtomicUsize::new(0));
    for length in [None, Some("10000000000")] {
        sent.store(0, Ordering::Relaxed);
        let count = Arc::clone(&sent);
        let endless = std::iter::repeat_with(move || {
            count.fetch_add(chunk.len(), Ordering::Relaxed);
            Ok::<_, std::io::Error>(bytes::Bytes::copy_from_slice(&chunk))
        });
        let mut request = post(TOKEN, Body::from_stream(tokio_stream::iter(endless)));
        if let Some(length) = length {
            let value = length.parse().expect("a header value");
            request.headers_mut().insert(header::CONTENT_LENGTH, value);
        }
        let answer = send(&router, request).await;
        assert_eq!(answer.error().0, 413, "{length:?}");
        let read = sent.load(Ordering::Relaxed);
        assert!(
            read <= FORM_BYTES_MAX + chunk.len(),
            "{length:?}: {read} bytes were read"
        );
    }
}

#[tokio::test]
async fn attack_e12_forms_that_abuse_their_shape_are_refused() {
    let (_test, router) = bank().await;
    let parameters = |count: usize| {
        (0..count)
            .map(|index| format!("p{index}=1"))
            .collect::<Vec<_>>()
            .join("&")
    };
    let twice = BATCH
        .split('&')
        .flat_map(|pair| [pair, pair])
        .collect::<Vec<_>>()
        .join("&");
    let rows = [
        ("a hundred thousand parameters", parameters(100_000), 413),
        ("as many as fit", "a&".repeat(FORM_BYTES_MAX / 2), 400),
        ("each parameter twice", twice, 400),
        (
            "a name of a mebibyte",
            format!("{BATCH}&{}=1", "n".repeat(1 << 20)),
            413,
        ),
    ];
    for (name, body, status) in rows {
        let (answered, error, _) = send(&router, post(TOKEN, body)).await.error();
        assert_eq!((answered, error.as_str()), (status, "invalid_request"), "{name}");
    }
}

#[tokio::test]
async fn attack_f26_no_header_changes_the_issuer() {
    let (test, router) = bank().await;
    let evil = |request: axum::http::request::Builder| {
        request
            .header(header::HOST, "evil.example")
            .header("x-forwarded-host", "evil.example")
            .header("x-forwarded-proto", "http")
            .header("forwarded", "host=evil.example")
    };
    let request = evil(Request::post(TOKEN))
        .header(header::CONTENT_TYPE, FORM)
        .body(Body::from(BATCH))
        .expect("a request");
    let answer = send(&router, request).await;
    let claims = test
        .verified("transfers", answer.json()["access_token"].as_str().expect("a token"))
        .expect("verifies");
    assert_eq!(claims.map()["iss"], "https://127.0.0.1:8443/oauth2/transfers");
    let path = "/oauth2/transfers/.well-known/openid-configuration";
    let answer = send(
        &router,
        evil(Request::get(path)).body(Body::empty()).expect("a request"),
    )
    .await;
    assert!(!answer.body.contains("evil.example"), "{}", answer.body);
}

#[tokio::test]
async fn attack_f45_quotes_in_every_field_are_values_to_the_database() {
    use crate::store::Store as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("test.db");
    let store = Arc::new(crate::store::sqlite::SqliteStore::open(&path).await.expect("opens"));
    let sealing = Arc::new(crate::store::seal::SealingKey::generate().0);
    let test = TestIssuer::on(quick_bank(), store.clone(), sealing)
        .await
        .expect("starts");
    let router = router(Arc::clone(&test.issuer));
    let odd = "%27%3B+DROP+TABLE+signing_key%3B+--";
    for body in [
        format!("grant_type={odd}&client_id=nightly-batch&client_secret=secret"),
        format!("grant_type=client_credentials&client_id={odd}&client_secret={odd}"),
        format!("grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope={odd}"),
    ] {
        let answer = send(&router, post(TOKEN, body.clone())).await;
        assert!(answer.status.is_client_error(), "{body}");
    }
    let records: Vec<_> = test.records.audit.lock().clone();
    store.append_audit(&records).await.expect("writes");
    let denied = records[2].error_id.as_deref().expect("an id");
    assert_eq!(store.audit_of_error(denied).await.expect("reads"), [records[2].clone()]);
    let keys = store
        .keys(&crate::oauth::sample::server_id("transfers"))
        .await
        .expect("reads");
    assert_eq!(keys.len(), 2);
}

#[tokio::test]
async fn attack_f24_every_answer_has_the_security_headers() {
    let (_test, router) = bank().await;
    let answers = [
        fetch(&router, "/oauth2/transfers/v1/keys").await,
        fetch(&router, "/nowhere").await,
        send(&router, post(TOKEN, "")).await,
    ];
    for answer in answers {
        assert_eq!(answer.header(header::X_CONTENT_TYPE_OPTIONS), Some("nosniff"));
        assert_eq!(answer.header(header::REFERRER_POLICY), Some("no-referrer"));
        assert!(
            answer
                .header(header::CONTENT_SECURITY_POLICY)
                .is_some_and(|value| value.contains("frame-ancestors 'none'"))
        );
        assert!(answer.header(header::STRICT_TRANSPORT_SECURITY).is_some());
    }
}

#[tokio::test]
async fn more_requests_than_the_limit_are_told_to_come_back() {
    let test = TestIssuer::start().await;
    let limits = Limits {
        concurrent_requests_max: 0,
        ..Limits::default()
    };
    let answer = fetch(&router_with(test.issuer, limits), "/oauth2/transfers/v1/keys").await;
    assert_eq!(
        answer.error(),
        (503, "temporarily_unavailable".to_owned(), "overloaded".to_owned())
    );
    assert_eq!(answer.header(header::RETRY_AFTER), Some("1"));
}

#[tokio::test]
async fn a_panic_is_an_answer_and_the_next_request_is_served() {
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    async fn panics() -> &'static str {
        panic!("on purpose")
    }
    let guard = crate::http::guard::Guard::new(Limits::default());
    let router = Router::new()
        .route("/panic", get(panics))
        .route("/fine", get(|| async { "fine" }))
        .layer(from_fn_with_state(guard, crate::http::guard::run));
    assert_eq!(
        fetch(&router, "/panic").await.error(),
        (500, "server_error".to_owned(), "internal".to_owned())
    );
    assert_eq!(fetch(&router, "/fine").await.status, 200);
}

#[tokio::test]
async fn what_a_client_has_begun_is_done_whole_although_it_hangs_up_or_its_time_is_over() {
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    for request_timeout in [Duration::from_millis(5), Duration::from_secs(60)] {
        let (begun, go_on, done) = (
            Arc::new(tokio::sync::Notify::new()),
            Arc::new(tokio::sync::Notify::new()),
            Arc::new(tokio::sync::Notify::new()),
        );
        let slow = {
            let (begun, go_on, done) = (Arc::clone(&begun), Arc::clone(&go_on), Arc::clone(&done));
            move || async move {
                begun.notify_one();
                go_on.notified().await;
                done.notify_one();
            }
        };
        let limits = Limits {
            concurrent_requests_max: 1,
            request_timeout,
            ..Limits::default()
        };
        let guard = crate::http::guard::Guard::new(limits);
        let router = Router::new()
            .route("/slow", get(slow))
            .layer(from_fn_with_state(guard, crate::http::guard::run));
        let request = Request::get("/slow").body(Body::empty()).expect("a request");
        tokio::select! {
            answer = send(&router, request) => assert_eq!(answer.status, 503),
            () = async {
                begun.notified().await;
                // Longer than the short deadline, and nothing beside the long one.
                tokio::time::sleep(Duration::from_millis(200)).await;
            } => assert_eq!(request_timeout.as_secs(), 60),
        }
        // It still counts.
        assert_eq!(fetch(&router, "/slow").await.status, 503);
        go_on.notify_one();
        done.notified().await;
    }
}

#[tokio::test]
async fn a_body_that_never_comes_ends_with_its_deadline() {
    let test = TestIssuer::start().await;
    let limits = Limits {
        body_timeout: Duration::from_millis(1),
        ..Limits::default()
    };
    let router = router_with(test.issuer, limits);
    let never = Body::from_stream(tokio_stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = send(&router, post(TOKEN, never)).await;
    assert_eq!(
        answer.error(),
        (408, "invalid_request".to_owned(), "body_timeout".to_owned())
    );
}
