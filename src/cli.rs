//! The command line: one file for each command, this one for what they share.
//!
//! Exit codes: 0 for success (and for *allow*), 1 for a failure (and for *deny*, or a configuration with errors), 2 for a
//! command line that makes no sense. What a command produces goes to standard output; everything else to standard error.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod access;
pub mod check;
pub mod schema;
mod serve;

/// The gate and the pass office in one small program.
///
/// Answers Envoy's and Istio's external-authorization calls by scope rules for routes and verbs, and mints the OAuth 2.0
/// tokens that it checks. Everything is in one YAML file; start with `scopegate check -c FILE`, then `scopegate serve -c FILE`.
#[derive(Debug, Parser)]
#[command(name = "scopegate", version, max_term_width = 100, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    // clap prints the help or the mistake, and exits with 0 or 2.
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(serve) => serve.run(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
