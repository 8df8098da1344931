//! `scopegate preview`: the token that would be minted, or why none would be.
//!
//! It asks the code that mints, with what the file declares. What is managed over the API is not in
//! the file: ask the management API of the running issuer for those.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

use crate::cli::Output;
use crate::cli::table::duration;
use crate::clock::{Clock as _, SystemClock};
use crate::issuer::preview::{Preview, PreviewRequest, PreviewToken, PreviewUser, TOKEN_BYTES_MAX, preview};
use crate::issuer::settings::IssuerSettings;
use crate::model::finding::nearest;
use crate::model::id::{AuthorizationServerId, ClientId};
use crate::model::scope::ScopeSet;
use crate::oauth::access::{Model, PolicyStep, compile};
use crate::oauth::grant::GrantType;
use crate::oauth::held::Held;
use crate::oauth::metadata::issuer_of;
use crate::oauth::minting::TokenUser;

/// Show the token that would be minted, unsigned, with the rule that grants it, or the reason of the denial.
///
/// Exit code 0 if it is granted, 1 if it is denied. The decision and the claims come from the code of the token endpoint;
/// the client's and the grant's own proofs are taken for given.
///
/// For example, with `-c scopegate.yaml`: `--server transfers --client mobile --grant authorization_code
/// --user ada@bank.example --scope "transfers:read transfers:write"`.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// The configuration file.
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
    /// The authorization server.
    #[arg(long, value_name = "ID")]
    pub server: String,
    /// The client.
    #[arg(long, value_name = "ID")]
    pub client: String,
    /// The grant type, such as `client_credentials`.
    #[arg(long, value_name = "GRANT")]
    pub grant: String,
    /// The login of the user that the token would speak for.
    #[arg(long, value_name = "LOGIN")]
    pub user: Option<String>,
    /// A group of the user, as often as needed: for a user that the file does not declare.
    #[arg(long = "group", value_name = "GROUP", requires = "user")]
    pub groups: Vec<String>,
    /// The user's profile as a JSON object: for a user that the file does not declare.
    #[arg(long, value_name = "JSON", requires = "user")]
    pub profile: Option<String>,
    /// The scopes, as a request would have them.
    #[arg(long, value_name = "SCOPES")]
    pub scope: Option<String>,
    /// For `--grant refresh_token`: the grant type by which the grant began, such as `authorization_code`.
    #[arg(long, value_name = "GRANT")]
    pub began_by: Option<String>,
    /// The scopes of the grant that is refreshed or of the token that is exchanged; whatever is asked for if not said.
    #[arg(long, value_name = "SCOPES")]
    pub held: Option<String>,
    /// How to print the preview.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Runs the command: exit code 0 for granted, 1 for denied, 2 for names that are not in the file.
///
/// # Errors
/// When the configuration has errors, or what writing to `out` says.
pub fn run(args: &PreviewArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let settings = super::load(&args.config)?;
    let Some(issuer) = settings.issuer else {
        bail!("the file declares no authorization server of its own: there is nothing to mint");
    };
    // `load` has compiled it, and refused what has errors.
    let model = compile(&issuer.declared).0.unwrap_or_default();
    let asked = match Asked::read(args, &model) {
        Ok(asked) => asked,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let told = asked.preview(&model, &issuer);
    match args.output {
        Output::Json => writeln!(out, "{:#}", told.to_json())?,
        Output::Text => text(out, &told)?,
    }
    if let Some(token) = told.outcome.as_ref().ok().filter(|token| token.is_too_large()) {
        super::complain(&format_args!(
            "warning: the token would have about {} bytes; many servers refuse headers of more than {TOKEN_BYTES_MAX}\n",
            token.bytes
        ));
    }
    Ok(if told.outcome.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the command line asks for, found in the file.
struct Asked {
    server: AuthorizationServerId,
    client: ClientId,
    grant: GrantType,
    user: Option<AskedUser>,
    scope: Option<String>,
    began_by: Option<GrantType>,
    held: Option<ScopeSet>,
}

struct AskedUser {
    login: String,
    groups: Vec<String>,
    profile: Map<String, Value>,
}

impl Asked {
    fn read(args: &PreviewArgs, model: &Model) -> anyhow::Result<Self> {
        let Some((server, _)) = model.servers.get_key_value(args.server.as_str()) else {
            let names = model.servers.keys().map(AuthorizationServerId::as_str);
            bail!(unknown("authorization server", &args.server, names));
        };
        let Some((client, _)) = model.clients.get_key_value(args.client.as_str()) else {
            bail!(unknown(
                "client",
                &args.client,
                model.clients.keys().map(ClientId::as_str)
            ));
        };
        let grant = grant_type(&args.grant)?;
        let began_by = args.began_by.as_deref().map(grant_type).transpose()?;
        if began_by.is_some_and(GrantType::signs_in_anew) != (grant == GrantType::RefreshToken) {
            bail!(
                "--began-by goes with --grant refresh_token: say by which of authorization_code, device_code and password \
                 the grant began"
            );
        }
        let held = args.held.as_deref().map(ScopeSet::parse).transpose();
        Ok(Self {
            server: server.clone(),
            client: client.clone(),
            grant,
            user: args.user.as_deref().map(|login| user(args, model, login)).transpose()?,
            scope: args.scope.clone(),
            began_by,
            held: held.context("--held")?,
        })
    }

    fn preview(&self, model: &Model, issuer: &IssuerSettings) -> Preview {
        let request = PreviewRequest {
            server: &self.server,
            client: &self.client,
            grant: self.grant,
            user: self.user.as_ref().map(|user| PreviewUser {
                token: TokenUser {
                    id: &user.login,
                    login: &user.login,
                    groups: &user.groups,
                    profile: &user.profile,
                },
                active: true,
            }),
            scope: self.scope.as_deref(),
            held: Held {
                began_by: self.began_by,
                scopes: self.held.as_ref(),
            },
        };
        let now = SystemClock::start().now();
        preview(model, &issuer_of(&issuer.public_url, &self.server), &request, now)
    }
}

fn grant_type(name: &str) -> anyhow::Result<GrantType> {
    GrantType::parse(name).ok_or_else(|| {
        let names = GrantType::ALL.map(GrantType::as_str);
        anyhow::anyhow!(unknown("grant type", name, names))
    })
}

fn unknown<'n>(what: &str, name: &str, known: impl IntoIterator<Item = &'n str>) -> String {
    match nearest(name, known) {
        Some(nearest) => format!("there is no {what} `{name}` in the file; did you mean `{nearest}`?"),
        None => format!("there is no {what} `{name}` in the file"),
    }
}

fn user(args: &PreviewArgs, model: &Model, login: &str) -> anyhow::Result<AskedUser> {
    let profile = match args.profile.as_deref().map(serde_json::from_str::<Map<String, Value>>) {
        None => None,
        Some(Ok(profile)) => Some(profile),
        Some(Err(error)) => bail!("--profile must be a JSON object such as {{\"tier\":\"gold\"}}: {error}"),
    };
    let declared = model.users.get(login);
    if declared.is_none() && args.groups.is_empty() {
        let problem = unknown("user", login, model.users.keys().map(String::as_str));
        bail!("{problem}; for one who lives in the store say the groups with --group");
    }
    Ok(AskedUser {
        login: login.to_owned(),
        groups: if args.groups.is_empty() {
            declared.map(|user| user.groups.clone()).unwrap_or_default()
        } else {
            args.groups.clone()
        },
        profile: profile
            .or_else(|| declared.map(|user| user.profile.clone()))
            .unwrap_or_default(),
    })
}

fn text(out: &mut impl Write, preview: &Preview) -> io::Result<()> {
    match &preview.outcome {
        Ok(token) => granted(out, token)?,
        Err(error) => {
            writeln!(out, "DENIED  {} ({})", error.code().as_str(), error.error_code())?;
            writeln!(out, "  because  {error}")?;
        }
    }
    let steps = preview.decision.as_ref().map(|decision| decision.trace.as_slice());
    let steps = steps.unwrap_or_default();
    if !steps.is_empty() {
        writeln!(out, "\nPolicies and rules, in order")?;
    }
    steps.iter().try_for_each(|step| policy(out, step))
}

fn granted(out: &mut impl Write, token: &PreviewToken) -> io::Result<()> {
    writeln!(out, "GRANTED  by {} / {}", token.policy, token.rule)?;
    writeln!(out, "  scope          {}", token.scopes)?;
    writeln!(
        out,
        "  access token   lives {}",
        duration(token.access_token_lifetime.as_secs())
    )?;
    match token.refresh_token {
        None => writeln!(out, "  refresh token  none")?,
        Some(refresh) => {
            let lifetime = duration(refresh.lifetime.as_secs());
            let idle = refresh
                .idle
                .map(|idle| format!(", {} without use", duration(idle.as_secs())));
            writeln!(out, "  refresh token  lives {lifetime}{}", idle.unwrap_or_default())?;
        }
    }
    writeln!(out, "\nClaims of the access token, about {} bytes signed", token.bytes)?;
    writeln!(out, "{:#}", Value::Object(token.access_token.clone()))?;
    if let Some(claims) = &token.id_token {
        writeln!(out, "\nClaims of the ID token")?;
        writeln!(out, "{:#}", Value::Object(claims.clone()))?;
    }
    Ok(())
}

fn policy(out: &mut impl Write, step: &PolicyStep) -> io::Result<()> {
    if !step.client_included {
        return writeln!(out, "  -     {}: not for this client", step.policy);
    }
    for rule in &step.rules {
        match &rule.miss {
            None => writeln!(out, "  ok    {} / {}", step.policy, rule.rule)?,
            Some(miss) => writeln!(out, "  FAIL  {} / {}: {miss}", step.policy, rule.rule)?,
        }
    }
    Ok(())
}
