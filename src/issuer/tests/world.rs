//! The bank with people in it: sign-ins without the pages.

use serde_json::Value;

use crate::issuer::fixture::{TestIssuer, quick_bank};
use crate::issuer::tests::form;
use crate::issuer::{Failure, TokenAnswer};
use crate::jose::verify::Claims;
use crate::model::id::UserId;
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::authorization::{Approval, Approved, Pending};
use crate::oauth::declared::{ClientKind, IssuerDeclaration, RefreshDeclaration};
use crate::oauth::pkce::Challenge;
use crate::oauth::sample::{client, client_id, policy, rule, server_id};

/// RFC 7636 appendix B.
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) const ADA: &str = "ada@bank.example";
pub(super) const READ: &str = "transfers:read";
pub(super) const BOTH: &str = "transfers:read transfers:write";

/// The bank, with a native client `legacy` that is given the password grant by name.
pub(super) fn declared() -> IssuerDeclaration {
    let mut declared = quick_bank();
    let profile = serde_json::json!({ "tier": "gold", "firstName": "Ada", "email": ADA });
    declared.users[0].profile = profile.as_object().expect("an object").clone();
    declared.clients.push(client(
        "legacy",
        ClientKind::Native,
        &["authorization_code", "password", "refresh_token"],
    ));
    let mut passwords = rule("By password", &["password"], &["customers"], None, 120);
    passwords.refresh_token = Some(RefreshDeclaration {
        lifetime: std::time::Duration::from_secs(600),
        idle: None,
    });
    declared.servers[0]
        .policies
        .push(policy("Legacy", Some(&["legacy"]), vec![passwords]));
    let mut partner = rule("Partners", &["authorization_code"], &["customers"], None, 300);
    partner.refresh_token = Some(RefreshDeclaration {
        lifetime: std::time::Duration::from_secs(12 * 3600),
        idle: Some(std::time::Duration::from_secs(3600)),
    });
    declared.servers[0]
        .policies
        .push(policy("Partners", Some(&["quickbooks"]), vec![partner]));
    declared
}

pub(super) async fn bank() -> TestIssuer {
    TestIssuer::with(declared()).await
}

pub(super) fn now(test: &TestIssuer) -> Timestamp {
    use crate::clock::Clock as _;
    test.clock.now()
}

pub(super) fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("valid")
}

/// What a validated authorization request of this client says.
pub(super) fn request(client: &str, asked: &str) -> Pending {
    Pending {
        server: server_id("transfers"),
        client: client_id(client),
        redirect_uri: "https://app.example/cb".to_owned(),
        redirect_uri_sent: true,
        scopes: scopes(asked),
        resources: Vec::new(),
        nonce: Some("n-0S6".to_owned()),
        challenge: Challenge::from_base64url(CHALLENGE),
        dpop_key: None,
    }
}

/// Ada signs in and agrees to everything.
pub(super) fn approved(test: &TestIssuer, request: Pending) -> Approved {
    let approval = Approval {
        user: UserId::parse(ADA).expect("valid"),
        scopes: request.scopes.clone(),
        auth_time: now(test),
        amr: vec!["pwd".to_owned()],
        acr: None,
    };
    request.approve(approval, now(test)).expect("no more than was asked")
}

/// The code that Ada's sign-in gives.
pub(super) async fn code(test: &TestIssuer, request: Pending) -> String {
    let approved = approved(test, request);
    let code = test.issuer.give_code(&approved).await.expect("kept");
    code.expose_secret().clone()
}

/// The client as the form names it.
pub(super) fn credentials(client: &str) -> String {
    match client {
        "mobile" | "legacy" => format!("client_id={client}"),
        confidential => format!("client_id={confidential}&client_secret=secret"),
    }
}

pub(super) fn redemption(client: &str, code: &str) -> String {
    format!(
        "grant_type=authorization_code&{}&code={code}&redirect_uri=https://app.example/cb&code_verifier={VERIFIER}",
        credentials(client)
    )
}

pub(super) async fn ask(test: &TestIssuer, body: &str) -> Result<TokenAnswer, Failure> {
    test.issuer.token("transfers", &form(body)).await
}

/// Ada signs in at a client.
pub(super) async fn sign_in(test: &TestIssuer, client: &str, asked: &str) -> TokenAnswer {
    let code = code(test, request(client, asked)).await;
    ask(test, &redemption(client, &code)).await.expect("granted")
}

pub(super) fn refresh_body(client: &str, token: &str) -> String {
    format!("grant_type=refresh_token&{}&refresh_token={token}", credentials(client))
}

pub(super) async fn refresh(test: &TestIssuer, client: &str, token: &str) -> Result<TokenAnswer, Failure> {
    ask(test, &refresh_body(client, token)).await
}

pub(super) fn refresh_token(answer: &TokenAnswer) -> String {
    let token = answer.refresh_token.as_ref().expect("a refresh token");
    token.expose_secret().clone()
}

pub(super) fn claims(test: &TestIssuer, answer: &TokenAnswer) -> Claims {
    test.verified("transfers", answer.access_token.expose_secret())
        .expect("verifies")
}

/// Whether the gate would refuse the access token of an answer as revoked.
pub(super) fn is_dead(test: &TestIssuer, answer: &TokenAnswer) -> bool {
    let claims = claims(test, answer);
    let server = server_id("transfers");
    let client = claims.members.text("cid").map(client_id);
    let (jti, subject) = (claims.jti(), claims.subject());
    let life = crate::revocation::Life {
        server: &server,
        jti: jti.as_ref(),
        session: claims.members.text("sid"),
        subject: subject.as_ref(),
        client: client.as_ref(),
        kid: claims.kid.as_ref(),
        issued_at: claims.issued_at,
    };
    test.revocations.dead(&life).is_some()
}

/// What the client is told, and the reason that is kept inside.
pub(super) fn refused(test: &TestIssuer, outcome: Result<TokenAnswer, Failure>) -> (&'static str, String) {
    let failure = outcome.expect_err("refused");
    let audit = test.records.audit.lock();
    let event = audit
        .iter()
        .find(|event| event.error_id.as_ref() == Some(&failure.error_id))
        .expect("it is recorded");
    let reason = event.detail.get("reason").and_then(Value::as_str).unwrap_or_default();
    (failure.error.code().as_str(), reason.to_owned())
}

/// How often something durable was recorded.
pub(super) async fn recorded(test: &TestIssuer, kind: crate::audit::AuditKind) -> usize {
    let query = crate::store::objects::AuditQuery {
        kinds: vec![kind.as_str().to_owned()],
        limit: 1000,
        ..Default::default()
    };
    let store = &test.issuer.services.store.store;
    store.audit_entries(&query).await.expect("read").len()
}

pub(super) const TOKEN_URL: &str = "https://127.0.0.1:8443/oauth2/transfers/v1/token";
pub(super) const USERINFO_URL: &str = "https://127.0.0.1:8443/oauth2/transfers/v1/userinfo";

/// The key of this number: each proves to be another one.
pub(super) fn dpop_key(number: usize) -> &'static crate::jose::sign::SigningKey {
    static KEYS: std::sync::LazyLock<Vec<crate::jose::sign::SigningKey>> = std::sync::LazyLock::new(|| {
        let make = |_| crate::jose::sign::SigningKey::generate(crate::jose::alg::Algorithm::Es256).expect("made");
        (0..2).map(make).collect()
    });
    &KEYS[number]
}

/// A good proof of a key, with an identifier that was not used before.
pub(super) fn proof(test: &TestIssuer, number: usize, method: &str, url: &str, access_token: Option<&str>) -> String {
    let key = dpop_key(number);
    let mut jwk = key.public_jwk();
    for name in ["kid", "use", "alg"] {
        jwk.as_object_mut().expect("a key").remove(name);
    }
    let header = serde_json::json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk });
    let mut claims = serde_json::json!({
        "htm": method, "htu": url, "iat": now(test).unix_seconds(), "jti": crate::entropy::random_text::<9>(),
    });
    if let Some(token) = access_token {
        let digest = crate::model::digest::Digest::of(token.as_bytes());
        claims["ath"] = digest.to_base64url().into();
    }
    crate::jose::forge::forge(key, &header.to_string(), &claims.to_string())
}

/// A token request with a proof of this key.
pub(super) async fn ask_with_key(test: &TestIssuer, number: usize, body: &str) -> Result<TokenAnswer, Failure> {
    let proof = proof(test, number, "POST", TOKEN_URL, None);
    let request = crate::issuer::FormRequest {
        dpop: &[proof.as_bytes()],
        ..form(body)
    };
    test.issuer.token("transfers", &request).await
}
