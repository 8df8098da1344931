//! `scopegate schema`: the JSON Schema of the configuration file, for editors and CI.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

/// Print the JSON Schema of the configuration file.
#[derive(Debug, Args)]
pub struct SchemaArgs {}

/// Runs the command.
///
/// # Errors
/// What writing to `out` says.
pub fn run(_: &SchemaArgs, out: &mut impl Write) -> io::Result<ExitCode> {
    writeln!(out, "{:#}", crate::config::schema::schema())?;
    Ok(ExitCode::SUCCESS)
}
