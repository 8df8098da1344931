//! The shape of a route: a path or a gRPC service, its verbs, and what each needs.
//!
//! The verbs are keys beside `path`, so this mapping is the one whose keys are not all known ahead:
//! beside `path` a verb is an upper-case HTTP token or `"*"`, beside `grpc` a method is an identifier.
//! A misspelt `path` is neither, and so is reported rather than taken for a verb.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::api::RequirementMapping;
use crate::config::decode::{Decode, Fields, Problems, listed};
use crate::config::yaml::{Entry, Kind, Node, Scalar};
use crate::model::finding::{Finding, nearest};
use crate::model::location::Located;
use crate::policy::declared::{
    MethodOverride, RequirementDeclaration, RouteDeclaration, RouteTarget, TokenRequirementDeclaration, VerbDeclaration,
};

const KEYS: [&str; 4] = ["path", "grpc", "method_override", "forward_authorization"];

/// The verbs that a misspelt one is compared with.
const VERBS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
];

/// A route as declared.
#[derive(Debug)]
pub(crate) struct RouteFile(pub(crate) RouteDeclaration);

impl Decode for RouteFile {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open_loose(node, "a route: `path` or `grpc` with its verbs", problems)?;
        let grpc = fields.entry("grpc").is_some();
        let verbs = fields
            .entries()
            .iter()
            .filter(|entry| !KEYS.contains(&entry.key.as_str()))
            .filter_map(|entry| verb(entry, grpc, &mut fields, problems))
            .collect::<Vec<_>>();
        let method_override: Option<MethodOverride> = fields.take("method_override", problems)?;
        let forward_authorization: Option<bool> = fields.take("forward_authorization", problems)?;
        let target = match (fields.entry("path"), fields.entry("grpc")) {
            (Some(_), Some(grpc)) => {
                let finding = Finding::error(
                    "path_and_grpc",
                    grpc.key_location,
                    "a route has a `path` or a `grpc`, not both",
                );
                problems.push(finding.hint("make it two routes"));
                return None;
            }
            (_, Some(_)) => RouteTarget::Grpc(fields.take("grpc", problems)?),
            (_, None) => RouteTarget::Path(fields.take("path", problems)?),
        };
        // a route all of whose verbs are misspelt is not one without verbs, which has an error of its own
        if verbs.is_empty() && fields.entries().iter().any(|entry| !KEYS.contains(&entry.key.as_str())) {
            return None;
        }
        Some(Self(RouteDeclaration {
            location: node.location,
            target,
            verbs,
            method_override: method_override.unwrap_or_default(),
            forward_authorization: forward_authorization.unwrap_or(false),
        }))
    }
}

fn verb(entry: &Entry, grpc: bool, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<VerbDeclaration> {
    let known = if grpc {
        is_method(&entry.key)
    } else {
        is_verb(&entry.key)
    };
    if !known {
        fields.unknown(entry, &KEYS, problems, verb_hint(&entry.key, grpc));
        return None;
    }
    // SECURITY: what is wrong denies, though nobody will serve a file with an error in it
    let requirement = Requirement::decode(&entry.value, problems).map_or(RequirementDeclaration::Deny, |right| right.0);
    Some(VerbDeclaration {
        verb: Located::new(entry.key.clone(), entry.key_location),
        requirement,
    })
}

/// What a key that is no verb was meant for, if not for one of the other keys.
fn verb_hint(key: &str, grpc: bool) -> Option<String> {
    let upper = key.to_ascii_uppercase();
    let meant = VERBS
        .into_iter()
        .find(|verb| strsim::damerau_levenshtein(verb, &upper) <= 1);
    match meant {
        Some(verb) if !grpc => Some(format!("did you mean `{verb}`? verbs are written in upper case")),
        _ if nearest(key, KEYS).is_some() => None,
        _ if grpc => Some("beside `grpc` stand the service's methods".to_owned()),
        _ => Some("beside `path` stand verbs such as `GET`, or `\"*\"`".to_owned()),
    }
}

/// An HTTP method as a key (RFC 9110 section 9.1): upper case, so that a misspelt key is no verb.
fn is_verb(key: &str) -> bool {
    key == "*"
        || (key.starts_with(|first: char| first.is_ascii_uppercase())
            && key
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')))
}

/// A method of a gRPC service: a protobuf identifier.
fn is_method(key: &str) -> bool {
    key == "*"
        || (key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// What a verb needs.
struct Requirement(RequirementDeclaration);

impl Decode for Requirement {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const WORDS: [&str; 3] = ["public", "authenticated", "deny"];
        let requirement = match (node.scalar(), &node.kind) {
            (Some(Scalar::Text("public")), _) => RequirementDeclaration::Public,
            (Some(Scalar::Text("authenticated")), _) => RequirementDeclaration::Authenticated,
            (Some(Scalar::Text("deny")), _) => RequirementDeclaration::Deny,
            (Some(Scalar::Text(scope)), _) => RequirementDeclaration::Token(Box::new(TokenRequirementDeclaration {
                all: vec![Located::new(scope.to_owned(), node.location)],
                ..TokenRequirementDeclaration::default()
            })),
            (None, Kind::Sequence(_)) => {
                let finding = Finding::error(
                    "wrong_type",
                    node.location,
                    "a list of scopes does not say whether all or any of them",
                );
                problems.push(finding.hint("say `{ all: […] }` or `{ any: […] }`"));
                return None;
            }
            (None, Kind::Mapping(entries)) if entries.is_empty() => {
                let finding = Finding::error("empty_requirement", node.location, "the requirement says nothing");
                problems.push(finding.hint("any valid token is `authenticated`, no token is `public`"));
                return None;
            }
            (None, Kind::Mapping(_)) => mapping(node, problems)?,
            (Some(_), _) | (None, Kind::Scalar { .. }) => {
                let message = format!(
                    "expected a scope, a mapping, {}, found {}",
                    listed(&WORDS),
                    node.describe()
                );
                problems.push(Finding::error("wrong_type", node.location, message));
                return None;
            }
        };
        Some(Self(requirement))
    }
}

/// A part that is wrong drops the whole requirement: left out, it would leave a looser one behind.
fn mapping(node: &Node, problems: &mut Problems) -> Option<RequirementDeclaration> {
    let mut inner = Problems::default();
    let mapping = RequirementMapping::decode(node, &mut inner);
    let findings = inner.into_findings();
    let sound = findings.is_empty();
    problems.extend(findings);
    let mapping = mapping.filter(|_| sound)?;
    Some(RequirementDeclaration::Token(Box::new(TokenRequirementDeclaration {
        all: mapping.all.map(|list| list.0).unwrap_or_default(),
        any: mapping.any.map(|list| list.0).unwrap_or_default(),
        clients: mapping.clients.map(|list| list.0),
        acr: mapping.acr.map(|list| list.0).unwrap_or_default(),
        max_age: mapping.max_age.map(|period| period.0),
        when: mapping.when,
        bound: mapping.bound,
    })))
}

impl JsonSchema for RouteFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Route".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let requirement = json_schema!({
            "anyOf": [
                { "enum": ["public", "authenticated", "deny"] },
                { "type": "string", "description": "One scope." },
                generator.subschema_for::<RequirementMapping>()
            ]
        });
        generator
            .definitions_mut()
            .insert("Requirement".to_owned(), requirement.to_value());
        let requirement = json_schema!({ "$ref": "#/$defs/Requirement" });
        let route = |target: &str, description: &str, verbs: &str, generator: &mut SchemaGenerator| {
            json_schema!({
                "type": "object",
                "required": [target],
                "minProperties": 2,
                "properties": {
                    (target): { "type": "string", "description": description },
                    "method_override": generator.subschema_for::<Option<MethodOverride>>(),
                    "forward_authorization": {
                        "type": ["boolean", "null"],
                        "description": "Whether a `public` route hands the Authorization header on as it came. Default: false."
                    }
                },
                "patternProperties": { (verbs): requirement },
                "additionalProperties": false
            })
        };
        let path = route(
            "path",
            "A path template such as `/transfers/{id}` or `/files/{rest...}`.",
            r"^(\*|[A-Z][A-Z0-9_-]*)$",
            generator,
        );
        let grpc = route(
            "grpc",
            "A gRPC service such as `bank.v1.Transfers`; its methods are the verbs.",
            r"^(?!(path|grpc|method_override|forward_authorization)$)(\*|[A-Za-z_][A-Za-z0-9_]*)$",
            generator,
        );
        json_schema!({
            "description": "A path with its verbs, or a gRPC service with its methods; each says what it needs.",
            "anyOf": [path, grpc]
        })
    }
}

#[cfg(test)]
mod tests;
