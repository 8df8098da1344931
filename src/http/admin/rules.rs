//! `/api/v1/authorizationServers/{id}/policies/{policy}/rules`: rules in their order, as policies are.
//!
//! Lifetimes stand there in minutes, as Okta has them, and in seconds beside, which win where both are written.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::{Action, AdminError, Administration, Deed, Resource, ServerEdit};
use crate::audit::AuditKind;
use crate::http::admin::authorization_servers::part;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::policies::{place_name, place_of, priority_at};
use crate::http::admin::request::{Body, Ids};
use crate::http::admin::wire::{self, Fields, STATUSES};
use crate::issuer::directory::{ManagedServer, new_id};
use crate::model::time::Timestamp;
use crate::oauth::document::{IdPrefix, PolicyDocument, RefreshDocument, RuleDocument, ServerDocument, Status};
use crate::oauth::grant::GrantType;

const LIST: &str = "/api/v1/authorizationServers/{id}/policies/{policy}/rules";
const ONE: &str = "/api/v1/authorizationServers/{id}/policies/{policy}/rules/{rule}";

/// How long an access token lives where nothing is said: Okta's 60 minutes.
const ACCESS_TOKEN_SECONDS: u64 = 60 * 60;

/// How long a refresh token lives without use where nothing is said: Okta's 7 days.
const WINDOW_SECONDS: u64 = 7 * 24 * 60 * 60;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route(LIST, get(list).post(create))
        .route(ONE, get(read).put(replace).delete(delete))
        .route(&format!("{ONE}/lifecycle/activate"), post(activate))
        .route(&format!("{ONE}/lifecycle/deactivate"), post(deactivate))
}

fn view(rule: &RuleDocument, place: usize, in_file: bool) -> Value {
    let grants: Vec<&str> = rule
        .grants
        .iter()
        .map(|name| match GrantType::parse(name) {
            Some(grant) => grant.wire_name(),
            None => name.as_str(),
        })
        .collect();
    let scopes = rule.scopes.clone().unwrap_or_else(|| vec!["*".to_owned()]);
    let mut token = json!({
        "accessTokenLifetimeMinutes": rule.access_token_seconds.div_ceil(60),
        "accessTokenLifetimeSeconds": rule.access_token_seconds,
    });
    if let Some(refresh) = rule.refresh_token {
        token["refreshTokenLifetimeMinutes"] = json!(refresh.lifetime_seconds.div_ceil(60));
        token["refreshTokenLifetimeSeconds"] = json!(refresh.lifetime_seconds);
        if let Some(idle) = refresh.idle_seconds {
            token["refreshTokenWindowMinutes"] = json!(idle.div_ceil(60));
            token["refreshTokenWindowSeconds"] = json!(idle);
        }
    }
    let object = json!({
        "id": rule.id,
        "type": "RESOURCE_ACCESS",
        "status": wire::status(rule.status),
        "name": rule.name,
        "priority": priority_at(place),
        "system": false,
        "conditions": {
            "people": {
                "users": { "include": rule.users, "exclude": [] },
                "groups": { "include": rule.groups, "exclude": rule.exclude_groups },
            },
            "grantTypes": { "include": grants },
            "scopes": { "include": scopes },
        },
        "actions": { "token": token },
        "created": wire::time(rule.created_at),
        "lastUpdated": wire::time(rule.updated_at),
    });
    wire::finish(object, in_file)
}

/// The policy's rules, and the place of one.
fn find<'d>(document: &'d mut ServerDocument, policy: &str) -> Result<&'d mut PolicyDocument, AdminError> {
    let found = document.policies.iter_mut().find(|known| known.id == policy);
    found.ok_or_else(|| AdminError::not_found("Policy", policy))
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
    page: Page,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::Policies, &id)?;
    let (_, policy) = part(&server.object.document.policies, "Policy", &policy, |policy| &policy.id)?;
    let name = |(place, _): &(usize, &RuleDocument)| place_name(*place);
    let rules = page.cut(policy.rules.iter().enumerate(), name);
    Ok(page.answer(&administration.base_url(), rules, name, |(place, rule)| {
        view(rule, *place, server.in_file)
    }))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy, rule)): Ids<(String, String, String)>,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, Resource::Policies, &id)?;
    let (_, policy) = part(&server.object.document.policies, "Policy", &policy, |policy| &policy.id)?;
    let (place, rule) = part(&policy.rules, "PolicyRule", &rule, |rule| &rule.id)?;
    Ok(etag::object(StatusCode::OK, &view(rule, place, server.in_file)))
}

async fn create(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy)): Ids<(String, String)>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&administration, &body).await?;
    let new = new_id(IdPrefix::Rule);
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let policy = find(document, &policy)?;
        let place = place_of(input.priority, policy.rules.len());
        let rule = input.applied_to(None, &new, at);
        let shown = view(&rule, place, false);
        policy.rules.insert(place, rule);
        Ok((shown.clone(), deed(AuditKind::RuleAdded, &new, Value::Null, shown)))
    };
    let (shown, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::CREATED, &shown))
}

async fn replace(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy, rule)): Ids<(String, String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&administration, &body).await?;
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let policy = find(document, &policy)?;
        let (place, before) = part(&policy.rules, "PolicyRule", &rule, |rule| &rule.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        let after = input.applied_to(Some(before), &before.id, at);
        policy.rules.remove(place);
        let others = policy.rules.len();
        let place = input
            .priority
            .map_or(place, |priority| place_of(Some(priority), others));
        let shown = view(&after, place, false);
        policy.rules.insert(place, after);
        Ok((shown.clone(), deed(AuditKind::RuleUpdated, &rule, was, shown)))
    };
    let (shown, _) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::OK, &shown))
}

async fn delete(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy, rule)): Ids<(String, String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        let policy = find(document, &policy)?;
        let (place, before) = part(&policy.rules, "PolicyRule", &rule, |rule| &rule.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        policy.rules.remove(place);
        Ok(((), deed(AuditKind::RuleDeleted, &rule, was, Value::Null)))
    };
    administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::done())
}

async fn activate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<(String, String, String)>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Active).await
}

async fn deactivate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<(String, String, String)>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Inactive).await
}

async fn enter(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids((id, policy, rule)): Ids<(String, String, String)>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    status: Status,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let policy = find(document, &policy)?;
        let (place, before) = part(&policy.rules, "PolicyRule", &rule, |rule| &rule.id)?;
        let was = view(before, place, false);
        wire::expect(&if_match, &was)?;
        let entered = &mut policy.rules[place];
        if entered.status != status {
            entered.status = status;
            entered.updated_at = at;
        }
        let kind = match status {
            Status::Active => AuditKind::RuleActivated,
            Status::Inactive => AuditKind::RuleDeactivated,
        };
        let shown = view(entered, place, false);
        Ok(((), deed(kind, &rule, was, shown)))
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
        target: ("PolicyRule", id.to_owned()),
        server: None,
        client: None,
        before,
        after,
    }
}

/// What a body says of a rule.
struct Input {
    name: String,
    status: Option<Status>,
    priority: Option<u64>,
    grants: Vec<String>,
    groups: Vec<String>,
    exclude_groups: Vec<String>,
    users: Vec<String>,
    scopes: Option<Vec<String>>,
    access_token_seconds: u64,
    refresh_token: Option<RefreshDocument>,
}

impl Input {
    async fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("policyRule", body);
        fields.word(&["type"], &[("RESOURCE_ACCESS", ())]);
        let name = fields.name(&["name"], 100);
        let grants = fields
            .texts(&["conditions", "grantTypes", "include"])
            .unwrap_or_default();
        if grants.is_empty() {
            fields.refuse("conditions.grantTypes.include: name the grant types that the rule matches");
        }
        let scopes = fields.texts(&["conditions", "scopes", "include"]);
        if scopes.is_none() && fields.at(&["conditions", "scopes", "include"]).is_none() {
            fields.refuse("conditions.scopes.include: name the scopes that the rule allows, or `*`");
        }
        let scopes = scopes.filter(|scopes| !scopes.iter().any(|scope| scope == "*"));
        let people = |kind: &'static str, list: &'static str| ["conditions", "people", kind, list];
        // SECURITY: what would narrow who gets in, and is not done here, is refused.
        if fields
            .texts(&people("users", "exclude"))
            .is_some_and(|users| !users.is_empty())
        {
            fields.refuse("conditions.people.users.exclude: users cannot be excluded one by one: exclude a group");
        }
        if fields
            .at(&["actions", "token", "inlineHook"])
            .is_some_and(|hook| hook.get("id").is_some_and(|id| !id.is_null()))
        {
            fields.refuse("actions.token.inlineHook: there are no inline hooks");
        }
        let users = fields.texts(&people("users", "include")).unwrap_or_default();
        for user in &users {
            if !administration.has_user(user).await? {
                fields.refuse(format!("conditions.people.users.include: there is no user `{user}`"));
            }
        }
        let token = ["actions", "token"];
        let access_token_seconds = fields
            .seconds(&token, "accessTokenLifetime")
            .unwrap_or(ACCESS_TOKEN_SECONDS);
        let lifetime = fields.seconds(&token, "refreshTokenLifetime");
        let window = fields.seconds(&token, "refreshTokenWindow");
        let has_user = |name: &String| GrantType::parse(name).is_some_and(GrantType::has_user);
        let refresh_token = grants.iter().any(has_user).then(|| {
            let lifetime_seconds = lifetime.unwrap_or(0);
            let usual = match lifetime_seconds {
                0 => WINDOW_SECONDS,
                lifetime => WINDOW_SECONDS.min(lifetime),
            };
            RefreshDocument {
                lifetime_seconds,
                idle_seconds: Some(window.unwrap_or(usual)),
            }
        });
        let input = Self {
            name,
            status: fields.word(&["status"], &STATUSES),
            priority: fields.number(&["priority"]),
            grants,
            groups: fields.texts(&people("groups", "include")).unwrap_or_default(),
            exclude_groups: fields.texts(&people("groups", "exclude")).unwrap_or_default(),
            users,
            scopes,
            access_token_seconds,
            refresh_token,
        };
        fields.finish()?;
        Ok(input)
    }

    fn applied_to(&self, seen: Option<&RuleDocument>, id: &str, at: Timestamp) -> RuleDocument {
        RuleDocument {
            id: id.to_owned(),
            name: self.name.clone(),
            status: self.status.or(seen.map(|seen| seen.status)).unwrap_or_default(),
            grants: self.grants.clone(),
            groups: self.groups.clone(),
            exclude_groups: self.exclude_groups.clone(),
            users: self.users.clone(),
            scopes: self.scopes.clone(),
            access_token_seconds: self.access_token_seconds,
            refresh_token: self.refresh_token,
            created_at: seen.map_or(at, |seen| seen.created_at),
            updated_at: at,
        }
    }
}
