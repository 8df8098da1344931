//! The checks of type, issuer, audience and clock.

use super::*;

#[test]
fn attack_a24_attack_a25_edge_j09_times_are_whole_seconds_or_the_token_is_refused() {
    for value in [
        "\"never\"",
        "\"99999999999\"",
        "\"\"",
        "1800000300.0",
        "1.8000003e9",
        "1234.5678",
        "2.001e+206",
        "1e300",
        "18446744073709551616",
        "18446744073709551615",
        "9223372036854775808",
        "-1",
        "-0.0",
        "true",
        "false",
        "null",
        "[]",
        "[1800000300]",
        "{}",
    ] {
        for name in ["exp", "nbf", "iat"] {
            assert_eq!(
                outcome(&[(name, value)]).err(),
                Some(VerifyError::Time),
                "{name}: {value}"
            );
        }
    }
    let overflow = forge(es256(), &header_of(es256()), &claims_with(&[("exp", "1e400")]));
    let refused = verify_now(&overflow, &set_of(es256()), ALL).err();
    assert_eq!(refused, Some(Refusal::Malformed(Malformed::Payload)));
    assert!(
        outcome(&[("exp", "9223372036854775807")]).is_ok(),
        "the last second does not overflow"
    );
    assert_eq!(
        outcome(&[("nbf", "9223372036854775807")]).err(),
        Some(VerifyError::NotYetValid)
    );
    assert_eq!(outcome(&[("exp", "0")]).err(), Some(VerifyError::Expired));
}

#[test]
fn attack_a26_edge_j09_a_token_without_exp_is_refused() {
    assert_eq!(outcome(&[("exp", ABSENT)]).err(), Some(VerifyError::ExpiryAbsent));
    assert!(outcome(&[("nbf", ABSENT), ("iat", ABSENT)]).is_ok());
}

#[test]
fn attack_a27_edge_j09_each_edge_of_the_clock_is_exact() {
    let leeway = i64::try_from(LEEWAY.as_secs()).expect("small");
    for (name, claim, offset, outcome_expected) in [
        ("exp now", "exp", 0, None),
        ("exp at the last second of the leeway", "exp", 1 - leeway, None),
        ("exp as old as the leeway", "exp", -leeway, Some(VerifyError::Expired)),
        (
            "exp older than the leeway",
            "exp",
            -leeway - 1,
            Some(VerifyError::Expired),
        ),
        ("nbf now", "nbf", 0, None),
        ("nbf ahead by the leeway", "nbf", leeway, None),
        ("nbf ahead by more", "nbf", leeway + 1, Some(VerifyError::NotYetValid)),
        ("iat now", "iat", 0, None),
        ("iat ahead by the leeway", "iat", leeway, None),
        (
            "iat ahead by more",
            "iat",
            leeway + 1,
            Some(VerifyError::IssuedInFuture),
        ),
        ("iat a year ahead", "iat", 31_536_000, Some(VerifyError::IssuedInFuture)),
        ("iat long ago", "iat", -31_536_000, None),
    ] {
        assert_eq!(
            outcome(&[(claim, &seconds_from_now(offset))]).err(),
            outcome_expected,
            "{name}"
        );
    }
}

#[test]
fn attack_a27_edge_j10_the_leeway_may_be_zero_and_is_cut_at_a_minute() {
    let issuer = Issuer::parse(ISSUER).expect("valid");
    let expired_since = |seconds: i64, leeway: Duration| {
        let text = forge(
            es256(),
            &header_of(es256()),
            &claims_with(&[("exp", &seconds_from_now(-seconds))]),
        );
        let mut token = Unverified::parse(&text).expect("well formed");
        let expect = Expectations {
            issuer: &issuer,
            audiences: &[AUDIENCE.to_owned()],
            algorithms: &[Algorithm::Es256],
            token_types: &TokenTypes::Usual,
            leeway,
            now: NOW,
        };
        verify(&mut token, &set_of(es256()), &expect).err()
    };
    assert_eq!(expired_since(0, Duration::ZERO), Some(VerifyError::Expired));
    assert_eq!(expired_since(-1, Duration::ZERO), None);
    for generous in [LEEWAY_MAX, Duration::from_secs(3600), Duration::MAX] {
        assert_eq!(expired_since(59, generous), None);
        assert_eq!(expired_since(60, generous), Some(VerifyError::Expired));
    }
}

#[test]
fn attack_a28_edge_j11_the_audience_is_compared_exactly() {
    for (value, believed) in [
        (r#""api://orders""#, true),
        (r#"["api://orders"]"#, true),
        (r#"["other","api://orders"]"#, true),
        (ABSENT, false),
        (r#""""#, false),
        ("[]", false),
        ("null", false),
        ("1", false),
        ("{}", false),
        ("true", false),
        ("[1]", false),
        (r#"["api://orders",1]"#, false),
        (r#"["api://orders",null]"#, false),
        (r#"[["api://orders"]]"#, false),
        (r#""api://orders.evil""#, false),
        (r#""api://order""#, false),
        (r#""https://api://orders""#, false),
        (r#""API://orders""#, false),
        (r#""api://orders/""#, false),
        (r#""api://orders ""#, false),
        (r#""api://orders other""#, false),
        (r#""api://orders\u0000""#, false),
    ] {
        let refused = outcome(&[("aud", value)]).err();
        assert_eq!(refused, (!believed).then_some(VerifyError::Audience), "{value}");
    }
}

#[test]
fn attack_a28_without_a_configured_audience_no_token_passes() {
    let issuer = Issuer::parse(ISSUER).expect("valid");
    for value in [ABSENT, "[]", r#""""#, r#""api://orders""#] {
        let text = forge(es256(), &header_of(es256()), &claims_with(&[("aud", value)]));
        let mut token = Unverified::parse(&text).expect("well formed");
        let expect = Expectations {
            issuer: &issuer,
            audiences: &[],
            algorithms: &[Algorithm::Es256],
            token_types: &TokenTypes::Usual,
            leeway: LEEWAY,
            now: NOW,
        };
        let refused = verify(&mut token, &set_of(es256()), &expect).err();
        assert_eq!(refused, Some(VerifyError::Audience), "{value}");
    }
}

#[test]
fn attack_a29_attack_a23_edge_j12_the_issuer_is_compared_exactly() {
    for value in [
        ABSENT,
        r#""""#,
        "null",
        "1",
        r#"["https://issuer.example"]"#,
        r#""https://issuer.example/""#,
        r#""HTTPS://issuer.example""#,
        r#""https://Issuer.example""#,
        r#""https://issuer.example.evil""#,
        r#""http://issuer.example""#,
        r#""https://issuer.example:443""#,
        r#"" https://issuer.example""#,
        r#""https://issuer.example\u0000""#,
        r#""https://\u0456ssuer.example""#,
        r#""https://issuer\u3002example""#,
    ] {
        assert_eq!(outcome(&[("iss", value)]).err(), Some(VerifyError::Issuer), "{value}");
    }
    assert!(
        outcome(&[("iss", r#""https:\/\/\u0069ssuer.example""#)]).is_ok(),
        "escapes are read first"
    );
}

#[test]
fn attack_a30_edge_j14_another_kind_of_token_is_no_access_token() {
    let typed = |typ: &str| format!(r#"{{"alg":"ES256","kid":"{}"{typ}}}"#, es256().kid());
    let only = TokenTypes::Only(vec!["at+jwt".to_owned()]);
    for (name, typ, usual, strict) in [
        ("absent", "", true, false),
        ("JWT", r#","typ":"JWT""#, true, false),
        ("jwt", r#","typ":"jwt""#, true, false),
        ("at+jwt", r#","typ":"at+jwt""#, true, true),
        ("AT+JWT", r#","typ":"AT+JWT""#, true, true),
        ("application/at+jwt", r#","typ":"application/at+jwt""#, true, true),
        ("APPLICATION/at+jwt", r#","typ":"APPLICATION/at+jwt""#, true, true),
        ("logout+jwt", r#","typ":"logout+jwt""#, false, false),
        ("dpop+jwt", r#","typ":"dpop+jwt""#, false, false),
        ("secevent+jwt", r#","typ":"secevent+jwt""#, false, false),
        ("oauth-authz-req+jwt", r#","typ":"oauth-authz-req+jwt""#, false, false),
        ("refresh", r#","typ":"rt+jwt""#, false, false),
        ("empty", r#","typ":"""#, false, false),
        ("with a space", r#","typ":"JWT ""#, false, false),
        ("another prefix", r#","typ":"text/at+jwt""#, false, false),
        ("non-ASCII", r#","typ":"applicatioñ/at+jwt""#, false, false),
    ] {
        let token = forge(es256(), &typed(typ), &claims_with(&[]));
        for (types, believed) in [(&TokenTypes::Usual, usual), (&only, strict)] {
            let refused = verify_as(&token, &set_of(es256()), ALL, types).err();
            assert_eq!(refused.is_none(), believed, "{name}: {refused:?}");
        }
    }
    for typ in [r#","typ":1"#, r#","typ":null"#, r#","typ":["JWT"]"#] {
        let token = forge(es256(), &typed(typ), &claims_with(&[]));
        let refused = verify_now(&token, &set_of(es256()), ALL).err();
        assert_eq!(refused, Some(Refusal::Malformed(Malformed::HeaderMember)), "{typ}");
    }
}

#[test]
fn attack_a30_edge_j14_claims_that_mark_another_kind_are_noticed_where_typ_says_nothing() {
    for (name, claim, value) in [
        ("ID token", "at_hash", r#""x""#),
        ("ID token of the hybrid flow", "c_hash", r#""x""#),
        ("ID token of FAPI", "s_hash", r#""x""#),
        (
            "logout token",
            "events",
            r#"{"http://schemas.openid.net/event/backchannel-logout":{}}"#,
        ),
        ("DPoP proof", "htm", r#""GET""#),
        ("ID token of Keycloak", "typ", r#""ID""#),
        ("refresh token of Keycloak", "typ", r#""Refresh""#),
        ("offline token of Keycloak", "typ", r#""Offline""#),
        ("logout token of Keycloak", "typ", r#""Logout""#),
        ("ID token of Cognito", "token_use", r#""id""#),
    ] {
        assert_eq!(outcome(&[(claim, value)]).err(), Some(VerifyError::TokenType), "{name}");
    }
    for (claim, value) in [
        ("typ", r#""Bearer""#),
        ("token_use", r#""access""#),
        ("nonce", r#""n""#),
    ] {
        assert!(outcome(&[(claim, value)]).is_ok(), "{claim}: {value}");
    }
    // A token that says `at+jwt` is one, whatever its claims are called.
    let header = format!(r#"{{"alg":"ES256","kid":"{}","typ":"at+jwt"}}"#, es256().kid());
    assert!(outcome_of(&forge(es256(), &header, &claims_with(&[("events", "[]")]))).is_ok());
}

#[test]
fn identifiers_are_strings_or_the_token_is_refused() {
    for name in ["sub", "jti"] {
        for value in ["1", "null", "[]", r#""""#, r#""a\u0000b""#, r#""a\r\nb""#] {
            assert_eq!(
                outcome(&[(name, value)]).err(),
                Some(VerifyError::Identifier),
                "{name}: {value}"
            );
        }
        let long = format!("{:?}", "x".repeat(1025));
        assert_eq!(outcome(&[(name, &long)]).err(), Some(VerifyError::Identifier));
        assert!(outcome(&[(name, ABSENT)]).is_ok());
    }
}

#[test]
fn attack_a41_edge_j16_the_scope_claim_comes_out_as_it_was_written() {
    for (written, scopes) in [
        ("a  b", Some("a b")),
        (" a b ", Some("a b")),
        ("b a b", Some("a b")),
        ("", Some("")),
        ("a\\tb", None),
        ("a\\u00a0b", None),
        ("a\\u0000", None),
    ] {
        let claims = outcome(&[("scope", &format!("\"{written}\""))]).expect("believed");
        let text = claims.members.text("scope").expect("a string");
        let read = ScopeSet::parse(text).ok().map(|set| set.to_string());
        assert_eq!(read.as_deref(), scopes, "{written:?}");
    }
}

#[test]
fn attack_a42_every_refusal_looks_alike_from_outside_and_has_its_own_detail() {
    let all = [
        VerifyError::Algorithm,
        VerifyError::UnknownKid,
        VerifyError::NoKey,
        VerifyError::BadSignature,
        VerifyError::TokenType,
        VerifyError::Issuer,
        VerifyError::Audience,
        VerifyError::ExpiryAbsent,
        VerifyError::Time,
        VerifyError::Expired,
        VerifyError::NotYetValid,
        VerifyError::IssuedInFuture,
        VerifyError::Identifier,
    ];
    let mut details: Vec<&str> = all.iter().map(VerifyError::detail).collect();
    assert!(
        all.iter()
            .all(|refusal| refusal.to_string() == "the token is not valid")
    );
    details.sort_unstable();
    details.dedup();
    assert_eq!(details.len(), all.len());
}

proptest! {
    #[test]
    fn attack_a25_no_number_in_a_time_claim_panics(text in "-?[0-9]{1,25}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?") {
        for name in ["exp", "nbf", "iat"] {
            let token = forge(es256(), &header_of(es256()), &claims_with(&[(name, &text)]));
            let _ = verify_now(&token, &set_of(es256()), ALL);
        }
    }
}
