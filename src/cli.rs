//! The command line: one file for each command, this one for what they share.
//!
//! Exit codes: 0 for success (and for *allow*), 1 for a failure (and for *deny*, or a configuration with errors), 2 for a
//! command line that makes no sense. What a command produces goes to standard output; everything else to standard error.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config::source::System;
use crate::config::{self, Settings};

pub mod access;
pub mod admin;
pub mod api;
mod assume;
pub mod audit;
pub mod check;
pub mod clients;
pub mod completions;
pub mod explain;
pub mod groups;
pub mod keys;
pub mod logs;
pub mod preview;
mod remote;
pub mod schema;
pub mod serve;
pub mod servers;
mod table;
pub mod test;
pub mod token;
pub mod users;

/// The gate and the pass office in one small program.
///
/// Answers Envoy's and Istio's external-authorization calls by scope rules for routes and verbs, and mints the OAuth 2.0
/// tokens that it checks. Everything is in one YAML file: begin with `scopegate check -c FILE`, then run `scopegate serve -c FILE`.
#[derive(Debug, Parser)]
#[command(name = "scopegate", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 success or allow, 1 failure or deny, 2 a command line that makes no sense.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// In the order in which somebody new meets them. One line each; the texts of `--help` stand in the commands' files.
#[derive(Debug, Subcommand)]
enum Command {
    Check(check::CheckArgs),
    Serve(serve::ServeArgs),
    Explain(explain::ExplainArgs),
    Test(test::TestArgs),
    Access(access::AccessArgs),
    Preview(preview::PreviewArgs),
    Admin(admin::AdminArgs),
    Token(token::TokenArgs),
    Servers(servers::ServersArgs),
    Clients(clients::ClientsArgs),
    Users(users::UsersArgs),
    Groups(groups::GroupsArgs),
    Keys(keys::KeysArgs),
    Logs(logs::LogsArgs),
    Audit(audit::AuditArgs),
    Api(api::ApiArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// How a command prints what it has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Sentences, for people.
    Text,
    /// One JSON object, for programs.
    Json,
}

/// The settings of a file that a tool works on. Its report goes to standard error if there are errors in it.
fn load(path: &Path) -> anyhow::Result<Settings> {
    config::load(path, &System).or_else(|report| {
        write!(io::stderr(), "{report}")?;
        bail!("the configuration has errors")
    })
}

/// The command line, as clap knows it.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    // clap prints the help or the mistake, and exits with 0 or 2.
    let cli = Cli::parse();
    let out = &mut io::stdout();
    let outcome = match cli.command {
        Command::Check(args) => check::run(&args, out).map_err(anyhow::Error::from),
        Command::Serve(args) => serve::run(&args),
        Command::Explain(args) => explain::run(&args, out),
        Command::Test(args) => test::run(&args, out),
        Command::Access(args) => access::run(&args, out),
        Command::Preview(args) => preview::run(&args, out),
        Command::Admin(args) => admin::run(&args, out),
        Command::Token(args) => token::run(&args, out),
        Command::Servers(args) => servers::run(&args, out),
        Command::Clients(args) => clients::run(&args, out),
        Command::Users(args) => users::run(&args, out),
        Command::Groups(args) => groups::run(&args, out),
        Command::Keys(args) => keys::run(&args, out),
        Command::Logs(args) => logs::run(&args, out),
        Command::Audit(args) => audit::run(&args, out),
        Command::Api(args) => api::run(&args, out),
        Command::Schema(args) => schema::run(&args, out).map_err(anyhow::Error::from),
        Command::Completions(args) => completions::completions(&args, command(), out).map_err(anyhow::Error::from),
        Command::Man(args) => completions::man(&args, command(), out),
    };
    outcome.unwrap_or_else(|error| {
        // Whoever reads our output has read enough.
        let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        if !error.downcast_ref().is_some_and(is_pipe) {
            complain(&format_args!("error: {error:#}\n"));
        }
        ExitCode::FAILURE
    })
}

/// Writes to standard error. Unlike `eprint!` it does not panic where nobody reads that any more: the exit code stays true.
fn complain(text: &dyn Display) {
    let _ = write!(io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
