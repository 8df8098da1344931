//! `/api/v1/apps`: clients, as Okta's OIDC apps.
//!
//! The metadata of a client (RFC 7591) stands in two places of an app: `settings.oauthClient`, and what belongs to
//! the credentials in `credentials.oauthClient`. `label` is the client's name; `id` is its `client_id`.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::apps::{App, Made, NewApp};
use crate::admin::{Action, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, EntityTag, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, OptionalBody, Query};
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::{finish, time};
use crate::issuer::directory::ManagedClient;
use crate::model::secret::Secret;
use crate::oauth::document::Status;
use crate::oauth::registration::{self, Speaker};

/// What is a credential's of the metadata.
const OF_CREDENTIALS: [&str; 2] = ["token_endpoint_auth_method", "pkce_required"];

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/apps", get(list).post(create))
        .route("/api/v1/apps/{app}", get(read).put(replace).delete(delete))
        .route("/api/v1/apps/{app}/lifecycle/activate", post(activate))
        .route("/api/v1/apps/{app}/lifecycle/deactivate", post(deactivate))
}

async fn list(seat: Seat, page: Page, query: Query) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    let mut apps = desk.apps();
    if let Some(prefix) = query.one("q") {
        let prefix = prefix.to_lowercase();
        apps.retain(|app| app.document().name.to_lowercase().starts_with(&prefix));
    }
    match query.one("filter") {
        None | Some("name eq \"oidc_client\"") => {}
        Some("status eq \"ACTIVE\"") => apps.retain(|app| app.document().status.is_active()),
        Some("status eq \"INACTIVE\"") => apps.retain(|app| !app.document().status.is_active()),
        Some(_) => {
            let text = "filter: `status eq \"ACTIVE\"` or `status eq \"INACTIVE\"` is expected; use `q` for names";
            return Err(ApiError::validation("query", [text.to_owned()]));
        }
    }
    let apps = page.cut(apps, |app| app.id().to_owned());
    Ok(page.answer(&seat.url(), apps, |app| app.id().to_owned(), show))
}

async fn create(seat: Seat, query: Query, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let wanted = Wanted::read(&body)?;
    let inactive = query.one("activate") == Some("false");
    let made = desk
        .create_app(NewApp {
            metadata: wanted.metadata,
            client_id: wanted.client_id,
            secret: wanted.secret,
            inactive,
            registration: None,
        })
        .await?;
    Ok(answer(StatusCode::OK, made))
}

async fn read(seat: Seat, Ids(id): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    Ok(etag::object(StatusCode::OK, &show(&desk.app(&id)?)))
}

async fn replace(seat: Seat, Ids(id): Ids<String>, condition: IfMatch, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let wanted = Wanted::read(&body)?;
    if wanted.client_id.is_some_and(|named| named != id) {
        let text = "client_id: it is the identifier of the app, and stays";
        return Err(ApiError::validation("application", [text.to_owned()]));
    }
    if wanted.secret.is_some() {
        let text = "client_secret: secrets are changed at `credentials/secrets`";
        return Err(ApiError::validation("application", [text.to_owned()]));
    }
    let made = desk
        .replace_app(&id, &wanted.metadata, Speaker::Administrator, expected(&condition))
        .await?;
    Ok(answer(StatusCode::OK, made))
}

async fn activate(seat: Seat, Ids(id): Ids<String>, _: OptionalBody) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.set_app_status(&id, Status::Active).await?;
    Ok(etag::empty_object())
}

async fn deactivate(seat: Seat, Ids(id): Ids<String>, _: OptionalBody) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.set_app_status(&id, Status::Inactive).await?;
    Ok(etag::empty_object())
}

async fn delete(seat: Seat, Ids(id): Ids<String>, condition: IfMatch) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.delete_app(&id, false, expected(&condition)).await?;
    Ok(etag::done())
}

/// Whether an app is the one that `If-Match` names.
pub(super) fn expected(condition: &IfMatch) -> impl Fn(&ManagedClient) -> bool + '_ {
    |client| condition.check(&EntityTag::of(&show_managed(client))).is_ok()
}

/// What a request says of an app.
struct Wanted {
    metadata: Map<String, Value>,
    client_id: Option<String>,
    secret: Option<Secret<String>>,
}

impl Wanted {
    fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let refused = |text: &str| ApiError::validation("application", [text.to_owned()]);
        if body.get("signOnMode").and_then(Value::as_str) != Some("OPENID_CONNECT") {
            return Err(refused(
                "signOnMode: `OPENID_CONNECT` is the only one that there is here",
            ));
        }
        if body.get("name").is_some_and(|name| name != "oidc_client") {
            return Err(refused("name: `oidc_client` is the only one that there is here"));
        }
        let part = |outer: &str| {
            let inner = body.get(outer).and_then(|outer| outer.get("oauthClient"));
            inner.and_then(Value::as_object).cloned()
        };
        let Some(mut metadata) = part("settings") else {
            return Err(refused("settings.oauthClient: the field cannot be left blank"));
        };
        let mut credentials = part("credentials").unwrap_or_default();
        let settings = body.get("settings");
        if settings.and_then(|settings| settings.get("implicitAssignment")) == Some(&json!(true)) {
            return Err(refused("settings.implicitAssignment: assign groups instead"));
        }
        for name in OF_CREDENTIALS {
            metadata.remove(name);
            if let Some(value) = credentials.remove(name) {
                metadata.insert(name.to_owned(), value);
            }
        }
        match body.get("label") {
            Some(Value::String(label)) => drop(metadata.insert("client_name".to_owned(), json!(label))),
            _ => return Err(refused("label: the field cannot be left blank")),
        }
        let mut text = |name: &str| match credentials.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(refused("credentials.oauthClient: texts are expected")),
        };
        Ok(Self {
            client_id: text("client_id")?,
            secret: text("client_secret")?.map(Secret::new),
            metadata,
        })
    }
}

fn answer(status: StatusCode, made: Made) -> Response {
    let mut shown = show_managed(&made.client);
    // The tag is that of the app as it is read from now on: without its secret.
    let tag = EntityTag::of(&shown);
    if let Some(secret) = made.secret {
        shown["credentials"]["oauthClient"]["client_secret"] = json!(secret.expose_secret());
    }
    etag::object_with(status, &shown, &tag)
}

pub(super) fn show(app: &App) -> Value {
    finish(show_managed(&app.object), app.in_file)
}

fn show_managed(client: &ManagedClient) -> Value {
    let document = &client.document;
    let mut settings = registration::show(document);
    settings.remove("client_name");
    let mut credentials = json!({ "client_id": client.id, "autoKeyRotation": true });
    for name in OF_CREDENTIALS {
        if let Some(value) = settings.remove(name) {
            credentials[name] = value;
        }
    }
    json!({
        "id": client.id,
        "name": "oidc_client",
        "label": document.name,
        "status": document.status,
        "created": time(client.created_at),
        "lastUpdated": time(client.updated_at),
        "signOnMode": "OPENID_CONNECT",
        "features": [],
        "credentials": { "oauthClient": credentials },
        "settings": { "implicitAssignment": false, "oauthClient": settings },
    })
}
