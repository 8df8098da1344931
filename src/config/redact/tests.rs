use proptest::prelude::*;

use super::*;

fn shown(text: &str, line_number: u32) -> String {
    line(text, line_number, 1).expect("the line exists").text
}

#[test]
fn attack_e18_no_secret_of_a_line_is_shown() {
    let rows = [
        ("in double quotes", "password: \"CANARY\"", "password: ***"),
        ("in single quotes", "password: 'it''s CANARY'", "password: ***"),
        (
            "with an escaped quote",
            r#"password: "a\"CANARY", x: 1"#,
            "password: ***, x: 1",
        ),
        ("plain in a block", "password: CANARY, really", "password: ***"),
        (
            "plain in a flow",
            "{ login: a, password: CANARY, groups: [b] }",
            "{ login: a, password: ***, groups: [b] }",
        ),
        ("under a quoted key", "{ \"password\": CANARY }", "{ \"password\": ***}"),
        (
            "with spaces before the colon",
            "{ password : CANARY }",
            "{ password : ***}",
        ),
        (
            "under a misspelt key",
            "- { login: a, pasword: CANARY }",
            "- { login: a, pasword: ***}",
        ),
        ("under a key in capitals", "PASSWORD: CANARY", "PASSWORD: ***"),
        ("under a longer key", "client_secret: CANARY", "client_secret: ***"),
        ("as a mapping", "password: { value: CANARY }", "password: ***"),
        (
            "twice",
            "[{ password: CANARY }, { password: CANARY }]",
            "[{ password: ***}, { password: ***}]",
        ),
        (
            "in a URL",
            "store: postgres://user:CANARY@host/db",
            "store: postgres://user:***@host/db",
        ),
        (
            "in a URL with an @",
            "store: postgres://user:CAN@ARY@host/db",
            "store: postgres://user:***@host/db",
        ),
        (
            "in place of its digest",
            "secrets: [{ sha256: CANARY-secret }]",
            "secrets: [{ sha256: ***}]",
        ),
        ("an open quote", "password: \"CANARY", "password: ***"),
    ];
    for (name, text, expected) in rows {
        assert_eq!(shown(text, 1), expected, "{name}");
    }
}

#[test]
fn attack_e18_a_secret_over_several_lines_is_hidden_in_all_of_them() {
    let rows = [
        ("quoted", "password: \"one\n  CANARY\n  CANARY\" # x\nb: 1", 4),
        ("literal", "a:\n  password: |\n    CANARY\n\n    CANARY\n  b: 1", 6),
        ("folded plain", "a:\n  password: one\n    CANARY\n  b: 1", 4),
        ("on the next line", "a:\n  - password:\n      CANARY\n    b: 1", 4),
    ];
    for (name, text, last) in rows {
        for number in 1..=last {
            assert!(!shown(text, number).contains("CANARY"), "{name}, line {number}");
        }
        assert!(shown(text, last).trim().starts_with("b: 1"), "{name}");
    }
}

#[test]
fn what_is_no_secret_stays_readable() {
    for text in [
        "client_secret_file: /run/secrets/legacy",
        "password_file: /run/p",
        "secrets: [{ sha256: \"abc\" }]",
        "token_profile: okta",
        "path: /transfers/{id}",
        "- { path: \"/a\", GET: \"shop:read\" }",
        "issuer: https://host.example:8443/a",
        "ext_authz: { address: \"127.0.0.1:9191\" }",
        "access_token: 5m",
    ] {
        assert_eq!(shown(text, 1), text);
    }
    let digest = format!("sha256: \"{}\"", "ab".repeat(32));
    assert_eq!(shown(&digest, 1), digest);
}

#[test]
fn the_caret_follows_what_is_shown() {
    let caret = |text: &str, column| line(text, 1, column).map(|shown| shown.caret);
    assert_eq!(caret("a: b", 4), Some(3));
    assert_eq!(
        caret("{ password: \"a long secret\", x: 1 }", 30),
        Some("{ password: ***, ".len())
    );
    assert_eq!(
        caret("{ password: \"a long secret\", x: 1 }", 13),
        Some("{ password: ".len())
    );
    assert_eq!(
        caret("{ password: \"a long secret\", x: 1 }", 20),
        Some("{ password: ".len())
    );
    assert_eq!(caret("äö: b", 5), Some(4));
    assert_eq!(caret("ab", 9), Some(2));
    assert_eq!(line("a", 2, 1), None);
    assert_eq!(line("a", 0, 1), None);
    assert_eq!(
        line("a\u{1b}[31m\tb", 1, 1).map(|shown| shown.text),
        Some("a\u{fffd}[31m b".to_owned())
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z\"':{}\\[\\]|>#@/\\\\ \n\u{e9}]{0,80}", number in 0..6_u32, column in 0..100_u32) {
        let _ = line(&text, number, column);
    }

    #[test]
    fn attack_e18_a_password_is_hidden_whatever_it_holds(password in "[ -~]{0,20}") {
        let quoted = password.replace('\\', "\\\\").replace('"', "\\\"");
        let text = format!("- {{ login: a, password: \"CANARY{quoted}\", x: 1 }}");
        prop_assert_eq!(shown(&text, 1), "- { login: a, password: ***, x: 1 }");
    }
}
