//! `scopegate users`: the directory's people, over the management API.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::groups;
use crate::cli::remote::Body;
use crate::cli::remote::admin::{Admin, AdminArgs, query, segment};
use crate::cli::remote::credentials;
use crate::cli::remote::told::{Column, Told};

const USERS: &str = "/api/v1/users";

/// What is shown of a user.
pub(super) const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("LOGIN", "/profile/login"),
    ("STATUS", "/status"),
    ("FIRST NAME", "/profile/firstName"),
    ("LAST NAME", "/profile/lastName"),
];

/// List, create and remove users; let them in and keep them out.
#[derive(Debug, Args)]
pub struct UsersArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    command: UsersCommand,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// List the users.
    List {
        /// Only those whose login begins so.
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Show a user.
    Show {
        /// The user, by login or identifier.
        user: String,
    },
    /// Create a user.
    Create(CreateArgs),
    /// Let a user in.
    Activate {
        /// The user, by login or identifier.
        user: String,
    },
    /// Keep a user out for a time.
    Suspend {
        /// The user, by login or identifier.
        user: String,
    },
    /// Let a suspended user in again.
    Unsuspend {
        /// The user, by login or identifier.
        user: String,
    },
    /// Keep a user out for good: every token of the user is dead.
    Deactivate {
        /// The user, by login or identifier.
        user: String,
    },
    /// Delete a user who was deactivated.
    Delete {
        /// The user, by login or identifier.
        user: String,
    },
    /// List the groups that a user is in.
    Groups {
        /// The user, by login or identifier.
        user: String,
    },
    /// Revoke every grant and token of a user, who may sign in again.
    SignOut {
        /// The user, by login or identifier.
        user: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The login.
    #[arg(long)]
    login: String,
    /// The e-mail address; the login if not said.
    #[arg(long)]
    email: Option<String>,
    /// The first name.
    #[arg(long)]
    first_name: Option<String>,
    /// The last name.
    #[arg(long)]
    last_name: Option<String>,
    /// Another attribute of the profile, as often as needed.
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// A group to put the user into, by name or identifier, as often as needed.
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// The file that holds the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input.
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Make the user without letting them in yet.
    #[arg(long)]
    staged: bool,
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &UsersArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let scopes = match &args.command {
        UsersCommand::List { .. } | UsersCommand::Show { .. } => "okta.users.read",
        UsersCommand::Groups { .. } => "okta.users.read okta.groups.read",
        UsersCommand::Create(create) if !create.groups.is_empty() => {
            "okta.users.manage okta.users.read okta.groups.read okta.groups.manage"
        }
        _ => "okta.users.manage okta.users.read",
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &UsersCommand) -> anyhow::Result<Told> {
    Ok(match command {
        UsersCommand::List { query: text } => {
            let mut pairs = vec![("limit", "200")];
            pairs.extend(text.as_deref().map(|text| ("q", text)));
            Told::Rows(admin.list(&format!("{USERS}?{}", query(&pairs)), None).await?, COLUMNS)
        }
        UsersCommand::Show { user } => Told::Object(admin.get(&one(user)).await?),
        UsersCommand::Create(args) => create(admin, args).await?,
        UsersCommand::Activate { user } => {
            let path = format!("{}/lifecycle/activate?sendEmail=false", one(user));
            admin.post(&path, None).await?;
            Told::Done(format!("`{user}` may sign in"))
        }
        UsersCommand::Suspend { user } => {
            admin.post(&format!("{}/lifecycle/suspend", one(user)), None).await?;
            Told::Done(format!("`{user}` is kept out until `unsuspend`"))
        }
        UsersCommand::Unsuspend { user } => {
            admin.post(&format!("{}/lifecycle/unsuspend", one(user)), None).await?;
            Told::Done(format!("`{user}` may sign in"))
        }
        UsersCommand::Deactivate { user } => {
            admin.post(&format!("{}/lifecycle/deactivate", one(user)), None).await?;
            Told::Done(format!("`{user}` is kept out, and every token of theirs is dead"))
        }
        UsersCommand::Delete { user } => {
            admin.delete(&one(user)).await?;
            Told::Done(format!("`{user}` is deleted"))
        }
        UsersCommand::Groups { user } => Told::Rows(
            admin.list(&format!("{}/groups", one(user)), None).await?,
            groups::COLUMNS,
        ),
        UsersCommand::SignOut { user } => {
            admin.delete(&format!("{}/grants", one(user))).await?;
            Told::Done(format!("every grant and token of `{user}` is revoked"))
        }
    })
}

/// The API takes a login where it takes an identifier.
fn one(user: &str) -> String {
    format!("{USERS}/{}", segment(user))
}

async fn create(admin: &Admin, args: &CreateArgs) -> anyhow::Result<Told> {
    let password = match &args.password_file {
        Some(file) => {
            Some(credentials::secret_file(file).with_context(|| format!("the password file `{}`", file.display()))?)
        }
        None if args.password_stdin => Some(credentials::secret_on_stdin().context("the password")?),
        None => None,
    };
    let mut groups = Vec::new();
    for group in &args.groups {
        groups.push(groups::id_of(admin, group).await?);
    }
    let mut body = Body::new(json!({ "profile": profile(args)? }));
    if let Some(password) = &password {
        body.set(
            "credentials",
            json!({ "password": { "value": password.expose_secret() } }),
        );
    }
    if !groups.is_empty() {
        body.set("groupIds", json!(groups));
    }
    let path = format!("{USERS}?activate={}", !args.staged);
    Ok(Told::Object(admin.post(&path, Some(&body.into_value())).await?))
}

fn profile(args: &CreateArgs) -> anyhow::Result<Value> {
    let email = args.email.as_ref().unwrap_or(&args.login);
    let mut profile = Body::new(json!({ "login": args.login, "email": email }));
    profile.set_some("firstName", args.first_name.clone().map(Value::String));
    profile.set_some("lastName", args.last_name.clone().map(Value::String));
    for attribute in &args.attributes {
        let Some((name, value)) = attribute.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            bail!("--attribute `{attribute}` is no NAME=VALUE");
        };
        profile.set(name, Value::String(value.to_owned()));
    }
    Ok(profile.into_value())
}

/// The identifier of a user.
pub(super) async fn id_of(admin: &Admin, user: &str) -> anyhow::Result<String> {
    let found = admin.get(&one(user)).await?;
    match found["id"].as_str() {
        Some(id) => Ok(id.to_owned()),
        None => bail!("the user `{user}` came without an identifier"),
    }
}
