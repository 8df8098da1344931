//! `scopegate servers`: authorization servers, over the management API.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::remote::admin::{Admin, AdminArgs, query, segment};
use crate::cli::remote::told::{Column, Told};
use crate::cli::remote::{Body, json_file};
use crate::cli::{clients, logs};
use crate::oauth::grant::GrantType;

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
    ("TOKEN LIVES (S)", "/actions/token/accessTokenLifetimeSeconds"),
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
    /// Let clients get tokens: adds an access policy with one rule, after those that there are.
    Allow(Box<AllowArgs>),
    /// Add a scope.
    AddScope(ScopeArgs),
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
    /// A scope, as often as needed.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// The whole object as JSON instead; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "audience", "description"])]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ScopeArgs {
    /// The authorization server.
    id: String,
    /// The scope.
    name: String,
    /// What a person is told.
    #[arg(long)]
    description: Option<String>,
    /// Grant it when a request names no scope.
    #[arg(long)]
    default: bool,
}

#[derive(Debug, Args)]
struct AllowArgs {
    /// The authorization server.
    id: String,
    /// The policy's name, and the rule's.
    #[arg(long)]
    name: String,
    /// A client, as often as needed.
    #[arg(long = "client", value_name = "ID", required = true)]
    clients: Vec<String>,
    /// A grant type, as often as needed.
    #[arg(long = "grant", value_name = "GRANT", value_parser = clients::grant, required = true)]
    grants: Vec<GrantType>,
    /// A scope that they may have, as often as needed.
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<String>,
    /// A group whose users it is for, by name or identifier, as often as needed; everybody if not said.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// How long an access token lives, as `10m`.
    #[arg(long, value_name = "TIME", value_parser = logs::period, default_value = "10m")]
    access_token: Duration,
    /// How long a refresh token lives, as `12h`; none is given if not said.
    #[arg(long, value_name = "TIME", value_parser = logs::period)]
    refresh_token: Option<Duration>,
    /// How long it lives without being used, as `1h`.
    #[arg(long, value_name = "TIME", value_parser = logs::period, requires = "refresh_token")]
    refresh_idle: Option<Duration>,
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
        | ServersCommand::AddScope(_)
        | ServersCommand::Delete { .. } => "okta.authorizationServers.manage okta.authorizationServers.read",
        ServersCommand::Allow(_) => {
            "okta.authorizationServers.manage okta.authorizationServers.read okta.policies.manage okta.policies.read \
             okta.groups.read"
        }
        _ => "okta.authorizationServers.read",
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &ServersCommand) -> anyhow::Result<Told> {
    let server = |id: &str| format!("{SERVERS}/{}", segment(id));
    let list = async |path: String, columns| anyhow::Ok(Told::Rows(admin.list(&path, None).await?, columns));
    // The API lists these by identifier, which says nothing to a reader; policies and rules have an order of their own.
    let by_name = async |path: String, columns| {
        let mut found = admin.list(&path, None).await?;
        found.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
        anyhow::Ok(Told::Rows(found, columns))
    };
    Ok(match command {
        ServersCommand::List { query: text } => {
            let mut pairs = vec![("limit", "200")];
            pairs.extend(text.as_deref().map(|text| ("q", text)));
            list(format!("{SERVERS}?{}", query(&pairs)), COLUMNS).await?
        }
        ServersCommand::Show { id } => Told::Object(admin.get(&server(id)).await?),
        ServersCommand::Create(args) => {
            let created = admin.post(SERVERS, Some(&created(args)?)).await?;
            for scope in &args.scopes {
                let id = created["id"].as_str().unwrap_or_default();
                admin
                    .post(&format!("{}/scopes", server(id)), Some(&json!({ "name": scope })))
                    .await?;
            }
            Told::Object(created)
        }
        ServersCommand::Allow(args) => allow(admin, args).await?,
        ServersCommand::AddScope(args) => {
            let mut scope = Body::new(json!({ "name": args.name, "default": args.default }));
            scope.set_some("description", args.description.clone().map(Value::String));
            Told::Object(
                admin
                    .post(&format!("{}/scopes", server(&args.id)), Some(&scope.into_value()))
                    .await?,
            )
        }
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
        ServersCommand::Scopes { id } => by_name(format!("{}/scopes", server(id)), SCOPES).await?,
        ServersCommand::Claims { id } => by_name(format!("{}/claims", server(id)), CLAIMS).await?,
        ServersCommand::Policies { id } => list(format!("{}/policies", server(id)), POLICIES).await?,
        ServersCommand::Rules { id, policy } => {
            list(format!("{}/policies/{}/rules", server(id), segment(policy)), RULES).await?
        }
    })
}

async fn allow(admin: &Admin, args: &AllowArgs) -> anyhow::Result<Told> {
    let mut groups = Vec::new();
    for group in &args.groups {
        groups.push(super::groups::id_of(admin, group).await?);
    }
    let policies = format!("{SERVERS}/{}/policies", segment(&args.id));
    let policy = admin.post(&policies, Some(&policy(args))).await?;
    let id = policy["id"].as_str().context("the policy came without an identifier")?;
    let rules = format!("{policies}/{}/rules", segment(id));
    let rule = admin.post(&rules, Some(&rule(args, &groups))).await;
    if rule.is_err() {
        // A policy without a rule grants nothing, and would be in the way of the next attempt.
        admin.delete(&format!("{policies}/{}", segment(id))).await?;
    }
    Ok(Told::Object(rule?))
}

fn policy(args: &AllowArgs) -> Value {
    json!({
        "type": "OAUTH_AUTHORIZATION_POLICY",
        "name": args.name,
        "description": args.name,
        "status": "ACTIVE",
        "conditions": { "clients": { "include": args.clients } },
    })
}

fn rule(args: &AllowArgs, groups: &[String]) -> Value {
    let mut token = Body::new(json!({ "accessTokenLifetimeSeconds": args.access_token.as_secs() }));
    let seconds = |period: Option<Duration>| period.map(|period| json!(period.as_secs()));
    token.set_some("refreshTokenLifetimeSeconds", seconds(args.refresh_token));
    token.set_some("refreshTokenWindowSeconds", seconds(args.refresh_idle));
    let grants: Vec<&str> = args.grants.iter().map(|grant| grant.wire_name()).collect();
    json!({
        "type": "RESOURCE_ACCESS",
        "name": args.name,
        "status": "ACTIVE",
        "conditions": {
            "people": { "groups": { "include": groups } },
            "grantTypes": { "include": grants },
            "scopes": { "include": args.scopes },
        },
        "actions": { "token": token.into_value() },
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
