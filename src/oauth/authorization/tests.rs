use super::*;
use crate::oauth::error::CodeFailure as C;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(seconds)
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).expect("valid")
}

fn pending() -> Pending {
    Pending {
        server: AuthorizationServerId::parse("transfers").expect("valid"),
        client: ClientId::parse("mobile").expect("valid"),
        redirect_uri: "https://app.example/cb".to_owned(),
        redirect_uri_sent: true,
        scopes: scopes("openid a b"),
        resources: vec!["https://api.bank.example/transfers".to_owned()],
        nonce: Some("n".to_owned()),
        challenge: Challenge::from_base64url(CHALLENGE),
        dpop_key: Some(Digest::of(b"key")),
    }
}

fn approval(agreed: &str) -> Approval {
    Approval {
        user: UserId::parse("u1").expect("valid"),
        scopes: scopes(agreed),
        auth_time: at(900),
        amr: vec!["pwd".to_owned()],
        acr: Some("high".to_owned()),
    }
}

fn approved(request: Pending) -> Approved {
    request
        .approve(approval("openid a"), at(1000))
        .expect("no more than asked")
}

#[test]
fn a_person_agrees_to_no_more_than_was_asked() {
    assert_eq!(pending().approve(approval("openid c"), at(0)), Err(Widened));
    assert_eq!(approved(pending()).expires_at(), at(1060));
    assert_eq!(pending().reject().request, pending());
}

#[test]
fn what_is_kept_reads_back_and_nothing_else_does() {
    let approved = approved(pending());
    let payload = approved.to_payload();
    assert_eq!(Approved::read(&payload), Some(approved));
    for (name, value) in [
        ("challenge", "short"),
        ("dpop_key", "short"),
        ("server", ""),
        ("requested", "\""),
        ("unknown", "x"),
    ] {
        let mut altered = payload.clone();
        altered[name] = value.into();
        assert_eq!(Approved::read(&altered), None, "{name}");
    }
    assert_eq!(Approved::read(&Value::Null), None);
}

#[test]
fn case_046_case_049_case_054_case_055_case_056_case_057_attack_f05_attack_f07_attack_f08_a_code_is_for_who_it_was_given_to()
 {
    let server = AuthorizationServerId::parse("transfers").expect("valid");
    let other_server = AuthorizationServerId::parse("transactions").expect("valid");
    let (mobile, other) = (
        ClientId::parse("mobile").expect("valid"),
        ClientId::parse("quickbooks").expect("valid"),
    );
    let (right, wrong) = (
        Secret::new(VERIFIER.to_owned()),
        Secret::new(VERIFIER.to_ascii_lowercase()),
    );
    let verifier = |text| Some(Verifier::read(text).expect("well-formed"));
    let good = Redemption {
        server: &server,
        client: &mobile,
        redirect_uri: Some("https://app.example/cb"),
        verifier: verifier(&right),
        binding: Some(KeyBinding::Dpop(Digest::of(b"key"))),
        now: at(1059),
    };
    let redeemed = approved(pending()).redeem(&good).expect("it fits");
    assert_eq!(redeemed.approval, approval("openid a"));
    assert_eq!(redeemed.nonce.as_deref(), Some("n"));

    let rows: [(&str, Redemption<'_>, GrantFailure); 10] = [
        ("client", Redemption { client: &other, ..good }, C::OtherClient.into()),
        (
            "server",
            Redemption {
                server: &other_server,
                ..good
            },
            C::OtherServer.into(),
        ),
        ("time", Redemption { now: at(1060), ..good }, C::Expired.into()),
        (
            "no redirect",
            Redemption {
                redirect_uri: None,
                ..good
            },
            C::RedirectUri.into(),
        ),
        (
            "redirect",
            Redemption {
                redirect_uri: Some("https://app.example/cb/"),
                ..good
            },
            C::RedirectUri.into(),
        ),
        (
            "no verifier",
            Redemption { verifier: None, ..good },
            C::VerifierMissing.into(),
        ),
        (
            "verifier",
            Redemption {
                verifier: verifier(&wrong),
                ..good
            },
            C::VerifierWrong.into(),
        ),
        (
            "no key",
            Redemption { binding: None, ..good },
            GrantFailure::KeyMismatch,
        ),
        (
            "key",
            Redemption {
                binding: Some(KeyBinding::Dpop(Digest::of(b"other"))),
                ..good
            },
            GrantFailure::KeyMismatch,
        ),
        (
            "kind of key",
            Redemption {
                binding: Some(KeyBinding::Certificate(Digest::of(b"key"))),
                ..good
            },
            GrantFailure::KeyMismatch,
        ),
    ];
    for (name, shown, expected) in rows {
        assert_eq!(approved(pending()).redeem(&shown), Err(expected), "{name}");
    }
}

#[test]
fn case_049_attack_f08_what_the_request_did_not_have_the_redemption_must_not_bring() {
    let server = AuthorizationServerId::parse("transfers").expect("valid");
    let mobile = ClientId::parse("mobile").expect("valid");
    let mut plain = pending();
    (plain.challenge, plain.dpop_key, plain.redirect_uri_sent) = (None, None, false);
    let shown = Redemption {
        server: &server,
        client: &mobile,
        redirect_uri: None,
        verifier: None,
        binding: None,
        now: at(1000),
    };
    assert!(approved(plain.clone()).redeem(&shown).is_ok());
    let verifier = Secret::new(VERIFIER.to_owned());
    let downgraded = approved(plain.clone()).redeem(&Redemption {
        verifier: Some(Verifier::read(&verifier).expect("well-formed")),
        ..shown
    });
    assert_eq!(downgraded, Err(C::VerifierUnexpected.into()));
    let named = approved(plain).redeem(&Redemption {
        redirect_uri: Some("https://evil.example"),
        ..shown
    });
    assert_eq!(named, Err(C::RedirectUri.into()));
}

#[test]
fn case_001_a_code_is_kept_as_its_digest_alone_and_lives_for_a_minute() {
    assert!(CODE_LIFETIME <= Duration::from_secs(60) && CODE_BYTES * 8 >= 128);
    let code = Code::new("x".repeat(43));
    assert_eq!(code.digest(), Digest::of("x".repeat(43).as_bytes()));
    assert_eq!(format!("{code:?}"), "Code(Secret(..))");
    assert!(Code::shown(&Secret::new("x".repeat(129))).is_none());
}
