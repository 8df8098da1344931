//! `scopegate keys`: the signing keys of an authorization server, over the management API.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::remote::admin::{Admin, AdminArgs, segment};
use crate::cli::remote::told::{Column, Told};

const COLUMNS: &[Column] = &[
    ("KID", "/kid"),
    ("STATUS", "/status"),
    ("ALG", "/alg"),
    ("CREATED", "/created"),
    ("SINCE", "/lastUpdated"),
    ("NEXT ROTATION", "/nextRotation"),
];

/// List, rotate and revoke signing keys.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// List the keys: ACTIVE signs, NEXT is published ahead, EXPIRED verifies what it has signed.
    List {
        /// The authorization server.
        server: String,
    },
    /// Let the next key sign from now on; what the last one signed stays good.
    Rotate {
        /// The authorization server.
        server: String,
    },
    /// Give a key up as compromised: every token that it has signed is dead at once.
    Revoke {
        /// The authorization server.
        server: String,
        /// The key.
        kid: String,
    },
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &KeysArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let scopes = match &args.command {
        KeysCommand::List { .. } => "okta.authorizationServers.read",
        KeysCommand::Rotate { .. } | KeysCommand::Revoke { .. } => {
            "okta.authorizationServers.manage okta.authorizationServers.read"
        }
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &KeysCommand) -> anyhow::Result<Told> {
    let of = |server: &str| format!("/api/v1/authorizationServers/{}/credentials", segment(server));
    Ok(match command {
        KeysCommand::List { server } => {
            let keys = admin.list(&format!("{}/keys", of(server)), None).await?;
            Told::Rows(keys, COLUMNS)
        }
        KeysCommand::Rotate { server } => {
            let path = format!("{}/lifecycle/keyRotate", of(server));
            let Value::Array(keys) = admin.post(&path, Some(&json!({ "use": "sig" }))).await? else {
                return Ok(Told::Done(format!("the next key of `{server}` signs")));
            };
            Told::Rows(keys, COLUMNS)
        }
        KeysCommand::Revoke { server, kid } => {
            let path = format!("{}/keys/{}/lifecycle/revoke", of(server), segment(kid));
            admin.post(&path, None).await?;
            Told::Done(format!(
                "the key `{kid}` is revoked: every token that it has signed is dead"
            ))
        }
    })
}
