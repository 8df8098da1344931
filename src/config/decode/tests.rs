use super::*;
use crate::config::yaml;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fruit {
    Apple,
    Pear,
}

words! {
    Fruit as "Fruit" {
        "apple" => Self::Apple, "Round.";
        "pear" => Self::Pear, "Not round.";
    }
}

shapes! {
    /// A basket.
    Basket {
        /// Its owner.
        owner: Located<String>,
        /// What is in it.
        fruits: Vec<Fruit>,
        /// Whether it is closed.
        r#in: Option<bool>,
        /// More baskets.
        baskets: Option<Vec<Basket>>,
    }
}

/// A finding: its code, line, column, and its message with its hint.
type Found = (&'static str, u32, u32, String);

fn decode(text: &str) -> (Option<Basket>, Vec<Found>) {
    let (root, findings) = yaml::read(text);
    assert_eq!(findings, []);
    let mut problems = Problems::default();
    let basket = root.and_then(|root| Basket::decode(&root, &mut problems));
    let findings = problems.into_findings().into_iter().map(|finding| {
        let hint = finding.hint.unwrap_or_default();
        let text = format!("{}; {hint}", finding.message);
        (finding.code, finding.location.line, finding.location.column, text)
    });
    (basket, findings.collect())
}

#[test]
fn a_right_mapping_gives_its_values_and_places() {
    let (basket, findings) = decode("owner: ada\nfruits: [apple, pear]\nin: true\n");
    assert_eq!(findings, []);
    let basket = basket.expect("decoded");
    assert_eq!(
        basket.owner,
        Located::new("ada".to_owned(), Location { line: 1, column: 8 })
    );
    assert_eq!(basket.fruits, [Fruit::Apple, Fruit::Pear]);
    assert_eq!(basket.r#in, Some(true));
    assert!(basket.baskets.is_none());
}

#[test]
fn one_run_finds_every_mistake() {
    let (basket, findings) = decode(
        "owner: ada\nfruits: [aple, pear, 7]\nin: ja\nbaskets:\n  - { owner: bob, fruits: nuts }\n  - { onwer: eve, fruits: [] }\n  - { fruits: [], owner: eve, x: 1 }\n",
    );
    let expected = [
        ("unknown_word", 2, 10, "unknown word `aple`; did you mean `apple`?"),
        (
            "wrong_type",
            2,
            22,
            "expected the word `apple` or `pear`, found a number `7`; ",
        ),
        ("wrong_type", 3, 5, "expected `true` or `false`, found a text `ja`; "),
        ("wrong_type", 5, 27, "expected a list, found a text; "),
        ("unknown_key", 6, 7, "unknown key `onwer`; did you mean `owner`?"),
        ("unknown_key", 7, 31, "unknown key `x`; did you mean `in`?"),
    ];
    let expected: Vec<_> = expected
        .into_iter()
        .map(|(code, line, column, text)| (code, line, column, text.to_owned()))
        .collect();
    let same = |text: &(&'static str, u32, u32, String)| (text.0, text.1, text.2);
    assert_eq!(
        findings.iter().map(same).collect::<Vec<_>>(),
        expected.iter().map(same).collect::<Vec<_>>()
    );
    assert_eq!(findings[..5], expected[..5]);
    let basket = basket.expect("what is right stays");
    assert_eq!(basket.fruits, [Fruit::Pear]);
    assert_eq!(basket.baskets.map(|baskets| baskets.len()), Some(1));
}

#[test]
fn every_missing_key_is_named_and_a_misspelt_one_is_not_missing_too() {
    let rows: [(&str, &[&str]); 5] = [
        ("{}", &["the key `owner` is missing; ", "the key `fruits` is missing; "]),
        (
            "{ ownr: a, fruits: [] }",
            &["unknown key `ownr`; did you mean `owner`?"],
        ),
        (
            "{ owner: , fruits: ~ }",
            &["the key `owner` says nothing; ", "the key `fruits` says nothing; "],
        ),
        (
            "[]",
            &["expected a mapping with `owner`, `fruits`, `in` or `baskets`, found a list; "],
        ),
        (
            "{ owner: 12, fruits: [] }",
            &["expected a text, found a number `12`; put it in quotes to make it a text"],
        ),
    ];
    for (text, expected) in rows {
        let (basket, findings) = decode(text);
        assert!(basket.is_none(), "{text}");
        let messages: Vec<&str> = findings.iter().map(|finding| finding.3.as_str()).collect();
        assert_eq!(messages, expected, "{text}");
    }
}

#[test]
fn the_schema_says_what_the_decoder_does() {
    let schema = schemars::schema_for!(Basket).to_value();
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], serde_json::json!(["owner", "fruits"]));
    assert_eq!(schema["properties"]["in"]["description"], "Whether it is closed.");
    assert!(schema["properties"].get("at").is_none());
    assert_eq!(schema["$defs"]["Fruit"]["oneOf"][1]["const"], "pear");
}

#[test]
fn a_message_shows_one_bounded_line() {
    assert_eq!(shown("a\nb"), "a\u{fffd}b");
    assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    assert_eq!(listed(&["a", "b", "r#in"]), "`a`, `b` or `in`");
}
