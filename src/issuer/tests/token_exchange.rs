//! RFC 8693: one token becomes another, and never more than it was.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::world::*;
use crate::audit::{AuditEvent, AuditKind};
use crate::issuer::fixture::TestIssuer;
use crate::issuer::revoke::{GrantEnd, end_grant};
use crate::issuer::{FormRequest, TokenAnswer};
use crate::jose::unverified::Unverified;
use crate::model::certificate::ClientCertificate;
use crate::model::id::GrantId;
use crate::model::location::Located;
use crate::oauth::declared::{ClientKind, IssuerDeclaration};
use crate::oauth::sample::{claim, client, client_id, policy, rule, server_id, texts};
use crate::store::grants::GrantSelector;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const TRANSFERS: &str = "https://api.bank.example/transfers";

/// The bank with APIs that exchange what they are shown: `api` of transfers, `backend` behind it, `stranger`; and
/// the server `payments`, which takes the tokens of transfers.
fn exchanging() -> IssuerDeclaration {
    let mut declared = declared();
    let mut apis = Vec::new();
    for (id, audiences) in [
        ("api", &[TRANSFERS][..]),
        ("backend", &["https://backend.bank.example"][..]),
        ("third", &[TRANSFERS][..]),
        ("stranger", &[][..]),
    ] {
        let mut api = client(id, ClientKind::Service, &["token_exchange", "client_credentials"]);
        api.options.audiences = texts(audiences);
        api.assigned_groups = texts(&["customers"]);
        apis.push(api);
    }
    declared.clients.extend(apis);
    let web = declared
        .clients
        .iter_mut()
        .find(|client| client.id.value.as_str() == "quickbooks");
    web.expect("quickbooks")
        .grants
        .push(crate::oauth::sample::text("token_exchange"));
    let exchange = || {
        rule(
            "Exchange",
            &["token_exchange"],
            &["customers"],
            Some(&["transfers:read", "transfers:write"]),
            3600,
        )
    };
    let own = rule("Own", &["client_credentials"], &[], Some(&["transfers:read"]), 600);
    let server = &mut declared.servers[0];
    server.options.resources = texts(&["https://backend.bank.example"]);
    server.policies.insert(
        0,
        policy(
            "APIs",
            Some(&["api", "backend", "third", "stranger", "quickbooks"]),
            vec![exchange(), own],
        ),
    );
    let mut payments = crate::oauth::sample::server(
        "payments",
        vec![crate::oauth::sample::scope(
            "payments:make",
            crate::oauth::declared::Consent::Implicit,
            true,
        )],
        vec![policy(
            "APIs",
            None,
            vec![rule("Exchange", &["token_exchange"], &["customers"], None, 60)],
        )],
    );
    payments.options.associated_servers = vec![Located::nowhere(server_id("transfers"))];
    declared.servers.push(payments);
    declared
}

async fn world() -> TestIssuer {
    TestIssuer::with(exchanging()).await
}

/// A user's token of `quickbooks`.
async fn of_ada(test: &TestIssuer) -> String {
    text(&sign_in(test, "quickbooks", BOTH).await)
}

fn text(answer: &TokenAnswer) -> String {
    answer.access_token.expose_secret().clone()
}

fn body(client: &str, token: &str, more: &str) -> String {
    format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&{}&subject_token_type={ACCESS_TOKEN}&subject_token={token}{more}",
        credentials(client)
    )
}

async fn exchange(
    test: &TestIssuer,
    client: &str,
    token: &str,
    more: &str,
) -> Result<Value, (&'static str, &'static str)> {
    told(ask(test, &body(client, token, more)).await)
}

/// The claims of what was given, or what was told.
fn told(outcome: Result<TokenAnswer, crate::issuer::Failure>) -> Result<Value, (&'static str, &'static str)> {
    match outcome {
        Ok(answer) => {
            assert_eq!(answer.issued_token_type, Some(ACCESS_TOKEN));
            assert!(answer.refresh_token.is_none() && answer.id_token.is_none());
            Ok(payload(answer.access_token.expose_secret()))
        }
        Err(failure) => Err((failure.error.code().as_str(), failure.error.error_code())),
    }
}

fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a payload");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

const READ_ONLY: &str = "&scope=transfers:read";

#[tokio::test]
async fn case_133_case_134_an_api_exchanges_what_it_is_shown_and_the_token_says_who_acts() {
    let test = world().await;
    let subject = of_ada(&test).await;
    let more = "&scope=transfers:read&resource=https://backend.bank.example";
    let claims = exchange(&test, "api", &subject, more).await.expect("granted");
    let before = payload(&subject);
    assert_eq!((&claims["sub"], &claims["uid"]), (&json!(ADA), &json!(ADA)));
    assert_eq!(claims["client_id"], "api");
    assert_eq!(claims["aud"], "https://backend.bank.example");
    assert_eq!(claims["scope"], "transfers:read");
    assert_eq!(claims["act"], json!({ "sub": "api" }));
    assert_eq!(
        claims["exp"], before["exp"],
        "an hour by the rule, yet no longer than the token that was shown"
    );
    for name in ["sid", "auth_time", "amr"] {
        assert_eq!(claims[name], before[name], "{name}");
    }
    assert_ne!(claims["jti"], before["jti"]);
}

#[tokio::test]
async fn case_133_the_chain_of_actors_grows_and_is_bounded() {
    let mut declared = exchanging();
    declared.servers[0].options.actors_max = Some(2);
    let test = TestIssuer::with(declared).await;
    let subject = of_ada(&test).await;
    let first = ask(&test, &body("api", &subject, READ_ONLY)).await.expect("granted");
    let second = ask(&test, &body("third", &text(&first), READ_ONLY))
        .await
        .expect("granted");
    assert_eq!(
        payload(&text(&second))["act"],
        json!({ "sub": "third", "act": { "sub": "api" } })
    );
    let third = exchange(&test, "api", &text(&second), READ_ONLY).await;
    assert_eq!(third, Err(("invalid_request", "too_many_actors")));
    // Who narrows its own token acts for nobody anew.
    let own = ask(&test, &body("third", &text(&second), READ_ONLY))
        .await
        .expect("granted");
    assert_eq!(payload(&text(&own))["act"], payload(&text(&second))["act"]);
    let own = exchange(&test, "quickbooks", &subject, READ_ONLY)
        .await
        .expect("granted");
    assert!(own.get("act").is_none());
}

#[tokio::test]
async fn case_133_an_actor_shows_a_token_of_its_own() {
    let test = world().await;
    let subject = of_ada(&test).await;
    let service = async |client: &str| {
        let body = format!(
            "grant_type=client_credentials&{}&scope=transfers:read",
            credentials(client)
        );
        text(&ask(&test, &body).await.expect("granted"))
    };
    let with = |token: &str| format!("{READ_ONLY}&actor_token={token}&actor_token_type={ACCESS_TOKEN}");
    let own = service("api").await;
    let claims = exchange(&test, "api", &subject, &with(&own)).await.expect("granted");
    assert_eq!(claims["act"], json!({ "sub": "api" }));
    // A user as the actor: somebody helps somebody.
    let helper = of_ada(&test).await;
    let claims = exchange(&test, "quickbooks", &subject, &with(&helper))
        .await
        .expect("granted");
    assert_eq!(claims["act"], json!({ "sub": ADA }));
    let foreign = service("third").await;
    let rows = [
        (with(&foreign), "invalid_actor_token"),
        (with("abc"), "invalid_exchange_token"),
        (format!("{READ_ONLY}&actor_token={own}"), "missing_parameter"),
        (
            format!("{READ_ONLY}&actor_token_type={ACCESS_TOKEN}"),
            "missing_parameter",
        ),
        (
            format!("{READ_ONLY}&actor_token={own}&actor_token_type=urn:ietf:params:oauth:token-type:saml2"),
            "unsupported_token_type",
        ),
    ];
    for (more, code) in rows {
        assert_eq!(
            exchange(&test, "api", &subject, &more).await,
            Err(("invalid_request", code)),
            "{more}"
        );
    }
}

#[tokio::test]
async fn case_133_may_act_says_who_may_and_nobody_else() {
    let mut declared = exchanging();
    declared.servers[0]
        .claims
        .push(claim("may_act", "{'sub': 'stranger'}", &[]));
    let test = TestIssuer::with(declared).await;
    let subject = of_ada(&test).await;
    assert_eq!(payload(&subject)["may_act"], json!({ "sub": "stranger" }));
    let claims = exchange(&test, "stranger", &subject, READ_ONLY).await.expect("granted");
    assert_eq!(claims["act"], json!({ "sub": "stranger" }));
    for other in ["api", "quickbooks"] {
        let refused = exchange(&test, other, &subject, READ_ONLY).await;
        assert_eq!(refused, Err(("invalid_request", "no_delegation_link")), "{other}");
    }
    for (may_act, allowed) in [
        ("{'sub': 'stranger', 'client_id': 'stranger'}", true),
        (
            "{'sub': 'stranger', 'iss': 'https://127.0.0.1:8443/oauth2/transfers'}",
            true,
        ),
        ("{'sub': 'stranger', 'iss': 'https://elsewhere.example'}", false),
        ("{'sub': 'stranger', 'department': 'x'}", false),
        ("{'client_id': 'stranger'}", false),
        ("'stranger'", false),
    ] {
        let mut declared = exchanging();
        declared.servers[0].claims.push(claim("may_act", may_act, &[]));
        let test = TestIssuer::with(declared).await;
        let outcome = exchange(&test, "stranger", &of_ada(&test).await, READ_ONLY).await;
        assert_eq!(outcome.is_ok(), allowed, "{may_act}: {outcome:?}");
    }
}

#[tokio::test]
async fn case_133_attack_f32_a_token_that_is_not_good_here_is_invalid_request() {
    let test = world().await;
    let subject = of_ada(&test).await;
    let foreign = {
        let body = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&{}&subject_token_type={ACCESS_TOKEN}&subject_token={subject}",
            credentials("api")
        );
        let request = FormRequest {
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.as_bytes(),
            ..FormRequest::default()
        };
        text(&test.issuer.token("payments", &request).await.expect("granted"))
    };
    let service = format!(
        "grant_type=client_credentials&{}&scope=transfers:read",
        credentials("api")
    );
    let of_nobody = text(&ask(&test, &service).await.expect("granted"));
    let forged = {
        let stranger = crate::jose::forge::key(crate::jose::alg::Algorithm::Es256);
        let header = json!({ "alg": "ES256", "kid": stranger.kid().as_str(), "typ": "at+jwt" });
        crate::jose::forge::forge(stranger, &header.to_string(), &payload(&subject).to_string())
    };
    let rows = [
        (
            "another client's, for another API",
            "stranger",
            subject.clone(),
            "mismatched_client",
        ),
        (
            "of a server whose tokens are not taken",
            "api",
            foreign,
            "invalid_exchange_token",
        ),
        ("no token", "api", "abc".to_owned(), "invalid_exchange_token"),
        (
            "cut",
            "api",
            subject[..subject.len() - 2].to_owned(),
            "invalid_exchange_token",
        ),
        ("signed by somebody", "api", forged, "invalid_exchange_token"),
        ("of a client on its own", "api", of_nobody, "exchange_without_user"),
    ];
    for (what, client, token, code) in rows {
        assert_eq!(
            exchange(&test, client, &token, READ_ONLY).await,
            Err(("invalid_request", code)),
            "{what}"
        );
    }
    let id_token = sign_in(&test, "quickbooks", "openid transfers:read").await;
    let id_token = id_token.id_token.expect("an ID token").expose_secret().clone();
    assert!(Unverified::parse(&id_token).is_ok());
    let refused = exchange(&test, "api", &id_token, READ_ONLY).await;
    assert_eq!(
        refused,
        Err(("invalid_request", "invalid_exchange_token")),
        "an ID token is no access token"
    );
    for (more, code) in [
        (
            "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token",
            "unsupported_requested_token_type",
        ),
        (
            "&requested_token_type=urn:ietf:params:oauth:token-type:id_token",
            "unsupported_requested_token_type",
        ),
    ] {
        assert_eq!(
            exchange(&test, "api", &subject, more).await,
            Err(("invalid_request", code))
        );
    }
    let untyped = body("api", &subject, READ_ONLY).replace("&subject_token_type=", "&x=");
    assert_eq!(
        told(ask(&test, &untyped).await),
        Err(("invalid_request", "missing_parameter"))
    );
    test.clock.advance(std::time::Duration::from_secs(300));
    let expired = exchange(&test, "api", &subject, READ_ONLY).await;
    assert_eq!(expired, Err(("invalid_request", "invalid_exchange_token")), "expired");
}

#[tokio::test]
async fn case_134_attack_f32_scope_audience_and_life_are_never_widened() {
    let test = world().await;
    let narrow = text(&sign_in(&test, "quickbooks", READ).await);
    let rows = [
        ("&scope=transfers:write", ("invalid_scope", "scope_not_granted")),
        (
            "&scope=transfers:read+transfers:write",
            ("invalid_scope", "scope_not_granted"),
        ),
        (
            "&scope=transfers:read&resource=https://evil.example",
            ("invalid_target", "unsupported_resource"),
        ),
        (
            "&scope=transfers:read&audience=https://api.bank.example/transactions",
            ("invalid_target", "unsupported_resource"),
        ),
        (
            "&scope=transfers:read&resource=https://backend.bank.example/",
            ("invalid_target", "unsupported_resource"),
        ),
    ];
    for (more, expected) in rows {
        assert_eq!(exchange(&test, "api", &narrow, more).await, Err(expected), "{more}");
    }
    // No scope named: those of the token.
    let same = exchange(&test, "api", &narrow, "").await.expect("granted");
    assert_eq!(
        (&same["scope"], &same["aud"]),
        (&json!("transfers:read"), &json!(TRANSFERS))
    );
    let both = exchange(
        &test,
        "api",
        &narrow,
        "&resource=https://backend.bank.example&audience=https://api.bank.example/transfers",
    )
    .await;
    assert_eq!(
        both.expect("granted")["aud"],
        json!(["https://backend.bank.example", TRANSFERS])
    );
    // What a person has agreed to for one client was not agreed to for another.
    let wide = of_ada(&test).await;
    let write = "&scope=transfers:write";
    assert_eq!(
        exchange(&test, "api", &wide, write).await,
        Err(("consent_required", "consent_required"))
    );
    assert!(exchange(&test, "quickbooks", &wide, write).await.is_ok());
    // A shorter life by the rule is a shorter life.
    test.clock.advance(std::time::Duration::from_secs(100));
    let later = exchange(&test, "api", &wide, READ_ONLY).await.expect("granted");
    assert_eq!(later["exp"], payload(&wide)["exp"]);
}

#[tokio::test]
async fn case_134_another_server_takes_the_tokens_of_those_that_it_names() {
    let test = world().await;
    let subject = of_ada(&test).await;
    let ask = async |server: &str, more: &str| {
        let body = body("api", &subject, more);
        let request = FormRequest {
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.as_bytes(),
            ..FormRequest::default()
        };
        told(test.issuer.token(server, &request).await)
    };
    let claims = ask("payments", "").await.expect("granted");
    assert_eq!(claims["iss"], "https://127.0.0.1:8443/oauth2/payments");
    assert_eq!(
        (&claims["aud"], &claims["scope"]),
        (&json!("https://api.bank.example/payments"), &json!("payments:make"))
    );
    assert_eq!(claims["sid"], payload(&subject)["sid"]);
    let lifetime = claims["exp"].as_i64().expect("a number") - claims["iat"].as_i64().expect("a number");
    assert_eq!(lifetime, 60, "by the rule");
    assert_eq!(
        ask("payments", READ_ONLY).await,
        Err(("invalid_scope", "no_matching_scope"))
    );
    assert_eq!(
        ask("transactions", "").await,
        Err(("invalid_request", "invalid_exchange_token"))
    );
}

#[tokio::test]
async fn case_115_attack_f13_what_came_of_a_token_dies_with_its_sign_in_on_every_server() {
    for by_administrator in [false, true] {
        ended_everywhere(by_administrator).await;
    }
}

async fn ended_everywhere(by_administrator: bool) {
    let test = world().await;
    let subject = of_ada(&test).await;
    let exchanged = ask(&test, &body("api", &subject, READ_ONLY)).await.expect("granted");
    assert!(!is_dead(&test, &exchanged));
    let request = body("api", &subject, "");
    let request = FormRequest {
        content_type: Some("application/x-www-form-urlencoded"),
        body: request.as_bytes(),
        ..FormRequest::default()
    };
    let elsewhere = test.issuer.token("payments", &request).await.expect("granted");
    let sid = payload(&subject)["sid"].as_str().expect("a sid").to_owned();
    let end = GrantEnd {
        server: &server_id("transfers"),
        client: &client_id("quickbooks"),
        id: &GrantId::parse(&sid).expect("valid"),
        kind: AuditKind::TokenRevoked,
        detail: json!({}),
    };
    if by_administrator {
        let store = &test.issuer.services.store.store;
        let grant = GrantId::parse(&sid).expect("valid");
        assert!(
            store.grant(&grant).await.expect("read").is_some(),
            "the sign-in is kept"
        );
        let event = AuditEvent {
            at: now(&test),
            kind: AuditKind::GrantRevoked,
            server: None,
            client: None,
            error_id: None,
            actor: Some("root".to_owned()),
            target: None,
            detail: json!({}),
        };
        let ended = test.issuer.end_grants(&GrantSelector::One(grant), &event).await;
        assert_eq!(ended.expect("ended"), 1);
    } else {
        end_grant(&test.issuer, end).await.expect("ended");
    }
    assert!(is_dead(&test, &exchanged));
    let payments = server_id("payments");
    let life = crate::revocation::Life {
        server: &payments,
        jti: None,
        session: Some(&sid),
        subject: None,
        client: None,
        kid: None,
        issued_at: Some(now(&test)),
    };
    assert!(test.revocations.dead(&life).is_some());
    assert_eq!(
        exchange(&test, "api", &subject, READ_ONLY).await,
        Err(("invalid_request", "invalid_exchange_token"))
    );
    drop(elsewhere);
}

#[tokio::test]
async fn attack_f33_the_user_the_client_and_the_rules_are_looked_at() {
    let test = world().await;
    let subject = of_ada(&test).await;
    let mut declared = exchanging();
    declared.users.clear();
    declared.groups = texts(&["customers", "tellers", "api-administrators"]);
    test.issuer
        .reload(&crate::issuer::fixture::settings(declared))
        .await
        .expect("taken over");
    let gone = ask(&test, &body("api", &subject, READ_ONLY)).await;
    assert!(
        matches!(refused(&test, gone).0, "invalid_grant" | "invalid_request"),
        "the user is gone"
    );

    let mut declared = exchanging();
    let api = declared
        .clients
        .iter_mut()
        .find(|client| client.id.value.as_str() == "api");
    api.expect("the API").assigned_groups = texts(&["tellers"]);
    let test = TestIssuer::with(declared).await;
    let subject = of_ada(&test).await;
    assert_eq!(
        exchange(&test, "api", &subject, READ_ONLY).await,
        Err(("access_denied", "user_not_assigned"))
    );

    let mut declared = exchanging();
    declared.servers[0].policies.remove(0);
    let test = TestIssuer::with(declared).await;
    let subject = of_ada(&test).await;
    assert_eq!(
        exchange(&test, "api", &subject, READ_ONLY).await,
        Err(("access_denied", "no_matching_policy"))
    );
    let other = exchange(&test, "nightly-batch", &subject, READ_ONLY).await;
    assert_eq!(other, Err(("unauthorized_client", "grant_not_allowed")));
}

#[tokio::test]
async fn attack_f32_a_bound_token_is_exchanged_by_its_client_with_its_key_alone() {
    let mut declared = exchanging();
    let web = declared
        .clients
        .iter_mut()
        .find(|client| client.id.value.as_str() == "quickbooks");
    web.expect("quickbooks").options.certificate_bound_access_tokens = true;
    let test = TestIssuer::with(declared).await;
    let certificate = |der: &[u8]| ClientCertificate {
        der: std::sync::Arc::from(der),
        is_vouched_for: false,
    };
    let (own, other) = (certificate(b"own"), certificate(b"other"));
    let with = async |body: String, shown: &ClientCertificate| {
        let request = FormRequest {
            content_type: Some("application/x-www-form-urlencoded"),
            body: body.as_bytes(),
            certificate: Some(shown),
            ..FormRequest::default()
        };
        test.issuer.token("transfers", &request).await
    };
    let code = code(&test, request("quickbooks", READ)).await;
    let subject = text(&with(redemption("quickbooks", &code), &own).await.expect("granted"));
    let exchanged = told(with(body("quickbooks", &subject, READ_ONLY), &own).await).expect("granted");
    assert_eq!(exchanged["cnf"], payload(&subject)["cnf"]);
    let stolen = told(with(body("quickbooks", &subject, READ_ONLY), &other).await);
    assert_eq!(stolen, Err(("invalid_grant", "mismatched_key")));
}
