//! The contract by example: each file under `examples/` behaves as its own comments say, unchanged.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use scopegate::config::source::System;
use scopegate::config::{self, Report};
use scopegate::model::finding::Severity;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/examples").join(name)
}

fn report(name: &str) -> Report {
    match config::load(&example(name), &System) {
        Ok(settings) => settings.report,
        Err(report) => report,
    }
}

/// The marks of a file: for every line, how many errors and warnings its comment announces.
fn marks(text: &str) -> Vec<(u32, usize, usize)> {
    let mut marks = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let Some((_, comment)) = line.rsplit_once("# ") else {
            continue;
        };
        let count = |mark: &str| comment.split("; ").filter(|part| part.starts_with(mark)).count();
        let (errors, warnings) = (count("E "), count("W "));
        if errors + warnings > 0 {
            marks.push((number, errors, warnings));
        }
    }
    marks
}

#[test]
fn the_examples_are_those_of_the_contract() {
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/examples");
    if !contract.is_dir() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: the contract is not beside this checkout");
        return;
    }
    for name in [
        "bank/scopegate.yaml",
        "bank/cases.yaml",
        "broken/scopegate.yaml",
        "external/scopegate.yaml",
    ] {
        let theirs = std::fs::read(contract.join(name)).expect("the contract's example");
        let ours = std::fs::read(example(name)).expect("our copy");
        assert!(theirs == ours, "{name} differs from the contract");
    }
}

#[test]
fn bank_and_external_load_without_an_error() {
    for name in ["bank/scopegate.yaml", "external/scopegate.yaml"] {
        let report = report(name);
        assert_eq!(report.errors(), 0, "{report}");
    }
}

#[test]
fn bank_is_warned_that_nobody_can_approve() {
    let found: Vec<(u32, &str)> = report("bank/scopegate.yaml")
        .findings()
        .iter()
        .map(|finding| (finding.location.line, finding.code))
        .collect();
    let expected = [
        (47, "scope_never_granted"),
        (93, "route_unreachable"),
        (95, "route_unreachable"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn broken_reports_every_marked_mistake_and_no_other() {
    let text = std::fs::read_to_string(example("broken/scopegate.yaml")).expect("our copy");
    let report = report("broken/scopegate.yaml");
    let mut found: Vec<(u32, usize, usize)> = Vec::new();
    for finding in report.findings() {
        let line = finding.location.line;
        if found.last().is_none_or(|last| last.0 != line) {
            found.push((line, 0, 0));
        }
        if let Some(last) = found.last_mut() {
            match finding.severity {
                Severity::Error => last.1 += 1,
                Severity::Warning => last.2 += 1,
            }
        }
        assert!(finding.location.column >= 1, "{finding:?}");
        assert!(finding.hint.is_some(), "{finding:?}");
    }
    assert_eq!(found, marks(&text), "{report}");
}

#[test]
fn broken_reports_these_codes_at_these_places() {
    let found: Vec<(u32, u32, &str)> = report("broken/scopegate.yaml")
        .findings()
        .iter()
        .map(|finding| (finding.location.line, finding.location.column, finding.code))
        .collect();
    let expected = [
        (3, 13, "insecure_public_url"),
        (7, 22, "duplicate_address"),
        (7, 22, "missing_tls"),
        (9, 59, "grant_not_allowed_for_type"),
        (9, 96, "redirect_uri_plain_http"),
        (9, 121, "redirect_uri_scheme"),
        (10, 81, "invalid_sha256"),
        (17, 17, "invalid_scope_name"),
        (18, 17, "scope_never_granted"),
        (19, 17, "generic_admin_scope"),
        (19, 17, "scope_never_granted"),
        (21, 17, "reserved_claim"),
        (22, 30, "invalid_expression"),
        (25, 18, "all_clients"),
        (28, 21, "shadowed_rule"),
        (30, 19, "unknown_client"),
        (32, 36, "legacy_grant"),
        (32, 85, "access_token_too_long"),
        (38, 58, "unknown_scope"),
        (39, 37, "duplicate_route"),
        (40, 29, "route_unreachable"),
        (41, 11, "unknown_key"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn broken_shows_the_offending_text_and_the_way_out() {
    let text = report("broken/scopegate.yaml").to_string();
    for part in [
        "`http://auth.bank.example`",
        "`127.0.0.1:9191`",
        "`client_credentials`",
        "`http://app.example/cb`",
        "`javascript:alert(1)`",
        "`abc`",
        "`shop read`",
        "`shop:refund`",
        "`shop:admin`",
        "`iss`",
        "`team`",
        "`nobody`",
        "`password`",
        "`shop:wirte`",
        "did you mean `shop:write`?",
        "`GET /orders/{number}`",
        "`POST /refunds`",
        "`paht`",
        "did you mean `path`?",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
