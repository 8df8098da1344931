//! RFC 7523: the assertions of a trusted issuer, and those of others.

use serde_json::{Value, json};

use super::world::*;
use crate::issuer::fixture::{NOW, TestIssuer, settings};
use crate::jose::alg::Algorithm;
use crate::jose::forge::{encode, forge, forge_mac, key};
use crate::jose::sign::SigningKey;
use crate::model::id::UserId;
use crate::model::location::Located;
use crate::oauth::declared::ClientKind;
use crate::oauth::declared::{Consent, IssuerDeclaration, KeysDeclaration, TrustedIssuerDeclaration};
use crate::oauth::sample::{client, policy, rule, scope, texts};
use crate::oauth::user::{UserRecord, UserStatus};
use crate::store::objects::UserChange;

const ISSUER: &str = "https://127.0.0.1:8443/oauth2/transfers";
const TOKEN_URL: &str = "https://127.0.0.1:8443/oauth2/transfers/v1/token";
const IDP: &str = "https://idp.example";
const REMOTE: &str = "https://remote.example";

fn idp() -> &'static SigningKey {
    key(Algorithm::Es256)
}

/// The bank that trusts an issuer with keys here and one with keys at a URL, and a service that shows assertions.
fn trusting() -> IssuerDeclaration {
    let mut declared = declared();
    let mut service = client("agent", ClientKind::Service, &["jwt_bearer"]);
    service.assigned_groups = texts(&["customers"]);
    let mut unassigned = client("unassigned", ClientKind::Service, &["jwt_bearer"]);
    unassigned.assigned_groups = texts(&["tellers"]);
    let mut without = client("without", ClientKind::Service, &["client_credentials"]);
    without.assigned_groups = texts(&["customers"]);
    declared.clients.extend([service, unassigned, without]);
    let server = &mut declared.servers[0];
    server.scopes.push(scope("transfers:ask", Consent::Flexible, false));
    server.policies.push(policy(
        "Agents",
        Some(&["agent", "unassigned", "without"]),
        vec![rule(
            "By assertion",
            &["jwt_bearer"],
            &["customers"],
            Some(&["transfers:read", "transfers:write", "transfers:ask"]),
            300,
        )],
    ));
    server.options.resources = texts(&["https://mcp.bank.example"]);
    let trusted = |issuer: &str, keys| TrustedIssuerDeclaration {
        issuer: Located::nowhere(issuer.to_owned()),
        keys,
        subject_claim: (issuer == REMOTE).then(|| "email".to_owned()),
        allow_private_addresses: false,
    };
    let jwks = json!({ "keys": [idp().public_jwk()] });
    let url = format!("{REMOTE}/jwks").parse().expect("a URL");
    server.options.trusted_issuers = vec![
        trusted(IDP, KeysDeclaration::Jwks(Located::nowhere(jwks))),
        trusted(REMOTE, KeysDeclaration::JwksUri(Located::nowhere(url))),
    ];
    declared
}

fn merged(mut object: Value, changes: &Value) -> String {
    for (name, value) in changes.as_object().expect("changes") {
        object[name] = value.clone();
    }
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object.to_string()
}

fn header(changes: &Value) -> String {
    merged(
        json!({ "alg": "ES256", "kid": idp().kid().as_str(), "typ": "JWT" }),
        changes,
    )
}

fn claims_of(jti: &str, changes: &Value) -> String {
    let usual = json!({ "iss": IDP, "sub": ADA, "aud": TOKEN_URL, "iat": NOW, "exp": NOW + 60, "jti": jti });
    merged(usual, changes)
}

fn assertion(jti: &str, changes: &Value) -> String {
    forge(idp(), &header(&json!({})), &claims_of(jti, changes))
}

/// An Identity Assertion Authorization Grant.
fn id_jag(jti: &str, changes: &Value) -> String {
    let mut all = json!({ "aud": ISSUER, "client_id": "agent", "exp": NOW + 300 });
    for (name, value) in changes.as_object().expect("changes") {
        all[name] = value.clone();
    }
    forge(
        idp(),
        &header(&json!({ "typ": "oauth-id-jag+jwt" })),
        &claims_of(jti, &all),
    )
}

fn body(client: &str, assertion: &str, more: &str) -> String {
    format!(
        "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&{}&assertion={assertion}{more}",
        credentials(client)
    )
}

async fn outcome(test: &TestIssuer, client: &str, assertion: &str, more: &str) -> (&'static str, String) {
    match ask(test, &body(client, assertion, more)).await {
        Ok(_) => ("granted", String::new()),
        failed => refused(test, failed),
    }
}

const SCOPE: &str = "&scope=transfers:read";

#[tokio::test]
async fn a_trusted_issuer_says_who_the_user_is_and_the_token_is_as_every_other() {
    let test = TestIssuer::with(trusting()).await;
    let signed_in = json!({"auth_time": NOW - 600, "amr": ["mfa", "pwd"], "acr": "urn:high"});
    let answer = ask(&test, &body("agent", &assertion("1", &signed_in), SCOPE))
        .await
        .expect("granted");
    assert!(answer.refresh_token.is_none() && answer.id_token.is_none());
    let claims = claims(&test, &answer);
    assert_eq!((&claims.map()["sub"], &claims.map()["uid"]), (&json!(ADA), &json!(ADA)));
    assert_eq!(claims.map()["client_id"], "agent");
    assert_eq!(claims.map()["auth_time"], NOW - 600);
    assert_eq!(
        (&claims.map()["amr"], &claims.map()["acr"]),
        (&json!(["mfa", "pwd"]), &json!("urn:high"))
    );
    assert_eq!(claims.map()["tier"], "gold", "the claims of the user are there");
    // An issuer that does not say when has signed nobody in lately.
    let answer = ask(&test, &body("agent", &assertion("2", &json!({})), SCOPE))
        .await
        .expect("granted");
    assert_eq!(super::world::claims(&test, &answer).map()["auth_time"], 0);
    // The keys of the other one are at its URL, and its users are named by another claim.
    test.documents
        .serve(&format!("{REMOTE}/jwks"), &json!({ "keys": [idp().public_jwk()] }));
    let remote = json!({"iss": REMOTE, "sub": "opaque", "email": ADA, "aud": ISSUER});
    let answer = ask(&test, &body("agent", &assertion("3", &remote), SCOPE))
        .await
        .expect("granted");
    assert_eq!(super::world::claims(&test, &answer).map()["sub"], ADA);
    assert_eq!(test.documents.count(), 1);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of every rule")]
async fn attack_f33_every_assertion_that_breaks_a_rule_is_invalid_grant() {
    let test = TestIssuer::with(trusting()).await;
    let stranger = key(Algorithm::EdDsa);
    let usual = claims_of("x", &json!({}));
    let rows: Vec<(&str, String, &str)> = vec![
        (
            "an issuer that nobody trusts",
            assertion("x", &json!({"iss": "https://evil.example"})),
            "assertion_untrusted_issuer",
        ),
        (
            "our own issuer",
            assertion("x", &json!({"iss": ISSUER})),
            "assertion_untrusted_issuer",
        ),
        (
            "no issuer",
            assertion("x", &json!({"iss": null})),
            "assertion_invalid_issuer",
        ),
        (
            "another aud",
            assertion("x", &json!({"aud": "https://elsewhere.example"})),
            "assertion_invalid_audience",
        ),
        (
            "a list of auds",
            assertion("x", &json!({"aud": [ISSUER]})),
            "assertion_invalid_audience",
        ),
        (
            "expired",
            assertion("x", &json!({"exp": NOW})),
            "assertion_expired_token",
        ),
        (
            "no exp",
            assertion("x", &json!({"exp": null})),
            "assertion_expiration_required",
        ),
        (
            "for two hours",
            assertion("x", &json!({"exp": NOW + 7200})),
            "assertion_expires_too_far_in_future",
        ),
        (
            "not valid yet",
            assertion("x", &json!({"nbf": NOW + 60})),
            "assertion_issued_in_future",
        ),
        (
            "no sub",
            assertion("x", &json!({"sub": null})),
            "assertion_invalid_subject",
        ),
        (
            "another user",
            assertion("x", &json!({"sub": "nobody@bank.example"})),
            "assertion_unknown_user",
        ),
        (
            "another key",
            forge(
                stranger,
                &header(&json!({"alg": "EdDSA", "kid": stranger.kid().as_str()})),
                &usual,
            ),
            "assertion_invalid_kid",
        ),
        (
            "a wrong signature",
            forge(stranger, &header(&json!({})), &usual),
            "assertion_invalid_signature",
        ),
        (
            "an HMAC with the public key",
            forge_mac(idp().public_jwk().to_string().as_bytes(), r#"{"alg":"HS256"}"#, &usual),
            "assertion_invalid_signature_algorithm",
        ),
        (
            "none",
            format!("{}.{}.AA", encode(r#"{"alg":"none"}"#), encode(&usual)),
            "assertion_malformed",
        ),
        ("no JWT", "abc".to_owned(), "assertion_malformed"),
        (
            "an access token",
            forge(idp(), &header(&json!({"typ": "at+jwt"})), &usual),
            "assertion_of_another_type",
        ),
        (
            "a logout token",
            forge(idp(), &header(&json!({"typ": "logout+jwt"})), &usual),
            "assertion_of_another_type",
        ),
    ];
    for (what, assertion, reason) in rows {
        assert_eq!(
            outcome(&test, "agent", &assertion, SCOPE).await,
            ("invalid_grant", reason.to_owned()),
            "{what}"
        );
    }
    let missing = ask(&test, &body("agent", "", SCOPE)).await;
    assert_eq!(refused(&test, missing).0, "invalid_request");
    // The remote issuer's keys cannot be had.
    let remote = assertion("x", &json!({"iss": REMOTE, "email": ADA}));
    assert_eq!(
        outcome(&test, "agent", &remote, SCOPE).await.1,
        "assertion_keys_unavailable"
    );
}

#[tokio::test]
async fn attack_f33_attack_f43_an_assertion_is_good_once() {
    let test = TestIssuer::with(trusting()).await;
    let once = assertion("once", &json!({}));
    assert_eq!(outcome(&test, "agent", &once, SCOPE).await.0, "granted");
    let again = outcome(&test, "agent", &once, SCOPE).await;
    assert_eq!(again, ("invalid_grant", "assertion_already_used".to_owned()));
    // What was refused is not used up.
    let kept = assertion("kept", &json!({}));
    assert_eq!(
        outcome(&test, "agent", &kept, "&scope=transfers:approve").await.0,
        "access_denied"
    );
    assert_eq!(outcome(&test, "agent", &kept, SCOPE).await.0, "granted");
}

/// The table of attack F33: what every grant with a user asks, asked here.
#[tokio::test]
async fn attack_f33_the_checks_of_every_other_grant_hold_here() {
    let test = TestIssuer::with(trusting()).await;
    let show = async |client: &str, jti: &str, sub: &str, more: &str| {
        outcome(&test, client, &assertion(jti, &json!({ "sub": sub })), more)
            .await
            .0
    };
    assert_eq!(
        show("without", "1", ADA, SCOPE).await,
        "unauthorized_client",
        "the client is given the grant"
    );
    assert_eq!(
        show("unassigned", "2", ADA, SCOPE).await,
        "access_denied",
        "the user is assigned to the client"
    );
    assert_eq!(
        show("agent", "3", "bob@bank.example", SCOPE).await,
        "access_denied",
        "and in the rule's groups"
    );
    assert_eq!(
        show("agent", "4", ADA, "&scope=transfers:approve").await,
        "access_denied",
        "a rule gives the scopes"
    );
    assert_eq!(show("agent", "5", ADA, "&scope=nonsense").await, "invalid_scope");
    assert_eq!(
        show("agent", "6", ADA, "&scope=transfers:write").await,
        "consent_required",
        "nobody can be asked"
    );
    assert_eq!(
        show("agent", "7", ADA, "&scope=transfers:ask").await,
        "granted",
        "and the client need not ask"
    );
    assert_eq!(
        show("agent", "8", ADA, "&scope=transfers:read&resource=https://x.example").await,
        "invalid_target"
    );

    let id = UserId::parse("00u-eve").expect("valid");
    let user = |status, revision| UserRecord {
        id: id.clone(),
        login: "eve@bank.example".to_owned(),
        status,
        profile: serde_json::Map::new(),
        password: None,
        revision,
        created_at: now(&test),
        updated_at: now(&test),
    };
    let store = &test.issuer.services.store.store;
    let made = store
        .change_user(&UserChange::Insert(user(UserStatus::Suspended, 1)), &[], &[])
        .await;
    assert_eq!(made.expect("made"), crate::store::Changed::Done);
    store
        .set_membership(&id, "customers", true, &[])
        .await
        .expect("a member");
    let suspended = outcome(
        &test,
        "agent",
        &assertion("9", &json!({"sub": "eve@bank.example"})),
        SCOPE,
    )
    .await;
    assert_eq!(
        suspended,
        ("invalid_grant", "assertion_unknown_user".to_owned()),
        "a disabled user gets nothing"
    );

    let mut asking = trusting();
    let agent = asking
        .clients
        .iter_mut()
        .find(|client| client.id.value.as_str() == "agent");
    agent.expect("the agent").options.asks_consent = true;
    test.issuer.reload(&settings(asking)).await.expect("taken over");
    assert_eq!(
        show("agent", "10", ADA, "&scope=transfers:ask").await,
        "consent_required"
    );
}

#[tokio::test]
async fn case_135_an_id_jag_is_held_to_what_it_says() {
    let test = TestIssuer::with(trusting()).await;
    let rows: Vec<(&str, Value, &str, &str)> = vec![
        ("good", json!({}), SCOPE, ""),
        ("its own scopes", json!({"scope": "transfers:read"}), "", ""),
        ("fewer", json!({"scope": "transfers:read transfers:ask"}), SCOPE, ""),
        (
            "for our resource",
            json!({"resource": "https://mcp.bank.example"}),
            "&scope=transfers:read&resource=https://mcp.bank.example",
            "",
        ),
        (
            "aud is the token endpoint",
            json!({"aud": TOKEN_URL}),
            SCOPE,
            "assertion_invalid_audience",
        ),
        (
            "aud is another issuer",
            json!({"aud": "https://127.0.0.1:8443/oauth2/transactions"}),
            SCOPE,
            "assertion_invalid_audience",
        ),
        (
            "more than five minutes",
            json!({"exp": NOW + 331}),
            SCOPE,
            "assertion_expires_too_far_in_future",
        ),
        (
            "five minutes from long ago",
            json!({"iat": NOW - 60, "exp": NOW + 250}),
            SCOPE,
            "assertion_expires_too_far_in_future",
        ),
        ("no iat", json!({"iat": null}), SCOPE, "assertion_invalid_time"),
        ("no jti", json!({"jti": null}), SCOPE, "assertion_invalid_jti"),
        (
            "for another client",
            json!({"client_id": "unassigned"}),
            SCOPE,
            "assertion_client_mismatch",
        ),
        (
            "for no client",
            json!({"client_id": null}),
            SCOPE,
            "assertion_client_mismatch",
        ),
        (
            "not these scopes",
            json!({"scope": "transfers:ask"}),
            SCOPE,
            "assertion_lacking_scopes",
        ),
        (
            "not our resource",
            json!({"resource": "https://elsewhere.example"}),
            SCOPE,
            "assertion_resource_mismatch",
        ),
        (
            "an issuer that nobody trusts",
            json!({"iss": "https://evil.example"}),
            SCOPE,
            "assertion_untrusted_issuer",
        ),
    ];
    for (what, changes, more, reason) in rows {
        let shown = id_jag(what, &changes);
        let expected = if reason.is_empty() { "granted" } else { "invalid_grant" };
        assert_eq!(
            outcome(&test, "agent", &shown, more).await,
            (expected, reason.to_owned()),
            "{what}"
        );
        if reason.is_empty() {
            let again = outcome(&test, "agent", &shown, more).await;
            assert_eq!(
                again,
                ("invalid_grant", "assertion_already_used".to_owned()),
                "{what}: once"
            );
        }
    }
    let bound = id_jag("bound", &json!({"resource": ["https://mcp.bank.example"]}));
    assert_eq!(
        outcome(&test, "agent", &bound, SCOPE).await.0,
        "invalid_target",
        "the audience is not among them"
    );
    // A plain assertion is bound by none of this, and cannot pass for an ID-JAG.
    assert_eq!(
        outcome(&test, "agent", &assertion("p", &json!({"exp": NOW + 3600})), SCOPE)
            .await
            .0,
        "granted"
    );
}
