//! The authorization servers as the gate sees them: whose tokens it believes, and by which keys.

use std::time::Duration;

use url::Url;

use super::context::Context;
use super::decode::shown;
use super::file::access::LocalServerFile;
use super::file::external::{ExternalServerFile, IntrospectionFile, ManagedServerFile};
use super::scalar::{FilePath, OneOrMany, Period};
use crate::jose::alg::Algorithm;
use crate::model::finding::nearest;
use crate::model::id::{AuthorizationServerId, Issuer};
use crate::model::location::{Located, Location};
use crate::model::secret::Secret;
use crate::oauth::declared::AuthorizationServerDeclaration;
use crate::policy::caller::ClaimNames;
use crate::trust::settings::{
    FetchPolicy, IntrospectionSettings, KEYS_COOLDOWN, KEYS_STALE_MAX, KeySource, ManagedReference,
    ManagedServerSettings, TokenTypes, TrustedServerSettings,
};

/// The clocks of two machines in good order differ by less.
const LEEWAY: Duration = Duration::from_secs(30);

/// Beyond this a clock is broken, and leeway would hide it.
const LEEWAY_MAX: Duration = Duration::from_secs(60);

/// For how long an introspection answer is kept at most: so long a revocation elsewhere goes unseen.
const INTROSPECTION_CACHE_MAX: Duration = Duration::from_secs(60);

impl Context<'_> {
    /// A local server: its keys come from the issuer in this process.
    pub(crate) fn trust_local(
        &mut self,
        file: &LocalServerFile,
        declared: &AuthorizationServerDeclaration,
        public_url: &Url,
    ) -> Option<TrustedServerSettings> {
        let issuer = format!(
            "{}/oauth2/{}",
            public_url.as_str().trim_end_matches('/'),
            declared.id.value
        );
        Some(TrustedServerSettings::minted_here(
            declared.id.value.clone(),
            Issuer::parse(&issuer).ok()?,
            declared.audience.value.clone(),
            // an algorithm that nobody signs with is reported by the issuer's own check
            vec![Algorithm::parse(&declared.signing.algorithm.value)?],
            // one clock mints and checks, unless the file says otherwise
            self.leeway(file.leeway.as_ref(), Duration::ZERO),
        ))
    }

    /// A server that is managed over the API.
    pub(crate) fn trust_managed(
        &mut self,
        file: &ManagedServerFile,
        public_url: Option<&Url>,
    ) -> Option<ManagedServerSettings> {
        if !file.managed.value {
            let message = "an entry that is not managed is a local or an external authorization server";
            self.error(
                "invalid_managed",
                file.managed.location,
                message,
                "say `managed: true`, or leave it out",
            );
        }
        if let (Some(_), Some(name)) = (&file.server_id, &file.name) {
            let message = "`name` stands beside `server_id`";
            self.error(
                "several_references",
                name.location,
                message,
                "one server is meant: keep one of them",
            );
        }
        let id = self.identifier(&file.id, AuthorizationServerId::parse)?.value;
        let reference = match (&file.server_id, &file.name) {
            (Some(server_id), _) => {
                ManagedReference::Id(self.identifier(server_id, AuthorizationServerId::parse)?.value)
            }
            (None, Some(name)) => ManagedReference::Name(name.value.clone()),
            (None, None) => ManagedReference::Name(id.as_str().to_owned()),
        };
        let leeway = self.leeway(file.leeway.as_ref(), Duration::ZERO);
        Some(ManagedServerSettings {
            id,
            reference,
            public_url: public_url?.clone(),
            leeway,
        })
    }

    /// An external server.
    pub(crate) fn trust_external(&mut self, file: &ExternalServerFile) -> Option<TrustedServerSettings> {
        let id = self.identifier(&file.id, AuthorizationServerId::parse);
        let issuer = self.identifier(&file.issuer, Issuer::parse);
        let algorithms = self.algorithms(file);
        let keys = self.keys(file, &algorithms);
        let introspection = file
            .introspection
            .as_ref()
            .map(|introspection| self.introspection(introspection));
        if let Some(jwks) = &file.jwks_uri {
            self.fetchable("jwks_uri", &jwks.value.url, jwks.location);
        }
        Some(TrustedServerSettings {
            id: id?.value,
            issued_as: None,
            is_ours: false,
            issuer: issuer?.value,
            audiences: texts(&file.audience),
            algorithms,
            token_types: file
                .token_types
                .as_ref()
                .map_or(TokenTypes::Usual, |types| TokenTypes::Only(texts(types))),
            claim_names: claim_names(file),
            leeway: self.leeway(file.leeway.as_ref(), LEEWAY),
            keys,
            introspection,
            fetch: FetchPolicy {
                allow_private_addresses: file.allow_private_addresses.unwrap_or(false),
                allow_http: self.dev,
                ca_file: self.optional_path(file.ca_file.as_ref()),
            },
            keys_stale_max: file.keys_stale_max.map_or(KEYS_STALE_MAX, |period| period.0),
            keys_cooldown: file.keys_cooldown.map_or(KEYS_COOLDOWN, |period| period.0),
        })
    }

    fn leeway(&mut self, stated: Option<&Located<Period>>, default: Duration) -> Duration {
        let Some(stated) = stated else { return default };
        let leeway = stated.value.0;
        if leeway > LEEWAY_MAX {
            let message = format!("a leeway of {} s is more than 60 s", leeway.as_secs());
            let hint = "an expired token would live on: say at most `60s`, and set the clocks";
            self.error("leeway_too_long", stated.location, message, hint);
        }
        leeway
    }

    /// The algorithms of an external server; what is no algorithm is reported and left out.
    fn algorithms(&mut self, file: &ExternalServerFile) -> Vec<Algorithm> {
        let Some(names) = &file.algorithms else {
            return if file.shared_secret_file.is_some() {
                Vec::new()
            } else {
                Algorithm::ASYMMETRIC.to_vec()
            };
        };
        let mut algorithms = Vec::new();
        for name in &names.0 {
            let known = Algorithm::ALL.map(Algorithm::as_str);
            match Algorithm::parse(&name.value) {
                Some(algorithm) if algorithm.is_symmetric() && file.shared_secret_file.is_none() => {
                    let message = format!("`{}` signs with a shared secret, and there is none", algorithm.as_str());
                    let hint = "say `shared_secret_file`, or an asymmetric algorithm such as `RS256`";
                    self.error("algorithm_without_secret", name.location, message, hint);
                }
                Some(algorithm) if !algorithm.is_symmetric() && file.shared_secret_file.is_some() => {
                    let message = format!("`{}` does not sign with a shared secret", algorithm.as_str());
                    let hint = "say `HS256`, `HS384` or `HS512`, or leave `shared_secret_file` out";
                    self.error("algorithm_with_secret", name.location, message, hint);
                }
                Some(algorithm) => algorithms.push(algorithm),
                None => {
                    let message = format!("`{}` is no algorithm", shown(&name.value));
                    let hint = match nearest(&name.value.to_ascii_uppercase(), known) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None => format!("known are {}", super::decode::listed(&known)),
                    };
                    self.error("unknown_algorithm", name.location, message, &hint);
                }
            }
        }
        algorithms
    }

    /// Where the keys come from: one source, or discovery if none is named.
    fn keys(&mut self, file: &ExternalServerFile, algorithms: &[Algorithm]) -> KeySource {
        let named: Vec<(&str, Location)> = [
            ("jwks_uri", file.jwks_uri.as_ref().map(|key| key.location)),
            ("jwks_file", file.jwks_file.as_ref().map(|key| key.location)),
            (
                "shared_secret_file",
                file.shared_secret_file.as_ref().map(|key| key.location),
            ),
        ]
        .into_iter()
        .filter_map(|(name, place)| place.map(|place| (name, place)))
        .collect();
        if let [(first, _), (second, at), ..] = named.as_slice() {
            let message = format!("`{second}` stands beside `{first}`");
            self.error(
                "several_key_sources",
                *at,
                message,
                "keys come from one place: keep one of them",
            );
        }
        if let Some(url) = &file.jwks_uri {
            return KeySource::Uri(url.value.url.clone());
        }
        if let Some(path) = &file.jwks_file {
            return KeySource::File(self.path(&path.value));
        }
        if let Some(secret) = &file.shared_secret_file {
            return self.shared_secret(secret, file, algorithms);
        }
        if file.introspection.is_some() && file.algorithms.is_none() {
            // a server that is asked about each token needs no keys, and need not have a discovery document
            return KeySource::None;
        }
        match Url::parse(&file.issuer.value) {
            Ok(url) if url.has_host() => self.fetchable("issuer", &url, file.issuer.location),
            _ => {
                let message = format!(
                    "`{}` is no URL, so its keys cannot be discovered",
                    shown(&file.issuer.value)
                );
                let hint = "say `jwks_uri` or `jwks_file`, or an issuer such as `https://host/path`";
                self.error("invalid_issuer", file.issuer.location, message, hint);
            }
        }
        KeySource::Discovery
    }

    /// An HMAC secret: as long as the digest at least (RFC 7518 section 3.2).
    fn shared_secret(
        &mut self,
        secret: &Located<FilePath>,
        file: &ExternalServerFile,
        algorithms: &[Algorithm],
    ) -> KeySource {
        if file.algorithms.is_none() {
            let message = "a shared secret is used only with an algorithm that is named";
            let hint = "say `algorithms: [HS256]`; whoever verifies by a shared secret can also mint with it";
            self.error("secret_without_algorithm", secret.location, message, hint);
        }
        let needed = algorithms
            .iter()
            .map(|algorithm| hmac_key_bytes(*algorithm))
            .max()
            .unwrap_or(32);
        // a secret that cannot be read here leaves an empty one, which no key set accepts
        let bytes = self.secret(secret).unwrap_or_default();
        if !bytes.is_empty() && bytes.len() < needed {
            let message = format!(
                "the shared secret has {} bytes, and its algorithm needs {needed}",
                bytes.len()
            );
            let hint = "make one: head -c 48 /dev/urandom | base64 (RFC 7518 section 3.2)";
            self.error("weak_secret", secret.location, message, hint);
        }
        KeySource::SharedSecret(Secret::new(bytes.to_vec()))
    }

    fn introspection(&mut self, file: &IntrospectionFile) -> IntrospectionSettings {
        self.fetchable("url", &file.url.value.url, file.url.location);
        let cache = file
            .cache
            .as_ref()
            .map_or(INTROSPECTION_CACHE_MAX, |cache| cache.value.0);
        if let Some(stated) = &file.cache
            && cache > INTROSPECTION_CACHE_MAX
        {
            let message = format!("answers would be kept for {} s", cache.as_secs());
            let hint = "a revoked token would live on so long: say at most `60s`";
            self.error("cache_too_long", stated.location, message, hint);
        }
        let at = &file.client_secret_file;
        let secret = self.secret(at).map(|bytes| str::from_utf8(&bytes).map(str::to_owned));
        let secret = match secret {
            Some(Ok(secret)) => secret,
            Some(Err(_)) => {
                self.error(
                    "invalid_secret",
                    at.location,
                    "the client secret is no UTF-8 text",
                    "write it as text",
                );
                String::new()
            }
            None => String::new(),
        };
        IntrospectionSettings {
            url: file.url.value.url.clone(),
            client_id: file.client_id.clone(),
            client_secret: Secret::new(secret),
            cache,
        }
    }

    /// Whether a URL may be fetched from at all: https, or http in dev.
    pub(crate) fn fetchable(&mut self, key: &str, url: &Url, at: Location) {
        match url.scheme() {
            "https" => {}
            "http" if self.dev => {}
            "http" => {
                let message =
                    format!("`{key}` is plain http: whoever sits between could answer with keys of their own");
                self.error(
                    "insecure_url",
                    at,
                    message,
                    "say `https://…`; plain http is for `dev: true`",
                );
            }
            other => {
                let message = format!("`{key}` has the scheme `{}`", shown(other));
                self.error("invalid_url", at, message, "say `https://…`");
            }
        }
    }
}

fn hmac_key_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs512 => 64,
        Algorithm::Hs384 => 48,
        _ => 32,
    }
}

fn texts(list: &OneOrMany<Located<String>>) -> Vec<String> {
    list.0.iter().map(|text| text.value.clone()).collect()
}

fn claim_names(file: &ExternalServerFile) -> ClaimNames {
    let default = ClaimNames::default();
    let Some(stated) = &file.claim_names else {
        return default;
    };
    let or = |list: &Option<OneOrMany<String>>, default| list.as_ref().map_or(default, |list| list.0.clone());
    ClaimNames {
        client: or(&stated.client, default.client),
        scope: or(&stated.scope, default.scope),
    }
}

#[cfg(test)]
mod tests;
