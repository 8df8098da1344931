//! What apps and users hold: `/api/v1/apps/{app}/tokens`, `/api/v1/users/{user}/clients/{client}/tokens` and
//! `…/grants`.
//!
//! A refresh token is shown as its grant, whose identifier stays through every rotation; no text of a token is kept.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::admin::grants::Holder;
use crate::admin::{Action, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag;
use crate::http::admin::paging::Page;
use crate::http::admin::request::Ids;
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::time;
use crate::oauth::refresh::GrantRecord;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/apps/{app}/tokens", get(of_app).delete(revoke_of_app))
        .route(
            "/api/v1/apps/{app}/tokens/{token}",
            get(one_of_app).delete(revoke_one_of_app),
        )
        .route("/api/v1/users/{user}/grants", get(of_user).delete(revoke_of_user))
        .route(
            "/api/v1/users/{user}/clients/{client}/{kind}",
            get(of_user_and_client).delete(revoke_of_user_and_client),
        )
        .route(
            "/api/v1/users/{user}/clients/{client}/{kind}/{token}",
            get(one_of_user_and_client).delete(revoke_one_of_user_and_client),
        )
}

async fn list(seat: &Seat, of: Resource, holder: Holder<'_>, page: &Page) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, of)?;
    let grants = desk.grants(holder, page.after.as_deref(), page.fetch()).await?;
    let public_url = seat.public_url();
    Ok(page.answer(
        &seat.url(),
        grants,
        |grant| grant.id.to_string(),
        |grant| show(&public_url, grant),
    ))
}

async fn read(seat: &Seat, of: Resource, holder: Holder<'_>, id: &str) -> Result<Response, ApiError> {
    let grant = seat.desk(Action::Read, of)?.grant(holder, id).await?;
    Ok(etag::object(StatusCode::OK, &show(&seat.public_url(), &grant)))
}

async fn revoke(seat: &Seat, of: Resource, holder: Holder<'_>, one: Option<&str>) -> Result<Response, ApiError> {
    seat.desk(Action::Manage, of)?.revoke_grants(holder, one).await?;
    Ok(etag::done())
}

fn app(client: &str) -> Holder<'_> {
    Holder {
        client: Some(client),
        user: None,
    }
}

async fn of_app(seat: Seat, Ids(id): Ids<String>, page: Page) -> Result<Response, ApiError> {
    list(&seat, Resource::Apps, app(&id), &page).await
}

async fn revoke_of_app(seat: Seat, Ids(id): Ids<String>) -> Result<Response, ApiError> {
    revoke(&seat, Resource::Apps, app(&id), None).await
}

async fn one_of_app(seat: Seat, Ids((id, token)): Ids<(String, String)>) -> Result<Response, ApiError> {
    read(&seat, Resource::Apps, app(&id), &token).await
}

async fn revoke_one_of_app(seat: Seat, Ids((id, token)): Ids<(String, String)>) -> Result<Response, ApiError> {
    revoke(&seat, Resource::Apps, app(&id), Some(&token)).await
}

fn user(user: &str) -> Holder<'_> {
    Holder {
        client: None,
        user: Some(user),
    }
}

async fn of_user(seat: Seat, Ids(id): Ids<String>, page: Page) -> Result<Response, ApiError> {
    list(&seat, Resource::Users, user(&id), &page).await
}

async fn revoke_of_user(seat: Seat, Ids(id): Ids<String>) -> Result<Response, ApiError> {
    revoke(&seat, Resource::Users, user(&id), None).await
}

/// `tokens` and `grants` are two names of the same here: a grant and its current refresh token.
fn both<'p>(user: &'p str, client: &'p str, kind: &str) -> Result<Holder<'p>, ApiError> {
    match kind {
        "tokens" | "grants" => Ok(Holder {
            client: Some(client),
            user: Some(user),
        }),
        _ => Err(ApiError::no_such_path()),
    }
}

async fn of_user_and_client(
    seat: Seat,
    Ids((user, client, kind)): Ids<(String, String, String)>,
    page: Page,
) -> Result<Response, ApiError> {
    list(&seat, Resource::Users, both(&user, &client, &kind)?, &page).await
}

async fn revoke_of_user_and_client(
    seat: Seat,
    Ids((user, client, kind)): Ids<(String, String, String)>,
) -> Result<Response, ApiError> {
    revoke(&seat, Resource::Users, both(&user, &client, &kind)?, None).await
}

async fn one_of_user_and_client(
    seat: Seat,
    Ids((user, client, kind, token)): Ids<(String, String, String, String)>,
) -> Result<Response, ApiError> {
    read(&seat, Resource::Users, both(&user, &client, &kind)?, &token).await
}

async fn revoke_one_of_user_and_client(
    seat: Seat,
    Ids((user, client, kind, token)): Ids<(String, String, String, String)>,
) -> Result<Response, ApiError> {
    revoke(&seat, Resource::Users, both(&user, &client, &kind)?, Some(&token)).await
}

fn show(public_url: &url::Url, grant: &GrantRecord) -> Value {
    let scopes: Vec<&str> = grant.scopes.iter().map(crate::model::scope::Scope::as_str).collect();
    json!({
        "id": grant.id.as_str(),
        "status": "ACTIVE",
        "created": time(grant.created_at),
        "lastUpdated": time(grant.rotated_at),
        "expiresAt": time(grant.expires_at),
        "issuer": crate::oauth::metadata::issuer_of(public_url, &grant.server).as_str(),
        "clientId": grant.client.as_str(),
        "userId": grant.user.as_ref().map(crate::model::id::UserId::as_str),
        "scopes": scopes,
    })
}
