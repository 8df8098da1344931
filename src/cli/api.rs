//! `scopegate api`: any request of the management API, signed in: for what has no command of its own.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::Value;

use crate::cli::remote::admin::{Admin, AdminArgs};
use crate::cli::remote::json_file;
use crate::cli::remote::told::Told;

/// What a token for any request may do.
const SCOPES: &str = "okta.authorizationServers.manage okta.authorizationServers.read okta.apps.manage okta.apps.read \
                      okta.users.manage okta.users.read okta.groups.manage okta.groups.read okta.logs.read";

/// Send one request to the management API and print what it answers.
///
/// For example: `scopegate api GET /api/v1/authorizationServers/transfers/scopes`.
#[derive(Debug, Args)]
pub struct ApiArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// The method.
    #[arg(value_enum, ignore_case = true)]
    method: Verb,
    /// The path, with a query if there is one.
    path: String,
    /// The JSON to send; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Only if the object still has this ETag.
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
    /// The scopes of the token; those of every resource if not said.
    #[arg(long, value_name = "SCOPES", default_value = SCOPES, hide_default_value = true)]
    scope: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &ApiArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let method = match args.method {
        Verb::Get => Method::GET,
        Verb::Post => Method::POST,
        Verb::Put => Method::PUT,
        Verb::Patch => Method::PATCH,
        Verb::Delete => Method::DELETE,
    };
    let body = args.data.as_deref().map(json_file).transpose()?;
    args.admin.run(&args.scope, out, async |admin: &Admin| {
        let answer = admin.send(method, &args.path, body.as_ref(), args.if_match.as_deref());
        let answer = answer.await?;
        Ok(match answer.body {
            Value::Null => Told::Done(format!("done ({})", answer.status.as_u16())),
            body => Told::Object(body),
        })
    })
}
