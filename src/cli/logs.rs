//! `scopegate logs`: the audit log, over the management API.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::remote::admin::{Admin, AdminArgs, query};
use crate::cli::remote::told::{Column, Told};
use crate::clock::{Clock as _, SystemClock};

const COLUMNS: &[Column] = &[
    ("PUBLISHED", "/published"),
    ("EVENT", "/eventType"),
    ("OUTCOME", "/outcome/result"),
    ("ACTOR", "/actor/id"),
    ("CLIENT", "/client/id"),
    ("TARGET", "/target/0/id"),
    ("REASON", "/outcome/reason"),
];

/// Show who did what, oldest first.
#[derive(Debug, Args)]
pub struct LogsArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Not before: a time as `2026-11-24T12:00:00Z`, or so long ago, as `15m`, `2h` or `7d`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Before: as `--since`.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Only events of this type, as `app.oauth2.client.lifecycle.create`; as often as needed.
    #[arg(long = "event", value_name = "TYPE", value_parser = event)]
    events: Vec<String>,
    /// The most entries.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

/// A moment as it was said.
#[derive(Debug, Clone, Copy)]
enum Moment {
    At(jiff::Timestamp),
    Ago(Duration),
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Moment::At(at));
    }
    period(text)
        .map(Moment::Ago)
        .map_err(|problem| format!("say a time as `2026-11-24T12:00:00Z`, or {problem}"))
}

/// Reads a period of the command line: `30s`, `15m`, `2h` or `7d`.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    let seconds = |unit: char| match unit {
        's' => Some(1),
        'm' => Some(60),
        'h' => Some(3600),
        'd' => Some(86_400),
        _ => None,
    };
    let read = || {
        let unit = text.chars().last()?;
        let count: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
        count.checked_mul(seconds(unit)?)
    };
    read()
        .map(Duration::from_secs)
        .ok_or_else(|| "say how long as `30s`, `15m`, `2h` or `7d`".to_owned())
}

/// Event types are words of letters, digits, dots and underscores: nothing that could end the quotes of a filter.
fn event(text: &str) -> Result<String, String> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    if !text.is_empty() && text.bytes().all(is_word) {
        Ok(text.to_owned())
    } else {
        Err("an event type is as `app.oauth2.client.lifecycle.create`".to_owned())
    }
}

impl Moment {
    fn written(self) -> String {
        match self {
            Self::At(at) => at.to_string(),
            Self::Ago(ago) => {
                let seconds = i64::try_from(ago.as_secs()).unwrap_or(i64::MAX);
                let at = SystemClock::start().now().unix_seconds().saturating_sub(seconds);
                jiff::Timestamp::from_second(at)
                    .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
                    .to_string()
            }
        }
    }
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &LogsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let path = path(args);
    args.admin.run("okta.logs.read", out, async |admin: &Admin| {
        Ok(Told::Rows(admin.list(&path, Some(args.limit)).await?, COLUMNS))
    })
}

fn path(args: &LogsArgs) -> String {
    let (since, until) = (args.since.map(Moment::written), args.until.map(Moment::written));
    let limit = args.limit.clamp(1, 1000).to_string();
    let filters: Vec<String> = args
        .events
        .iter()
        .map(|event| format!("eventType eq \"{event}\""))
        .collect();
    let filter = filters.join(" or ");
    let mut pairs = vec![("sortOrder", "ASCENDING"), ("limit", &limit)];
    pairs.extend(since.as_deref().map(|since| ("since", since)));
    pairs.extend(until.as_deref().map(|until| ("until", until)));
    if !filter.is_empty() {
        pairs.push(("filter", &filter));
    }
    format!("/api/v1/logs?{}", query(&pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_or_a_distance_and_nothing_else() {
        assert!(matches!(moment("2h"), Ok(Moment::Ago(ago)) if ago.as_secs() == 7200));
        assert!(matches!(moment("2026-11-24T12:00:00Z"), Ok(Moment::At(at)) if at.as_second() == 1_795_521_600));
        for wrong in ["", "h", "2", "2y", "-2h", "yesterday", "é", "99999999999999999999d"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_event_type_cannot_end_the_quotes_of_the_filter() {
        assert!(event("app.oauth2.client.lifecycle.create").is_ok());
        for wrong in ["", "a\" or \"b", "a b"] {
            assert!(event(wrong).is_err(), "{wrong}");
        }
    }
}
