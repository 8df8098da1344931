//! `/api/v1/groups`, and who is in them.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, put};
use serde_json::{Map, Value, json};

use crate::admin::groups::Group;
use crate::admin::{Action, Administration, Resource};
use crate::http::admin::apps;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, EntityTag, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, Query};
use crate::http::admin::seat::Seat;
use crate::http::admin::users;
use crate::http::admin::wire::{finish, time};
use crate::issuer::directory::ManagedGroup;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/groups", get(list).post(create))
        .route("/api/v1/groups/{group}", get(read).put(replace).delete(delete))
        .route("/api/v1/groups/{group}/users", get(members))
        .route("/api/v1/groups/{group}/users/{user}", put(add).delete(remove))
        .route("/api/v1/groups/{group}/apps", get(apps_of))
}

async fn list(seat: Seat, page: Page, query: Query) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Groups)?;
    let mut groups = desk.groups();
    if let Some(prefix) = query.one("q") {
        let prefix = prefix.to_lowercase();
        groups.retain(|group| group.name().to_lowercase().starts_with(&prefix));
    }
    if query.one("filter").is_some() || query.one("search").is_some() {
        let text = "filter, search: use `q` for the beginning of a name";
        return Err(ApiError::validation("query", [text.to_owned()]));
    }
    let groups = page.cut(groups, |group| group.id().to_owned());
    Ok(page.answer(&seat.url(), groups, |group| group.id().to_owned(), show))
}

async fn create(seat: Seat, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Groups)?;
    let group = desk.create_group(profile(&body)?).await?;
    Ok(etag::object(StatusCode::OK, &show_managed(&group)))
}

async fn read(seat: Seat, Ids(id): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Groups)?;
    Ok(etag::object(StatusCode::OK, &show(&desk.group(&id)?)))
}

async fn replace(seat: Seat, Ids(id): Ids<String>, condition: IfMatch, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Groups)?;
    let group = desk.replace_group(&id, profile(&body)?, expected(&condition)).await?;
    Ok(etag::object(StatusCode::OK, &show_managed(&group)))
}

async fn delete(seat: Seat, Ids(id): Ids<String>, condition: IfMatch) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Groups)?;
    desk.delete_group(&id, expected(&condition)).await?;
    Ok(etag::done())
}

async fn members(seat: Seat, Ids(id): Ids<String>, page: Page) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Groups)?;
    let members = desk.members(&id, page.after.as_deref(), page.fetch()).await?;
    Ok(page.answer(&seat.url(), members, users::name_of, users::show))
}

async fn add(seat: Seat, Ids((group, user)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Groups)?;
    desk.set_member(&group, &user, true).await?;
    Ok(etag::done())
}

async fn remove(seat: Seat, Ids((group, user)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Groups)?;
    desk.set_member(&group, &user, false).await?;
    Ok(etag::done())
}

async fn apps_of(seat: Seat, Ids(id): Ids<String>, page: Page) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    let group = desk.group(&id)?;
    let found = page.cut(desk.apps_of_group(&group), |app| app.id().to_owned());
    Ok(page.answer(&seat.url(), found, |app| app.id().to_owned(), apps::show))
}

fn profile(body: &Map<String, Value>) -> Result<&Map<String, Value>, ApiError> {
    let profile = body.get("profile").and_then(Value::as_object);
    profile.ok_or_else(|| ApiError::validation("group", ["profile: the field cannot be left blank".to_owned()]))
}

fn expected(condition: &IfMatch) -> impl Fn(&ManagedGroup) -> bool + '_ {
    |group| condition.check(&EntityTag::of(&show_managed(group))).is_ok()
}

pub(super) fn show(group: &Group) -> Value {
    match group {
        Group::Managed(group) => show_managed(group),
        Group::Declared(name) => {
            let shown = json!({
                "id": name,
                "objectClass": ["okta:user_group"],
                "type": "OKTA_GROUP",
                "profile": { "name": name, "description": "" },
            });
            finish(shown, true)
        }
    }
}

fn show_managed(group: &ManagedGroup) -> Value {
    let document = &group.document;
    let mut profile = document.profile.clone();
    profile.insert("name".to_owned(), json!(document.name));
    profile.insert("description".to_owned(), json!(document.description));
    json!({
        "id": group.id,
        "created": time(group.created_at),
        "lastUpdated": time(group.updated_at),
        "objectClass": ["okta:user_group"],
        "type": "OKTA_GROUP",
        "profile": profile,
    })
}
