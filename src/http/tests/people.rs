//! What people's tokens look like on the wire: the answers, the challenges, the paths.

use super::*;
use crate::oauth::declared::RefreshDeclaration;

const USERINFO: &str = "/oauth2/transfers/v1/userinfo";
const DEVICE: &str = "/oauth2/transfers/v1/device/authorize";

async fn world() -> (TestIssuer, Router) {
    let mut declaration = quick_bank();
    declaration.clients.push(client(
        "legacy",
        ClientKind::Native,
        &["authorization_code", "password", "refresh_token", "device_code"],
    ));
    let mut passwords = rule("By password", &["password"], &[], None, 120);
    passwords.refresh_token = Some(RefreshDeclaration {
        lifetime: Duration::from_secs(600),
        idle: None,
    });
    declaration.servers[0]
        .policies
        .push(policy("Legacy", Some(&["legacy"]), vec![passwords]));
    let test = TestIssuer::with(declaration).await;
    let router = router(Arc::clone(&test.issuer));
    (test, router)
}

const SIGN_IN: &str =
    "grant_type=password&client_id=legacy&username=ada@bank.example&password=correct+horse&scope=openid+offline_access";

#[tokio::test]
async fn case_078_case_098_attack_f38_an_answer_brings_each_token_that_there_is_and_may_not_be_kept() {
    let (_test, router) = world().await;
    let answer = send(&router, post(TOKEN, SIGN_IN)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header(header::CACHE_CONTROL), Some("no-store"));
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&json!("Bearer"), &json!(120))
    );
    let refresh = body["refresh_token"].as_str().expect("a refresh token");
    assert!(refresh.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
    assert!(body["id_token"].is_string());
    let next = send(
        &router,
        post(
            TOKEN,
            format!("grant_type=refresh_token&client_id=legacy&refresh_token={refresh}"),
        ),
    )
    .await;
    assert_ne!(next.json()["refresh_token"], body["refresh_token"]);
    let stolen = format!("grant_type=refresh_token&client_id=mobile&refresh_token={refresh}");
    let refused = (400, "invalid_grant".to_owned(), "invalid_refresh_token".to_owned());
    assert_eq!(send(&router, post(TOKEN, stolen)).await.error(), refused);
}

#[tokio::test]
async fn case_118_case_119_attack_f38_userinfo_challenges_who_shows_no_token_and_reads_none_from_the_query() {
    let (_test, router) = world().await;
    let body = send(&router, post(TOKEN, SIGN_IN)).await.json();
    let token = body["access_token"].as_str().expect("a token").to_owned();
    let get = |path: &str, authorization: Option<&str>| {
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Body::empty()).expect("a request")
    };
    let told = send(&router, get(USERINFO, Some(&format!("bearer {token}")))).await;
    assert_eq!(told.json()["sub"], "ada@bank.example");
    assert_eq!(told.header(header::CACHE_CONTROL), Some("no-store"));
    let posted = send(&router, post(USERINFO, format!("access_token={token}"))).await;
    assert_eq!(posted.json()["sub"], "ada@bank.example");

    let none = send(&router, get(USERINFO, None)).await;
    assert_eq!(
        (none.status.as_u16(), none.header(header::WWW_AUTHENTICATE)),
        (401, Some("Bearer"))
    );
    let queried = send(&router, get(&format!("{USERINFO}?access_token={token}"), None)).await;
    assert_eq!(queried.status, 401);
    let wrong = send(&router, get(USERINFO, Some("Bearer x"))).await;
    assert_eq!(wrong.error().1, "invalid_token");
    let challenge = wrong.header(header::WWW_AUTHENTICATE).expect("a challenge");
    assert!(challenge.starts_with("Bearer error=\"invalid_token\""), "{challenge}");

    let plain = send(
        &router,
        post(TOKEN, SIGN_IN.replace("openid+offline_access", "transfers:read")),
    )
    .await;
    let plain = plain.json()["access_token"].as_str().expect("a token").to_owned();
    let refused = send(&router, get(USERINFO, Some(&format!("Bearer {plain}")))).await;
    assert_eq!(refused.status, 403);
    let challenge = refused.header(header::WWW_AUTHENTICATE).expect("a challenge");
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"openid\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn case_086_case_136_too_many_guesses_are_told_so_and_a_device_is_given_its_codes() {
    let (_test, router) = world().await;
    let wrong = SIGN_IN.replace("correct+horse", "wrong");
    for _ in 0..10 {
        let refused = (
            400,
            "invalid_grant".to_owned(),
            "invalid_password_credentials".to_owned(),
        );
        assert_eq!(send(&router, post(TOKEN, wrong.clone())).await.error(), refused);
    }
    let locked = (429, "invalid_grant".to_owned(), "user_rate_limited".to_owned());
    assert_eq!(send(&router, post(TOKEN, SIGN_IN)).await.error(), locked);

    let begun = send(&router, post(DEVICE, "client_id=legacy&scope=transfers:read"))
        .await
        .json();
    let code = begun["user_code"].as_str().expect("a code");
    assert_eq!(code.len(), 9);
    assert_eq!(begun["verification_uri"], "https://127.0.0.1:8443/activate");
    assert_eq!(
        begun["verification_uri_complete"],
        format!("https://127.0.0.1:8443/activate?user_code={code}")
    );
    let poll = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id=legacy&device_code={}",
        begun["device_code"].as_str().expect("a code")
    );
    assert_eq!(
        send(&router, post(TOKEN, poll)).await.error().1,
        "authorization_pending"
    );
}
