//! `/oauth2/v1/clients/{client}/roles`: what a client may administer, and `/api/v1/registrationTokens`: who may register
//! clients.
//!
//! `/api/v1/apps/{app}/grants`: the scopes of the management API that a service app may ask for. Here they come with its
//! roles, and go with them: what a token may do is the smaller of both anyway.
//!
//! Beside Okta's shape: `servers` binds a role to authorization servers, so that a product team owns its API.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};

use crate::admin::roles::KIND;
use crate::admin::{Action, AdminError, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag;
use crate::http::admin::request::{Body, Ids, OptionalBody};
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::time;
use crate::http::reply;
use crate::issuer::directory::ManagedRole;
use crate::issuer::management::SCOPES;
use crate::oauth::document::Role;

/// How long an initial access token is good for if nothing is said.
const TOKEN_LIFETIME_SECONDS: u64 = 24 * 3600;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/oauth2/v1/clients/{client}/roles", get(list).post(give))
        .route("/oauth2/v1/clients/{client}/roles/{role}", get(read).delete(take))
        .route("/api/v1/apps/{app}/grants", get(scopes).post(grant_scope))
        .route("/api/v1/apps/{app}/grants/{grant}", get(scope).delete(revoke_scope))
        .route("/api/v1/registrationTokens", post(create_token))
        .route("/api/v1/registrationTokens/{token}", delete(revoke_token))
}

async fn list(seat: Seat, Ids(client): Ids<String>) -> Result<Response, ApiError> {
    let roles = seat.desk(Action::Read, Resource::Roles)?.roles(&client)?;
    let shown: Vec<Value> = roles.iter().map(|role| show(role)).collect();
    Ok(reply::document(StatusCode::OK, Value::Array(shown).to_string()))
}

async fn read(seat: Seat, Ids((client, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let roles = seat.desk(Action::Read, Resource::Roles)?.roles(&client)?;
    let found = roles.iter().find(|role| role.id == id);
    let found = found.ok_or_else(|| AdminError::not_found(KIND, &id))?;
    Ok(etag::object(StatusCode::OK, &show(found)))
}

async fn give(seat: Seat, Ids(client): Ids<String>, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Roles)?;
    let invalid = |text: String| ApiError::validation("role", [text]);
    let role = body.get("type").and_then(Value::as_str).and_then(Role::parse);
    let role = role.ok_or_else(|| {
        let names = Role::ALL.map(|role| format!("`{}`", role.as_str())).join(", ");
        invalid(format!("type: one of {names} is expected"))
    })?;
    let servers = match body.get("servers") {
        None | Some(Value::Null) => None,
        Some(servers) => {
            let ids = servers
                .as_array()
                .map(|ids| ids.iter().map(|id| id.as_str().map(str::to_owned)));
            let ids: Option<Vec<String>> = ids.and_then(Iterator::collect);
            Some(ids.ok_or_else(|| invalid("servers: an array of identifiers is expected".to_owned()))?)
        }
    };
    let given = desk.give_role(&client, role, servers).await?;
    Ok(etag::object(StatusCode::CREATED, &show(&given)))
}

async fn take(seat: Seat, Ids((client, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Roles)?;
    desk.take_role(&client, &id).await?;
    Ok(etag::done())
}

async fn scopes(seat: Seat, Ids(app): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    let shown: Vec<Value> = if desk.holds_a_role(&app)? {
        SCOPES.iter().map(|scope| show_scope(&seat, &app, scope)).collect()
    } else {
        Vec::new()
    };
    Ok(reply::document(StatusCode::OK, Value::Array(shown).to_string()))
}

async fn scope(seat: Seat, Ids((app, scope)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    if desk.holds_a_role(&app)? && SCOPES.contains(&scope.as_str()) {
        return Ok(etag::object(StatusCode::OK, &show_scope(&seat, &app, &scope)));
    }
    Err(ApiError::not_found("OAuth2ScopeConsentGrant", &scope))
}

async fn grant_scope(seat: Seat, Ids(app): Ids<String>, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let scope = body.get("scopeId").and_then(Value::as_str).unwrap_or_default();
    if !SCOPES.contains(&scope) {
        let text = format!("scopeId: one of {} is expected", SCOPES.join(", "));
        return Err(ApiError::validation("grant", [text]));
    }
    if !desk.holds_a_role(&app)? {
        return Err(ApiError::not_in_this_state(
            "scopes come with a role: give the client one first",
        ));
    }
    Ok(etag::object(StatusCode::CREATED, &show_scope(&seat, &app, scope)))
}

async fn revoke_scope(seat: Seat, Ids((app, _)): Ids<(String, String)>) -> Result<Response, ApiError> {
    seat.desk(Action::Manage, Resource::Apps)?.holds_a_role(&app)?;
    Err(ApiError::not_in_this_state("scopes go with the role: take that away"))
}

/// The scope is its own identifier: there is one such grant of each.
fn show_scope(seat: &Seat, app: &str, scope: &str) -> Value {
    json!({
        "id": scope,
        "scopeId": scope,
        "clientId": app,
        "issuer": seat.public_url().as_str().trim_end_matches('/'),
        "source": "ADMIN",
        "status": "ACTIVE",
    })
}

async fn create_token(seat: Seat, OptionalBody(body): OptionalBody) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Clients)?;
    let number = |name: &str, usual: u64| match body.get(name) {
        None | Some(Value::Null) => Ok(usual),
        Some(value) => value.as_u64().ok_or_else(|| {
            ApiError::validation("registrationToken", [format!("{name}: a positive number is expected")])
        }),
    };
    let uses = u32::try_from(number("uses", 1)?).unwrap_or(u32::MAX);
    let lifetime = Duration::from_secs(number("expiresInSeconds", TOKEN_LIFETIME_SECONDS)?);
    let made = desk.create_initial_token(uses, lifetime).await?;
    let shown = json!({
        "id": made.id,
        "token": made.token.expose_secret(),
        "uses": uses,
        "expiresAt": time(crate::model::time::Timestamp::from_unix_seconds(made.expires_at)),
    });
    Ok(reply::document(StatusCode::CREATED, shown.to_string()))
}

async fn revoke_token(seat: Seat, Ids(id): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Clients)?;
    desk.revoke_initial_token(&id).await?;
    Ok(etag::done())
}

fn show(role: &ManagedRole) -> Value {
    let document = &role.document;
    json!({
        "id": role.id,
        "type": document.role.as_str(),
        "label": document.role.as_str(),
        "status": "ACTIVE",
        "assignmentType": "CLIENT",
        "created": time(role.created_at),
        "lastUpdated": time(role.updated_at),
        "servers": document.servers,
    })
}
