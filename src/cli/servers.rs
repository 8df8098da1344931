//! `scopegate servers`: authorization servers, over the management API.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::remote::admin::{Admin, AdminArgs, query, segment};
use crate::cli::remote::told::{Column, Told};
use crate::cli::remote::{Body, json_file};

const SERVERS: &str = "/api/v1/authorizationServers";

const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("AUDIENCE", "/audiences"),
    ("ISSUER", "/issuer"),
];

const SCOPES: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("CONSENT", "/consent"),
    ("DEFAULT", "/default"),
    ("DESCRIPTION", "/description"),
];

const CLAIMS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/name"),
    ("IN", "/claimType"),
    ("VALUE", "/value"),
    ("SCOPES", "/conditions/scopes"),
];

const POLICIES: &[Column] = &[
    ("ID", "/id"),
    ("PRIORITY", "/priority"),
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("CLIENTS", "/conditions/clients/include"),
];

const RULES: &[Column] = &[
    ("ID", "/id"),
    ("PRIORITY", "/priority"),
    ("NAME", "/name"),
    ("STATUS", "/status"),
    ("GRANTS", "/conditions/grantTypes/include"),
    ("SCOPES", "/conditions/scopes/include"),
];

/// List, create and remove authorization servers, and look into them.
#[derive(Debug, Args)]
pub struct ServersArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    command: ServersCommand,
}

#[derive(Debug, Subcommand)]
enum ServersCommand {
    /// List the authorization servers.
    List {
        /// Only those whose name or audience holds this text.
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Show an authorization server.
    Show {
        /// The authorization server.
        id: String,
    },
    /// Create an authorization server.
    Create(CreateArgs),
    /// Let an authorization server answer again. Tokens that it had issued stay dead.
    Activate {
        /// The authorization server.
        id: String,
    },
    /// Stop an authorization server: its endpoints are gone, and its tokens are dead for good.
    Deactivate {
        /// The authorization server.
        id: String,
    },
    /// Delete an authorization server that was deactivated.
    Delete {
        /// The authorization server.
        id: String,
    },
    /// List its scopes.
    Scopes {
        /// The authorization server.
        id: String,
    },
    /// List its claims.
    Claims {
        /// The authorization server.
        id: String,
    },
    /// List its access policies, in order.
    Policies {
        /// The authorization server.
        id: String,
    },
    /// List the rules of a policy, in order.
    Rules {
        /// The authorization server.
        id: String,
        /// The policy.
        policy: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// Its name.
    #[arg(long, required_unless_present = "from")]
    name: Option<String>,
    /// The `aud` of its access tokens.
    #[arg(long, required_unless_present = "from")]
    audience: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// The whole object as JSON instead; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "audience", "description"])]
    from: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &ServersArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let scopes = match &args.command {
        ServersCommand::Create(_)
        | ServersCommand::Activate { .. }
        | ServersCommand::Deactivate { .. }
        | ServersCommand::Delete { .. } => "okta.authorizationServers.manage okta.authorizationServers.read",
        _ => "okta.authorizationServers.read",
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &ServersCommand) -> anyhow::Result<Told> {
    let server = |id: &str| format!("{SERVERS}/{}", segment(id));
    let list = async |path: String, columns| anyhow::Ok(Told::Rows(admin.list(&path, None).await?, columns));
    Ok(match command {
        ServersCommand::List { query: text } => {
            let mut pairs = vec![("limit", "200")];
            pairs.extend(text.as_deref().map(|text| ("q", text)));
            list(format!("{SERVERS}?{}", query(&pairs)), COLUMNS).await?
        }
        ServersCommand::Show { id } => Told::Object(admin.get(&server(id)).await?),
        ServersCommand::Create(args) => Told::Object(admin.post(SERVERS, Some(&created(args)?)).await?),
        ServersCommand::Activate { id } => {
            admin.post(&format!("{}/lifecycle/activate", server(id)), None).await?;
            Told::Done(format!("`{id}` answers; tokens from before stay dead"))
        }
        ServersCommand::Deactivate { id } => {
            admin
                .post(&format!("{}/lifecycle/deactivate", server(id)), None)
                .await?;
            Told::Done(format!("`{id}` does not answer any more, and its tokens are dead"))
        }
        ServersCommand::Delete { id } => {
            admin.delete(&server(id)).await?;
            Told::Done(format!("`{id}` is deleted"))
        }
        ServersCommand::Scopes { id } => list(format!("{}/scopes", server(id)), SCOPES).await?,
        ServersCommand::Claims { id } => list(format!("{}/claims", server(id)), CLAIMS).await?,
        ServersCommand::Policies { id } => list(format!("{}/policies", server(id)), POLICIES).await?,
        ServersCommand::Rules { id, policy } => {
            list(format!("{}/policies/{}/rules", server(id), segment(policy)), RULES).await?
        }
    })
}

fn created(args: &CreateArgs) -> anyhow::Result<Value> {
    if let Some(from) = &args.from {
        return json_file(from);
    }
    let mut body = Body::new(json!({ "name": args.name, "audiences": [args.audience] }));
    body.set_some("description", args.description.clone().map(Value::String));
    Ok(body.into_value())
}
