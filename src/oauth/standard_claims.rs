//! What the scopes `profile`, `email`, `address`, `phone` and `groups` stand for (OpenID Connect Core
//! section 5.4): the standard claims, from the attributes of a user's profile.
//!
//! An attribute has its standard name, or Okta's (`firstName` for `given_name`). One that is not there,
//! or that is no text where a text belongs, gives no claim; nothing is made up.

use serde_json::{Map, Value, json};

use crate::model::scope::{Scope, ScopeSet};

/// A claim, the attributes that may hold it, and what it has to be.
struct Source {
    claim: &'static str,
    attributes: &'static [&'static str],
    is_flag: bool,
}

const fn text(claim: &'static str, attributes: &'static [&'static str]) -> Source {
    Source {
        claim,
        attributes,
        is_flag: false,
    }
}

const fn flag(claim: &'static str, attributes: &'static [&'static str]) -> Source {
    Source {
        claim,
        attributes,
        is_flag: true,
    }
}

const PROFILE: [Source; 11] = [
    text("name", &["name", "displayName"]),
    text("given_name", &["given_name", "firstName"]),
    text("family_name", &["family_name", "lastName"]),
    text("middle_name", &["middle_name", "middleName"]),
    text("nickname", &["nickname", "nickName"]),
    text("profile", &["profile", "profileUrl"]),
    text("picture", &["picture", "photo"]),
    text("website", &["website"]),
    text("birthdate", &["birthdate"]),
    text("zoneinfo", &["zoneinfo", "timezone"]),
    text("locale", &["locale"]),
];

const EMAIL: [Source; 2] = [
    text("email", &["email"]),
    flag("email_verified", &["email_verified", "emailVerified"]),
];

const PHONE: [Source; 2] = [
    text("phone_number", &["phone_number", "primaryPhone", "mobilePhone"]),
    flag("phone_number_verified", &["phone_number_verified"]),
];

const ADDRESS: [Source; 6] = [
    text("formatted", &["formatted", "postalAddress"]),
    text("street_address", &["street_address", "streetAddress"]),
    text("locality", &["locality", "city"]),
    text("region", &["region", "state"]),
    text("postal_code", &["postal_code", "zipCode"]),
    text("country", &["country", "countryCode"]),
];

/// The standard claims that these scopes give of a user.
#[must_use]
pub fn standard_claims(
    scopes: &ScopeSet,
    login: &str,
    groups: &[String],
    profile: &Map<String, Value>,
) -> Map<String, Value> {
    let has = |name: &str| scopes.iter().map(Scope::as_str).any(|scope| scope == name);
    let mut claims = Map::new();
    if has("profile") {
        claims = collect(&PROFILE, profile);
        claims.insert("preferred_username".to_owned(), json!(login));
    }
    if has("email") {
        claims.extend(collect(&EMAIL, profile));
    }
    if has("phone") {
        claims.extend(collect(&PHONE, profile));
    }
    if has("address") {
        let address = match profile.get("address") {
            Some(Value::Object(whole)) => collect(&ADDRESS, whole),
            _ => collect(&ADDRESS, profile),
        };
        if !address.is_empty() {
            claims.insert("address".to_owned(), Value::Object(address));
        }
    }
    if has("groups") {
        claims.insert("groups".to_owned(), json!(groups));
    }
    claims
}

fn collect(sources: &[Source], profile: &Map<String, Value>) -> Map<String, Value> {
    let value = |source: &Source| {
        let mut found = source.attributes.iter().filter_map(|name| profile.get(*name));
        let fits = |value: &&Value| {
            if source.is_flag {
                value.is_boolean()
            } else {
                value.as_str().is_some_and(|text| !text.is_empty())
            }
        };
        Some((source.claim.to_owned(), found.find(fits)?.clone()))
    };
    sources.iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_120_each_scope_gives_its_own_claims_and_no_other() {
        let profile = json!({
            "firstName": "Ada", "family_name": "Byron", "email": "ada@bank.example", "email_verified": true,
            "mobilePhone": "+44 1", "city": "London", "countryCode": "GB", "tier": "gold", "locale": 5, "nickname": "",
        });
        let Value::Object(profile) = profile else {
            panic!("an object")
        };
        let of = |scopes: &str| {
            let scopes = ScopeSet::parse(scopes).expect("valid");
            Value::Object(standard_claims(&scopes, "ada", &["customers".to_owned()], &profile))
        };
        assert_eq!(of("openid transfers:read"), json!({}));
        assert_eq!(
            of("profile"),
            json!({ "given_name": "Ada", "family_name": "Byron", "preferred_username": "ada" })
        );
        assert_eq!(
            of("email"),
            json!({ "email": "ada@bank.example", "email_verified": true })
        );
        assert_eq!(of("phone"), json!({ "phone_number": "+44 1" }));
        assert_eq!(
            of("address"),
            json!({ "address": { "locality": "London", "country": "GB" } })
        );
        assert_eq!(of("groups"), json!({ "groups": ["customers"] }));
        let nobody = standard_claims(
            &ScopeSet::parse("email phone address").expect("valid"),
            "x",
            &[],
            &Map::new(),
        );
        assert!(nobody.is_empty());
    }
}
