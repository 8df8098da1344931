//! The preview says what the token endpoint does (case 156): over random servers, policies, claims, clients
//! and requests, the two answer alike, down to the claims, the trace and the error.
//!
//! Clients ask for themselves, sign people in by password or by a trusted issuer's assertion, refresh grants and
//! exchange tokens. Grants and tokens are of an earlier time ([`held`]): their users may have been kept out since or
//! lost the assignment, and the policies of the world know nothing of what was granted.

mod held;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::issuer::fixture::settings;
use crate::issuer::preview::{Preview, PreviewRequest, PreviewUser, preview};
use crate::issuer::{Failure, TokenAnswer};
use crate::jose::unverified::Unverified;
use crate::model::id::AuthorizationServerId;
use crate::model::scope::ScopeSet;
use crate::oauth::access::{Model, compile};
use crate::oauth::declared::{
    AuthorizationServerDeclaration, ClaimDeclaration, ClientDeclaration, ClientKind, Consent, IssuerDeclaration,
    PolicyDeclaration, RefreshDeclaration, RuleDeclaration, ScopeDeclaration, TokenProfile, UserDeclaration,
};
use crate::oauth::error::OAuthError;
use crate::oauth::grant::GrantType;
use crate::oauth::held::Held;
use crate::oauth::metadata::issuer_of;
use crate::oauth::minting::TokenUser;
use crate::oauth::sample::{claim, client, client_id, policy, rule, scope, server, texts, user};
use crate::oauth::user::UserStatus;
use crate::testing::house::{NOW, form};

const SCOPES: [&str; 4] = ["a", "b", "c", "d"];
const CLIENTS: [&str; 5] = ["svc", "web", "idle", "app", "nobody"];
const SERVERS: [&str; 3] = ["one", "two", "nowhere"];
const GROUPS: [&str; 2] = ["g1", "g2"];
const LOGINS: [&str; 3] = ["ada@bank.example", "bob@bank.example", "cy@bank.example"];

/// A request of a client that has authenticated: what the preview takes for given.
#[derive(Debug, Clone)]
struct Request {
    server: &'static str,
    client: &'static str,
    scope: Option<String>,
    proof: Proof,
}

/// What the client shows for whom it asks.
#[derive(Debug, Clone)]
enum Proof {
    /// Nothing: it asks for itself.
    Client,
    /// The password of this user of the file.
    Password(&'static str),
    /// A refresh token of this user's grant.
    Refresh(&'static str, Grant),
    /// The assertion of a trusted issuer.
    Assertion(&'static str),
    /// A token that this user got at another client and server.
    Exchange(&'static str),
}

/// What was granted before.
#[derive(Debug, Clone)]
struct Grant {
    began_by: GrantType,
    scopes: ScopeSet,
}

fn claims() -> impl Strategy<Value = Vec<ClaimDeclaration>> {
    let expressions = [
        "client.id",
        "scopes",
        "grant + client.kind",
        "user.login",
        "'g1' in user.groups ? user.profile.tier : 'none'",
        "size(scopes) > 2 ? 'many' : 'few'",
        "scopes.exists(s, s == 'a')",
        // Fails where `b` is granted: the request fails with it (case 106).
        "scopes.exists(s, s == 'b') ? 1 / 0 : 1",
        "1 / (size(scopes) - 1)",
    ];
    let one = (select(expressions.to_vec()), subsequence(SCOPES.to_vec(), 0..=2));
    prop::collection::vec(one, 0..6).prop_map(|parts| {
        let build = |(index, (value, scopes)): (usize, (&str, Vec<&str>))| claim(&format!("x{index}"), value, &scopes);
        parts.into_iter().enumerate().map(build).collect()
    })
}

/// Grants, groups and scopes of a rule, how long its access tokens live, and how much longer its refresh tokens.
type Parts<'p> = (Vec<&'p str>, Vec<&'p str>, Option<Vec<&'p str>>, u64, Option<u64>);

fn rules() -> impl Strategy<Value = Vec<RuleDeclaration>> {
    let one = (
        subsequence(
            vec![
                "client_credentials",
                "password",
                "authorization_code",
                "refresh_token",
                "jwt_bearer",
                "token_exchange",
            ],
            1..=6,
        ),
        subsequence(GROUPS.to_vec(), 0..=1),
        prop::option::of(subsequence(SCOPES.to_vec(), 1..=4)),
        60_u64..86_400,
        prop::option::weighted(0.7, 60_u64..86_400),
    );
    prop::collection::vec(one, 0..4).prop_map(|parts| {
        let build = |(index, (grants, groups, scopes, seconds, refresh)): (usize, Parts<'_>)| {
            let mut rule = rule(&format!("r{index}"), &grants, &groups, scopes.as_deref(), seconds);
            // A refresh token lives as long as its access token at least, and is nothing for a client on its own.
            let refresh = refresh.filter(|_| grants != ["client_credentials"]);
            rule.refresh_token = refresh.map(|more| RefreshDeclaration {
                lifetime: Duration::from_secs(seconds + more),
                idle: None,
            });
            rule
        };
        parts.into_iter().enumerate().map(build).collect()
    })
}

fn policies() -> impl Strategy<Value = Vec<PolicyDeclaration>> {
    let declared = ["svc", "web", "idle", "app"];
    let one = (prop::option::of(subsequence(declared.to_vec(), 0..=4)), rules());
    prop::collection::vec(one, 0..4).prop_map(|parts| {
        let build = |(index, (clients, rules)): (usize, (Option<Vec<&str>>, _))| {
            policy(&format!("p{index}"), clients.as_deref(), rules)
        };
        parts.into_iter().enumerate().map(build).collect()
    })
}

fn scopes() -> impl Strategy<Value = Vec<ScopeDeclaration>> {
    let consent = select(vec![
        Consent::Implicit,
        Consent::Implicit,
        Consent::Flexible,
        Consent::Required,
    ]);
    prop::collection::vec((consent, any::<bool>()), 4).prop_map(|parts| {
        let named = SCOPES.iter().zip(parts);
        named
            .map(|(name, (consent, default))| scope(name, consent, default))
            .collect()
    })
}

fn servers() -> impl Strategy<Value = Vec<AuthorizationServerDeclaration>> {
    let one = (scopes(), policies(), claims(), any::<bool>());
    prop::collection::vec(one, 2).prop_map(|parts| {
        let build = |(id, (scopes, policies, claims, okta)): (&str, (_, _, _, bool))| {
            let mut built = server(id, scopes, policies);
            built.claims = claims;
            held::trust(&mut built);
            built.token_profile = if okta {
                TokenProfile::Okta
            } else {
                TokenProfile::Rfc9068
            };
            built
        };
        SERVERS
            .into_iter()
            .zip(parts)
            .map(build)
            .chain([held::source()])
            .collect()
    })
}

fn apps() -> Vec<ClientDeclaration> {
    vec![
        client("svc", ClientKind::Service, &["client_credentials"]),
        client(
            "web",
            ClientKind::Web,
            &["client_credentials", "authorization_code", "refresh_token"],
        ),
        // Authenticates, and has no grant that is asked for here.
        client("idle", ClientKind::Web, &["authorization_code"]),
        with_people(client(
            "app",
            ClientKind::Native,
            &["authorization_code", "password", "refresh_token"],
        )),
        with_people(client("kiosk", ClientKind::Native, &["authorization_code", "password"])),
        with_people(client("agent", ClientKind::Service, &["jwt_bearer"])),
        held::broker(with_people(client("broker", ClientKind::Service, &["token_exchange"]))),
        held::origin(),
    ]
}

fn with_people(mut client: ClientDeclaration) -> ClientDeclaration {
    client.assigned_groups = texts(&["g1"]);
    client.assigned_users = texts(&["bob@bank.example"]);
    client
}

fn people() -> Vec<UserDeclaration> {
    let mut people = vec![
        user(LOGINS[0], &["g1", "g2"]),
        user(LOGINS[1], &["g2"]),
        user(LOGINS[2], &[]),
    ];
    people[0].profile.insert("tier".to_owned(), json!("gold"));
    people
}

fn world(servers: Vec<AuthorizationServerDeclaration>) -> IssuerDeclaration {
    IssuerDeclaration {
        servers,
        clients: apps(),
        groups: texts(&["g1", "g2", "customers"]),
        users: people(),
    }
}

/// Mostly what is declared, in any order; now and then what breaks the grammar, or a rule of OpenID Connect.
fn requests() -> impl Strategy<Value = Vec<Request>> {
    let client = prop_oneof![8 => select(CLIENTS[..2].to_vec()), 2 => select(CLIENTS[2..].to_vec())];
    prop::collection::vec(request(client, Just(Proof::Client)), 250)
}

/// Few: each costs a verification of a password.
fn sign_ins() -> impl Strategy<Value = Vec<Request>> {
    let client = select(vec!["app", "app", "app", "kiosk", "kiosk", "svc"]);
    prop::collection::vec(request(client, select(LOGINS.to_vec()).prop_map(Proof::Password)), 6)
}

/// Refreshes, assertions and exchanges; rarely by a client that is not given the grant.
fn of_people() -> impl Strategy<Value = Vec<Request>> {
    let began_by = select(vec![
        GrantType::AuthorizationCode,
        GrantType::DeviceCode,
        GrantType::Password,
    ]);
    let scopes = subsequence(vec!["a", "b", "c", "d", "openid", "offline_access"], 3..=6);
    let grant = (began_by, scopes).prop_map(|(began_by, scopes)| Grant {
        began_by,
        scopes: ScopeSet::parse(&scopes.join(" ")).expect("valid"),
    });
    // Those who may use the app more often than those who may not.
    let login = select([&held::ALL[..], &held::ALL[..2], &held::ALL[..2], &held::ALL[3..4]].concat());
    let refresh = (login, grant).prop_map(|(login, grant)| Proof::Refresh(login, grant));
    let assertion = select(held::ALL.to_vec()).prop_map(Proof::Assertion);
    let exchange = select(held::ALL.to_vec()).prop_map(Proof::Exchange);
    let one = prop_oneof![
        4 => request(select(["app"; 10].into_iter().chain(["web", "kiosk"]).collect::<Vec<_>>()), refresh),
        1 => request(select(vec!["agent", "agent", "agent", "agent", "svc"]), assertion),
        1 => request(select(vec!["broker", "broker", "broker", "broker", "svc"]), exchange),
    ];
    prop::collection::vec(one, 250)
}

fn request(
    client: impl Strategy<Value = &'static str>,
    proof: impl Strategy<Value = Proof>,
) -> impl Strategy<Value = Request> {
    let named = subsequence(SCOPES.to_vec(), 0..=4)
        .prop_shuffle()
        .prop_map(|names| names.join(" "));
    let odd = select(vec![
        "a a",
        " a  b ",
        "zz",
        "a zz",
        "openid a",
        "offline_access",
        "a\"b",
        "a\\b",
        "ä",
        "",
        " ",
    ]);
    let scope = prop_oneof![1 => Just(None), 6 => named.prop_map(Some), 2 => odd.prop_map(|odd| Some(odd.to_owned()))];
    let server = prop_oneof![9 => select(SERVERS[..2].to_vec()), 1 => Just(SERVERS[2])];
    (server, client, scope, proof).prop_map(|(server, client, scope, proof)| Request {
        server,
        client,
        scope,
        proof,
    })
}

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
enum Answer {
    Token {
        claims: Map<String, Value>,
        scope: String,
        seconds: u64,
        trace: Value,
        policy: Value,
        rule: Value,
        /// Whether these come with it.
        id_token: bool,
        refresh_token: bool,
    },
    Error {
        status: u16,
        error: &'static str,
        code: &'static str,
        text: Option<String>,
    },
}

fn refusal(error: &OAuthError) -> Answer {
    let code = error.error_code();
    Answer::Error {
        status: error.http_status(),
        error: error.code().as_str(),
        code,
        // Who cannot authenticate is told less than who asks for a preview.
        text: (code != "client_authentication_failed").then(|| error.description()),
    }
}

/// Without what is made for each token, or follows from the proof that a preview has none of.
fn without_id(mut claims: Map<String, Value>) -> Map<String, Value> {
    for name in ["jti", "sid", "amr", "act"] {
        claims.remove(name);
    }
    claims
}

impl Answer {
    fn of_preview(preview: &Preview) -> Self {
        match &preview.outcome {
            Ok(token) => Self::Token {
                claims: without_id(token.access_token.clone()),
                scope: token.scopes.to_string(),
                seconds: token.access_token_lifetime.as_secs(),
                trace: preview.decision.as_ref().expect("decided").trace_json(),
                policy: json!(token.policy),
                rule: json!(token.rule),
                id_token: token.id_token.is_some(),
                refresh_token: token.refresh_token.is_some(),
            },
            Err(error) => refusal(error),
        }
    }

    fn of_endpoint(answer: &Result<TokenAnswer, Failure>, detail: &Value) -> Self {
        match answer {
            Ok(answer) => {
                let token = Unverified::parse(answer.access_token.expose_secret()).expect("a token");
                Self::Token {
                    claims: without_id(token.claims_unverified().to_map()),
                    scope: answer.scope.clone(),
                    seconds: answer.expires_in_seconds,
                    trace: detail["trace"].clone(),
                    policy: detail["policy"].clone(),
                    rule: detail["rule"].clone(),
                    id_token: answer.id_token.is_some(),
                    refresh_token: answer.refresh_token.is_some(),
                }
            }
            Err(failure) => refusal(&failure.error),
        }
    }
}

async fn body(request: &Request, earlier: &held::Earlier) -> String {
    let mut body = Serializer::new(String::new());
    body.append_pair("grant_type", request.grant().wire_name())
        .append_pair("client_id", request.client);
    match &request.proof {
        Proof::Client => {}
        Proof::Password(login) => {
            body.append_pair("username", login)
                .append_pair("password", "correct horse");
        }
        Proof::Refresh(login, grant) => {
            body.append_pair("refresh_token", &earlier.refresh_token(request, login, grant).await);
        }
        Proof::Assertion(login) => {
            body.append_pair("assertion", &earlier.assertion(request.server, login));
        }
        Proof::Exchange(login) => {
            body.append_pair("subject_token", earlier.access_token(login))
                .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
        }
    }
    if !matches!(request.client, "app" | "kiosk") {
        body.append_pair("client_secret", "secret");
    }
    if let Some(scope) = &request.scope {
        body.append_pair("scope", scope);
    }
    body.finish()
}

impl Request {
    fn grant(&self) -> GrantType {
        match self.proof {
            Proof::Client => GrantType::ClientCredentials,
            Proof::Password(_) => GrantType::Password,
            Proof::Refresh(..) => GrantType::RefreshToken,
            Proof::Assertion(_) => GrantType::JwtBearer,
            Proof::Exchange(_) => GrantType::TokenExchange,
        }
    }

    fn login(&self) -> Option<&'static str> {
        match self.proof {
            Proof::Client => None,
            Proof::Password(login) | Proof::Refresh(login, _) | Proof::Assertion(login) | Proof::Exchange(login) => {
                Some(login)
            }
        }
    }

    fn held(&self) -> Held<'_> {
        match &self.proof {
            Proof::Refresh(_, grant) => Held {
                began_by: Some(grant.began_by),
                scopes: Some(&grant.scopes),
            },
            // Of another server's token, what the rules of this one say.
            _ => Held::default(),
        }
    }
}

fn previewed(model: &Model, public_url: &Url, request: &Request) -> Preview {
    let server = AuthorizationServerId::parse(request.server).expect("a name");
    let of_store = request.login().and_then(held::of_store);
    let groups: Vec<String> = of_store
        .iter()
        .flat_map(|user| user.groups.iter().map(|group| (*group).to_owned()))
        .collect();
    let nothing = Map::new();
    let user = request.login().map(|login| match (&of_store, model.users.get(login)) {
        (Some(user), _) => PreviewUser {
            token: TokenUser {
                id: user.id,
                login,
                groups: &groups,
                profile: &nothing,
            },
            active: user.status == UserStatus::Active,
        },
        (None, user) => {
            let user = user.expect("a user of the file");
            PreviewUser {
                token: TokenUser {
                    id: &user.login,
                    login,
                    groups: &user.groups,
                    profile: &user.profile,
                },
                active: true,
            }
        }
    });
    let asked = PreviewRequest {
        server: &server,
        client: &client_id(request.client),
        grant: request.grant(),
        user,
        scope: request.scope.as_deref(),
        held: request.held(),
    };
    preview(model, &issuer_of(public_url, &server), &asked, NOW)
}

proptest! {
    // 40 worlds of 250 requests of clients for themselves, and 250 for people.
    // What is smaller is no clearer, and takes long: the request says enough.
    #![proptest_config(ProptestConfig { max_shrink_iters: 0, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn case_156_the_preview_says_what_the_token_endpoint_does_10_000_times(
        servers in servers(), requests in requests(), sign_ins in sign_ins(), of_people in of_people()
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let declared = settings(world(servers));
        let (model, findings) = compile(&declared.declared);
        let model = model.unwrap_or_else(|| panic!("{findings:#?}"));
        let (test, earlier) = runtime.block_on(held::Earlier::begin(declared.declared));
        let public_url = test.issuer.public_url();
        for request in requests.iter().chain(&sign_ins).chain(&of_people) {
            let body = runtime.block_on(body(request, &earlier));
            let endpoint = runtime.block_on(test.issuer.token(request.server, &form(&body)));
            let records = std::mem::take(&mut *test.records.audit.lock());
            let detail = records.last().map_or(Value::Null, |event| event.detail.clone());
            let endpoint = Answer::of_endpoint(&endpoint, &detail);
            prop_assert_eq!(endpoint, Answer::of_preview(&previewed(&model, &public_url, request)), "{:?}", request);
        }
    }
}

#[test]
fn the_random_requests_are_granted_and_refused_in_every_way() {
    let mut runner = TestRunner::deterministic();
    let mut kinds = BTreeMap::<(&str, &str), usize>::new();
    let public_url = Url::parse("https://127.0.0.1:8443").expect("a URL");
    for _ in 0..40 {
        let servers = servers().new_tree(&mut runner).expect("generates").current();
        let (model, findings) = compile(&world(servers));
        let model = model.unwrap_or_else(|| panic!("{findings:#?}"));
        let requests = requests().new_tree(&mut runner).expect("generates").current();
        let sign_ins = sign_ins().new_tree(&mut runner).expect("generates").current();
        let of_people = of_people().new_tree(&mut runner).expect("generates").current();
        for request in requests.iter().chain(&sign_ins).chain(&of_people) {
            let seen = previewed(&model, &public_url, request).outcome;
            let kind = seen.as_ref().map_or_else(OAuthError::error_code, |_| "granted");
            *kinds.entry((request.grant().as_str(), kind)).or_default() += 1;
        }
    }
    let expected: [(&str, &[&str]); 5] = [
        (
            "client_credentials",
            &[
                "granted",
                "client_authentication_failed",
                "unknown_authorization_server",
                "grant_not_allowed",
                "public_client",
                "malformed_scope",
                "no_matching_scope",
                "no_default_scopes",
                "no_matching_policy",
                "scope_denied",
                "consent_required",
                "claim_evaluation_failure",
                "openid_not_allowed_client_creds",
            ],
        ),
        (
            "password",
            &[
                "granted",
                "no_matching_policy",
                "user_not_assigned",
                "grant_not_allowed",
            ],
        ),
        (
            "refresh_token",
            &[
                "granted",
                "grant_denied",
                "scope_not_granted",
                "malformed_scope",
                "invalid_refresh_token",
                "claim_evaluation_failure",
                "grant_not_allowed",
            ],
        ),
        (
            "jwt_bearer",
            &["granted", "invalid_assertion", "no_matching_policy", "consent_required"],
        ),
        (
            "token_exchange",
            &[
                "granted",
                "user_not_active",
                "user_not_assigned",
                "scope_denied",
                "consent_required",
            ],
        ),
    ];
    for (grant, ways) in expected {
        for way in ways {
            let count = kinds.get(&(grant, *way)).copied().unwrap_or_default();
            assert!(count >= 5, "{grant} {way}: {kinds:#?}");
        }
    }
    for (grant, most) in [("client_credentials", 500), ("refresh_token", 400)] {
        assert!(kinds[&(grant, "granted")] > most, "{grant}: {kinds:#?}");
    }
}
