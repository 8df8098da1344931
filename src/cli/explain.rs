//! `scopegate explain`: what the gate would say of a request, and every step to it.
//!
//! The steps come from the pipeline that answers Envoy: only the token is taken on the operator's word
//! (`--claims`), or its claims are read from a token without verifying it (`--token`).

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::authz::explain::{Assumed, explain};
use crate::cli::{Output, assume};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::config::cases::RequestLine;
use crate::policy::decision::Decision;
use crate::policy::facts::RequestFacts;
use crate::policy::trace::{Stage, Step, StepOutcome, Trace, Tracer as _};

/// Explain the decision on one request, step by step.
///
/// Exit code 0 if the request is allowed, 1 if it is denied.
///
/// For example, with `-c scopegate.yaml`: `--request "GET https://api.bank.example/transfers/7"` and
/// `--claims '{"sub":"ada","client_id":"mobile","scope":"transfers:read"}'`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The request: a method and an absolute URL.
    #[arg(long, value_name = "METHOD URL")]
    pub request: String,
    /// A header of the request, as often as needed.
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// A token. Its claims are believed, not verified: its authorization server is the one that its `iss` names.
    #[arg(long, value_name = "TOKEN", conflicts_with = "claims")]
    pub token: Option<String>,
    /// The claims of a token, as a JSON object. What is not said is as the API's authorization server would mint it.
    #[arg(long, value_name = "JSON")]
    pub claims: Option<String>,
    /// How to print the decision.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs the command: exit code 0 for allow, 1 for deny, 2 for arguments that cannot be read.
///
/// # Errors
/// When the configuration has errors, or what writing to `out` says.
pub fn run(args: &ExplainArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let (line, headers, assumed) = match read(args) {
        Ok(read) => read,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let settings = super::load(&args.config)?;
    let facts = assume::facts(&line, &headers);
    let mut trace = Trace::default();
    if args.token.is_some() {
        trace.step(|| {
            Step::note(
                Stage::Token,
                "its claims are taken at their word: the signature is not verified here",
            )
        });
    }
    if let Some(note) = assume::note(&settings).filter(|_| matches!(assumed, Assumed::Token(_))) {
        trace.step(|| Step::note(Stage::Token, note));
    }
    let decision = decide(&settings, &facts, &assumed, &mut trace);
    match args.output {
        Output::Text => text(out, &args.request, &decision, &trace)?,
        Output::Json => writeln!(out, "{:#}", to_json(&args.request, &decision, &trace))?,
    }
    Ok(if matches!(decision, Decision::Allow(_)) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

type Read = (RequestLine, Vec<(String, String)>, Assumed);

fn read(args: &ExplainArgs) -> anyhow::Result<Read> {
    let line = RequestLine::parse(&args.request).with_context(|| format!("--request `{}`", args.request))?;
    let mut headers = Vec::new();
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            // What it says instead may be a credential.
            bail!("a --header is no header: say `NAME: VALUE`");
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let claims = match (&args.claims, &args.token) {
        (Some(text), _) => Some(
            serde_json::from_str::<Map<String, Value>>(text)
                .context("--claims must be a JSON object such as {\"sub\":\"ada\"}")?,
        ),
        (None, Some(token)) => Some(assume::claims_of(token).context("--token")?),
        (None, None) => None,
    };
    Ok((line, headers, claims.map_or(Assumed::Nobody, Assumed::Token)))
}

/// The decision, its steps added to the trace: the wire's own pipeline before an assumed caller.
fn decide(settings: &Settings, facts: &RequestFacts<'_>, assumed: &Assumed, trace: &mut Trace) -> Decision {
    let now = SystemClock::start().now();
    let claims = match assumed {
        Assumed::Token(claims) => Some(claims),
        Assumed::Nobody => None,
    };
    let servers = assume::servers(settings, claims);
    explain(&settings.compiled, &servers, facts, assumed, now, trace)
}

fn text(out: &mut impl Write, request: &str, decision: &Decision, trace: &Trace) -> io::Result<()> {
    writeln!(out, "{request}\n")?;
    for step in &trace.steps {
        let mark = match step.outcome {
            StepOutcome::Pass => "ok  ",
            StepOutcome::Fail => "FAIL",
            StepOutcome::Note => "    ",
        };
        writeln!(out, "  {mark}  {:<14}  {}", step.stage.as_str(), step.text)?;
    }
    writeln!(out)?;
    match decision {
        Decision::Allow(permit) => {
            writeln!(out, "ALLOW  by {} {}", permit.route().api, permit.route().name)?;
            for (name, value) in permit.headers() {
                writeln!(out, "  sets     {name}: {value}")?;
            }
            for name in permit.headers_to_remove() {
                writeln!(out, "  removes  {name}")?;
            }
        }
        Decision::Deny(denial) => {
            writeln!(out, "DENY  {} {}", denial.status(), denial.reason().as_str())?;
            if let Some(detail) = denial.detail {
                writeln!(out, "  because  {detail}")?;
            }
            if !denial.missing.is_empty() {
                writeln!(out, "  missing  {}", denial.missing)?;
            }
            for challenge in &denial.challenges {
                writeln!(out, "  www-authenticate: {challenge}")?;
            }
        }
    }
    Ok(())
}

fn to_json(request: &str, decision: &Decision, trace: &Trace) -> Value {
    let outcome = |outcome| match outcome {
        StepOutcome::Pass => "pass",
        StepOutcome::Fail => "fail",
        StepOutcome::Note => "note",
    };
    let steps: Vec<Value> = trace
        .steps
        .iter()
        .map(|step| json!({ "stage": step.stage.as_str(), "outcome": outcome(step.outcome), "text": step.text }))
        .collect();
    let mut told = assume::told(decision);
    told.insert("request".to_owned(), request.into());
    told.insert("steps".to_owned(), steps.into());
    Value::Object(told)
}
