use proptest::collection::btree_map;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::testing::json::value;

fn back(held: &Held) -> Map<String, Value> {
    let claims = held.claims();
    let whole = claims.names().map(|name| (name.to_owned(), claims.get(name)));
    whole
        .map(|(name, claim)| (name, claim.expect("it is there").into_json()))
        .collect()
}

/// The names that [`is_common`] knows, as an expression: whoever changes one changes the other.
const COMMON: &str = "a(cr|mr|ud|zp)|cid|client_id|groups|iss|permissions|roles|scope|scp|tid|token_use|typ|ver";

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        common in btree_map(COMMON, value(), 0..6),
        own in btree_map("[a-z]{0,3}|sub|auth_time|exp|jti", value(), 0..12),
    ) {
        prop_assert!(common.keys().all(|name| is_common(name)));
        let claims: Map<String, Value> = common.into_iter().chain(own).collect();
        let held = Held::new(claims.clone());
        prop_assert_eq!(back(&held), claims.clone());
        prop_assert_eq!(held.claims().get("absent"), None);
        for claim in Frequent::ALL {
            prop_assert_eq!(Frequent::named(claim.name()), Some(claim));
            prop_assert_eq!(held.claims().frequent(claim), held.claims().get(claim.name()));
        }
        prop_assert_eq!(held.claims().subject(), claims.get("sub").and_then(Value::as_str));
    }
}

#[test]
fn more_claims_than_can_be_numbered_keep_their_values() {
    let claims: Map<String, Value> = (0..70_000)
        .map(|number| (format!("c{number:05}"), number.into()))
        .collect();
    let held = Held::new(claims);
    for number in [0, 1, 65_534, 65_535, 65_536, 69_999] {
        let claim = held.claims().get(&format!("c{number:05}"));
        assert_eq!(claim.map(Claim::into_json), Some(number.into()), "{number}");
    }
}

#[test]
fn tokens_of_one_kind_have_one_shape() {
    let claims = |number: usize, client: &str| {
        let claims = json!({
            "iss": "https://i.example", "aud": ["a", "b"], "client_id": client, "scope": "read write",
            "sub": format!("user-{number}"), "jti": number.to_string(), "exp": 1_800_000_000 + number,
        });
        claims.as_object().expect("an object").clone()
    };
    let (one, own) = Shape::of(claims(1, "mobile"));
    let (two, other) = Shape::of(claims(2, "mobile"));
    assert_eq!(one, two);
    assert_ne!(own, other);
    assert_ne!(Shape::of(claims(1, "batch")).0, one);
    assert!(own.len() < 48, "{own:?}");
    let claims = Claims::new(&one, &own);
    assert_eq!((claims.text("sub"), claims.subject()), (Some("user-1"), Some("user-1")));
    assert_eq!(claims.text("client_id"), Some("mobile"));
    assert_eq!(claims.text("exp"), None);
    assert_eq!(claims.get("exp"), Some(Claim::Json(Cow::Owned(json!(1_800_000_001)))));
}
