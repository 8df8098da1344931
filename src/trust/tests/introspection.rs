//! Tests of asking about opaque tokens.

use super::*;

#[tokio::test]
async fn attack_c12_edge_j27_only_a_boolean_true_that_fits_is_a_yes() {
    let later = NOW.unix_seconds() + 300;
    let active = |rest: &str| format!(r#"{{"active":true{rest}}}"#);
    let exp = |seconds: i64| active(&format!(r#","exp":{seconds}"#));
    let (now, leeway) = (NOW.unix_seconds(), 30);
    let table = [
        (
            "all fits",
            active(&format!(r#","iss":"{ISSUER}","aud":"api","exp":{later}"#)),
            Some(true),
        ),
        ("nothing but active", active(""), Some(true)),
        ("one audience of many", active(r#","aud":["x","api"]"#), Some(true)),
        ("within the leeway", exp(now - leeway + 1), Some(true)),
        ("inactive", r#"{"active":false}"#.to_owned(), Some(false)),
        (
            "another issuer",
            active(r#","iss":"https://evil.example""#),
            Some(false),
        ),
        ("an issuer of another type", active(r#","iss":1"#), Some(false)),
        ("another audience", active(r#","aud":"other""#), Some(false)),
        ("no audience of ours", active(r#","aud":[]"#), Some(false)),
        ("expired", exp(now - leeway), Some(false)),
        ("exp as a string", active(&format!(r#","exp":"{later}""#)), Some(false)),
        ("exp null", active(r#","exp":null"#), Some(false)),
        (
            "not yet",
            active(&format!(r#","nbf":{}"#, now + leeway + 1)),
            Some(false),
        ),
        ("active as a string", r#"{"active":"true"}"#.to_owned(), None),
        ("active as a number", r#"{"active":1}"#.to_owned(), None),
        ("active null", r#"{"active":null}"#.to_owned(), None),
        ("no active", r#"{"scope":"a"}"#.to_owned(), None),
        ("active twice", r#"{"active":false,"active":true}"#.to_owned(), None),
        ("cut off", r#"{"active":true"#.to_owned(), None),
        ("HTML", "<html>".to_owned(), None),
        ("a list", r#"[{"active":true}]"#.to_owned(), None),
        ("empty", String::new(), None),
    ];
    for (name, body, expected) in table {
        let world = asking(answer(200, body));
        let outcome = match world.server.introspect("opaque").await {
            Introspection::Active(_) => Some(true),
            Introspection::Inactive => Some(false),
            Introspection::Unavailable { .. } => None,
        };
        assert_eq!(outcome, expected, "{name}");
        assert_eq!(*world.events.answered.lock(), [expected.is_some()], "{name}");
    }
}

#[tokio::test]
async fn attack_c12_edge_j27_an_endpoint_that_fails_says_no_yes_and_may_say_when() {
    let wait = Some(Duration::from_secs(7));
    let status = |status, retry_after| {
        Ok(Fetched {
            status,
            body: br#"{"active":true}"#.to_vec(),
            max_age: None,
            retry_after,
        })
    };
    let table = [
        ("429 with a time", status(429, wait), wait),
        ("503 with a time", status(503, wait), wait),
        ("429", status(429, None), None),
        ("500", status(500, None), None),
        ("401", status(401, None), None),
        ("201", status(201, None), None),
        ("a time-out", Err(FetchError::Timeout), None),
        ("a redirect", Err(FetchError::Redirect), None),
    ];
    for (name, answer, retry_after) in table {
        let world = asking(answer);
        let outcome = world.server.introspect("opaque").await;
        assert_eq!(outcome, Introspection::Unavailable { retry_after }, "{name}");
    }
}

#[tokio::test]
async fn without_an_endpoint_no_opaque_token_is_good() {
    let world = World::with(answer(200, r#"{"active":true}"#));
    assert_eq!(world.server.introspect("opaque").await, Introspection::Inactive);
    assert_eq!(world.script.asked(), 0);
}

#[tokio::test]
async fn attack_a27_a_large_leeway_is_cut_for_introspection_too() {
    let body = format!(r#"{{"active":true,"exp":{}}}"#, NOW.unix_seconds() - 60);
    let mut settings = settings(KeySource::None);
    settings.leeway = Duration::from_secs(3600);
    settings.introspection = Some(endpoint());
    let world = World::new(settings, Script::open(answer(200, body)));
    assert_eq!(world.server.introspect("opaque").await, Introspection::Inactive);
}

fn endpoint() -> IntrospectionSettings {
    IntrospectionSettings {
        url: Url::parse("https://as.example/introspect").expect("valid"),
        client_id: "gate".to_owned(),
        client_secret: Secret::new("canary-secret".to_owned()),
        cache: Duration::from_secs(60),
    }
}

fn asking(answer: Result<Fetched, FetchError>) -> World {
    let mut settings = settings(KeySource::None);
    settings.introspection = Some(endpoint());
    World::new(settings, Script::open(answer))
}
