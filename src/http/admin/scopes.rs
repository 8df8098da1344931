//! `/api/v1/authorizationServers/{id}/scopes`.
//!
//! A scope that is renamed takes the rules and claims that name it along: nobody loses access by a new name.

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
use crate::http::admin::request::{Body, Ids, Query};
use crate::http::admin::wire::{self, Fields};
use crate::issuer::directory::{ManagedServer, new_id};
use crate::model::time::Timestamp;
use crate::oauth::access::OIDC_SCOPES;
use crate::oauth::document::{ConsentDocument, IdPrefix, ScopeDocument, ServerDocument};

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/authorizationServers/{id}/scopes", get(list).post(create))
        .route(
            "/api/v1/authorizationServers/{id}/scopes/{scope}",
            get(read).put(replace).delete(delete),
        )
}

const CONSENTS: [(&str, ConsentDocument); 3] = [
    ("IMPLICIT", ConsentDocument::Implicit),
    ("REQUIRED", ConsentDocument::Required),
    ("FLEXIBLE", ConsentDocument::Flexible),
];

fn view(scope: &ScopeDocument, in_file: bool) -> Value {
    let consent = CONSENTS.iter().find(|(_, consent)| *consent == scope.consent);
    let object = json!({
        "id": scope.id,
        "name": scope.name,
        "displayName": scope.display_name,
        "description": scope.description,
        "consent": consent.map(|(word, _)| word),
        "optional": scope.optional,
        "default": scope.default,
        "metadataPublish": if scope.metadata { "ALL_CLIENTS" } else { "NO_CLIENTS" },
        "system": false,
        "created": wire::time(scope.created_at),
        "lastUpdated": wire::time(scope.updated_at),
    });
    wire::finish(object, in_file)
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    page: Page,
    query: Query,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::AuthorizationServers, &id)?;
    let wanted = query.one("q").unwrap_or_default().to_lowercase();
    let mut scopes = server.object.document.scopes.clone();
    scopes.retain(|scope| scope.name.to_lowercase().contains(&wanted));
    scopes.sort_by(|one, other| one.id.cmp(&other.id));
    let name = |scope: &ScopeDocument| scope.id.clone();
    let scopes = page.cut(scopes, name);
    Ok(page.answer(&administration.base_url(), scopes, name, |scope| {
        view(scope, server.in_file)
    }))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, scope)): Ids<(String, String)>,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::AuthorizationServers, &id)?;
    let (_, scope) = part(&server.object.document.scopes, "OAuth2Scope", &scope, |scope| &scope.id)?;
    Ok(etag::object(StatusCode::OK, &view(scope, server.in_file)))
}

async fn create(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&body)?;
    let new = new_id(IdPrefix::Scope);
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let scope = input.applied_to(&new, at, at);
        document.scopes.push(scope.clone());
        let told = deed(AuditKind::ScopeCreated, &scope.id, Value::Null, view(&scope, false));
        Ok((scope, told))
    };
    let (scope, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::CREATED, &view(&scope, false)))
}

async fn replace(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, scope)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&body)?;
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let (place, before) = part(&document.scopes, "OAuth2Scope", &scope, |scope| &scope.id)?;
        let (before, was) = (before.clone(), view(before, false));
        wire::expect(&if_match, &was)?;
        let after = input.applied_to(&before.id, before.created_at, at);
        document.scopes[place] = after.clone();
        rename(document, &before.name, &after.name);
        let told = deed(AuditKind::ScopeUpdated, &after.id, was, view(&after, false));
        Ok((after, told))
    };
    let (scope, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::OK, &view(&scope, false)))
}

async fn delete(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, scope)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        let (place, before) = part(&document.scopes, "OAuth2Scope", &scope, |scope| &scope.id)?;
        let was = view(before, false);
        wire::expect(&if_match, &was)?;
        document.scopes.remove(place);
        Ok(((), deed(AuditKind::ScopeDeleted, &scope, was, Value::Null)))
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
        target: ("OAuth2Scope", id.to_owned()),
        server: None,
        client: None,
        before,
        after,
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
struct Input {
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

    fn applied_to(&self, id: &str, created_at: Timestamp, updated_at: Timestamp) -> ScopeDocument {
        ScopeDocument {
            id: id.to_owned(),
            name: self.name.clone(),
            display_name: self.display_name.clone(),
            description: self.description.clone(),
            consent: self.consent,
            optional: self.optional,
            default: self.default,
            metadata: self.metadata,
            created_at,
            updated_at,
        }
    }
}
