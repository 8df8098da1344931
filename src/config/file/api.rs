//! The shapes of APIs: hosts, clients, routes, and what each verb needs.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::route::RouteFile;
use crate::config::decode::{Decode, Fields, Problems, shapes, words};
use crate::config::scalar::{Listed, Period, UrlText};
use crate::config::yaml::{Entry, Kind, Node, Scalar};
use crate::model::finding::Finding;
use crate::model::location::Located;
use crate::policy::declared::{
    BadToken, Binding, ClientsDeclaration, CorsPreflight, ForwardToken, MethodOverride, PathOptions,
};

shapes! {
    /// An API: a group of endpoints offered together.
    ApiFile {
        /// Its name in logs, metrics and challenges.
        name: Located<String>,
        /// Its hosts: exact, or `*.suffix`.
        hosts: Listed<Located<String>>,
        /// The authorization server that vouches for its callers.
        authorization_server: Option<Located<String>>,
        /// The authorization servers any of which may vouch; the token's own issuer decides which one is asked.
        authorization_servers: Option<Listed<Located<String>>>,
        /// The clients that may call it: a list, or `any`. May be left out if every authorization server is local.
        clients: Option<Clients>,
        /// How paths are read: `strict`, or what is tolerated, as a word, a list of words, or a mapping. Default: strict.
        paths: Option<Paths>,
        /// What a CORS preflight needs. Default: as_route.
        cors_preflight: Option<CorsPreflight>,
        /// What a bad token on a `public` route does. Default: ignore.
        bad_token: Option<BadToken>,
        /// Answer 404 instead of 403 where nothing matches. Default: false.
        hide: Option<bool>,
        /// Refuse with 421 if the TLS server name and the host differ. Default: false.
        bind_sni: Option<bool>,
        /// Where client certificates are read from, for `bound: mtls`. Default: envoy.
        client_certificate: Option<CertificateSource>,
        /// The `realm` of challenges. Default: the API's name.
        realm: Option<Located<String>>,
        /// The URL that challenges name as `resource_metadata` (RFC 9728).
        resource_metadata: Option<Located<String>>,
        /// How DPoP proofs are judged (RFC 9449).
        dpop: Option<DpopFile>,
        /// Its routes. What no route matches is denied.
        routes: Vec<RouteFile>,
        /// What the upstream sees of the caller. Identity headers that any API of the file sets are removed from every request.
        forward: Option<ForwardFile>,
    }

    /// How DPoP proofs are judged (RFC 9449).
    DpopFile {
        /// The scheme and authority that clients see, for `htu`. Default: what Envoy saw.
        origin: Option<UrlText>,
        /// Whether a proof must carry a nonce of ours. Default: optional.
        nonce: Option<Nonce>,
        /// Whether a proof is used up here. `verify_only` behind another gate that has used it up. Default: consume.
        replay: Option<Replay>,
        /// How far a proof's `iat` may lie from now. Default: 5m.
        max_age: Option<Period>,
    }

    /// What the upstream sees of the caller.
    ForwardFile {
        /// Whether the Authorization header goes on to the upstream. Default: keep.
        token: Option<ForwardToken>,
        /// Identity headers: each name with the CEL expression over `token`, `path` and `request` that fills it.
        /// A client's own headers of these names are always removed.
        headers: Option<Headers>,
    }

    /// Scopes and further conditions; every one that is stated must hold.
    RequirementMapping {
        /// Every one of these scopes.
        all: Option<Listed<Located<String>>>,
        /// At least one of these scopes.
        any: Option<Listed<Located<String>>>,
        /// One of these clients, narrower than the API's.
        clients: Option<Listed<Located<String>>>,
        /// One of these authentication context classes (RFC 9470).
        acr: Option<Listed<Located<String>>>,
        /// The user signed in at most this long ago (RFC 9470).
        max_age: Option<Period>,
        /// A CEL condition over `token`, `path` and `request`.
        when: Option<Located<String>>,
        /// The kind of key that the token must be bound to.
        bound: Option<Binding>,
    }

    /// How paths are read, in the long form.
    PathsMapping {
        /// `//` counts as `/`: say it only if Envoy merges too. Default: false.
        merge_slashes: Option<bool>,
        /// `.` and `..` segments. Default: refuse.
        dot_segments: Option<DotSegments>,
        /// `%2F`. Default: refuse.
        encoded_slash: Option<EncodedSlash>,
        /// Whether `/a/` and `/a` are one path. Default: distinct.
        trailing_slash: Option<TrailingSlash>,
        /// Whether literals match whatever the case of ASCII letters. Default: exact.
        case: Option<Case>,
        /// `!`, which Envoy also writes for bytes that are no UTF-8. Default: refuse.
        exclamation: Option<Exclamation>,
    }
}

/// Where client certificates are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    Envoy,
    Xfcc,
}

/// Declares switches that have two words rather than `true` and `false`.
macro_rules! switches {
    ($($name:ident as $label:literal { $off:literal, $off_doc:literal; $on:literal, $on_doc:literal; })*) => {$(
        #[doc = $on_doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) bool);

        words! { $name as $label { $off => Self(false), $off_doc; $on => Self(true), $on_doc; } }
    )*};
}

switches! {
    DotSegments as "DotSegments" { "refuse", "400."; "resolve", "They are resolved, as Envoy's `normalize_path` does."; }
    EncodedSlash as "EncodedSlash" { "refuse", "400."; "keep", "It stays a segment's text, which only wildcards match."; }
    TrailingSlash as "TrailingSlash" { "distinct", "Two paths."; "ignore", "One path."; }
    Case as "Case" { "exact", "Two paths."; "ignore", "One path."; }
    Exclamation as "Exclamation" { "refuse", "400."; "allow", "It is a character like others."; }
    Nonce as "Nonce" { "optional", "It may be left out."; "required", "RFC 9449 section 9."; }
    Replay as "Replay" { "consume", "A second use is refused."; "verify_only", "Uses are not counted here."; }
}

words! {
    CorsPreflight as "CorsPreflight" {
        "as_route" => Self::AsRoute, "What a route says of `OPTIONS`.";
        "allow" => Self::Allow, "Nothing: allowed without a token, and without an identity.";
    }
    BadToken as "BadToken" {
        "ignore" => Self::Ignore, "It is not looked at.";
        "deny" => Self::Deny, "It is refused with 401; a good one gives the caller an identity.";
    }
    ForwardToken as "ForwardToken" {
        "keep" => Self::Keep, "The Authorization header stays.";
        "strip" => Self::Strip, "The Authorization header is removed.";
    }
    Binding as "Binding" {
        "dpop" => Self::Dpop, "A DPoP key (RFC 9449).";
        "mtls" => Self::Mtls, "A client certificate (RFC 8705).";
    }
    MethodOverride as "MethodOverride" {
        "refuse" => Self::Refuse, "The request is refused with 400.";
        "both" => Self::Both, "The requirements of both verbs must hold.";
    }
    CertificateSource as "CertificateSource" {
        "envoy" => Self::Envoy, "The certificate that Envoy itself saw (`source.certificate`).";
        "xfcc" => Self::Xfcc, "`x-forwarded-client-cert`: only where Envoy sanitises it.";
    }
}

/// The clients that may call an API: a list, or `any`.
#[derive(Debug)]
pub(crate) struct Clients(pub(crate) ClientsDeclaration);

impl Decode for Clients {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match (node.scalar(), &node.kind) {
            (Some(Scalar::Text("any")), _) => Some(Self(ClientsDeclaration::Any)),
            (_, Kind::Sequence(_)) => {
                let names: Listed<Located<String>> = Listed::decode(node, problems)?;
                if let Some(any) = names.0.iter().find(|name| name.value == "any") {
                    let finding = Finding::error("any_in_list", any.location, "`any` stands in a list of clients");
                    problems.push(finding.hint("say `clients: any`, or name the clients"));
                }
                Some(Self(ClientsDeclaration::Only(names.0)))
            }
            _ => {
                problems.wrong_type(node, "a list of clients or the word `any`");
                None
            }
        }
    }
}

impl JsonSchema for Clients {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiClients".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{ "const": "any" }, { "type": "array", "minItems": 1, "items": { "type": "string" } }]
        })
    }
}

/// Identity headers in the file's order: a name with an expression.
#[derive(Debug)]
pub(crate) struct Headers(pub(crate) Vec<(Located<String>, Located<String>)>);

impl Decode for Headers {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::open_loose(node, "a mapping of header names to expressions", problems)?;
        let pair = |entry: &Entry, problems: &mut Problems| {
            let name = Located::new(entry.key.clone(), entry.key_location);
            Located::decode(&entry.value, problems).map(|expression| (name, expression))
        };
        Some(Self(
            fields
                .entries()
                .iter()
                .filter_map(|entry| pair(entry, problems))
                .collect(),
        ))
    }
}

impl JsonSchema for Headers {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "IdentityHeaders".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

/// How paths are read.
#[derive(Debug)]
pub(crate) struct Paths(pub(crate) PathOptions);

impl Paths {
    const WORDS: [&str; 7] = [
        "strict",
        "merge_slashes",
        "resolve_dot_segments",
        "keep_encoded_slash",
        "ignore_trailing_slash",
        "ignore_case",
        "allow_exclamation",
    ];

    fn tolerate(options: &mut PathOptions, node: &Node, problems: &mut Problems) -> Option<()> {
        match crate::config::decode::word(node, &Self::WORDS, problems)? {
            "merge_slashes" => options.merge_slashes = true,
            "resolve_dot_segments" => options.resolve_dot_segments = true,
            "keep_encoded_slash" => options.keep_encoded_slash = true,
            "ignore_trailing_slash" => options.ignore_trailing_slash = true,
            "ignore_case" => options.ignore_case = true,
            "allow_exclamation" => options.allow_exclamation = true,
            _ => {}
        }
        Some(())
    }
}

impl Decode for Paths {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut options = PathOptions::default();
        match &node.kind {
            Kind::Scalar { .. } => Self::tolerate(&mut options, node, problems)?,
            Kind::Sequence(items) => {
                for item in items {
                    Self::tolerate(&mut options, item, problems);
                }
            }
            Kind::Mapping(_) => {
                let mapping = PathsMapping::decode(node, problems)?;
                options = PathOptions {
                    merge_slashes: mapping.merge_slashes.unwrap_or(false),
                    resolve_dot_segments: mapping.dot_segments.is_some_and(|switch| switch.0),
                    keep_encoded_slash: mapping.encoded_slash.is_some_and(|switch| switch.0),
                    ignore_trailing_slash: mapping.trailing_slash.is_some_and(|switch| switch.0),
                    ignore_case: mapping.case.is_some_and(|switch| switch.0),
                    allow_exclamation: mapping.exclamation.is_some_and(|switch| switch.0),
                };
            }
        }
        Some(Self(options))
    }
}

impl JsonSchema for Paths {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = json_schema!({ "enum": Self::WORDS });
        json_schema!({
            "anyOf": [word, { "type": "array", "items": word }, generator.subschema_for::<PathsMapping>()]
        })
    }
}
