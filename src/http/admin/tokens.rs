//! `/api/v1/authorizationServers/{id}/clients`: who has refresh tokens there, and their end.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::admin::Administration;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun};
use crate::http::admin::paging::Page;
use crate::http::admin::request::Ids;
use crate::http::admin::wire;
use crate::model::id::ClientId;
use crate::model::scope::Scope;
use crate::oauth::metadata;
use crate::oauth::refresh::GrantRecord;

const CLIENTS: &str = "/api/v1/authorizationServers/{id}/clients";

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route(CLIENTS, get(clients))
        .route(&format!("{CLIENTS}/{{client}}/tokens"), get(list).delete(revoke_all))
        .route(
            &format!("{CLIENTS}/{{client}}/tokens/{{token}}"),
            get(read).delete(revoke),
        )
}

fn view(administration: &Administration, grant: &GrantRecord) -> Value {
    let scopes: Vec<&str> = grant.scopes.iter().map(Scope::as_str).collect();
    let issuer = metadata::issuer_of(&administration.issuer().public_url(), &grant.server);
    let object = json!({
        "id": grant.id.as_str(),
        "status": "ACTIVE",
        "created": wire::time(grant.created_at),
        "lastUpdated": wire::time(grant.rotated_at),
        "expiresAt": wire::time(grant.expires_at),
        "idleExpiresAt": wire::time(grant.idle_expires_at),
        "issuer": issuer.as_str(),
        "clientId": grant.client.as_str(),
        "userId": grant.user.as_ref().map(crate::model::id::UserId::as_str),
        "scopes": scopes,
    });
    wire::finish(object, false)
}

async fn clients(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    page: Page,
) -> Result<Response, ApiError> {
    let clients = administration.clients_with_tokens(&who, &id).await?;
    let known = administration.all_clients();
    let name = |client: &ClientId| client.to_string();
    let clients = page.cut(clients, name);
    Ok(page.answer(&administration.base_url(), clients, name, |client| {
        let found = known.iter().find(|known| known.object.id == client.as_str());
        let label = found.map_or(client.as_str(), |known| known.object.document.name.as_str());
        json!({ "client_id": client.as_str(), "client_name": label })
    }))
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, client)): Ids<(String, String)>,
    page: Page,
) -> Result<Response, ApiError> {
    let tokens = administration
        .tokens(&who, &id, &client, page.after.as_deref(), page.fetch())
        .await?;
    let name = |grant: &GrantRecord| grant.id.to_string();
    Ok(page.answer(&administration.base_url(), tokens, name, |grant| {
        view(&administration, grant)
    }))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, client, token)): Ids<(String, String, String)>,
) -> Result<Response, ApiError> {
    let grant = administration.token(&who, &id, &client, &token).await?;
    Ok(etag::object(StatusCode::OK, &view(&administration, &grant)))
}

async fn revoke(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, client, token)): Ids<(String, String, String)>,
    DryRun(dry_run): DryRun,
) -> Result<Response, ApiError> {
    administration.revoke_token(&who, &id, &client, &token, dry_run).await?;
    Ok(etag::done())
}

async fn revoke_all(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, client)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
) -> Result<Response, ApiError> {
    administration.revoke_tokens(&who, &id, &client, dry_run).await?;
    Ok(etag::done())
}
