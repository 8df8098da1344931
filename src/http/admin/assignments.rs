//! `/api/v1/apps/{app}/users` and `…/groups`: who may use an app.

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::admin::assignments::Assignable;
use crate::admin::{Action, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag;
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, OptionalBody};
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::time;
use crate::oauth::document::AssignmentDocument;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/apps/{app}/users", get(users).post(add_user))
        .route(
            "/api/v1/apps/{app}/users/{user}",
            get(user).post(update_user).put(update_user).delete(remove_user),
        )
        .route("/api/v1/apps/{app}/groups", get(groups))
        .route(
            "/api/v1/apps/{app}/groups/{group}",
            get(group).put(add_group).delete(remove_group),
        )
}

async fn users(seat: Seat, Ids(app): Ids<String>, page: Page) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    Ok(list(&seat, &page, app.document().users.clone(), show_user))
}

async fn groups(seat: Seat, Ids(app): Ids<String>, page: Page) -> Result<Response, ApiError> {
    let app = seat.desk(Action::Read, Resource::Apps)?.app(&app)?;
    Ok(list(&seat, &page, app.document().groups.clone(), show_group))
}

fn list(
    seat: &Seat,
    page: &Page,
    mut assigned: Vec<AssignmentDocument>,
    show: fn(&AssignmentDocument) -> Value,
) -> Response {
    assigned.sort_by(|one, other| one.id.cmp(&other.id));
    let assigned = page.cut(assigned, |one| one.id.clone());
    page.answer(&seat.url(), assigned, |one| one.id.clone(), show)
}

async fn user(seat: Seat, Ids((app, user)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    let assignment = desk.assignment(&app, Assignable::User, &user).await?;
    Ok(etag::object(StatusCode::OK, &show_user(&assignment)))
}

async fn group(seat: Seat, Ids((app, group)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Apps)?;
    let assignment = desk.assignment(&app, Assignable::Group, &group).await?;
    Ok(etag::object(StatusCode::OK, &show_group(&assignment)))
}

async fn add_user(seat: Seat, Ids(app): Ids<String>, Body(body): Body) -> Result<Response, ApiError> {
    let Some(user) = body.get("id").and_then(Value::as_str) else {
        return Err(ApiError::validation(
            "appUser",
            ["id: the field cannot be left blank".to_owned()],
        ));
    };
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let assignment = desk.assign(&app, Assignable::User, user).await?;
    Ok(etag::object(StatusCode::OK, &show_user(&assignment)))
}

/// Profiles and credentials of a user at one app are not kept here: the assignment is answered as it is.
async fn update_user(
    seat: Seat,
    Ids((app, user)): Ids<(String, String)>,
    _: OptionalBody,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let assignment = desk.assignment(&app, Assignable::User, &user).await?;
    Ok(etag::object(StatusCode::OK, &show_user(&assignment)))
}

async fn remove_user(seat: Seat, Ids((app, user)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.unassign(&app, Assignable::User, &user).await?;
    Ok(etag::done())
}

async fn add_group(
    seat: Seat,
    Ids((app, group)): Ids<(String, String)>,
    _: OptionalBody,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    let assignment = desk.assign(&app, Assignable::Group, &group).await?;
    Ok(etag::object(StatusCode::OK, &show_group(&assignment)))
}

async fn remove_group(seat: Seat, Ids((app, group)): Ids<(String, String)>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Apps)?;
    desk.unassign(&app, Assignable::Group, &group).await?;
    Ok(etag::done())
}

fn show_user(assignment: &AssignmentDocument) -> Value {
    json!({
        "id": assignment.id,
        "scope": "USER",
        "status": "ACTIVE",
        "created": time(assignment.created_at),
        "lastUpdated": time(assignment.created_at),
    })
}

fn show_group(assignment: &AssignmentDocument) -> Value {
    json!({ "id": assignment.id, "lastUpdated": time(assignment.created_at), "profile": {} })
}
