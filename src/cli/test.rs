//! `scopegate test`: a table of requests with the decisions expected of them.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};

use crate::authz::explain::{Assumed, explain};
use crate::cli::{Output, assume};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::config::cases::{self, Case};
use crate::config::source::System;
use crate::model::location::Location;
use crate::model::time::Timestamp;
use crate::policy::compiled::CompiledPolicy;
use crate::policy::decision::Decision;
use crate::policy::trace::Untraced;

/// Try a table of requests against a configuration.
///
/// Each case has a request, a token as a set of claims, and the decision that is expected. Exit code 0 if all are as expected,
/// 1 if any differs.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// The case files.
    #[arg(required = true, value_name = "CASES")]
    pub cases: Vec<PathBuf>,
}

/// How one case went.
struct Outcome {
    file: String,
    location: Location,
    name: String,
    /// What differs; nothing if all is as expected.
    differences: Vec<String>,
}

/// Runs the command: exit code 0 if every case is as expected, else 1.
///
/// # Errors
/// When a file has errors (which are printed), or what writing to `out` says.
pub fn run(args: &TestArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let settings = super::load(&args.config)?;
    let policy = &settings.compiled;
    let now = SystemClock::start().now();
    let mut outcomes = Vec::new();
    for path in &args.cases {
        let cases = match cases::load(path, &System) {
            Ok(cases) => cases,
            Err(report) => {
                write!(io::stderr(), "{report}")?;
                bail!("the case file `{}` has errors", path.display());
            }
        };
        outcomes.extend(cases.iter().map(|case| Outcome {
            file: path.display().to_string(),
            location: case.location,
            name: case.name.clone(),
            differences: differences(&settings, policy, case, now),
        }));
    }
    let failed = outcomes
        .iter()
        .filter(|outcome| !outcome.differences.is_empty())
        .count();
    match args.output {
        Output::Text => text(out, &outcomes, failed)?,
        Output::Json => writeln!(out, "{:#}", to_json(&outcomes, failed))?,
    }
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What comes out of a case that is not what it expects.
fn differences(settings: &Settings, policy: &CompiledPolicy, case: &Case, now: Timestamp) -> Vec<String> {
    let servers = assume::servers(settings, case.token.as_ref().map(|token| &token.claims));
    let assumed = match &case.token {
        None => Assumed::Nobody,
        Some(token) => {
            let Some(server) = servers.iter().find(|server| server.id.as_str() == token.server.value) else {
                return vec![format!("there is no authorization server `{}`", token.server.value)];
            };
            let local = settings.issuer.as_ref().and_then(|issuer| {
                issuer
                    .declared
                    .servers
                    .iter()
                    .find(|declared| declared.id.value == server.id)
            });
            Assumed::Token(assume::minted(
                token,
                server,
                local.map(|local| local.token_profile),
                now,
            ))
        }
    };
    let facts = assume::facts(&case.request.value, &case.headers);
    let decision = explain(policy, &servers, &facts, &assumed, now, &mut Untraced);
    compare(case, &decision)
}

fn compare(case: &Case, decision: &Decision) -> Vec<String> {
    let expect = &case.expect;
    let mut differences = Vec::new();
    let mut differ = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    match decision {
        Decision::Allow(permit) => {
            differ("decision", word(expect.allow).to_owned(), "allow".to_owned());
            for (name, value) in &expect.headers {
                let found = permit.headers().iter().find(|(set, _)| **set == **name);
                let found = found.map_or("no such header".to_owned(), |(_, value)| format!("`{value}`"));
                differ(&format!("header {name}"), format!("`{value}`"), found);
            }
        }
        Decision::Deny(denial) => {
            let because = denial.detail.map(|detail| format!(": {detail}")).unwrap_or_default();
            let found = format!("deny {} {}{because}", denial.status(), denial.reason().as_str());
            if expect.allow {
                differ("decision", "allow".to_owned(), found);
                return differences;
            }
            if let Some(status) = expect.status {
                differ("status", status.to_string(), denial.status().to_string());
            }
            if let Some(reason) = expect.reason {
                differ(
                    "reason",
                    reason.as_str().to_owned(),
                    denial.reason().as_str().to_string(),
                );
            }
            if let Some(missing) = &expect.missing {
                let mut missing = missing.clone();
                missing.sort_unstable();
                differ("missing", missing.join(" "), denial.missing.to_string());
            }
        }
    }
    differences
}

fn word(allow: bool) -> &'static str {
    if allow { "allow" } else { "deny" }
}

fn text(out: &mut impl Write, outcomes: &[Outcome], failed: usize) -> io::Result<()> {
    for outcome in outcomes {
        if outcome.differences.is_empty() {
            writeln!(out, "ok    {}", outcome.name)?;
        } else {
            let Location { line, column } = outcome.location;
            writeln!(out, "FAIL  {}  ({}:{line}:{column})", outcome.name, outcome.file)?;
            for difference in &outcome.differences {
                writeln!(out, "        {difference}")?;
            }
        }
    }
    writeln!(out, "\n{} passed, {failed} failed", outcomes.len() - failed)
}

fn to_json(outcomes: &[Outcome], failed: usize) -> Value {
    let outcome = |outcome: &Outcome| {
        json!({
            "name": outcome.name,
            "file": outcome.file,
            "line": outcome.location.line,
            "passed": outcome.differences.is_empty(),
            "differences": outcome.differences,
        })
    };
    json!({
        "passed": outcomes.len() - failed,
        "failed": failed,
        "cases": outcomes.iter().map(outcome).collect::<Vec<_>>(),
    })
}
