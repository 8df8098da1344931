use super::*;
use crate::model::location::Location;

fn report(text: &str, findings: Vec<Finding>) -> Report {
    Report::new(Path::new("f.yaml"), Arc::from(text), findings)
}

fn at(line: u32, column: u32) -> Location {
    Location { line, column }
}

#[test]
fn each_finding_has_its_place_its_line_a_caret_and_a_hint() {
    let report = report(
        "a: 1\nbc: 2\n",
        vec![
            Finding::warning("late", at(2, 5), "that").hint("do this"),
            Finding::error("early", at(1, 1), "this"),
            Finding::error("nowhere", Location::default(), "gone"),
        ],
    );
    let expected = "\
f.yaml: error[nowhere]: gone

f.yaml:1:1: error[early]: this
    1 | a: 1
      | ^

f.yaml:2:5: warning[late]: that
    2 | bc: 2
      |     ^
hint: do this

f.yaml: 2 errors, 1 warning
";
    assert_eq!(report.to_string(), expected);
    assert_eq!((report.errors(), report.warnings()), (2, 1));
}

#[test]
fn two_rooms_that_find_the_same_say_it_once() {
    let once = Finding::error("unknown_client", at(1, 1), "no client `a`");
    let again = Finding::error("unknown_client", at(1, 1), "there is no client `a`");
    let other = Finding::error("unknown_client", at(1, 2), "no client `a`");
    assert_eq!(report("a", vec![once, again, other]).errors(), 2);
}

#[test]
fn a_long_line_is_cut_around_the_caret() {
    for column in [1, 100, 500, 990, 1000] {
        let text = "x".repeat(column - 1) + "#" + &"x".repeat(1000 - column);
        let column = u32::try_from(column).expect("small");
        let shown = report(&text, vec![Finding::error("e", at(1, column), "m")]).to_string();
        let mut lines = shown.lines().skip(1);
        let (line, caret) = (lines.next().expect("line"), lines.next().expect("caret"));
        assert!(line.chars().count() <= WIDTH_MAX + 10);
        let place = caret.chars().position(|character| character == '^').expect("a caret");
        assert_eq!(line.chars().nth(place), Some('#'), "{column}");
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let json = report("a: 1", vec![Finding::error("e", at(1, 2), "m").hint("h")]).to_json();
    let expected = json!({
        "file": "f.yaml", "errors": 1, "warnings": 0,
        "findings": [{ "severity": "error", "code": "e", "line": 1, "column": 2, "message": "m", "hint": "h" }]
    });
    assert_eq!(json, expected);
}

#[test]
fn attack_e18_neither_display_nor_debug_shows_a_secret_of_the_file() {
    let report = report("password: CANARY\n", vec![Finding::error("e", at(1, 1), "m")]);
    assert!(!format!("{report} {report:?}").contains("CANARY"));
}
