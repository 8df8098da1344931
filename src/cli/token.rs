//! `scopegate token`: work with one token.
//!
//! A token is read from standard input or from a file, and a client's secret from a file, the
//! environment or standard input: whoever can list the machine's processes reads neither.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::cli::remote::admin::{ASSERTION_TYPE, TOKEN_PATH, segment};
use crate::cli::remote::credentials::{self, Credentials};
use crate::cli::remote::told::{Output, Told};
use crate::cli::remote::{Answer, Connection, Listener, PlaceArgs, block_on};
use crate::model::secret::Secret;

mod decode;

/// The variable with a client's secret.
const SECRET_VARIABLE: &str = "SCOPEGATE_CLIENT_SECRET";

/// Decode, mint, introspect or revoke one token.
#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    Decode(decode::DecodeArgs),
    /// Get a token by client credentials from a running issuer; print it.
    Mint(MintArgs),
    /// Ask a running issuer about a token: exit code 0 if it is active, 1 if it is not.
    Introspect(AboutArgs),
    /// Revoke a token: when this ends, the gate refuses it.
    Revoke(AboutArgs),
}

#[derive(Debug, Args)]
struct MintArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The authorization server; without one, the management authorization server, which needs --credentials.
    #[arg(long, value_name = "ID", required_unless_present = "credentials")]
    server: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// The scopes; the server's default ones if not said.
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// How to print it: the token alone, or the whole answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Args)]
struct AboutArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The authorization server.
    #[arg(long, value_name = "ID")]
    server: String,
    #[command(flatten)]
    client: ClientArgs,
    /// The file that holds the token; standard input if not said.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// The client that asks, and how it proves itself.
#[derive(Debug, Args)]
struct ClientArgs {
    /// The client.
    #[arg(long = "client", value_name = "ID", required_unless_present = "credentials")]
    id: Option<String>,
    /// The file that holds its secret; or the variable `SCOPEGATE_CLIENT_SECRET`.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read its secret from standard input.
    #[arg(long, conflicts_with = "secret_file")]
    secret_stdin: bool,
    /// A client id with a private key, as `scopegate admin bootstrap` prints them: it proves itself by private_key_jwt.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "secret_file", "secret_stdin"])]
    credentials: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// What is refused, or what writing to `out` says.
pub fn run(args: &TokenArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    match &args.command {
        TokenCommand::Decode(args) => decode::run(args, out),
        TokenCommand::Mint(args) => mint(args, out),
        TokenCommand::Introspect(args) => introspect(args, out),
        TokenCommand::Revoke(args) => revoke(args, out),
    }
}

/// A client that can prove itself.
enum Proof {
    Secret(String, Secret<String>),
    Key(Box<Credentials>),
    /// A public client only names itself.
    Nothing(String),
}

impl ClientArgs {
    fn proof(&self) -> anyhow::Result<Proof> {
        if let Some(file) = &self.credentials {
            return Ok(Proof::Key(Box::new(Credentials::read(file)?)));
        }
        let Some(id) = self.id.clone() else {
            bail!("say which client asks: --client ID");
        };
        let secret = match &self.secret_file {
            Some(file) => {
                Some(credentials::secret_file(file).with_context(|| format!("the secret file `{}`", file.display()))?)
            }
            None if self.secret_stdin => Some(credentials::secret_on_stdin().context("the secret")?),
            None => credentials::secret_variable(SECRET_VARIABLE),
        };
        Ok(match secret {
            Some(secret) => Proof::Secret(id, secret),
            None => Proof::Nothing(id),
        })
    }
}

impl Proof {
    /// The form with the proof in it, or beside it. `audience` is who reads an assertion.
    fn apply(&self, request: RequestBuilder, audience: &str, form: &[(&str, &str)]) -> anyhow::Result<RequestBuilder> {
        let mut form = form.to_vec();
        let assertion;
        let request = match self {
            Self::Secret(id, secret) => {
                // RFC 6749 section 2.3.1: both parts are form-encoded before they are joined.
                let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request.basic_auth(encoded(id), Some(encoded(secret.expose_secret())))
            }
            Self::Key(credentials) => {
                assertion = credentials.assertion(audience)?;
                form.push(("client_assertion_type", ASSERTION_TYPE));
                form.push(("client_assertion", assertion.expose_secret()));
                request
            }
            Self::Nothing(id) => {
                form.push(("client_id", id));
                request
            }
        };
        Ok(request.form(&form))
    }
}

/// Sends a form to an endpoint of an authorization server.
async fn ask(
    connection: &Connection,
    server: Option<&str>,
    endpoint: &str,
    proof: &Proof,
    form: &[(&str, &str)],
) -> anyhow::Result<Value> {
    let (path, audience) = match server {
        Some(server) => {
            let issuer = format!("/oauth2/{}", segment(server));
            (
                format!("{issuer}/v1/{endpoint}"),
                format!("{}{issuer}", connection.base()),
            )
        }
        None => (TOKEN_PATH.to_owned(), format!("{}{TOKEN_PATH}", connection.base())),
    };
    let request = connection
        .request(Method::POST, &path)?
        .header("accept", "application/json");
    let answer = Answer::to(proof.apply(request, &audience, form)?).await?;
    Ok(answer.accepted()?.body)
}

fn mint(args: &MintArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let listener = if args.server.is_some() {
        Listener::Issuer
    } else {
        Listener::Admin
    };
    let connection = Connection::find(&args.place, listener)?;
    let proof = args.client.proof()?;
    let mut form = vec![("grant_type", "client_credentials")];
    if let Some(scope) = &args.scope {
        form.push(("scope", scope));
    }
    let answer = block_on(ask(&connection, args.server.as_deref(), "token", &proof, &form))?;
    match args.output {
        Output::Json => writeln!(out, "{answer:#}")?,
        Output::Table => match answer.get("access_token").and_then(Value::as_str) {
            Some(token) => writeln!(out, "{token}")?,
            None => bail!("the token endpoint answered without a token"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

impl AboutArgs {
    fn ask(&self, endpoint: &str) -> anyhow::Result<Value> {
        if self.client.secret_stdin && self.token_file.is_none() {
            bail!("standard input holds the secret: say the token with --token-file");
        }
        let connection = Connection::find(&self.place, Listener::Issuer)?;
        let proof = self.client.proof()?;
        let token = token(self.token_file.as_ref())?;
        let form = [("token", token.expose_secret().as_str())];
        block_on(ask(&connection, Some(&self.server), endpoint, &proof, &form))
    }
}

/// The token that a command is about.
fn token(file: Option<&PathBuf>) -> anyhow::Result<Secret<String>> {
    match file {
        Some(file) => credentials::secret_file(file).with_context(|| format!("the token file `{}`", file.display())),
        None => credentials::secret_on_stdin().context("the token"),
    }
}

fn introspect(args: &AboutArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let answer = args.ask("introspect")?;
    let active = answer.get("active").and_then(Value::as_bool).unwrap_or(false);
    Told::Object(answer).print(args.output, out)?;
    Ok(if active { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn revoke(args: &AboutArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    args.ask("revoke")?;
    let message = "revoked: the gate refuses it from now on, if it was this client's";
    Told::Done(message.to_owned()).print(args.output, out)?;
    Ok(ExitCode::SUCCESS)
}
