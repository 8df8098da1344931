//! `/api/v1/users`, and the schema of their profiles at `/api/v1/meta/schemas/user/default`.

use axum::Router;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::users::{Lifecycle, NewUser, SeenUser, UserEdit};
use crate::admin::{Action, Administration, Resource};
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, EntityTag, IfMatch};
use crate::http::admin::groups;
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, OptionalBody, Query};
use crate::http::admin::seat::Seat;
use crate::http::admin::wire::{finish, time};
use crate::http::reply;
use crate::model::secret::Secret;
use crate::oauth::schema::{BASE, REQUIRED, UserSchema};
use crate::oauth::user::UserRecord;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/users", get(list).post(create))
        .route(
            "/api/v1/users/{user}",
            get(read).put(replace).post(update).delete(delete),
        )
        .route("/api/v1/users/{user}/lifecycle/{operation}", post(move_on))
        .route("/api/v1/users/{user}/groups", get(groups_of))
        .route("/api/v1/meta/schemas/user/default", get(schema).post(change_schema))
}

async fn list(seat: Seat, page: Page, query: Query) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Users)?;
    let login = match query.one("search").or(query.one("filter")) {
        None => None,
        Some(filter) => Some(login_of(filter)?),
    };
    if let Some(login) = login {
        let found = desk.user(&login).await.ok();
        let shown: Vec<Value> = found
            .iter()
            .filter(|user| user.record.login.eq_ignore_ascii_case(&login))
            .map(show)
            .collect();
        return Ok(page.answer_array(&seat.url(), &Value::Array(shown), None));
    }
    let prefix = query.one("q").unwrap_or_default();
    let users = desk.users(prefix, page.after.as_deref(), page.fetch()).await?;
    Ok(page.answer(&seat.url(), users, name_of, show))
}

/// `profile.login eq "…"`: the one filter that there is.
fn login_of(filter: &str) -> Result<String, ApiError> {
    let quoted = filter.trim().strip_prefix("profile.login eq ").map(str::trim);
    let login = quoted.and_then(|quoted| quoted.strip_prefix('"')?.strip_suffix('"'));
    let login = login.filter(|login| !login.contains(['"', '\\']));
    login.map(str::to_owned).ok_or_else(|| {
        let text = "filter: `profile.login eq \"…\"` is expected; use `q` for the beginning of a login";
        ApiError::validation("query", [text.to_owned()])
    })
}

async fn create(seat: Seat, query: Query, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Users)?;
    let wanted = Wanted::read(&body)?;
    let groups = match body.get("groupIds") {
        None | Some(Value::Null) => Vec::new(),
        Some(ids) => texts(ids).ok_or_else(|| invalid("groupIds: an array of texts is expected"))?,
    };
    if !groups.is_empty() {
        // Who may make users may not thereby fill groups.
        let _may = seat.desk(Action::Manage, Resource::Groups)?;
    }
    let user = desk
        .create_user(NewUser {
            profile: wanted
                .profile
                .ok_or_else(|| invalid("profile: the field cannot be left blank"))?,
            password: wanted.password,
            groups,
            activate: query.one("activate") != Some("false"),
        })
        .await?;
    Ok(etag::object(StatusCode::OK, &show_record(&user)))
}

async fn read(seat: Seat, Ids(name): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Users)?;
    Ok(etag::object(StatusCode::OK, &show(&desk.user(&name).await?)))
}

/// `PUT`: the profile is the one that is sent, whole.
async fn replace(seat: Seat, ids: Ids<String>, condition: IfMatch, body: Body) -> Result<Response, ApiError> {
    edit(seat, ids, condition, body, true).await
}

/// `POST`: the attributes that are sent change, the others stay.
async fn update(seat: Seat, ids: Ids<String>, condition: IfMatch, body: Body) -> Result<Response, ApiError> {
    edit(seat, ids, condition, body, false).await
}

async fn edit(
    seat: Seat,
    Ids(name): Ids<String>,
    condition: IfMatch,
    Body(body): Body,
    whole: bool,
) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Users)?;
    let wanted = Wanted::read(&body)?;
    if whole && wanted.profile.is_none() {
        return Err(invalid("profile: the field cannot be left blank"));
    }
    let edit = UserEdit {
        profile: wanted.profile.unwrap_or_default(),
        whole,
        password: wanted.password,
    };
    let is_expected = |user: &UserRecord| condition.check(&EntityTag::of(&show_record(user))).is_ok();
    let user = desk.edit_user(&name, edit, is_expected).await?;
    Ok(etag::object(StatusCode::OK, &show_record(&user)))
}

async fn move_on(
    seat: Seat,
    Ids((name, operation)): Ids<(String, String)>,
    _: OptionalBody,
) -> Result<Response, ApiError> {
    let lifecycle = match operation.as_str() {
        "activate" | "reactivate" => Lifecycle::Activate,
        "suspend" => Lifecycle::Suspend,
        "unsuspend" => Lifecycle::Unsuspend,
        "deactivate" => Lifecycle::Deactivate,
        _ => return Err(ApiError::no_such_path()),
    };
    let desk = seat.desk(Action::Manage, Resource::Users)?;
    desk.move_user(&name, lifecycle).await?;
    Ok(etag::empty_object())
}

async fn delete(seat: Seat, Ids(name): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Users)?;
    desk.delete_user(&name).await?;
    Ok(etag::done())
}

async fn groups_of(seat: Seat, Ids(name): Ids<String>) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Users)?;
    let shown: Vec<Value> = desk.groups_of(&name).await?.iter().map(groups::show).collect();
    Ok(reply::document(StatusCode::OK, Value::Array(shown).to_string()))
}

async fn schema(seat: Seat) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Read, Resource::Users)?;
    Ok(etag::object(StatusCode::OK, &show_schema(&seat, &desk.user_schema())))
}

async fn change_schema(seat: Seat, Body(body): Body) -> Result<Response, ApiError> {
    let desk = seat.desk(Action::Manage, Resource::Users)?;
    let properties = |part: &str| {
        let part = body.get("definitions").and_then(|definitions| definitions.get(part));
        part.and_then(|part| part.get("properties")).and_then(Value::as_object)
    };
    if properties("base").is_some_and(|base| base.keys().any(|name| !BASE.iter().any(|(known, ..)| known == name))) {
        return Err(ApiError::validation(
            "schema",
            ["definitions.base: its attributes are fixed; add yours to `definitions.custom`".to_owned()],
        ));
    }
    let empty = Map::new();
    let schema = desk.change_user_schema(properties("custom").unwrap_or(&empty)).await?;
    Ok(etag::object(StatusCode::OK, &show_schema(&seat, &schema)))
}

/// What a request says of a user.
struct Wanted {
    profile: Option<Map<String, Value>>,
    password: Option<Secret<String>>,
}

impl Wanted {
    fn read(body: &Map<String, Value>) -> Result<Self, ApiError> {
        let profile = match body.get("profile") {
            None | Some(Value::Null) => None,
            Some(Value::Object(profile)) => Some(profile.clone()),
            Some(_) => return Err(invalid("profile: an object is expected")),
        };
        let credentials = body.get("credentials");
        let password = match credentials.and_then(|credentials| credentials.get("password")) {
            None | Some(Value::Null) => None,
            // What is read back has an empty password.
            Some(Value::Object(password)) if password.is_empty() => None,
            Some(password) => match password.get("value").and_then(Value::as_str) {
                Some(value) => Some(Secret::new(value.to_owned())),
                None => {
                    return Err(invalid(
                        "credentials.password: only `value` is supported, no hash and no hook",
                    ));
                }
            },
        };
        Ok(Self { profile, password })
    }
}

fn invalid(text: &str) -> ApiError {
    ApiError::validation("user", [text.to_owned()])
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let texts = value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned));
    texts.collect()
}

pub(super) fn name_of(user: &SeenUser) -> String {
    user.record.id.to_string()
}

pub(super) fn show(user: &SeenUser) -> Value {
    finish(show_record(&user.record), user.is_declared)
}

fn show_record(user: &UserRecord) -> Value {
    let mut credentials = json!({ "provider": { "type": "OKTA", "name": "OKTA" } });
    if user.password.is_some() {
        credentials["password"] = json!({});
    }
    json!({
        "id": user.id.as_str(),
        "status": user.status.as_str(),
        "created": time(user.created_at),
        "lastUpdated": time(user.updated_at),
        "profile": user.profile,
        "credentials": credentials,
    })
}

fn show_schema(seat: &Seat, schema: &UserSchema) -> Value {
    let base: Map<String, Value> = BASE
        .iter()
        .map(|(name, title, chars_max)| {
            let attribute = json!({
                "title": title, "type": "string", "maxLength": chars_max, "required": REQUIRED.contains(name),
            });
            ((*name).to_owned(), attribute)
        })
        .collect();
    let required: Vec<&String> = schema
        .custom
        .iter()
        .filter(|(_, one)| one.required)
        .map(|(name, _)| name)
        .collect();
    let url = seat.url();
    let path: Uri = Uri::from_static("/api/v1/meta/schemas/user/default");
    json!({
        "id": format!("{}{}", url.as_str().trim_end_matches('/'), path.path()),
        "$schema": "http://json-schema.org/draft-04/schema#",
        "name": "user",
        "title": "User",
        "type": "object",
        "definitions": {
            "base": { "id": "#base", "type": "object", "properties": base, "required": REQUIRED },
            "custom": { "id": "#custom", "type": "object", "properties": schema.custom, "required": required },
        },
        "properties": {
            "profile": { "allOf": [{ "$ref": "#/definitions/custom" }, { "$ref": "#/definitions/base" }] },
        },
    })
}
