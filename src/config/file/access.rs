//! The shapes of what the issuer is declared to have: users, clients, local authorization servers.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::config::decode::{Decode, Problems, shapes, words};
use crate::config::scalar::{Count, FilePath, Period, SecretText, Sha256, UrlText};
use crate::config::yaml::{Kind, Node, Scalar};
use crate::model::finding::Finding;
use crate::model::location::{Located, Location};
use crate::oauth::declared::{
    AuthenticationMethod, ClaimPlace, ClientKind, Consent, PolicyClients, RuleScopes, TokenProfile,
};

shapes! {
    /// A user of the demonstration directory.
    UserFile {
        /// The login, an e-mail address as a rule.
        login: Located<String>,
        /// The password, in plain text: which is why users stand in the file in dev only.
        password: SecretText,
        /// The groups that the user is in.
        groups: Option<Vec<Located<String>>>,
        /// The attributes that claims may read as `user.profile.…`.
        profile: Option<Profile>,
    }

    /// A client app.
    ClientFile {
        /// The client identifier.
        id: Located<String>,
        /// What kind of app it is; that decides which grants it may have.
        r#type: Located<ClientKind>,
        /// The grant types that it may use, for example `authorization_code`, `refresh_token`, `client_credentials`.
        grants: Vec<Located<String>>,
        /// Where authorization responses may go, compared exactly; `http` on loopback only, then with any port (RFC 8252).
        redirect_uris: Option<Vec<Located<String>>>,
        /// The client's secrets, as digests; two may overlap, so that one can be replaced without a gap.
        secrets: Option<Vec<ClientSecretFile>>,
        /// Who may use it.
        assigned: Option<AssignedFile>,
        /// The name that people see. Default: its identifier.
        name: Option<String>,
        /// An inactive client does not authenticate, and its tokens are dead. Default: true.
        active: Option<bool>,
        /// How it authenticates (RFC 7591 `token_endpoint_auth_method`). Default: a client with `secrets` sends one by Basic or in
        /// the body, a native or browser app only names itself.
        authentication: Option<Located<AuthenticationMethod>>,
        /// Its public keys (RFC 7517), for `private_key_jwt`; with the certificates (`x5c`) for `self_signed_tls_client_auth`.
        jwks: Option<Located<KeySetJson>>,
        /// The URL that serves them instead; asked again when an assertion names a key that is not known, at most every 30s.
        jwks_uri: Option<Located<UrlText>>,
        /// Whether `jwks_uri` may have a private, loopback or link-local address. Default: false.
        allow_private_addresses: Option<bool>,
        /// Files with its secrets for `client_secret_jwt`, of 32 bytes at least; two may overlap.
        shared_secret_files: Option<Vec<Located<FilePath>>>,
        /// The subject of its certificate as RFC 4514 writes it, for example `CN=batch,O=Bank,C=DE`; for `tls_client_auth`, as the
        /// following ones, of which one is said.
        tls_client_auth_subject_dn: Option<Located<String>>,
        /// A DNS name of its certificate.
        tls_client_auth_san_dns: Option<Located<String>>,
        /// A URI of its certificate.
        tls_client_auth_san_uri: Option<Located<String>>,
        /// An IP address of its certificate.
        tls_client_auth_san_ip: Option<Located<String>>,
        /// An e-mail address of its certificate.
        tls_client_auth_san_email: Option<Located<String>>,
        /// Whether its tokens are bound to a DPoP key always (RFC 9449): then it has to send a proof. Default: only if it sends one.
        dpop_bound_access_tokens: Option<bool>,
        /// Whether its tokens are bound to its certificate (RFC 8705), which it then has to show. Default: false.
        tls_client_certificate_bound_access_tokens: Option<bool>,
        /// How its refresh tokens change.
        refresh: Option<RefreshRotationFile>,
        /// The audiences that it is a resource server of: it may introspect tokens for them. `*` is every one. Default: none.
        audiences: Option<Vec<Located<String>>>,
        /// Whether a person is asked for consent. Default: false, since an operator has registered it.
        asks_consent: Option<bool>,
    }

    /// How refresh tokens change.
    RefreshRotationFile {
        /// Whether each use gives a new one. Default: rotate.
        rotation: Option<Rotation>,
        /// For how long the last one is still answered, with the same successor; at most 60s. Default: 30s.
        grace: Option<Located<Period>>,
    }

    /// A client secret.
    ClientSecretFile {
        /// The SHA-256 of the secret in hexadecimal: 64 digits. For generated secrets only, never for a person's password.
        sha256: Sha256,
    }

    /// Who may use a client.
    AssignedFile {
        /// Groups whose members may.
        groups: Option<Vec<Located<String>>>,
        /// Users, by login, that may.
        users: Option<Vec<Located<String>>>,
    }

    /// A local authorization server: one for each API product.
    LocalServerFile {
        /// Its name: the X of `{public_url}/oauth2/X`.
        id: Located<String>,
        /// The `aud` of its access tokens.
        audience: Located<String>,
        /// How it signs. Default: RS256, keys rotated by hand.
        signing: Option<SigningFile>,
        /// How its access tokens look. Default: rfc9068.
        token_profile: Option<TokenProfile>,
        /// How far the clocks of issuer and gate may be apart, for `exp`, `nbf` and `iat` alike; from 0s to 60s.
        /// Default: 0s, since one process mints and checks.
        leeway: Option<Located<Period>>,
        /// Its scopes.
        scopes: Option<Vec<ScopeFile>>,
        /// Its claims.
        claims: Option<Vec<ClaimFile>>,
        /// Its access policies, in order: the first rule that matches decides, and nothing after it runs.
        policies: Option<Vec<PolicyFile>>,
        /// The name that people see. Default: its identifier.
        name: Option<String>,
        /// What it is for.
        description: Option<String>,
        /// An inactive one answers as if it did not exist, and its tokens are dead. Default: true.
        active: Option<bool>,
        /// Resources beside the audience that a token may be for (RFC 8707), compared exactly.
        resources: Option<Vec<Located<String>>>,
        /// Issuers whose assertions are a grant (RFC 7523), `urn:ietf:params:oauth:grant-type:jwt-bearer`.
        trusted_issuers: Option<Vec<TrustedIssuerFile>>,
        /// Authorization servers of this file whose tokens may be exchanged here (RFC 8693); always also its own.
        associated_servers: Option<Vec<Located<String>>>,
        /// How many actors a chain of delegation may have; at most 16. Default: 4.
        actors_max: Option<Located<Count>>,
        /// Whether a DPoP proof at the token endpoint has to hold a nonce of ours (RFC 9449 section 8). Default: false.
        dpop_nonce_required: Option<bool>,
    }

    /// An issuer whose assertions are a grant.
    TrustedIssuerFile {
        /// The exact `iss` of its assertions.
        issuer: Located<String>,
        /// Its public keys (RFC 7517).
        jwks: Option<Located<KeySetJson>>,
        /// The URL that serves them instead.
        jwks_uri: Option<Located<UrlText>>,
        /// Whether `jwks_uri` may have a private, loopback or link-local address. Default: false.
        allow_private_addresses: Option<bool>,
        /// The claim that holds the login of the user. Default: `sub`.
        subject_claim: Option<String>,
    }

    /// How an authorization server signs.
    SigningFile {
        /// `RS256`, `PS256`, `ES256`, `ES384` or `EdDSA`. Default: RS256.
        algorithm: Option<Located<String>>,
        /// How old a key gets before the next one takes over. Default: keys are rotated by hand.
        rotate_every: Option<Period>,
    }

    /// A scope in the long form.
    ScopeMapping {
        /// Its name: printable ASCII without space, quote and backslash.
        name: Located<String>,
        /// What a person is told before agreeing.
        description: Option<String>,
        /// Whether a person is asked. Default: implicit.
        consent: Option<Consent>,
        /// Granted when a request names no scope. Default: false.
        default: Option<bool>,
        /// Named in the metadata documents. Default: false.
        metadata: Option<bool>,
    }

    /// A claim.
    ClaimFile {
        /// Its name; those that the protocol defines are reserved.
        name: Located<String>,
        /// The CEL expression over `user`, `client`, `grant` and `scopes` that gives its value.
        value: Located<String>,
        /// Which document carries it.
        r#in: ClaimPlace,
        /// Present only if one of these scopes was granted. Default: always present.
        scopes: Option<Vec<Located<String>>>,
    }

    /// An access policy: the clients that it is for, and its rules in order.
    PolicyFile {
        /// Its name.
        name: Located<String>,
        /// The clients that it is for: a list, or `all`.
        clients: PolicyClients,
        /// Its rules, in order.
        rules: Vec<RuleFile>,
    }

    /// A rule of an access policy. It matches if every condition holds.
    RuleFile {
        /// Its name.
        name: Located<String>,
        /// The grant types that it matches.
        grants: Vec<Located<String>>,
        /// Groups one of which the user must be in. Default: any user, or none where the grant has none.
        groups: Option<Vec<Located<String>>>,
        /// Groups none of which the user may be in.
        exclude_groups: Option<Vec<Located<String>>>,
        /// Users, by login, that it matches beside the groups.
        users: Option<Vec<Located<String>>>,
        /// The scopes that it allows: a list, or `any`. A request for one scope more is not matched at all.
        scopes: RuleScopes,
        /// How long an access token lives; at most 24h.
        access_token: Located<Period>,
        /// How long a refresh token lives. Default: none is given.
        refresh_token: Option<RefreshFile>,
    }

    /// How long a refresh token lives.
    RefreshFile {
        /// From the sign-in on, whatever happens.
        lifetime: Period,
        /// Without being used. Default: the whole lifetime.
        idle: Option<Period>,
    }
}

words! {
    ClientKind as "ClientType" {
        "web" => Self::Web, "A server-side web app: it keeps a secret.";
        "native" => Self::Native, "An app on a person's device: public, PKCE.";
        "browser" => Self::Browser, "A single-page app: public, PKCE.";
        "service" => Self::Service, "A service without a person: it keeps a secret.";
    }
    AuthenticationMethod as "AuthenticationMethod" {
        "none" => Self::None, "It only names itself.";
        "client_secret_basic" => Self::ClientSecretBasic, "A secret, by HTTP Basic.";
        "client_secret_post" => Self::ClientSecretPost, "A secret, in the body.";
        "client_secret_jwt" => Self::ClientSecretJwt, "An assertion that it signs with a secret.";
        "private_key_jwt" => Self::PrivateKeyJwt, "An assertion that it signs with a private key.";
        "tls_client_auth" => Self::TlsClientAuth, "A certificate of a known authority (`client_ca_file` of the listener).";
        "self_signed_tls_client_auth" => Self::SelfSignedTlsClientAuth, "A certificate that is registered itself.";
    }
    Rotation as "RefreshRotation" {
        "rotate" => Self::Rotate, "Each use gives a new one.";
        "static" => Self::Static, "It stays the same.";
    }
    TokenProfile as "TokenProfile" {
        "rfc9068" => Self::Rfc9068, "`typ: at+jwt`, `client_id`, `scope` as a text, and `cid`.";
        "okta" => Self::Okta, "`cid`, `uid`, `scp` as an array.";
    }
    Consent as "Consent" {
        "implicit" => Self::Implicit, "Nobody is asked.";
        "required" => Self::Required, "A person is asked, unless they agreed before.";
        "flexible" => Self::Flexible, "As required, but a client without a person gets it silently.";
    }
    ClaimPlace as "ClaimPlace" {
        "access_token" => Self::AccessToken, "The access token.";
        "id_token" => Self::IdToken, "The ID token.";
        "userinfo" => Self::Userinfo, "The userinfo answer.";
    }
}

/// Whether a refresh token changes with each use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// It does.
    Rotate,
    /// It stays.
    Static,
}

/// A JWK set (RFC 7517 section 5) as it stands in the file.
#[derive(Debug, Clone)]
pub(crate) struct KeySetJson(pub(crate) serde_json::Value);

impl Decode for KeySetJson {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let (Kind::Mapping(_), Some(set)) = (&node.kind, json(node)) {
            return Some(Self(set));
        }
        problems.wrong_shape(node, "a JWK set: `{ keys: [{ kty: EC, … }] }`");
        None
    }
}

impl JsonSchema for KeySetJson {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeySet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "description": "A JWK set (RFC 7517 section 5): `{ keys: [{ kty: EC, … }] }`." })
    }
}

/// A scope: its name alone, or the long form.
#[derive(Debug)]
pub(crate) struct ScopeFile(pub(crate) ScopeMapping);

impl Decode for ScopeFile {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let Some(Scalar::Text(_)) = node.scalar() {
            return Some(Self(ScopeMapping {
                at: node.location,
                name: Located::decode(node, problems)?,
                description: None,
                consent: None,
                default: None,
                metadata: None,
            }));
        }
        ScopeMapping::decode(node, problems).map(Self)
    }
}

impl JsonSchema for ScopeFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scope".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A scope: its name alone, or a mapping.",
            "anyOf": [{ "type": "string" }, generator.subschema_for::<ScopeMapping>()]
        })
    }
}

/// A list of names, or one word that stands for all of them.
fn list_or_word<T>(
    node: &Node,
    all: &str,
    problems: &mut Problems,
    everything: impl FnOnce(Location) -> T,
    only: impl FnOnce(Vec<Located<String>>) -> T,
) -> Option<T> {
    match (node.scalar(), &node.kind) {
        (Some(Scalar::Text(text)), _) if text == all => Some(everything(node.location)),
        (_, Kind::Sequence(_)) => Vec::decode(node, problems).map(only),
        _ => {
            let expected = format!("a list or the word `{all}`");
            problems.wrong_type(node, &expected);
            None
        }
    }
}

impl Decode for PolicyClients {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let clients = list_or_word(node, "all", problems, Self::All, Self::Only)?;
        if matches!(&clients, Self::Only(names) if names.is_empty()) {
            let finding = Finding::warning("policy_without_clients", node.location, "the policy is for no client");
            problems.push(finding.hint("name its clients; `all` stands for every one"));
        }
        Some(clients)
    }
}

impl JsonSchema for PolicyClients {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyClients".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "all" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

impl Decode for RuleScopes {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        list_or_word(node, "any", problems, Self::Any, Self::Only)
    }
}

impl JsonSchema for RuleScopes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RuleScopes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": "any" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// A user's attributes: any JSON.
#[derive(Debug)]
pub(crate) struct Profile(pub(crate) serde_json::Map<String, serde_json::Value>);

impl Decode for Profile {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match json(node) {
            Some(serde_json::Value::Object(map)) => Some(Self(map)),
            Some(_) => {
                problems.wrong_shape(node, "a mapping of attributes");
                None
            }
            None => {
                problems.wrong_shape(node, "attributes whose numbers are finite");
                None
            }
        }
    }
}

impl JsonSchema for Profile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Profile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// The node as JSON; `None` for a number that JSON cannot write.
pub(crate) fn json(node: &Node) -> Option<serde_json::Value> {
    use serde_json::Value;
    Some(match (node.scalar(), &node.kind) {
        (Some(Scalar::Null), _) => Value::Null,
        (Some(Scalar::Bool(value)), _) => Value::Bool(value),
        (Some(Scalar::Integer(number)), _) => Value::from(number),
        (Some(Scalar::Float(number)), _) => Value::Number(serde_json::Number::from_f64(number)?),
        (Some(Scalar::Text(text)), _) => Value::from(text),
        (None, Kind::Sequence(items)) => Value::Array(items.iter().map(json).collect::<Option<_>>()?),
        (None, Kind::Mapping(entries)) => Value::Object(
            entries
                .iter()
                .map(|entry| json(&entry.value).map(|value| (entry.key.clone(), value)))
                .collect::<Option<_>>()?,
        ),
        (None, Kind::Scalar { .. }) => return None,
    })
}
