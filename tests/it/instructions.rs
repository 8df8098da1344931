//! The judge of the instruction counts (`benches/instructions.py`) lets nothing through that it is there to stop.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::peers::repository;

/// Whether the counts pass, and what was said.
fn compare(baseline: &Value, counts: &Value) -> (bool, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, value: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).expect("writes");
        path
    };
    judge(&["compare".into(), write("baseline", baseline), write("counts", counts)])
}

fn judge(arguments: &[std::path::PathBuf]) -> (bool, String) {
    let ran = Command::new("python3")
        .arg(repository("benches/instructions.py"))
        .args(arguments)
        .output()
        .expect("python3");
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8(said).expect("text"))
}

#[test]
fn a_count_may_grow_by_a_tenth_and_no_more() {
    let baseline = json!({ "cached_allow": 10_000, "cold_es256": 200_000 });
    for (cached, passes, word) in [
        (10_000, true, "+0.00%"),
        (11_000, true, "+10.00%"),
        (
            11_001,
            false,
            "`cached_allow` grew by 10.0%: from 10,000 to 11,001 instructions",
        ),
        (20_000, false, "`cached_allow` grew by 100.0%"),
        (9_000, true, "-10.00%"),
        (8_000, true, "shrank"),
        (0, false, "a count of nothing"),
    ] {
        let (passed, said) = compare(&baseline, &json!({ "cached_allow": cached, "cold_es256": 200_000 }));
        assert_eq!(passed, passes, "{cached}: {said}");
        assert!(said.contains(word), "{cached}: {said}");
        assert_eq!(said.contains("--update, and say in the commit"), !passes, "{said}");
    }
}

#[test]
fn a_name_on_one_side_alone_does_not_pass() {
    let both = json!({ "cached_allow": 1000, "cold_es256": 2000 });
    let one = json!({ "cached_allow": 1000 });
    let (passed, said) = compare(&both, &one);
    assert!(
        !passed && said.contains("`cold_es256` is in the baseline and was not counted"),
        "{said}"
    );
    let (passed, said) = compare(&one, &both);
    assert!(
        !passed && said.contains("`cold_es256` was counted and is not in the baseline"),
        "{said}"
    );
    let (passed, said) = compare(&json!({}), &json!({}));
    assert!(!passed, "nothing compared is nothing proven: {said}");
}

#[test]
fn what_gungraun_printed_is_read_whole_or_not_at_all() {
    let document = |id: &str, count: &Value| {
        json!({
            "id": id,
            "profiles": [{ "tool": "Callgrind", "data": { "total": { "metrics": { "Ir": count } } } }],
        })
    };
    let read = |text: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("printed");
        std::fs::write(&path, text).expect("writes");
        judge(&["read".into(), path])
    };
    let first = document("one", &json!({ "values": { "new": 5 } }));
    let again = document("two", &json!({ "values": { "new": 7, "old": 6 } }));
    let (passed, said) = read(&format!("{first}\n{again}\n"));
    assert!(passed, "{said}");
    let counts: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(counts, json!({ "one": 5, "two": 7 }));
    for text in [
        String::new(),
        "not JSON".to_owned(),
        format!("{first}{first}"),
        format!("{first} and more"),
        document("old alone", &json!({ "values": { "old": 6 } })).to_string(),
        json!({ "id": "nothing", "profiles": [] }).to_string(),
    ] {
        let (passed, said) = read(&text);
        assert!(!passed, "{text}: {said}");
    }
}
