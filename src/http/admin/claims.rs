//! `/api/v1/authorizationServers/{id}/claims`.
//!
//! `value` is a CEL expression where `valueType` is `EXPRESSION`: what Okta's expressions can do, in another language.

use serde_json::{Map, Value, json};

use crate::admin::{AdminError, Administration, Resource};
use crate::audit::AuditKind;
use crate::http::admin::error::ApiError;
use crate::http::admin::part::Part;
use crate::http::admin::wire::{self, Fields, STATUSES};
use crate::model::time::Timestamp;
use crate::oauth::document::{ClaimDocument, ClaimType, GroupFilter, IdPrefix, ServerDocument, Status, ValueType};

const TYPES: [(&str, ClaimType); 2] = [("RESOURCE", ClaimType::Resource), ("IDENTITY", ClaimType::Identity)];
const VALUES: [(&str, ValueType); 2] = [("EXPRESSION", ValueType::Expression), ("GROUPS", ValueType::Groups)];
const FILTERS: [(&str, GroupFilter); 4] = [
    ("STARTS_WITH", GroupFilter::StartsWith),
    ("EQUALS", GroupFilter::Equals),
    ("CONTAINS", GroupFilter::Contains),
    ("REGEX", GroupFilter::Regex),
];

fn word<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> Option<&'static str> {
    words.iter().find(|(_, known)| known == value).map(|(word, _)| *word)
}

impl Part for ClaimDocument {
    type Input = Input;

    const KIND: &'static str = "OAuth2Claim";
    const PATH: &'static str = "/api/v1/authorizationServers/{id}/claims";
    const RESOURCE: Resource = Resource::AuthorizationServers;
    const PREFIX: IdPrefix = IdPrefix::Claim;
    const DEEDS: [AuditKind; 3] = [
        AuditKind::ClaimCreated,
        AuditKind::ClaimUpdated,
        AuditKind::ClaimDeleted,
    ];
    const IS_ORDERED: bool = false;

    fn list<'d>(document: &'d ServerDocument, _: Option<&str>) -> Result<&'d Vec<Self>, AdminError> {
        Ok(&document.claims)
    }

    fn list_mut<'d>(document: &'d mut ServerDocument, _: Option<&str>) -> Result<&'d mut Vec<Self>, AdminError> {
        Ok(&mut document.claims)
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn view(&self, _: usize, in_file: bool) -> Value {
        let object = json!({
            "id": self.id,
            "name": self.name,
            "status": wire::status(self.status),
            "claimType": word(&TYPES, &self.claim_type),
            "valueType": word(&VALUES, &self.value_type),
            "value": self.value,
            "group_filter_type": self.group_filter.as_ref().and_then(|filter| word(&FILTERS, filter)),
            "conditions": { "scopes": self.scopes },
            "alwaysIncludeInToken": self.claim_type == ClaimType::Resource || self.always_include,
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
            status: input.status,
            claim_type: input.claim_type,
            value_type: input.value_type,
            value: input.value.clone(),
            group_filter: input.group_filter,
            scopes: input.scopes.clone(),
            always_include: input.always_include || input.claim_type == ClaimType::Resource,
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }
}

/// What a body says of a claim.
pub(super) struct Input {
    name: String,
    status: Status,
    claim_type: ClaimType,
    value_type: ValueType,
    value: String,
    group_filter: Option<GroupFilter>,
    scopes: Vec<String>,
    always_include: bool,
}

impl Input {
    fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("claim", body);
        let name = fields.name(&["name"], 100);
        let claim_type = fields.word(&["claimType"], &TYPES);
        let value_type = fields.word(&["valueType"], &VALUES);
        let value = fields.name(&["value"], 1024);
        if claim_type.is_none() && fields.at(&["claimType"]).is_none() {
            fields.refuse("claimType: RESOURCE or IDENTITY is expected");
        }
        if value_type.is_none() && fields.at(&["valueType"]).is_none() {
            fields.refuse("valueType: EXPRESSION or GROUPS is expected");
        }
        let value_type = value_type.unwrap_or(ValueType::Expression);
        let group_filter = fields.word(&["group_filter_type"], &FILTERS);
        if value_type == ValueType::Groups && group_filter.is_none() {
            fields.refuse("group_filter_type: a claim of groups has one of STARTS_WITH, EQUALS, CONTAINS, REGEX");
        }
        let input = Self {
            name,
            status: fields.word(&["status"], &STATUSES).unwrap_or_default(),
            claim_type: claim_type.unwrap_or(ClaimType::Resource),
            value_type,
            value,
            group_filter: group_filter.filter(|_| value_type == ValueType::Groups),
            scopes: fields.texts(&["conditions", "scopes"]).unwrap_or_default(),
            always_include: fields.flag(&["alwaysIncludeInToken"]).unwrap_or_default(),
        };
        fields.finish()?;
        Ok(input)
    }
}
