use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::policy::held::Held;
use crate::policy::testing::request;

fn holds(text: &str, claims: &Json) -> Result<bool, Unevaluated> {
    let env = environment();
    let expression = Expression::parse(&env, text, &["id"]).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let facts = request("GET https://h.example/x?y", &["x-role: user"]);
    let captures = vec![(Arc::from("id"), "7".to_owned())];
    let held = claims.as_object().cloned().map(Held::new);
    expression.holds(&Input {
        claims: held.as_ref().map(Held::claims),
        captures: &captures,
        facts: &facts,
    })
}

fn refused(text: &str) -> &'static str {
    match Expression::parse(&environment(), text, &["id"]) {
        Ok(_) => panic!("`{text}` parses"),
        Err(error) => error.code,
    }
}

#[test]
fn only_true_holds() {
    let claims = json!({"sub": "ada", "n": 5, "big": u64::MAX, "f": 1.5, "flag": true, "list": ["a", "b"],
        "o": {"in": {"x": 1}}, "nothing": null, "https://x/roles": ["admin"], "yes": "true"});
    for (text, expected) in [
        ("token.sub == 'ada'", Ok(true)),
        ("token.sub == 'bob'", Ok(false)),
        ("token.n == 5 && token.n < 6", Ok(true)),
        ("token.big > 5u", Ok(true)),
        ("token.f > 1.0", Ok(true)),
        ("token.flag", Ok(true)),
        ("token.yes", Err(Unevaluated::Failed)),
        ("token.n", Err(Unevaluated::Failed)),
        ("token.nothing", Err(Unevaluated::Failed)),
        ("token.nothing == null", Ok(true)),
        ("'a' in token.list", Ok(true)),
        ("token.list.exists(x, x == 'b')", Ok(true)),
        ("token.list[7] == 'b'", Err(Unevaluated::Failed)),
        ("token.o['in'].x == 1", Ok(true)),
        ("token['https://x/roles'].exists(r, r == 'admin')", Ok(true)),
        ("token.missing == 'x'", Err(Unevaluated::Absent)),
        ("!(token.missing == 'x')", Err(Unevaluated::Absent)),
        ("has(token.missing)", Ok(false)),
        ("has(token.sub)", Ok(true)),
        ("'sub' in token", Ok(true)),
        ("'missing' in token", Ok(false)),
        ("size(token) > 3", Ok(true)),
        ("path.id == '7'", Ok(true)),
        (
            "request.path == '/x' && request.host == 'h.example' && request.method == 'GET'",
            Ok(true),
        ),
        ("request.scheme == 'https'", Ok(true)),
        ("request.headers['x-role'] == 'user'", Ok(true)),
        ("request.headers['x-none'] == 'user'", Err(Unevaluated::Absent)),
        ("token.sub.matches('^a[a-z]+$')", Ok(true)),
        ("token.sub != '((((((((((' && token.sub != \"[[[[[[[[[[\\\"\"", Ok(true)),
        ("token.sub / 2 == 1", Err(Unevaluated::Failed)),
        ("1 / 0 == 1", Err(Unevaluated::Failed)),
        ("9223372036854775807 + 1 > 0", Err(Unevaluated::Failed)),
    ] {
        assert_eq!(holds(text, &claims), expected, "{text}");
    }
}

#[test]
fn attack_a39_claim_names_select_exactly() {
    let claims = json!({"a.b": "flat", "a": {"b": "nested"}});
    assert_eq!(
        holds("token['a.b'] == 'flat' && token.a.b == 'nested'", &claims),
        Ok(true)
    );
}

#[test]
fn attack_e13_expressions_are_bounded_at_load() {
    let long = format!("token.sub == '{}'", "a".repeat(EXPRESSION_BYTES_MAX));
    let many = "true ? true : ".repeat(17) + "true";
    let sum = "1 + ".repeat(100) + "1 == 1";
    let index = format!("token.a{} == 1", "[0]".repeat(100));
    let deep = format!("{}true{}", "(".repeat(500), ")".repeat(500));
    let not = format!("{}true", "!".repeat(1000));
    let lists = format!("{}{}", "[".repeat(500), "]".repeat(500));
    for (text, code) in [
        (long.as_str(), "expression_too_long"),
        (&deep, "expression_too_costly"),
        (&lists, "expression_too_costly"),
        (&many, "expression_too_costly"),
        (&sum, "expression_too_costly"),
        (&index, "expression_too_costly"),
        (
            "token.a.all(x, token.a.all(y, token.a.all(z, true)))",
            "expression_too_costly",
        ),
        (
            "token.a.map(x, x).map(x, x).map(x, x).map(x, x).map(x, x) == []",
            "expression_too_costly",
        ),
        ("token.sub.matches('(a{1000}){1000}')", "bad_pattern"),
        ("token.sub.matches('(a{100}){100}')", "bad_pattern"),
        ("token.sub.matches('[')", "bad_pattern"),
        ("token.sub.matches(request.headers['x-p'])", "bad_pattern"),
        ("token.sub.matches(token.pattern)", "bad_pattern"),
        ("", "bad_expression"),
        ("token.sub ==", "bad_expression"),
        ("token..sub", "bad_expression"),
        ("Token{a: 1} == null", "unknown_type"),
        ("now() > 1", "unknown_function"),
        ("sub == 'a'", "unknown_variable"),
        ("path.user == 'a'", "unknown_wildcard"),
        ("path['user'] == 'a'", "unknown_wildcard"),
        ("request.query == 'a'", "unknown_field"),
    ] {
        assert_eq!(refused(text), code, "{}", text.get(..60).unwrap_or(text));
    }
    // What the bounds let through is parsed and evaluated on a small stack.
    let both = format!("{}true{}", "true ? true : (true ? true : ".repeat(8), ")".repeat(8));
    for text in [
        not,
        both,
        "[".repeat(8) + &"]".repeat(8) + " == []",
        "!(".repeat(8) + "true" + &")".repeat(8),
    ] {
        assert!(holds(&text, &json!({})).is_ok(), "{text}");
    }
}

#[test]
fn a_loop_variable_hides_the_variable_of_its_name() {
    assert_eq!(holds("[1, 2].exists(token, token == 2)", &json!({})), Ok(true));
    assert_eq!(holds("['x'].all(path, path == 'x')", &json!({})), Ok(true));
}

#[test]
fn only_what_is_read_is_converted() {
    let env = environment();
    let expression = Expression::parse(&env, "token.sub == path.id", &["id"]).expect("parses");
    assert!(expression.reads_token() && expression.reads_path());
    assert!(!expression.reads.token.has("other"));
    let whole = Expression::parse(&env, "size(token) > 0", &[]).expect("parses");
    assert!(whole.reads.token.has("other") && !whole.reads_path());
}

#[test]
fn a_condition_without_a_caller_has_no_claims() {
    let env = environment();
    let expression = Expression::parse(&env, "token.sub == 'a'", &[]).expect("parses");
    let facts = request("GET https://h.example/x", &[]);
    let input = Input {
        claims: None,
        captures: &[],
        facts: &facts,
    };
    assert_eq!(expression.holds(&input), Err(Unevaluated::Absent));
}

proptest! {
    /// Whatever stands in a file is an expression or a mistake, never the end of the process.
    #[test]
    fn attack_e13_reading_and_evaluating_never_panics(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just("token"), Just(".sub"), Just("path"), Just(".id"), Just("request"), Just(".headers"), Just("["),
                Just("]"), Just("("), Just(")"), Just("{"), Just("}"), Just("'a'"), Just("'"), Just("\""), Just("=="),
                Just(" in "), Just("&&"), Just("!"), Just("-"), Just("?"), Just(":"), Just(","), Just("1"), Just("0x"),
                Just("1e400"), Just("9223372036854775808"), Just(".exists(x, x == 1)"), Just("b'\\xff'"), Just("r'\\'"),
                Just("'\\u12'"), Just("'\\ud800'"), Just("é"), Just("\n"), Just("\0"), Just("//"), Just(".?a"), Just("[?0]"),
                Just("duration('1h')"), Just("timestamp('x')"), Just("int("), Just("`a`"), Just("null"), Just("/"), Just("%"),
            ],
            0..12,
        ),
    ) {
        let text = pieces.concat();
        if let Ok(expression) = Expression::parse(&environment(), &text, &["id"]) {
            let held = json!({"sub": "ada"}).as_object().cloned().map(Held::new);
            let facts = request("GET https://h.example/x", &[]);
            let _ = expression.evaluate(&Input {
                claims: held.as_ref().map(Held::claims),
                captures: &[],
                facts: &facts,
            });
        }
    }
}
