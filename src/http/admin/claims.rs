//! `/api/v1/authorizationServers/{id}/claims`.
//!
//! `value` is a CEL expression where `valueType` is `EXPRESSION`: what Okta's expressions can do, in another language.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value, json};

use crate::admin::{Action, Administration, Deed, Resource, ServerEdit};
use crate::audit::AuditKind;
use crate::http::admin::authorization_servers::part;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids};
use crate::http::admin::wire::{self, Fields, STATUSES};
use crate::issuer::directory::{ManagedServer, new_id};
use crate::model::time::Timestamp;
use crate::oauth::document::{ClaimDocument, ClaimType, GroupFilter, IdPrefix, ServerDocument, Status, ValueType};

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/authorizationServers/{id}/claims", get(list).post(create))
        .route(
            "/api/v1/authorizationServers/{id}/claims/{claim}",
            get(read).put(replace).delete(delete),
        )
}

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

fn view(claim: &ClaimDocument, in_file: bool) -> Value {
    let object = json!({
        "id": claim.id,
        "name": claim.name,
        "status": wire::status(claim.status),
        "claimType": word(&TYPES, &claim.claim_type),
        "valueType": word(&VALUES, &claim.value_type),
        "value": claim.value,
        "group_filter_type": claim.group_filter.as_ref().and_then(|filter| word(&FILTERS, filter)),
        "conditions": { "scopes": claim.scopes },
        "alwaysIncludeInToken": claim.claim_type == ClaimType::Resource || claim.always_include,
        "system": false,
        "created": wire::time(claim.created_at),
        "lastUpdated": wire::time(claim.updated_at),
    });
    wire::finish(object, in_file)
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    page: Page,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::AuthorizationServers, &id)?;
    let mut claims = server.object.document.claims.clone();
    claims.sort_by(|one, other| one.id.cmp(&other.id));
    let name = |claim: &ClaimDocument| claim.id.clone();
    let claims = page.cut(claims, name);
    Ok(page.answer(&administration.base_url(), claims, name, |claim| {
        view(claim, server.in_file)
    }))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, claim)): Ids<(String, String)>,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::AuthorizationServers, &id)?;
    let (_, claim) = part(&server.object.document.claims, "OAuth2Claim", &claim, |claim| &claim.id)?;
    Ok(etag::object(StatusCode::OK, &view(claim, server.in_file)))
}

async fn create(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&body)?;
    let new = new_id(IdPrefix::Claim);
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let claim = input.applied_to(&new, at, at);
        document.claims.push(claim.clone());
        let told = deed(AuditKind::ClaimCreated, &claim.id, Value::Null, view(&claim, false));
        Ok((claim, told))
    };
    let (claim, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::CREATED, &view(&claim, false)))
}

async fn replace(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, claim)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&body)?;
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let (place, before) = part(&document.claims, "OAuth2Claim", &claim, |claim| &claim.id)?;
        let was = view(before, false);
        wire::expect(&if_match, &was)?;
        let after = input.applied_to(&before.id, before.created_at, at);
        document.claims[place] = after.clone();
        let told = deed(AuditKind::ClaimUpdated, &after.id, was, view(&after, false));
        Ok((after, told))
    };
    let (claim, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::OK, &view(&claim, false)))
}

async fn delete(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, claim)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        let (place, before) = part(&document.claims, "OAuth2Claim", &claim, |claim| &claim.id)?;
        let was = view(before, false);
        wire::expect(&if_match, &was)?;
        document.claims.remove(place);
        Ok(((), deed(AuditKind::ClaimDeleted, &claim, was, Value::Null)))
    };
    administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::done())
}

fn request(id: &str, dry_run: bool) -> ServerEdit<'_> {
    ServerEdit {
        id,
        resource: Resource::AuthorizationServers,
        dry_run,
    }
}

fn deed(kind: AuditKind, id: &str, before: Value, after: Value) -> Deed {
    Deed {
        kind,
        target: ("OAuth2Claim", id.to_owned()),
        server: None,
        client: None,
        before,
        after,
    }
}

/// What a body says of a claim.
struct Input {
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

    fn applied_to(&self, id: &str, created_at: Timestamp, updated_at: Timestamp) -> ClaimDocument {
        ClaimDocument {
            id: id.to_owned(),
            name: self.name.clone(),
            status: self.status,
            claim_type: self.claim_type,
            value_type: self.value_type,
            value: self.value.clone(),
            group_filter: self.group_filter,
            scopes: self.scopes.clone(),
            always_include: self.always_include || self.claim_type == ClaimType::Resource,
            created_at,
            updated_at,
        }
    }
}
