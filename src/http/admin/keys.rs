//! `/api/v1/authorizationServers/{id}/credentials`: the signing keys, their rotation, and the answer to a compromise.
//!
//! `keys/{kid}/lifecycle/revoke` is ours: every token of the key is dead when it answers.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::admin::Administration;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun};
use crate::http::admin::request::{Body, Ids};
use crate::http::admin::wire;
use crate::http::reply;
use crate::issuer::KeyView;
use crate::oauth::keyring::KeyState;

const CREDENTIALS: &str = "/api/v1/authorizationServers/{id}/credentials";

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route(&format!("{CREDENTIALS}/keys"), get(list))
        .route(&format!("{CREDENTIALS}/keys/{{kid}}"), get(read))
        .route(&format!("{CREDENTIALS}/keys/{{kid}}/lifecycle/revoke"), post(revoke))
        .route(&format!("{CREDENTIALS}/lifecycle/keyRotate"), post(rotate))
}

fn view(key: &KeyView) -> Value {
    let mut shown = key.jwk.clone();
    shown["status"] = json!(match key.state {
        KeyState::Active => "ACTIVE",
        KeyState::Next => "NEXT",
        KeyState::Expired => "EXPIRED",
    });
    shown["created"] = wire::time(key.created_at);
    shown["lastUpdated"] = wire::time(key.entered_at);
    if let Some(next) = key.next_rotation {
        shown["nextRotation"] = wire::time(next);
    }
    shown
}

fn all(keys: &[KeyView]) -> Response {
    let shown: Vec<Value> = keys.iter().map(view).collect();
    reply::document(StatusCode::OK, Value::Array(shown).to_string())
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
) -> Result<Response, ApiError> {
    Ok(all(&administration.server_keys(&who, &id)?))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, kid)): Ids<(String, String)>,
) -> Result<Response, ApiError> {
    let keys = administration.server_keys(&who, &id)?;
    let key = keys.iter().find(|key| key.kid.as_str() == kid);
    let key = key.ok_or_else(|| ApiError::not_found("JsonWebKey", &kid))?;
    Ok(etag::object(StatusCode::OK, &view(key)))
}

async fn rotate(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    if body.get("use").and_then(Value::as_str) != Some("sig") {
        return Err(ApiError::validation("use", ["use: `sig` is expected".to_owned()]));
    }
    Ok(all(&administration.rotate_keys(&who, &id, dry_run).await?))
}

async fn revoke(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, kid)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
) -> Result<Response, ApiError> {
    Ok(all(&administration.revoke_key(&who, &id, &kid, dry_run).await?))
}
