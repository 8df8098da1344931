//! `scopegate clients`: onboard, watch and take away client apps, over the management API.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::cli::remote::admin::{Admin, AdminArgs, query, segment};
use crate::cli::remote::told::{Column, Told};
use crate::cli::remote::{Body, json_file};
use crate::oauth::grant::GrantType;

const APPS: &str = "/api/v1/apps";

const CLIENTS: &[Column] = &[
    ("ID", "/id"),
    ("NAME", "/label"),
    ("STATUS", "/status"),
    ("TYPE", "/settings/oauthClient/application_type"),
    ("GRANTS", "/settings/oauthClient/grant_types"),
];

const SECRETS: &[Column] = &[("ID", "/id"), ("STATUS", "/status"), ("CREATED", "/created")];

const TOKENS: &[Column] = &[
    ("ID", "/id"),
    ("STATUS", "/status"),
    ("USER", "/userId"),
    ("SCOPES", "/scopes"),
    ("CREATED", "/created"),
    ("EXPIRES", "/expiresAt"),
];

/// List, create, change and remove client apps.
#[derive(Debug, Args)]
pub struct ClientsArgs {
    #[command(flatten)]
    admin: AdminArgs,
    #[command(subcommand)]
    command: ClientsCommand,
}

#[derive(Debug, Subcommand)]
enum ClientsCommand {
    /// List the clients.
    List {
        /// Only those whose name begins so.
        #[arg(long, value_name = "TEXT")]
        query: Option<String>,
    },
    /// Show a client.
    Show {
        /// The client.
        id: String,
    },
    /// Create a client. Its secret, if it gets one, is shown once.
    Create(Box<CreateArgs>),
    /// Change a client.
    Update(UpdateArgs),
    /// Let a client in again. Tokens that it had stay dead.
    Activate {
        /// The client.
        id: String,
    },
    /// Keep a client out: it does not authenticate any more, and its tokens are dead for good.
    Deactivate {
        /// The client.
        id: String,
    },
    /// Delete a client that was deactivated.
    Delete {
        /// The client.
        id: String,
    },
    /// A client's secrets: two may overlap while one is replaced.
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// A client's grants with refresh tokens.
    Tokens {
        /// The client.
        id: String,
        /// Revoke this one instead of listing them: its access tokens die with it.
        #[arg(long, value_name = "TOKEN", conflicts_with = "revoke_all")]
        revoke: Option<String>,
        /// Revoke all of them instead.
        #[arg(long)]
        revoke_all: bool,
    },
    /// Let the users of a group, or one user, use a client.
    Assign(AssignArgs),
    /// Take that back.
    Unassign(AssignArgs),
}

#[derive(Debug, Subcommand)]
enum SecretsCommand {
    /// List them, without their values.
    List {
        /// The client.
        id: String,
    },
    /// Add one. It is shown once.
    Add {
        /// The client.
        id: String,
    },
    /// Remove one: it fails from now on.
    Remove {
        /// The client.
        id: String,
        /// The secret's identifier.
        secret: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The name that people see.
    #[arg(long, required_unless_present = "from")]
    name: Option<String>,
    /// The client id; one is made if not said.
    #[arg(long)]
    id: Option<String>,
    /// What kind of app it is.
    #[arg(long, value_enum, required_unless_present = "from")]
    r#type: Option<Kind>,
    /// A grant type, as often as needed; by the kind if not said.
    #[arg(long = "grant", value_parser = grant)]
    grants: Vec<GrantType>,
    /// Where authorization responses may go, as often as needed.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// How it authenticates (RFC 7591), such as `private_key_jwt`; by the kind and its keys if not said.
    #[arg(long, value_name = "METHOD")]
    auth_method: Option<String>,
    /// A file with its public keys, a JWK Set.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Where its public keys are.
    #[arg(long, value_name = "URL", conflicts_with = "jwks")]
    jwks_uri: Option<String>,
    /// Bind its tokens to a DPoP key always.
    #[arg(long)]
    dpop: bool,
    /// The whole object as JSON instead; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "id", "type", "grants", "redirect_uris", "auth_method", "jwks", "jwks_uri", "dpop"])]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// The client.
    id: String,
    /// Another name.
    #[arg(long)]
    name: Option<String>,
    /// The grant types instead of those that it has.
    #[arg(long = "grant", value_parser = grant)]
    grants: Vec<GrantType>,
    /// The redirect URIs instead of those that it has.
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// The whole object as JSON instead; `-` reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "grants", "redirect_uris"])]
    from: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct AssignArgs {
    /// The client.
    id: String,
    /// The group, by name or identifier.
    #[arg(long, required_unless_present = "user", conflicts_with = "user")]
    group: Option<String>,
    /// The user, by login or identifier.
    #[arg(long)]
    user: Option<String>,
}

/// What kind of app a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A server-side web app.
    Web,
    /// An app on a person's device.
    Native,
    /// A single-page app.
    Browser,
    /// A service without a person.
    Service,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Native => "native",
            Self::Browser => "browser",
            Self::Service => "service",
        }
    }

    fn grants(self) -> Vec<GrantType> {
        match self {
            Self::Web => vec![GrantType::AuthorizationCode],
            Self::Native | Self::Browser => vec![GrantType::AuthorizationCode, GrantType::RefreshToken],
            Self::Service => vec![GrantType::ClientCredentials],
        }
    }
}

/// Reads a grant type of the command line.
pub(super) fn grant(text: &str) -> Result<GrantType, String> {
    GrantType::parse(text).ok_or_else(|| match GrantType::nearest(text) {
        Some(nearest) => format!("there is no such grant type; did you mean `{nearest}`?"),
        None => "there is no such grant type".to_owned(),
    })
}

/// Runs the command.
///
/// # Errors
/// What the API refuses, or what writing to `out` says.
pub fn run(args: &ClientsArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let scopes = match &args.command {
        ClientsCommand::List { .. }
        | ClientsCommand::Show { .. }
        | ClientsCommand::Secrets(SecretsCommand::List { .. })
        | ClientsCommand::Tokens {
            revoke: None,
            revoke_all: false,
            ..
        } => "okta.apps.read",
        ClientsCommand::Assign(_) | ClientsCommand::Unassign(_) => {
            "okta.apps.manage okta.apps.read okta.groups.read okta.users.read"
        }
        _ => "okta.apps.manage okta.apps.read",
    };
    args.admin
        .run(scopes, out, async |admin: &Admin| command(admin, &args.command).await)
}

async fn command(admin: &Admin, command: &ClientsCommand) -> anyhow::Result<Told> {
    let app = |id: &str| format!("{APPS}/{}", segment(id));
    Ok(match command {
        ClientsCommand::List { query: text } => {
            let mut pairs = vec![("limit", "200")];
            pairs.extend(text.as_deref().map(|text| ("q", text)));
            let found = admin.list(&format!("{APPS}?{}", query(&pairs)), None).await?;
            Told::Rows(found, CLIENTS)
        }
        ClientsCommand::Show { id } => Told::Object(admin.get(&app(id)).await?),
        ClientsCommand::Create(args) => Told::Object(admin.post(APPS, Some(&created(args)?)).await?),
        ClientsCommand::Update(args) => update(admin, args).await?,
        ClientsCommand::Activate { id } => {
            admin.post(&format!("{}/lifecycle/activate", app(id)), None).await?;
            Told::Done(format!("`{id}` is active; tokens from before stay dead"))
        }
        ClientsCommand::Deactivate { id } => {
            admin.post(&format!("{}/lifecycle/deactivate", app(id)), None).await?;
            Told::Done(format!("`{id}` is inactive, and its tokens are dead"))
        }
        ClientsCommand::Delete { id } => {
            admin.delete(&app(id)).await?;
            Told::Done(format!("`{id}` is deleted"))
        }
        ClientsCommand::Secrets(command) => secrets(admin, command).await?,
        ClientsCommand::Tokens { id, revoke, revoke_all } => tokens(admin, id, revoke.as_deref(), *revoke_all).await?,
        ClientsCommand::Assign(args) => assign(admin, args, true).await?,
        ClientsCommand::Unassign(args) => assign(admin, args, false).await?,
    })
}

fn created(args: &CreateArgs) -> anyhow::Result<Value> {
    if let Some(from) = &args.from {
        return json_file(from);
    }
    let kind = args.r#type.context("say the kind of app with --type")?;
    let grants = if args.grants.is_empty() {
        kind.grants()
    } else {
        args.grants.clone()
    };
    let keys = args.jwks.as_deref().map(json_file).transpose()?;
    let method = args.auth_method.as_deref().unwrap_or(match kind {
        _ if keys.is_some() || args.jwks_uri.is_some() => "private_key_jwt",
        Kind::Native | Kind::Browser => "none",
        Kind::Web | Kind::Service => "client_secret_basic",
    });
    let mut settings = Body::new(json!({
        "application_type": kind.name(),
        "grant_types": grants.iter().map(|grant| grant.wire_name()).collect::<Vec<_>>(),
    }));
    if !args.redirect_uris.is_empty() {
        settings.set("redirect_uris", json!(args.redirect_uris));
    }
    if args.dpop {
        settings.set("dpop_bound_access_tokens", json!(true));
    }
    settings.set_some("jwks", keys);
    settings.set_some("jwks_uri", args.jwks_uri.clone().map(Value::String));
    let mut credentials = Body::new(json!({ "token_endpoint_auth_method": method }));
    credentials.set_some("client_id", args.id.clone().map(Value::String));
    Ok(json!({
        "name": "oidc_client",
        "label": args.name,
        "signOnMode": "OPENID_CONNECT",
        "credentials": { "oauthClient": credentials.into_value() },
        "settings": { "oauthClient": settings.into_value() },
    }))
}

async fn update(admin: &Admin, args: &UpdateArgs) -> anyhow::Result<Told> {
    let whole = args.from.as_deref().map(json_file).transpose()?;
    let path = format!("{APPS}/{}", segment(&args.id));
    let changed = admin.change(&path, |app| {
        if let Some(whole) = whole {
            *app = whole;
        }
        if let Some(name) = &args.name {
            app["label"] = json!(name);
        }
        if !args.grants.is_empty() {
            let names: Vec<&str> = args.grants.iter().map(|grant| grant.wire_name()).collect();
            app["settings"]["oauthClient"]["grant_types"] = json!(names);
        }
        if !args.redirect_uris.is_empty() {
            app["settings"]["oauthClient"]["redirect_uris"] = json!(args.redirect_uris);
        }
    });
    Ok(Told::Object(changed.await?))
}

async fn secrets(admin: &Admin, command: &SecretsCommand) -> anyhow::Result<Told> {
    let of = |id: &str| format!("{APPS}/{}/credentials/secrets", segment(id));
    Ok(match command {
        SecretsCommand::List { id } => Told::Rows(admin.list(&of(id), None).await?, SECRETS),
        SecretsCommand::Add { id } => Told::Object(admin.post(&of(id), None).await?),
        SecretsCommand::Remove { id, secret } => {
            let one = format!("{}/{}", of(id), segment(secret));
            // Deletion takes what is inactive; a secret that somebody else has deactivated already is no error.
            let status = admin.get(&one).await?["status"].clone();
            if status != "INACTIVE" {
                admin.post(&format!("{one}/lifecycle/deactivate"), None).await?;
            }
            admin.delete(&one).await?;
            Told::Done(format!("the secret `{secret}` of `{id}` is removed"))
        }
    })
}

async fn tokens(admin: &Admin, id: &str, revoke: Option<&str>, revoke_all: bool) -> anyhow::Result<Told> {
    let all = format!("{APPS}/{}/tokens", segment(id));
    Ok(match revoke {
        Some(token) => {
            admin.delete(&format!("{all}/{}", segment(token))).await?;
            Told::Done(format!("`{token}` is revoked, with its access tokens"))
        }
        None if revoke_all => {
            admin.delete(&all).await?;
            Told::Done(format!("every token of `{id}` is revoked"))
        }
        None => Told::Rows(admin.list(&all, None).await?, TOKENS),
    })
}

async fn assign(admin: &Admin, args: &AssignArgs, is_assigned: bool) -> anyhow::Result<Told> {
    let app = format!("{APPS}/{}", segment(&args.id));
    let (path, body, who) = match (&args.group, &args.user) {
        (Some(group), _) => {
            let id = super::groups::id_of(admin, group).await?;
            (
                format!("{app}/groups/{}", segment(&id)),
                json!({}),
                format!("the group `{group}`"),
            )
        }
        (None, user) => {
            let user = user.as_deref().context("say --group or --user")?;
            let id = super::users::id_of(admin, user).await?;
            (
                format!("{app}/users/{}", segment(&id)),
                json!({ "id": id }),
                format!("`{user}`"),
            )
        }
    };
    Ok(Told::Done(if is_assigned {
        // Okta's verbs: a group is put, a user is posted to the list.
        if args.group.is_some() {
            admin.put(&path, Some(&body)).await?;
        } else {
            admin.post(&format!("{app}/users"), Some(&body)).await?;
        }
        format!("{who} may use `{}`", args.id)
    } else {
        admin.delete(&path).await?;
        format!("{who} may not use `{}` any more", args.id)
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn body(words: &[&str]) -> Value {
        let line = Line::try_parse_from([&["x"], words].concat()).expect("it parses");
        created(&line.args).expect("it makes an object")
    }

    #[test]
    fn a_service_is_created_with_what_its_kind_needs() {
        let expected = json!({
            "name": "oidc_client", "label": "Batch", "signOnMode": "OPENID_CONNECT",
            "credentials": { "oauthClient": { "token_endpoint_auth_method": "client_secret_basic", "client_id": "batch" } },
            "settings": { "oauthClient": {
                "application_type": "service", "grant_types": ["client_credentials"],
            } },
        });
        assert_eq!(
            body(&["--name", "Batch", "--type", "service", "--id", "batch"]),
            expected
        );
    }

    #[test]
    fn keys_mean_private_key_jwt_and_a_phone_proves_nothing() {
        let method = |words: &[&str]| body(words)["credentials"]["oauthClient"]["token_endpoint_auth_method"].clone();
        let keys = [
            "--name",
            "a",
            "--type",
            "service",
            "--jwks-uri",
            "https://a.example/jwks",
        ];
        assert_eq!(method(&keys), "private_key_jwt");
        assert_eq!(method(&["--name", "a", "--type", "native"]), "none");
        let chosen = ["--name", "a", "--type", "web", "--auth-method", "client_secret_post"];
        assert_eq!(method(&chosen), "client_secret_post");
    }

    #[test]
    fn a_misspelt_grant_is_told_with_the_nearest() {
        assert!(grant("client_credential").unwrap_err().contains("`client_credentials`"));
        assert_eq!(grant("token_exchange"), Ok(GrantType::TokenExchange));
    }
}
