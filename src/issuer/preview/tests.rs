use serde_json::{Map, Value, json};

use super::{Preview, PreviewRequest, PreviewUser, preview};
use crate::clock::Clock as _;
use crate::issuer::FormRequest;
use crate::issuer::fixture::TestIssuer;
use crate::model::id::Issuer as IssuerId;
use crate::model::scope::ScopeSet;
use crate::model::time::Timestamp;
use crate::oauth::access::{Model, compile};
use crate::oauth::declared::{ClaimPlace, IssuerDeclaration};
use crate::oauth::grant::GrantType;
use crate::oauth::held::Held;
use crate::oauth::minting::TokenUser;
use crate::oauth::sample::{bank, claim, client_id, server_id};

fn compiled(declaration: &IssuerDeclaration) -> Model {
    compile(declaration).0.expect("it compiles")
}

/// A request in words: server, client, grant, login of a user of the file, scope.
type Words<'a> = (&'a str, &'a str, GrantType, Option<&'a str>, Option<&'a str>);

fn ask(model: &Model, words: Words<'_>, now: Timestamp) -> Preview {
    ask_holding(model, words, Held::default(), now)
}

fn ask_holding(
    model: &Model,
    (server, client, grant, login, scope): Words<'_>,
    held: Held<'_>,
    now: Timestamp,
) -> Preview {
    let (server_id, client_id) = (server_id(server), client_id(client));
    let issuer = IssuerId::parse(&format!("https://127.0.0.1:8443/oauth2/{server}")).expect("valid");
    let user = login.map(|login| model.users.get(login).expect("a user of the file"));
    let request = PreviewRequest {
        server: &server_id,
        client: &client_id,
        grant,
        user: user.map(|user| PreviewUser {
            token: TokenUser {
                id: &user.login,
                login: &user.login,
                groups: &user.groups,
                profile: &user.profile,
            },
            active: true,
        }),
        scope,
        held,
    };
    preview(model, &issuer, &request, now)
}

const ADA: Option<&str> = Some("ada@bank.example");
const BOB: Option<&str> = Some("bob@bank.example");
const CODE: GrantType = GrantType::AuthorizationCode;
const SERVICE: GrantType = GrantType::ClientCredentials;

#[tokio::test]
async fn case_156_the_preview_is_the_token_but_for_its_identifier() {
    let test = TestIssuer::start().await;
    let body = "grant_type=client_credentials&client_id=nightly-batch&client_secret=secret&scope=transfers:read";
    let form = FormRequest {
        authorization: &[],
        content_type: Some("application/x-www-form-urlencoded"),
        has_query: false,
        body: body.as_bytes(),
        ..FormRequest::default()
    };
    let answer = test.issuer.token("transfers", &form).await.expect("granted");
    let token = answer.access_token.expose_secret();
    let mut minted = test.verified("transfers", token).expect("verifies").map();

    let words = ("transfers", "nightly-batch", SERVICE, None, Some("transfers:read"));
    let shown = ask(&compiled(&bank()), words, test.clock.now())
        .outcome
        .expect("granted");
    let mut previewed = shown.access_token.clone();
    let (minted_id, previewed_id) = (minted.remove("jti"), previewed.remove("jti"));
    assert_eq!(previewed, minted);
    let length = |id: Option<Value>| id.and_then(|id| id.as_str().map(str::len));
    assert_eq!(length(previewed_id), length(minted_id), "so that the sizes agree");
    assert!(shown.bytes >= token.len(), "{} for {}", shown.bytes, token.len());
    assert_eq!(shown.access_token_lifetime.as_secs(), answer.expires_in_seconds);
    assert_eq!(shown.scopes.to_string(), answer.scope);
}

#[test]
fn a_granted_preview_names_policy_rule_and_lifetimes_and_what_the_user_adds() {
    let mut declaration = bank();
    declaration.users[0].profile = Map::from_iter([("tier".to_owned(), json!("gold"))]);
    let model = compiled(&declaration);
    let words = ("transfers", "mobile", CODE, ADA, Some("transfers:read transfers:write"));
    let told = ask(&model, words, Timestamp::from_unix_seconds(1000)).to_json();
    assert_eq!(told["outcome"], "granted");
    let shown = |name: &str| told["access_token"][name].clone();
    assert_eq!(
        (shown("sub"), shown("tier"), shown("iat"), shown("exp")),
        (json!("ada@bank.example"), json!("gold"), json!(1000), json!(1300))
    );
    assert_eq!(
        (&told["policy"], &told["rule"]),
        (&json!("The bank's own app"), &json!("Moving money"))
    );
    assert_eq!(
        (
            &told["access_token_seconds"],
            &told["refresh_token_seconds"],
            &told["refresh_token_idle_seconds"]
        ),
        (&json!(300), &json!(43200), &json!(3600))
    );
    assert_eq!(told["too_large"], false);
    assert_eq!(told["trace"][0]["rules"][0]["matched"], true);
}

#[test]
fn case_103_openid_shows_the_id_token_beside() {
    let mut declaration = bank();
    let mut nick = claim("nick", "user.profile.nick", &[]);
    nick.place = ClaimPlace::IdToken;
    declaration.servers[0].claims.push(nick);
    declaration.users[0].profile = Map::from_iter([("nick".to_owned(), json!("countess"))]);
    let model = compiled(&declaration);
    let ask = |scope| {
        let words = ("transfers", "mobile", CODE, ADA, Some(scope));
        ask(&model, words, Timestamp::from_unix_seconds(1000)).to_json()
    };
    let told = ask("openid transfers:read");
    let shown = |name: &str| told["id_token"][name].clone();
    // It lives as long as the longest access token of the server.
    assert_eq!(
        (shown("aud"), shown("sub"), shown("nick"), shown("exp")),
        (
            json!("mobile"),
            json!("ada@bank.example"),
            json!("countess"),
            json!(1600)
        )
    );
    assert_eq!(shown("at_hash"), Value::Null, "there is no access token to hash");
    assert_eq!(ask("transfers:read")["id_token"], Value::Null);
}

#[test]
fn a_denied_preview_has_the_error_of_the_token_endpoint_and_the_first_condition_that_failed() {
    let model = compiled(&bank());
    let cases: [(Words<'_>, &str, &str); 6] = [
        (
            ("transfers", "mobile", CODE, BOB, None),
            "access_denied",
            "user_not_assigned",
        ),
        (
            ("transfers", "mobile", CODE, None, None),
            "access_denied",
            "user_not_active",
        ),
        (
            ("transfers", "nightly-batch", SERVICE, None, Some("transfers:approve")),
            "access_denied",
            "scope_denied",
        ),
        (
            ("transfers", "nightly-batch", SERVICE, None, Some("transfers:none")),
            "invalid_scope",
            "no_matching_scope",
        ),
        (
            (
                "transactions",
                "nightly-batch",
                SERVICE,
                None,
                Some("transactions:read"),
            ),
            "access_denied",
            "no_matching_policy",
        ),
        (
            ("transfers", "mobile", SERVICE, None, None),
            "unauthorized_client",
            "public_client",
        ),
    ];
    for (words, error, code) in cases {
        let told = ask(&model, words, Timestamp::from_unix_seconds(1000)).to_json();
        let found = (&told["outcome"], &told["error"], &told["error_code"]);
        assert_eq!(found, (&json!("denied"), &json!(error), &json!(code)), "{words:?}");
    }
    let denied = ask(
        &model,
        ("transfers", "nightly-batch", SERVICE, None, Some("transfers:approve")),
        Timestamp::from_unix_seconds(1000),
    );
    let expected = json!([
        { "policy": "The bank's own app", "client_included": false, "rules": [] },
        { "policy": "Services", "client_included": true, "rules": [
            { "rule": "Reading at night", "matched": false, "failed": "the rule does not allow the scopes `transfers:approve`" },
        ] },
    ]);
    assert_eq!(denied.to_json()["trace"], expected);
}

#[test]
fn case_096_a_refresh_goes_on_by_the_rule_of_its_beginning_and_within_what_is_held() {
    let mut declaration = bank();
    // The rule lists the sign-in alone.
    declaration.servers[0].policies[0].rules[0].grants = crate::oauth::sample::texts(&["authorization_code"]);
    let model = compiled(&declaration);
    let read = ScopeSet::parse("transfers:read").expect("valid");
    let refresh = |began_by, scope| {
        let words = ("transfers", "mobile", GrantType::RefreshToken, ADA, scope);
        let held = Held {
            began_by: Some(began_by),
            scopes: Some(&read),
        };
        ask_holding(&model, words, held, Timestamp::from_unix_seconds(1000)).to_json()
    };
    let told = refresh(CODE, None);
    assert_eq!(
        (&told["outcome"], &told["scope"]),
        (&json!("granted"), &json!("transfers:read"))
    );
    assert_eq!(told["refresh_token_seconds"], 43200);
    let told = refresh(GrantType::DeviceCode, None);
    assert_eq!(
        (&told["error"], &told["error_code"]),
        (&json!("invalid_grant"), &json!("grant_denied"))
    );
    let told = refresh(CODE, Some("transfers:read transfers:write"));
    assert_eq!(
        (&told["error"], &told["error_code"]),
        (&json!("invalid_scope"), &json!("scope_not_granted"))
    );
}

#[test]
fn case_106_a_claim_that_fails_denies_in_the_preview_too() {
    let mut declaration = bank();
    declaration.servers[0].claims = vec![claim("broken", "1 / 0", &[])];
    let words = ("transfers", "nightly-batch", SERVICE, None, Some("transfers:read"));
    let told = ask(&compiled(&declaration), words, Timestamp::from_unix_seconds(1000)).to_json();
    assert_eq!(told["error_code"], "claim_evaluation_failure");
}

#[test]
fn case_108_a_token_of_more_than_8_kib_is_told_at_preview_time() {
    let groups: Vec<String> = (0..150).map(|number| format!("group-{number:012}")).collect();
    let words = ("transfers", "mobile", CODE, ADA, Some("transfers:read"));
    let size = |claims: usize| {
        let mut declaration = bank();
        declaration.servers[0].claims = (0..claims)
            .map(|number| claim(&format!("groups{number}"), "user.groups", &[]))
            .collect();
        for group in &groups {
            declaration.groups.push(crate::oauth::sample::text(group));
            declaration.users[0].groups.push(crate::oauth::sample::text(group));
        }
        let shown = ask(&compiled(&declaration), words, Timestamp::from_unix_seconds(1000));
        shown.outcome.expect("granted").is_too_large()
    };
    assert_eq!((size(1), size(2)), (false, true));
}
