//! `/api/v1/apps/{app}/credentials/secrets` and `…/jwks`: what an app proves itself with.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::credentials::{Credential, KEY, SECRET};
use crate::admin::{Action, AdminError, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag;
use crate::http::admin::request::{Body, Ids, OptionalBody};
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::time;
use crate::http::reply;
use crate::model::secret::Secret;
use crate::oauth::document::{KeyDocument, SecretDocument, Status};

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route(
            "/api/v1/apps/{app}/credentials/secrets",
            get(secrets).post(create_secret),
        )
        .route(
            "/api/v1/apps/{app}/credentials/secrets/{secret}",
            get(secret).delete(delete_secret),
        )
        .route(
            "/api/v1/apps/{app}/credentials/secrets/{secret}/lifecycle/{operation}",
            post(move_secret),
        )
        .route("/api/v1/apps/{app}/credentials/jwks", get(keys).post(create_key))
        .route("/api/v1/apps/{app}/credentials/jwks/{key}", get(key).delete(delete_key))
        .route(
            "/api/v1/apps/{app}/credentials/jwks/{key}/lifecycle/{operation}",
            post(move_key),
        )
}

async fn secrets(seat: Seat, Ids(app): Ids<String>) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    let shown: Vec<Value> = app.document().secrets.iter().map(show_secret).collect();
    Ok(reply::document(StatusCode::OK, Value::Array(shown).to_string()))
}

async fn secret(seat: Seat, Ids((app, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    let found = app.document().secrets.iter().find(|secret| secret.id == id);
    let found = found.ok_or_else(|| AdminError::not_found(SECRET, &id))?;
    Ok(etag::object(StatusCode::OK, &show_secret(found)))
}

async fn create_secret(
    seat: Seat,
    Ids(app): Ids<String>,
    OptionalBody(body): OptionalBody,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let chosen = match body.get("client_secret") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Secret::new(text.clone())),
        Some(_) => {
            let text = "client_secret: a text is expected; leave it out to get one";
            return Err(ApiError::validation("secret", [text.to_owned()]));
        }
    };
    let (kept, text) = desk.create_secret(&app, chosen, status_of(&body)).await?;
    let mut shown = show_secret(&kept);
    shown["client_secret"] = json!(text.expose_secret());
    Ok(etag::object(StatusCode::CREATED, &shown))
}

async fn move_secret(
    seat: Seat,
    Ids((app, id, operation)): Ids<(String, String, String)>,
    _: OptionalBody,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let status = operation_of(&operation)?;
    let document = desk
        .set_credential_status(&app, Credential::Secret, &id, status)
        .await?;
    let found = document.secrets.iter().find(|secret| secret.id == id);
    let found = found.ok_or_else(|| AdminError::not_found(SECRET, &id))?;
    Ok(etag::object(StatusCode::OK, &show_secret(found)))
}

async fn delete_secret(seat: Seat, Ids((app, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.delete_credential(&app, Credential::Secret, &id).await?;
    Ok(etag::done())
}

async fn keys(seat: Seat, Ids(app): Ids<String>) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    let document = app.document();
    let keys: Vec<Value> = document.keys.iter().map(show_key).collect();
    let shown = json!({ "jwks": { "keys": keys }, "jwks_uri": document.jwks_uri });
    Ok(etag::object(StatusCode::OK, &shown))
}

async fn key(seat: Seat, Ids((app, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    let found = app.document().keys.iter().find(|key| key.id == id);
    let found = found.ok_or_else(|| AdminError::not_found(KEY, &id))?;
    Ok(etag::object(StatusCode::OK, &show_key(found)))
}

async fn create_key(seat: Seat, Ids(app): Ids<String>, Body(jwk): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let key = desk.create_key(&app, &jwk).await?;
    Ok(etag::object(StatusCode::CREATED, &show_key(&key)))
}

async fn move_key(
    seat: Seat,
    Ids((app, id, operation)): Ids<(String, String, String)>,
    _: OptionalBody,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let status = operation_of(&operation)?;
    let document = desk.set_credential_status(&app, Credential::Key, &id, status).await?;
    let found = document.keys.iter().find(|key| key.id == id);
    let found = found.ok_or_else(|| AdminError::not_found(KEY, &id))?;
    Ok(etag::object(StatusCode::OK, &show_key(found)))
}

async fn delete_key(seat: Seat, Ids((app, id)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.delete_credential(&app, Credential::Key, &id).await?;
    Ok(etag::done())
}

fn operation_of(operation: &str) -> Result<Status, ApiError> {
    match operation {
        "activate" => Ok(Status::Active),
        "deactivate" => Ok(Status::Inactive),
        _ => Err(ApiError::no_such_path()),
    }
}

fn status_of(body: &Map<String, Value>) -> Status {
    if body.get("status").is_some_and(|status| status == "INACTIVE") {
        Status::Inactive
    } else {
        Status::Active
    }
}

/// Never the secret, nor its digest: a digest is what a guess is compared with.
fn show_secret(secret: &SecretDocument) -> Value {
    json!({
        "id": secret.id,
        "status": secret.status,
        "created": time(secret.created_at),
        "lastUpdated": time(secret.updated_at),
    })
}

fn show_key(key: &KeyDocument) -> Value {
    let mut shown = key.jwk.clone();
    shown.insert("id".to_owned(), json!(key.id));
    shown.insert("status".to_owned(), json!(key.status));
    shown.insert("created".to_owned(), time(key.created_at));
    shown.insert("lastUpdated".to_owned(), time(key.updated_at));
    Value::Object(shown)
}
