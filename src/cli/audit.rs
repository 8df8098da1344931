//! `scopegate audit verify`: whether the audit log is what was written.
//!
//! It reads the store itself, not the management API: who wants to know whether a log was changed
//! does not ask the program that wrote it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::audit::{ChainBreak, ChainEnd};
use crate::cli::Output;
use crate::cli::remote::block_on;
use crate::store::objects::AuditQuery;
use crate::store::settings::StoreSettings;
use crate::store::{Store, open};

/// How many entries are read at a time.
const PAGE: u32 = 1000;

/// Look after the audit log.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    Verify(VerifyArgs),
}

/// Verify the chain of the audit log in the store: exit code 0 if it is whole, 1 if it is not.
///
/// Prints the last entry as `SEQUENCE:DIGEST`. Keep that elsewhere and say it with `--expect` the next time: a chain alone
/// cannot tell that its newest entries were removed, or that all of it was written anew.
#[derive(Debug, Args)]
struct VerifyArgs {
    /// The configuration file, which names the store.
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// An entry that must be in the chain, as it was printed.
    #[arg(long, value_name = "SEQUENCE:DIGEST", value_parser = mark)]
    expect: Vec<ChainEnd>,
    /// How to print the outcome.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

fn mark(text: &str) -> Result<ChainEnd, String> {
    let read = || {
        let (sequence, digest) = text.split_once(':')?;
        let hash = URL_SAFE_NO_PAD.decode(digest).ok()?.try_into().ok()?;
        let sequence = sequence.parse().ok().filter(|sequence| *sequence > 0)?;
        Some(ChainEnd { sequence, hash })
    };
    read().ok_or_else(|| "say SEQUENCE:DIGEST, as `scopegate audit verify` prints it".to_owned())
}

fn written(end: &ChainEnd) -> String {
    format!("{}:{}", end.sequence, URL_SAFE_NO_PAD.encode(end.hash))
}

/// Runs the command.
///
/// # Errors
/// When the configuration has errors, the store cannot be read, or what writing to `out` says.
pub fn run(args: &AuditArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify(args) = &args.command;
    let settings = super::load(&args.config)?;
    let Some(store) = &settings.store else {
        bail!("the file names no `store`");
    };
    // What does not exist must not be made by who only looks.
    if let StoreSettings::Sqlite(path) = store
        && !path.exists()
    {
        bail!("there is no database `{}`", path.display());
    }
    let found = block_on(async {
        let opened = open::open(store, settings.sealing_key.as_ref(), false)
            .await
            .context("the store")?;
        follow(&*opened.store, &args.expect).await
    })?;
    match (&found, args.output) {
        (Ok(end), Output::Text) => writeln!(out, "whole: {} entries\nlast: {}", end.sequence, written(end))?,
        (Err(broken), Output::Text) => writeln!(out, "BROKEN: {broken}")?,
        (Ok(end), Output::Json) => {
            writeln!(
                out,
                "{:#}",
                json!({ "whole": true, "entries": end.sequence, "last": written(end) })
            )?;
        }
        (Err(broken), Output::Json) => {
            writeln!(out, "{:#}", json!({ "whole": false, "problem": broken.to_string() }))?;
        }
    }
    Ok(if found.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Why the log is not what was written.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Chain(#[from] ChainBreak),
    #[error("the chain does not have the expected entry `{0}`: entries were removed, or all were written anew")]
    Expected(String),
}

async fn follow(store: &dyn Store, expected: &[ChainEnd]) -> anyhow::Result<Result<ChainEnd, Broken>> {
    let mut end = ChainEnd::default();
    let mut expected = expected.to_vec();
    loop {
        let query = AuditQuery {
            after: end.sequence,
            limit: PAGE,
            ..AuditQuery::default()
        };
        let page = store.audit_entries(&query).await.context("the audit log")?;
        if page.is_empty() {
            return Ok(match expected.first() {
                None => Ok(end),
                Some(missing) => Err(Broken::Expected(written(missing))),
            });
        }
        end = match end.follow(&page) {
            Ok(end) => end,
            Err(broken) => return Ok(Err(broken.into())),
        };
        expected.retain(|mark| {
            let is_it = |entry: &crate::audit::AuditEntry| entry.sequence == mark.sequence && entry.hash == mark.hash;
            !page.iter().any(is_it)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let end = ChainEnd {
            sequence: 41,
            hash: [7; 32],
        };
        assert_eq!(mark(&written(&end)), Ok(end));
        for wrong in [
            "",
            "41",
            "41:",
            ":BwcH",
            "0:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "x:BwcH",
        ] {
            assert!(mark(wrong).is_err(), "{wrong}");
        }
    }
}
