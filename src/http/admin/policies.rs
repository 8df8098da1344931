//! `/api/v1/authorizationServers/{id}/policies`: policies in their order, and whether they work.
//!
//! A `priority` is a place in the list, from 1. Whoever writes one moves the policy there and the others make room;
//! no two have the same, none is skipped, and nothing drifts. A policy that is made without one comes last.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
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
use crate::oauth::document::{IdPrefix, PolicyDocument, ServerDocument, Status};

const LIST: &str = "/api/v1/authorizationServers/{id}/policies";
const ONE: &str = "/api/v1/authorizationServers/{id}/policies/{policy}";

/// Okta's word for every client.
const ALL_CLIENTS: &str = "ALL_CLIENTS";

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route(LIST, get(list).post(create))
        .route(ONE, get(read).put(replace).delete(delete))
        .route(&format!("{ONE}/lifecycle/activate"), post(activate))
        .route(&format!("{ONE}/lifecycle/deactivate"), post(deactivate))
}

/// Where a part stands, as a priority.
pub(super) fn priority_at(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1)
}

/// The place of a priority in a list of so many others.
pub(super) fn place_of(priority: Option<u64>, others: usize) -> usize {
    let last = priority_at(others);
    let wanted = priority.unwrap_or(last).clamp(1, last) - 1;
    usize::try_from(wanted).unwrap_or(others)
}

/// A page of an ordered list: its cursor is a place.
pub(super) fn place_name(place: usize) -> String {
    format!("{place:08}")
}

fn view(policy: &PolicyDocument, place: usize, in_file: bool) -> Value {
    let include = policy.clients.clone().unwrap_or_else(|| vec![ALL_CLIENTS.to_owned()]);
    let object = json!({
        "id": policy.id,
        "type": "OAUTH_AUTHORIZATION_POLICY",
        "status": wire::status(policy.status),
        "name": policy.name,
        "description": policy.description,
        "priority": priority_at(place),
        "system": false,
        "conditions": { "clients": { "include": include } },
        "created": wire::time(policy.created_at),
        "lastUpdated": wire::time(policy.updated_at),
    });
    wire::finish(object, in_file)
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    page: Page,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::Policies, &id)?;
    let policies = server.object.document.policies.iter().enumerate();
    let name = |(place, _): &(usize, &PolicyDocument)| place_name(*place);
    let policies = page.cut(policies, name);
    Ok(
        page.answer(&administration.base_url(), policies, name, |(place, policy)| {
            view(policy, *place, server.in_file)
        }),
    )
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::Policies, &id)?;
    let (place, policy) = part(&server.object.document.policies, "Policy", &policy, |policy| &policy.id)?;
    Ok(etag::object(StatusCode::OK, &view(policy, place, server.in_file)))
}

async fn create(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&administration, &body)?;
    let new = new_id(IdPrefix::Policy);
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let policy = input.applied_to(None, &new, at);
        let place = place_of(input.priority, document.policies.len());
        let shown = view(&policy, place, false);
        document.policies.insert(place, policy);
        Ok((shown.clone(), deed(AuditKind::PolicyCreated, &new, Value::Null, shown)))
    };
    let (shown, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::CREATED, &shown))
}

async fn replace(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&administration, &body)?;
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let (place, before) = part(&document.policies, "Policy", &policy, |policy| &policy.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        let after = input.applied_to(Some(before), &before.id, at);
        document.policies.remove(place);
        let others = document.policies.len();
        let place = input
            .priority
            .map_or(place, |priority| place_of(Some(priority), others));
        let shown = view(&after, place, false);
        document.policies.insert(place, after);
        Ok((shown.clone(), deed(AuditKind::PolicyUpdated, &policy, was, shown)))
    };
    let (shown, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::OK, &shown))
}

async fn delete(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        let (place, before) = part(&document.policies, "Policy", &policy, |policy| &policy.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        document.policies.remove(place);
        Ok(((), deed(AuditKind::PolicyDeleted, &policy, was, Value::Null)))
    };
    administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::done())
}

async fn activate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<(String, String)>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Active).await
}

async fn deactivate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<(String, String)>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Inactive).await
}

async fn enter(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    status: Status,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let (place, before) = part(&document.policies, "Policy", &policy, |policy| &policy.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        let entered = &mut document.policies[place];
        if entered.status != status {
            entered.status = status;
            entered.updated_at = at;
        }
        let kind = match status {
            Status::Active => AuditKind::PolicyActivated,
            Status::Inactive => AuditKind::PolicyDeactivated,
        };
        let shown = view(entered, place, false);
        Ok(((), deed(kind, &policy, was, shown)))
    };
    administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::done())
}

fn request(id: &str, dry_run: bool) -> ServerEdit<'_> {
    ServerEdit {
        id,
        resource: Resource::Policies,
        dry_run,
    }
}

fn deed(kind: AuditKind, id: &str, before: Value, after: Value) -> Deed {
    Deed {
        kind,
        target: ("Policy", id.to_owned()),
        server: None,
        client: None,
        before,
        after,
    }
}

/// What a body says of a policy.
struct Input {
    name: String,
    description: String,
    status: Option<Status>,
    priority: Option<u64>,
    clients: Option<Vec<String>>,
}

impl Input {
    fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("policy", body);
        fields.word(&["type"], &[("OAUTH_AUTHORIZATION_POLICY", ())]);
        let name = fields.name(&["name"], 100);
        let description = fields.text(&["description"]).unwrap_or_default();
        if description.chars().count() > 255 {
            fields.refuse("description: at most 255 characters are allowed");
        }
        let include = fields.texts(&["conditions", "clients", "include"]);
        let all = |ids: &Vec<String>| ids.iter().any(|id| id == ALL_CLIENTS);
        let clients = match include {
            Some(ids) if all(&ids) && ids.len() > 1 => {
                fields.refuse(format!("conditions.clients.include: `{ALL_CLIENTS}` stands alone"));
                None
            }
            Some(ids) if all(&ids) => None,
            Some(ids) => Some(ids),
            // Nobody said whom it is for: nobody.
            None => {
                fields.refuse(format!("conditions.clients.include: name clients, or `{ALL_CLIENTS}`"));
                None
            }
        };
        for id in clients.iter().flatten().filter(|id| !administration.has_client(id)) {
            fields.refuse(format!("conditions.clients.include: there is no client `{id}`"));
        }
        let input = Self {
            name,
            description,
            status: fields.word(&["status"], &STATUSES),
            priority: fields.number(&["priority"]),
            clients,
        };
        fields.finish()?;
        Ok(input)
    }

    fn applied_to(&self, seen: Option<&PolicyDocument>, id: &str, at: Timestamp) -> PolicyDocument {
        PolicyDocument {
            id: id.to_owned(),
            name: self.name.clone(),
            description: self.description.clone(),
            status: self.status.or(seen.map(|seen| seen.status)).unwrap_or_default(),
            clients: self.clients.clone(),
            rules: seen.map(|seen| seen.rules.clone()).unwrap_or_default(),
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }
}
