//! `scopegate check`: every mistake of a configuration file in one run.
//!
//! It runs exactly what `serve` runs before it binds anything. Findings go to standard output, since
//! they are what was asked for; the exit code is 0 without errors, 1 with one.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::Output;
use crate::config::source::System;
use crate::config::{self, Report};

/// Check a configuration file: errors and warnings with line, column and a hint.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// How to print the findings.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs the command: exit code 0 without errors, 1 with one.
///
/// # Errors
/// What writing to `out` says.
pub fn run(args: &CheckArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    let report = match config::load(&args.config, &System) {
        Ok(settings) => settings.report,
        Err(report) => report,
    };
    print(&report, args.output, out)?;
    Ok(if report.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(report: &Report, output: Output, out: &mut impl Write) -> io::Result<()> {
    match output {
        Output::Text => write!(out, "{report}"),
        Output::Json => writeln!(out, "{:#}", report.to_json()),
    }
}
