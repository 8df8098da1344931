use super::*;
use crate::config::yaml;
use crate::model::location::Located;

fn decode<T: Decode>(value: &str) -> Result<T, String> {
    let (root, findings) = yaml::read(&format!("[{value}]"));
    assert_eq!(findings, [], "{value}");
    let mut problems = Problems::default();
    let Some(Node {
        kind: Kind::Sequence(items),
        ..
    }) = root
    else {
        panic!("{value}")
    };
    let decoded = items.first().and_then(|item| T::decode(item, &mut problems));
    let messages: Vec<String> = problems
        .into_findings()
        .into_iter()
        .map(|finding| finding.message)
        .collect();
    match decoded {
        Some(decoded) if messages.is_empty() => Ok(decoded),
        _ => Err(messages.join("; ")),
    }
}

#[test]
fn a_period_has_a_unit_and_one_spelling() {
    let good = [
        ("5m", 300_000),
        ("60s", 60_000),
        ("150ms", 150),
        ("90d", 90 * 86_400_000),
        ("1h30m", 5_400_000),
        ("1d12h", 129_600_000),
        ("0s", 0),
    ];
    for (text, milliseconds) in good {
        assert_eq!(
            decode::<Period>(text).map(|period| period.0),
            Ok(Duration::from_millis(milliseconds)),
            "{text}"
        );
    }
    for text in [
        "\"\"",
        "m",
        "5",
        "300",
        "5 m",
        "5M",
        "-5m",
        "1.5h",
        "30m1h",
        "5m5m",
        "5w",
        "5m ago",
        "99999999999999d",
        "٥m",
    ] {
        assert!(decode::<Period>(text).is_err(), "{text}");
    }
    assert_eq!(decode::<Period>("300"), Err("`300` has no unit".to_owned()));
}

#[test]
fn a_size_has_a_unit() {
    assert_eq!(decode::<Size>("64MiB").map(|size| size.0), Ok(64 << 20));
    assert_eq!(decode::<Size>("8KiB").map(|size| size.0), Ok(8 << 10));
    for text in ["64", "64MB", "64 MiB", "MiB", "-1B", "99999999999GiB", "\"\""] {
        assert!(decode::<Size>(text).is_err(), "{text}");
    }
}

#[test]
fn an_address_is_an_ip_with_a_port_or_a_socket() {
    for text in [
        "\"127.0.0.1:9191\"",
        "\"[::1]:9191\"",
        "\"unix:/run/a.sock\"",
        "\"0.0.0.0:0\"",
    ] {
        assert!(decode::<Address>(text).is_ok(), "{text}");
    }
    for text in [
        "\":9191\"",
        "\"localhost:9191\"",
        "127.0.0.1",
        "9191",
        "\"unix:\"",
        "\"127.0.0.1:99999\"",
        "\"\"",
    ] {
        assert!(decode::<Address>(text).is_err(), "{text}");
    }
}

#[test]
fn attack_e18_a_secret_in_place_of_its_digest_is_not_shown_in_full() {
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    assert!(decode::<Sha256>(digest).is_ok());
    assert!(decode::<Sha256>(&digest.to_uppercase()).is_ok());
    assert!(
        decode::<Sha256>(&"1".repeat(64)).is_ok(),
        "64 decimal digits are a digest, too"
    );
    for text in [
        "abc",
        "\"\"",
        "[]",
        &digest[1..],
        &format!("{}g", &digest[1..]),
        &"é".repeat(32),
    ] {
        assert!(decode::<Sha256>(text).is_err(), "{text}");
    }
    let message = decode::<Sha256>("canary-secret-value")
        .map(|_| ())
        .expect_err("no digest");
    assert_eq!(message, "`can…` is not a SHA-256 in hexadecimal");
}

#[test]
fn attack_e18_a_wrong_secret_is_described_without_its_value() {
    for value in ["12345678", "true", "[canary]", "\"\""] {
        let message = decode::<SecretText>(value).map(|_| ()).expect_err("no secret text");
        assert!(
            !message.contains("12345678") && !message.contains("canary"),
            "{message}"
        );
    }
}

#[test]
fn attack_e18_a_url_with_a_password_is_refused_and_not_shown() {
    for url in ["https://user:canary@host/", "https://user:canary@ho st/"] {
        let message = decode::<UrlText>(&format!("\"{url}\""))
            .map(|_| ())
            .expect_err("credentials");
        assert!(!message.contains("canary"), "{message}");
    }
    assert!(decode::<UrlText>("\"https://host/path\"").is_ok());
    for url in ["host", "/path", "mailto:a@b", "https://"] {
        assert!(decode::<UrlText>(&format!("\"{url}\"")).is_err(), "{url}");
    }
}

#[test]
fn numbers_keep_their_bounds() {
    for text in ["0", "1", "0.5", "1.0"] {
        assert!(decode::<Ratio>(text).is_ok(), "{text}");
    }
    for text in ["-0.1", "1.1", "2", ".nan", ".inf", "half"] {
        assert!(decode::<Ratio>(text).is_err(), "{text}");
    }
    assert!(decode::<Count>("1").is_ok());
    for text in ["0", "-1", "1.5", "4294967296", "many"] {
        assert!(decode::<Count>(text).is_err(), "{text}");
    }
}

#[test]
fn an_empty_list_is_no_list_of_conditions() {
    assert!(decode::<Listed<String>>("[]").is_err());
    assert!(decode::<OneOrMany<String>>("[]").is_err());
    assert_eq!(
        decode::<OneOrMany<String>>("a").map(|list| list.0),
        Ok(vec!["a".to_owned()])
    );
    let many = decode::<OneOrMany<Located<String>>>("[a, b]").map(|list| list.0.len());
    assert_eq!(many, Ok(2));
}
