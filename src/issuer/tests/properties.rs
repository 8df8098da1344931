//! Over random models and requests: a token's scopes are those of its grant at most, and a grant's are what the
//! policies allow at most; no refresh makes either wider.

use proptest::prelude::*;
use proptest::sample::subsequence;

use crate::issuer::fixture::{TestIssuer, settings};
use crate::issuer::tests::world::{ask, claims, code, redemption, refresh_body, request, scopes};
use crate::model::id::GrantId;
use crate::model::scope::{Scope, ScopeSet};
use crate::oauth::access::{Model, OIDC_SCOPES, compile};
use crate::oauth::declared::{ClientKind, Consent, IssuerDeclaration, RefreshDeclaration};
use crate::oauth::sample::{client, client_id, policy, rule, scope, server, server_id, texts, user};

const SCOPES: [&str; 6] = ["a", "b", "c", "openid", "offline_access", "profile"];
const GRANTS: [&str; 2] = ["authorization_code", "refresh_token"];

/// Grants, scopes (any if none), whether there is a refresh token, and for how long the access token lives.
type RuleSpec = (Vec<&'static str>, Option<Vec<&'static str>>, bool, u64);

fn rules() -> impl Strategy<Value = Vec<RuleSpec>> {
    let one = (
        subsequence(GRANTS.to_vec(), 1..=2),
        proptest::option::of(subsequence(SCOPES[..3].to_vec(), 1..=3)),
        any::<bool>(),
        60u64..600,
    );
    prop::collection::vec(one, 0..4)
}

fn declare(specs: &[RuleSpec]) -> IssuerDeclaration {
    let rules = specs
        .iter()
        .enumerate()
        .map(|(index, (grants, allowed, refreshes, seconds))| {
            let mut rule = rule(&format!("r{index}"), grants, &[], allowed.as_deref(), *seconds);
            rule.refresh_token = refreshes.then_some(RefreshDeclaration {
                lifetime: std::time::Duration::from_secs(3600),
                idle: None,
            });
            rule
        });
    let declared = SCOPES[..3].iter().map(|name| scope(name, Consent::Implicit, false));
    let transfers = server(
        "transfers",
        declared.collect(),
        vec![policy("p", None, rules.collect())],
    );
    let mut app = client("mobile", ClientKind::Native, &GRANTS);
    app.redirect_uris = texts(&["com.app.x:/cb"]);
    IssuerDeclaration {
        servers: vec![transfers],
        clients: vec![app],
        groups: texts(&["customers"]),
        users: vec![user("ada@bank.example", &["customers"])],
    }
}

/// Everything that some rule allows.
fn allowed(model: &Model) -> ScopeSet {
    let server = &model.servers[&server_id("transfers")];
    let mut rules = server.policies.iter().flat_map(|policy| &policy.rules).peekable();
    if rules.peek().is_none() {
        return ScopeSet::default();
    }
    let rules: Vec<_> = rules.collect();
    let own = server
        .scopes
        .keys()
        .filter(|scope| rules.iter().any(|rule| rule.scopes.allows(scope)));
    let oidc = OIDC_SCOPES.iter().map(|name| Scope::parse(name).expect("valid"));
    own.cloned().chain(oidc).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn case_093_case_096_attack_f12_no_refresh_ever_widens(
        first in rules(),
        later in rules(),
        asked in subsequence(SCOPES.to_vec(), 1..=6),
        wanted in prop::collection::vec(proptest::option::of(subsequence(SCOPES.to_vec(), 1..=6)), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let test = TestIssuer::with(declare(&first)).await;
            let asked = asked.join(" ");
            let code = code(&test, request("mobile", &asked)).await;
            let Ok(answer) = ask(&test, &redemption("mobile", &code)).await else { return Ok(()) };
            let granted = scopes(&answer.scope);
            prop_assert!(allowed(&compile(&declare(&first)).0.expect("sound")).is_superset(&granted));
            prop_assert!(scopes(&asked).is_superset(&granted));
            let Some(token) = &answer.refresh_token else { return Ok(()) };
            let mut token = token.expose_secret().clone();
            let id = GrantId::parse(token.split('.').next().expect("an id")).expect("valid");
            test.issuer.reload(&settings(declare(&later))).await.expect("sound");
            let now_allowed = allowed(&compile(&declare(&later)).0.expect("sound"));
            for wanted in wanted {
                let mut body = refresh_body("mobile", &token);
                if let Some(wanted) = &wanted {
                    body = format!("{body}&scope={}", wanted.join("+"));
                }
                let store = &test.issuer.services.store.store;
                let before = store.grant(&id).await.expect("read").expect("there");
                let outcome = ask(&test, &body).await;
                let after = store.grant(&id).await.expect("read").expect("there");
                prop_assert_eq!(&before.scopes, &after.scopes, "a grant never changes what it is");
                prop_assert_eq!(before.expires_at, after.expires_at);
                prop_assert_eq!(&granted, &after.scopes);
                let Ok(answer) = outcome else { continue };
                let told = scopes(&answer.scope);
                prop_assert_eq!(scopes(claims(&test, &answer).map()["scope"].as_str().expect("text")), told.clone());
                prop_assert!(after.scopes.is_superset(&told), "token within grant");
                prop_assert!(now_allowed.is_superset(&told), "token within the policies of now");
                if let Some(wanted) = wanted {
                    prop_assert_eq!(scopes(&wanted.join(" ")), told, "all or nothing");
                }
                token = answer.refresh_token.expect("a successor").expose_secret().clone();
            }
            let _ = client_id("mobile");
            Ok(())
        })?;
    }
}
