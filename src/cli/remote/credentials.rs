//! Whom a command is: secrets and keys from files, the environment and standard input.

use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::clock::{Clock as _, SystemClock};
use crate::config::source::{Source as _, System};
use crate::entropy;
use crate::jose::sign::SigningKey;
use crate::model::secret::Secret;

/// For how long an assertion is good.
const ASSERTION_LIFETIME: Duration = Duration::from_secs(60);

/// The longest secret that is read from standard input, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A client with its private key: what `scopegate admin bootstrap` prints.
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    key: SigningKey,
}

impl Credentials {
    /// Reads `{"client_id": …, "private_key": {JWK}}`.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let told = || format!("the credentials `{}`", path.display());
        let text = secret_file(path).with_context(told)?;
        Self::parse(&text).with_context(told)
    }

    fn parse(text: &Secret<String>) -> anyhow::Result<Self> {
        // The parser's own message would repeat what it found.
        let Ok(members) = serde_json::from_str::<Map<String, Value>>(text.expose_secret()) else {
            bail!("they are no JSON object; `scopegate admin bootstrap` prints one");
        };
        let Some(client_id) = members.get("client_id").and_then(Value::as_str) else {
            bail!("they have no `client_id`");
        };
        let Some(key) = members.get("private_key") else {
            bail!("they have no `private_key`");
        };
        Ok(Self {
            client_id: client_id.to_owned(),
            key: SigningKey::from_private_jwk(&Secret::new(key.to_string())).context("`private_key`")?,
        })
    }

    /// An assertion that this is the client (RFC 7523 section 2.2), for one token endpoint.
    pub(crate) fn assertion(&self, token_endpoint: &str) -> anyhow::Result<Secret<String>> {
        let now = SystemClock::start().now();
        let claims = json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": token_endpoint,
            "iat": now.unix_seconds(),
            "exp": now.plus(ASSERTION_LIFETIME).unix_seconds(),
            "jti": entropy::random_text::<16>(),
        });
        let Value::Object(claims) = claims else {
            bail!("the claims are an object");
        };
        Ok(self.key.sign("JWT", &claims)?)
    }
}

/// A secret in a file, without the line break at its end.
pub(crate) fn secret_file(path: &Path) -> anyhow::Result<Secret<String>> {
    let bytes = System.secret(path)?;
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => bail!("it is no UTF-8 text"),
    }
}

/// A secret on standard input, without the line break at its end.
pub(crate) fn secret_on_stdin() -> anyhow::Result<Secret<String>> {
    let mut text = String::new();
    io::stdin().take(SECRET_BYTES_MAX).read_to_string(&mut text)?;
    let secret = Secret::new(text);
    let trimmed = secret.expose_secret().trim_end_matches(['\n', '\r']);
    if trimmed.is_empty() {
        bail!("standard input is empty");
    }
    Ok(Secret::new(trimmed.to_owned()))
}

/// A secret in the environment.
pub(crate) fn secret_variable(name: &str) -> Option<Secret<String>> {
    System.variable(name).map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::alg::Algorithm;
    use crate::jose::compact::Compact;
    use crate::jose::key::KeySet;
    use crate::jose::verify::verify_signature;

    #[test]
    fn an_assertion_names_the_client_twice_and_the_endpoint_and_is_short_lived() {
        let key = SigningKey::generate(Algorithm::Es256).expect("made");
        let jwk: Value = serde_json::from_str(key.private_jwk().expect("told").expose_secret()).expect("JSON");
        let text = json!({ "client_id": "root", "private_key": jwk }).to_string();
        let credentials = Credentials::parse(&Secret::new(text)).expect("read");
        let endpoint = "https://127.0.0.1:8444/oauth2/v1/token";
        let (one, two) = (
            credentials.assertion(endpoint).expect("signed"),
            credentials.assertion(endpoint).expect("signed"),
        );
        let compact = Compact::parse(one.expose_secret()).expect("compact");
        let keys = KeySet::from_keys(vec![key.verifying_key()]);
        assert!(verify_signature(&compact, &keys, &[Algorithm::Es256]).is_ok());
        let claims: Value = serde_json::from_slice(compact.payload_unverified()).expect("JSON");
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("root"), &json!("root"), &json!(endpoint))
        );
        let seconds = |name: &str| claims[name].as_i64().expect("a number");
        assert_eq!(seconds("exp") - seconds("iat"), 60);
        assert_ne!(one.expose_secret(), two.expose_secret(), "each has a jti of its own");
    }

    #[test]
    fn attack_e18_what_is_wrong_with_credentials_is_told_without_them() {
        for text in [
            "canary",
            "[\"canary\"]",
            "{\"client_id\":\"a\",\"private_key\":{\"d\":\"canary\"}}",
            "{\"canary\":1}",
        ] {
            let error = Credentials::parse(&Secret::new(text.to_owned()))
                .err()
                .expect("refused");
            assert!(!format!("{error:#}").contains("canary"), "{error:#}");
        }
    }
}
