//! `scopegate token decode`: what a token says, and whether it is what it says.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::cli::assume;
use crate::cli::remote::{Answer, Connection, Listener, PlaceArgs, block_on};
use crate::cli::table::duration;
use crate::cli::{Output, load};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Settings;
use crate::jose::compact::Compact;
use crate::jose::key::KeySet;
use crate::jose::unverified::Unverified;
use crate::jose::verify::verify_signature;
use crate::model::time::Timestamp;
use crate::trust::settings::{KeySource, TrustedServerSettings};

/// Show what a token says: header, claims, expiry and, with `-c FILE`, whose it is and whether its signature verifies.
///
/// Exit code 0 if it can be read and nothing speaks against its signature, 1 otherwise. An expired token can be read. The
/// keys come from `--jwks FILE`; without one they are asked from the file's own issuer, and nobody else is asked.
#[derive(Debug, Args)]
pub(super) struct DecodeArgs {
    /// The file that holds the token; standard input if not said.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The configuration file whose authorization servers it may be from.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A JWK Set to verify it with.
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// How to print it.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// What is known of a token.
struct Decoded {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    server: Option<String>,
    /// Why the gate would not even look at it.
    refused: Option<String>,
    signature: Signature,
}

enum Signature {
    Verifies,
    Fails(String),
    NotLookedAt(String),
}

/// Runs the command.
///
/// # Errors
/// When it is no token, the configuration has errors, or what writing to `out` says.
pub(super) fn run(args: &DecodeArgs, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let token = super::token(args.token_file.as_ref())?;
    let settings = args.config.as_deref().map(load).transpose()?;
    let decoded = decode(args, token.expose_secret(), settings.as_ref())?;
    let now = SystemClock::start().now();
    match args.output {
        Output::Text => decoded.text(now, out)?,
        Output::Json => writeln!(out, "{:#}", decoded.to_json(now))?,
    }
    Ok(match decoded.signature {
        Signature::Fails(_) => ExitCode::FAILURE,
        Signature::Verifies | Signature::NotLookedAt(_) => ExitCode::SUCCESS,
    })
}

fn decode(args: &DecodeArgs, token: &str, settings: Option<&Settings>) -> anyhow::Result<Decoded> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _] = parts[..] else {
        bail!("it is no compact JWS of three parts; an opaque token says nothing to who does not ask its issuer");
    };
    let header = object(header).context("its header")?;
    let claims = object(payload).context("its payload")?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    let server = settings.and_then(|settings| {
        let mut trusted = assume::servers(settings, Some(&claims)).into_iter();
        trusted.find(|server| Some(server.issuer.as_str()) == issuer)
    });
    let server = server.as_ref();
    let refused = Unverified::parse(token).err().map(|malformed| malformed.to_string());
    let signature = match keys(args, settings, server) {
        Ok(keys) => signature(token, &keys, server),
        Err(reason) => Signature::NotLookedAt(format!("{reason:#}")),
    };
    Ok(Decoded {
        header,
        claims,
        server: server.map(|server| server.id.to_string()),
        refused,
        signature,
    })
}

/// One part of a token. The gate is stricter: it refuses what this reads with duplicate members.
fn object(part: &str) -> anyhow::Result<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .ok()
        .context("it is no base64url without padding")?;
    serde_json::from_slice(&bytes).ok().context("it is no JSON object")
}

fn keys(
    args: &DecodeArgs,
    settings: Option<&Settings>,
    server: Option<&TrustedServerSettings>,
) -> anyhow::Result<KeySet> {
    if let Some(path) = &args.jwks {
        return read_keys(path);
    }
    if settings.is_none() {
        bail!("say `-c FILE` or `--jwks FILE`");
    }
    let Some(server) = server else {
        bail!("none of the file's authorization servers has this `iss`");
    };
    match &server.keys {
        KeySource::Local => ask_keys(args, server),
        KeySource::File(path) => read_keys(path),
        KeySource::SharedSecret(secret) => Ok(KeySet::from_secret_for(secret, server.algorithms.iter().copied())?),
        KeySource::Uri(_) | KeySource::Discovery => {
            bail!("the keys of an external authorization server are not fetched here: say `--jwks FILE`")
        }
        KeySource::None => bail!("the tokens of `{}` are opaque", server.id),
    }
}

fn read_keys(path: &std::path::Path) -> anyhow::Result<KeySet> {
    let told = || format!("the key set `{}`", path.display());
    let text = std::fs::read(path).with_context(told)?;
    Ok(KeySet::from_jwks(&text).with_context(told)?.0)
}

/// Asks our own issuer, where the file says that it is.
fn ask_keys(args: &DecodeArgs, server: &TrustedServerSettings) -> anyhow::Result<KeySet> {
    let place = PlaceArgs {
        config: args.config.clone(),
        ..PlaceArgs::default()
    };
    let connection = Connection::find(&place, Listener::Issuer)?;
    let request = connection.request(Method::GET, &format!("{}/v1/keys", server.issuer))?;
    let answer = block_on(async { Answer::to(request).await?.accepted() })?;
    Ok(KeySet::from_jwks(answer.body.to_string().as_bytes())?.0)
}

fn signature(token: &str, keys: &KeySet, server: Option<&TrustedServerSettings>) -> Signature {
    let compact = match Compact::parse(token) {
        Ok(compact) => compact,
        Err(malformed) => return Signature::Fails(malformed.to_string()),
    };
    // What the server may sign with; a key set on its own vouches for whatever fits its keys.
    let own = [compact.algorithm()];
    let algorithms = server.map_or(&own[..], |server| &server.algorithms);
    match verify_signature(&compact, keys, algorithms) {
        Ok(_) => Signature::Verifies,
        Err(error) => Signature::Fails(error.detail().to_owned()),
    }
}

impl Decoded {
    fn text(&self, now: Timestamp, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "Header\n{:#}\n", Value::Object(self.header.clone()))?;
        writeln!(out, "Claims\n{:#}\n", Value::Object(self.claims.clone()))?;
        for (name, claim) in [("issued", "iat"), ("not before", "nbf"), ("expires", "exp")] {
            if let Some(at) = self.time(claim) {
                writeln!(out, "  {name:<10}  {}", moment(at, now))?;
            }
        }
        if let Some(server) = &self.server {
            writeln!(out, "  server      {server}")?;
        }
        match &self.signature {
            Signature::Verifies => writeln!(out, "  signature   verifies")?,
            Signature::Fails(why) => writeln!(out, "  signature   DOES NOT VERIFY: {why}")?,
            Signature::NotLookedAt(why) => writeln!(out, "  signature   not looked at: {why}")?,
        }
        if let Some(why) = &self.refused {
            writeln!(out, "  gate        refuses it unseen: {why}")?;
        }
        Ok(())
    }

    fn to_json(&self, now: Timestamp) -> Value {
        let (signature, why) = match &self.signature {
            Signature::Verifies => ("verifies", None),
            Signature::Fails(why) => ("fails", Some(why)),
            Signature::NotLookedAt(why) => ("not_looked_at", Some(why)),
        };
        json!({
            "header": self.header,
            "claims": self.claims,
            "expired": self.time("exp").is_some_and(|at| at <= now),
            "authorization_server": self.server,
            "signature": signature,
            "signature_detail": why,
            "refused": self.refused,
        })
    }

    fn time(&self, claim: &str) -> Option<Timestamp> {
        self.claims.get(claim)?.as_i64().map(Timestamp::from_unix_seconds)
    }
}

fn moment(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.unix_seconds().saturating_sub(now.unix_seconds());
    let written = jiff::Timestamp::from_second(at.unix_seconds())
        .map_or_else(|_| at.unix_seconds().to_string(), |moment| moment.to_string());
    let distance = duration(seconds.unsigned_abs());
    if seconds > 0 {
        format!("{written} (in {distance})")
    } else {
        format!("{written} ({distance} ago)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_with_its_distance() {
        let at = Timestamp::from_unix_seconds;
        assert_eq!(
            moment(at(1_800_000_090), at(1_800_000_000)),
            "2027-01-15T08:01:30Z (in 1m 30s)"
        );
        assert_eq!(
            moment(at(1_800_000_000), at(1_800_003_600)),
            "2027-01-15T08:00:00Z (1h ago)"
        );
        assert!(moment(at(i64::MAX), at(0)).starts_with("9223372036854775807 (in "));
    }
}
