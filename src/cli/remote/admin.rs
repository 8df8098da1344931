//! The management API as a command sees it: a token of the management authorization server, and
//! JSON in and out.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::cli::remote::credentials::{self, Credentials};
use crate::cli::remote::told::{Output, Told};
use crate::cli::remote::{Answer, Connection, Listener, PlaceArgs, block_on};
use crate::config::source::{Source as _, System};
use crate::model::secret::Secret;

/// The variable with the credentials file.
const CREDENTIALS_VARIABLE: &str = "SCOPEGATE_CREDENTIALS";

/// The variable with a management token, instead of credentials.
const TOKEN_VARIABLE: &str = "SCOPEGATE_TOKEN";

/// The token endpoint of the management authorization server.
pub(crate) const TOKEN_PATH: &str = "/oauth2/v1/token";

/// How assertions are announced (RFC 7523 section 2.2).
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The most pages of one list that are read: more is no list for a terminal.
const PAGES_MAX: usize = 1000;

/// How often, and after how long, a client that is not known is tried again.
const TRIES: usize = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// What a path segment may hold as it is (RFC 3986 section 2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where the management API is, and who asks.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// The credentials that `scopegate admin bootstrap` printed; or the variable `SCOPEGATE_CREDENTIALS`.
    #[arg(long, value_name = "FILE", global = true)]
    credentials: Option<PathBuf>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t, global = true)]
    output: Output,
    /// Print one member of the answer alone, as `/credentials/oauthClient/client_id`; of each row of a list.
    #[arg(long, value_name = "POINTER", global = true, conflicts_with = "output")]
    field: Option<String>,
}

impl AdminArgs {
    /// Runs a command with a token of these scopes, and prints what it tells: exit code 0.
    ///
    /// # Errors
    /// What the API refuses, or what writing to `out` says.
    pub(crate) fn run(
        &self,
        scopes: &str,
        out: &mut impl Write,
        command: impl AsyncFnOnce(&Admin) -> anyhow::Result<Told>,
    ) -> anyhow::Result<ExitCode> {
        let told = block_on(async {
            let admin = Admin::sign_in(self, scopes).await?;
            command(&admin).await
        })?;
        match &self.field {
            Some(place) => told.print_field(place, out)?,
            None => told.print(self.output, out)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The management API, signed in.
pub(crate) struct Admin {
    connection: Connection,
    token: Secret<String>,
}

impl Admin {
    async fn sign_in(args: &AdminArgs, scopes: &str) -> anyhow::Result<Self> {
        let connection = Connection::find(&args.place, Listener::Admin)?;
        let file = args
            .credentials
            .clone()
            .or_else(|| System.variable(CREDENTIALS_VARIABLE).map(PathBuf::from));
        let token = match (file, credentials::secret_variable(TOKEN_VARIABLE)) {
            (Some(file), _) => token(&connection, &Credentials::read(&file)?, scopes).await?,
            (None, Some(token)) => token,
            (None, None) => bail!(
                "it is not said who asks: say `--credentials FILE` (`scopegate admin bootstrap` prints it), \
                 {CREDENTIALS_VARIABLE} or {TOKEN_VARIABLE}"
            ),
        };
        Ok(Self { connection, token })
    }

    /// One request, with a body or none, and with the revision that it is about.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        revision: Option<&str>,
    ) -> anyhow::Result<Answer> {
        let mut request = self
            .connection
            .request(method, path)?
            .bearer_auth(self.token.expose_secret())
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(revision) = revision {
            request = request.header("if-match", revision);
        }
        Answer::to(request).await?.accepted()
    }

    /// One object.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(self.send(Method::GET, path, None, None).await?.body)
    }

    /// Makes something, or has something done.
    pub(crate) async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        Ok(self.send(Method::POST, path, body, None).await?.body)
    }

    /// Puts something where it is not yet, or is already.
    pub(crate) async fn put(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        Ok(self.send(Method::PUT, path, body, None).await?.body)
    }

    /// Removes something.
    pub(crate) async fn delete(&self, path: &str) -> anyhow::Result<()> {
        self.send(Method::DELETE, path, None, None).await.map(drop)
    }

    /// Reads an object, changes it and writes it back, if nobody else has changed it meanwhile.
    pub(crate) async fn change(&self, path: &str, change: impl FnOnce(&mut Value)) -> anyhow::Result<Value> {
        let found = self.send(Method::GET, path, None, None).await?;
        let mut object = found.body;
        change(&mut object);
        let answer = self.send(Method::PUT, path, Some(&object), found.etag.as_deref());
        Ok(answer.await?.body)
    }

    /// Every item of a list, page after page, up to `limit` of them.
    pub(crate) async fn list(&self, path: &str, limit: Option<usize>) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut page = Some(path.to_owned());
        for _ in 0..PAGES_MAX {
            let Some(path) = page else { break };
            let answer = self.send(Method::GET, &path, None, None).await?;
            let Value::Array(found) = answer.body else {
                bail!("the answer is no list");
            };
            items.extend(found);
            page = answer.next.filter(|_| limit.is_none_or(|limit| items.len() < limit));
        }
        if let Some(limit) = limit {
            items.truncate(limit);
        }
        Ok(items)
    }
}

/// A name as one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// A value as part of a query.
pub(crate) fn query(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

/// A token of the management authorization server, by private_key_jwt.
async fn token(connection: &Connection, credentials: &Credentials, scopes: &str) -> anyhow::Result<Secret<String>> {
    let mut answer = ask_for_token(connection, credentials, scopes).await?;
    for _ in 0..TRIES {
        // An administrator that `admin bootstrap` has just made is let in within a moment.
        if answer.status != StatusCode::UNAUTHORIZED {
            break;
        }
        tokio::time::sleep(TRY_AGAIN_AFTER).await;
        answer = ask_for_token(connection, credentials, scopes).await?;
    }
    let answer = answer
        .accepted()
        .with_context(|| format!("the client `{}` gets no token for `{scopes}`", credentials.client_id))?;
    match answer.body.get("access_token").and_then(Value::as_str) {
        Some(token) => Ok(Secret::new(token.to_owned())),
        None => bail!("the token endpoint answered without a token"),
    }
}

async fn ask_for_token(connection: &Connection, credentials: &Credentials, scopes: &str) -> anyhow::Result<Answer> {
    let assertion = credentials.assertion(&format!("{}{TOKEN_PATH}", connection.base()))?;
    let form = [
        ("grant_type", "client_credentials"),
        ("scope", scopes),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", assertion.expose_secret()),
    ];
    Answer::to(connection.request(Method::POST, TOKEN_PATH)?.form(&form)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_one_segment() {
        assert_eq!(segment("a/../b?c#d%"), "a%2F..%2Fb%3Fc%23d%25");
        assert_eq!(segment("0oa_Az-9.~"), "0oa_Az-9.~");
        assert_eq!(segment("ada@bank.example"), "ada%40bank.example");
        assert_eq!(query(&[("q", "a&b=c"), ("limit", "5")]), "q=a%26b%3Dc&limit=5");
    }
}
