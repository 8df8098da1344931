//! The shapes of authorization servers: external ones in full, and how the two kinds are told apart.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::access::LocalServerFile;
use crate::config::decode::{Decode, Problems, shapes};
use crate::config::scalar::{FilePath, Listed, OneOrMany, Period, UrlText};
use crate::config::yaml::{Kind, Node};
use crate::model::location::Located;

shapes! {
    /// An external authorization server: its tokens are verified here, and minted elsewhere.
    ExternalServerFile {
        /// Its name, for `authorization_server` of an API.
        id: Located<String>,
        /// The exact `iss` of its tokens. Its keys are found by discovery unless one of the keys below says otherwise.
        issuer: Located<String>,
        /// A token must name one of these in `aud`: a text or a list.
        audience: OneOrMany<Located<String>>,
        /// The algorithms that it signs with. Default: every asymmetric one; HMAC only with `shared_secret_file`.
        algorithms: Option<Listed<Located<String>>>,
        /// The `typ` values that mark its access tokens. Default: `JWT`, `at+jwt`, or no `typ` at all.
        token_types: Option<OneOrMany<Located<String>>>,
        /// Which claims name the client and the scopes.
        claim_names: Option<ClaimNamesFile>,
        /// How far clocks may be apart, for `exp`, `nbf` and `iat` alike; from 0s to 60s. Default: 30s.
        leeway: Option<Located<Period>>,
        /// The scopes that routes may name; a typo in a route is then an error.
        scopes: Option<Vec<Located<String>>>,
        /// The URL of its key set, where discovery is not to be used.
        jwks_uri: Option<Located<UrlText>>,
        /// The file of its key set, read again when it changes.
        jwks_file: Option<Located<FilePath>>,
        /// The file of the secret that both sides hold, for HMAC; `algorithms` must then say `HS256`, `HS384` or `HS512`.
        shared_secret_file: Option<Located<FilePath>>,
        /// Where opaque tokens are looked up (RFC 7662).
        introspection: Option<IntrospectionFile>,
        /// Whether its endpoints may have private, loopback or link-local addresses. Default: false.
        allow_private_addresses: Option<bool>,
        /// Certificates to trust beside the system's, PEM.
        ca_file: Option<FilePath>,
        /// For how long keys stay in force while they cannot be fetched. Default: 24h.
        keys_stale_max: Option<Period>,
        /// The shortest time between two fetches of its keys. Default: 30s.
        keys_cooldown: Option<Period>,
    }

    /// An authorization server that is made over the management API, and not in this file. While there is none of it, or
    /// it is inactive, tokens of it are refused; from the moment at which it is active they are accepted, without a reload.
    ManagedServerFile {
        /// Its name in this file, for `authorization_server` of an API.
        id: Located<String>,
        /// `true`: everything else about it is said over the management API.
        managed: Located<bool>,
        /// The name that it has there. Whoever may name servers there decides which one it is. Default: the `id` here.
        name: Option<Located<String>>,
        /// The identifier that it has there (`aus…`), instead of its name: then it is that server and never another.
        server_id: Option<Located<String>>,
        /// How far the clocks of issuer and gate may be apart, for `exp`, `nbf` and `iat` alike; from 0s to 60s.
        /// Default: 0s, since one process mints and checks.
        leeway: Option<Located<Period>>,
    }

    /// Which claims name the client and the scopes; of several, the first that is present counts.
    ClaimNamesFile {
        /// The client: a claim or a list of claims. Default: `client_id`, `cid`, `azp`.
        client: Option<OneOrMany<String>>,
        /// The scopes, as a space-delimited text or an array. Default: `scope`, `scp`.
        scope: Option<OneOrMany<String>>,
    }

    /// An RFC 7662 endpoint.
    IntrospectionFile {
        /// The endpoint.
        url: Located<UrlText>,
        /// We are this client to it.
        client_id: String,
        /// The file that holds our secret, sent by HTTP Basic.
        client_secret_file: Located<FilePath>,
        /// For how long an answer is kept, never beyond the token's `exp`; at most 60s. Default: 60s.
        cache: Option<Located<Period>>,
    }
}

/// An authorization server: external if it names an `issuer`, managed if it says so, else local.
#[derive(Debug)]
pub(crate) enum ServerFile {
    /// It mints here.
    Local(Box<LocalServerFile>),
    /// It mints elsewhere.
    External(Box<ExternalServerFile>),
    /// It mints here, and is made over the management API.
    Managed(Box<ManagedServerFile>),
}

impl Decode for ServerFile {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const EXTERNAL: [&str; 5] = ["issuer", "jwks_uri", "jwks_file", "shared_secret_file", "introspection"];
        let says = |keys: &[&str]| {
            matches!(&node.kind, Kind::Mapping(entries)
                if entries.iter().any(|entry| keys.contains(&entry.key.as_str())))
        };
        if says(&["managed"]) {
            Decode::decode(node, problems).map(|server| Self::Managed(Box::new(server)))
        } else if says(&EXTERNAL) {
            Decode::decode(node, problems).map(|server| Self::External(Box::new(server)))
        } else {
            Decode::decode(node, problems).map(|server| Self::Local(Box::new(server)))
        }
    }
}

impl JsonSchema for ServerFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AuthorizationServer".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "External if it names an `issuer`: its tokens are only verified. Managed if it says so: they are minted here, \
                and the server is made over the management API. Else local: they are minted here as the file says.",
            "anyOf": [
                generator.subschema_for::<LocalServerFile>(),
                generator.subschema_for::<ExternalServerFile>(),
                generator.subschema_for::<ManagedServerFile>()
            ]
        })
    }
}
