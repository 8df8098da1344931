//! `/api/v1/authorizationServers/{id}/scopes`.
//!
//! A scope that is renamed takes the rules and claims that name it along: nobody loses access by a new name.

use serde_json::{Map, Value, json};

use crate::admin::{AdminError, Administration, Resource};
use crate::audit::AuditKind;
use crate::http::admin::error::ApiError;
use crate::http::admin::part::Part;
use crate::http::admin::wire::{self, Fields};
use crate::model::time::Timestamp;
use crate::oauth::access::OIDC_SCOPES;
use crate::oauth::document::{ConsentDocument, IdPrefix, ScopeDocument, ServerDocument};

const CONSENTS: [(&str, ConsentDocument); 3] = [
    ("IMPLICIT", ConsentDocument::Implicit),
    ("REQUIRED", ConsentDocument::Required),
    ("FLEXIBLE", ConsentDocument::Flexible),
];

impl Part for ScopeDocument {
    type Input = Input;

    const KIND: &'static str = "OAuth2Scope";
    const PATH: &'static str = "/api/v1/authorizationServers/{id}/scopes";
    const RESOURCE: Resource = Resource::AuthorizationServers;
    const PREFIX: IdPrefix = IdPrefix::Scope;
    const DEEDS: [AuditKind; 3] = [
        AuditKind::ScopeCreated,
        AuditKind::ScopeUpdated,
        AuditKind::ScopeDeleted,
    ];
    const IS_ORDERED: bool = false;

    fn list<'d>(document: &'d ServerDocument, _: Option<&str>) -> Result<&'d Vec<Self>, AdminError> {
        Ok(&document.scopes)
    }

    fn list_mut<'d>(document: &'d mut ServerDocument, _: Option<&str>) -> Result<&'d mut Vec<Self>, AdminError> {
        Ok(&mut document.scopes)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn view(&self, _: usize, in_file: bool) -> Value {
        let consent = CONSENTS.iter().find(|(_, consent)| *consent == self.consent);
        let object = json!({
            "id": self.id,
            "name": self.name,
            "displayName": self.display_name,
            "description": self.description,
            "consent": consent.map(|(word, _)| word),
            "optional": self.optional,
            "default": self.default,
            "metadataPublish": if self.metadata { "ALL_CLIENTS" } else { "NO_CLIENTS" },
            "system": false,
            "created": wire::time(self.created_at),
            "lastUpdated": wire::time(self.updated_at),
        });
        wire::finish(object, in_file)
    }

    async fn read(_: &Administration, body: &Map<String, Value>) -> Result<Input, ApiError> {
        Input::read(body)
    }

    fn made(input: &Input, seen: Option<&Self>, id: &str, at: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            name: input.name.clone(),
            display_name: input.display_name.clone(),
            description: input.description.clone(),
            consent: input.consent,
            optional: input.optional,
            default: input.default,
            metadata: input.metadata,
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }

    fn is_found_by(&self, text: &str) -> bool {
        self.name.to_lowercase().contains(text)
    }

    fn carry_along(document: &mut ServerDocument, before: &Value, after: &Value) {
        if let (Some(from), Some(to)) = (before["name"].as_str(), after["name"].as_str()) {
            rename(document, from, to);
        }
    }
}

fn rename(document: &mut ServerDocument, from: &str, to: &str) {
    let rules = document.policies.iter_mut().flat_map(|policy| policy.rules.iter_mut());
    let of_rules = rules.filter_map(|rule| rule.scopes.as_mut());
    let of_claims = document.claims.iter_mut().map(|claim| &mut claim.scopes);
    for name in of_rules.chain(of_claims).flatten().filter(|name| *name == from) {
        to.clone_into(name);
    }
}

/// What a body says of a scope.
pub(super) struct Input {
    name: String,
    display_name: Option<String>,
    description: Option<String>,
    consent: ConsentDocument,
    optional: bool,
    default: bool,
    metadata: bool,
}

impl Input {
    fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("scope", body);
        let name = fields.name(&["name"], 255);
        if OIDC_SCOPES.contains(&name.as_str()) {
            fields.refuse(format!(
                "name: `{name}` is a reserved scope: every server has it already"
            ));
        }
        let input = Self {
            name,
            display_name: fields.text(&["displayName"]),
            description: fields.text(&["description"]),
            consent: fields.word(&["consent"], &CONSENTS).unwrap_or_default(),
            optional: fields.flag(&["optional"]).unwrap_or_default(),
            default: fields.flag(&["default"]).unwrap_or_default(),
            metadata: fields
                .word(&["metadataPublish"], &[("ALL_CLIENTS", true), ("NO_CLIENTS", false)])
                .unwrap_or_default(),
        };
        if input.optional && input.default {
            fields.refuse("optional: a scope cannot be optional and granted by default");
        }
        fields.finish()?;
        Ok(input)
    }
}
