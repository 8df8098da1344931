//! `scopegate groups`: groups and who is in them, over the management API.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::remote::admin::{Admin, AdminArgs, query, segment};
use crate::cli::remote::told::{Column, Told};
use crate::cli::users;

const GROUPS: &str = "/api/v1/groups";

/// What is shown of a group.
pub(super) const COLUMNS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/profile/name"),
    ("DESCRIPTION", "/profile/description"),
];

/// List, create and delete groups; say who is in them.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    command: GroupsCommand,
}

#[derive(Debug, Subcommand)]
enum GroupsCommand {
    /// List the groups.
    List {
        /// Only those whose name begins so.
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Create a group.
    Create {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
    },
    /// Delete a group.
    Delete {
        /// The group, by name or identifier.
        group: String,
    },
    /// Who is in a group.
    #[command(subcommand)]
    Members(MembersCommand),
}

#[derive(Debug, Subcommand)]
enum MembersCommand {
    /// List them.
    List {
        /// The group, by name or identifier.
        group: String,
    },
    /// Put a user into a group.
    Add {
        /// The group, by name or identifier.
        group: String,
        /// The user, by login or identifier.
        user: String,
    },
    /// Take a user out of a group.
    Remove {
        /// The group, by name or identifier.
        group: String,
        /// The user, by login or identifier.
        user: String,
    },
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &GroupsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let scopes = match &args.command {
        GroupsCommand::List { .. } | GroupsCommand::Members(MembersCommand::List { .. }) => "okta.groups.read",
        GroupsCommand::Create { .. } | GroupsCommand::Delete { .. } => "okta.groups.manage okta.groups.read",
        GroupsCommand::Members(_) => "okta.groups.manage okta.groups.read okta.users.read",
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &GroupsCommand) -> anyhow::Result<Told> {
    Ok(match command {
        GroupsCommand::List { query: text } => {
            let mut pairs = vec![("limit", "200")];
            pairs.extend(text.as_deref().map(|text| ("q", text)));
            Told::Rows(admin.list(&format!("{GROUPS}?{}", query(&pairs)), None).await?, COLUMNS)
        }
        GroupsCommand::Create { name, description } => {
            let body = json!({ "profile": { "name": name, "description": description } });
            Told::Object(admin.post(GROUPS, Some(&body)).await?)
        }
        GroupsCommand::Delete { group } => {
            let id = id_of(admin, group).await?;
            admin.delete(&format!("{GROUPS}/{}", segment(&id))).await?;
            Told::Done(format!("the group `{group}` is deleted"))
        }
        GroupsCommand::Members(command) => members(admin, command).await?,
    })
}

async fn members(admin: &Admin, command: &MembersCommand) -> anyhow::Result<Told> {
    Ok(match command {
        MembersCommand::List { group } => {
            let id = id_of(admin, group).await?;
            let path = format!("{GROUPS}/{}/users?limit=200", segment(&id));
            Told::Rows(admin.list(&path, None).await?, users::COLUMNS)
        }
        MembersCommand::Add { group, user } => {
            admin.put(&membership(admin, group, user).await?, None).await?;
            Told::Done(format!("`{user}` is in the group `{group}`"))
        }
        MembersCommand::Remove { group, user } => {
            admin.delete(&membership(admin, group, user).await?).await?;
            Told::Done(format!("`{user}` is not in the group `{group}` any more"))
        }
    })
}

async fn membership(admin: &Admin, group: &str, user: &str) -> anyhow::Result<String> {
    let (group, user) = (id_of(admin, group).await?, users::id_of(admin, user).await?);
    Ok(format!("{GROUPS}/{}/users/{}", segment(&group), segment(&user)))
}

/// The identifier of the group with exactly this name; otherwise what was said is one.
pub(super) async fn id_of(admin: &Admin, group: &str) -> anyhow::Result<String> {
    let found = admin
        .list(&format!("{GROUPS}?{}", query(&[("q", group), ("limit", "200")])), None)
        .await?;
    let named = |found: &&Value| found.pointer("/profile/name").and_then(Value::as_str) == Some(group);
    let id = found.iter().find(named).and_then(|found| found["id"].as_str());
    Ok(id.unwrap_or(group).to_owned())
}
