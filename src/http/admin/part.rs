//! The parts of an authorization server (scopes, claims, policies, and the rules of a policy): listed, read, made,
//! replaced, deleted, switched on and off, in one way for all of them.
//!
//! A part stands in a list of the server's document; an edit is a function of the document that it decides upon, and
//! is asked again if somebody else was first ([`Administration::edit_server`]).
//!
//! A `priority` is a place in the list, from 1. Whoever writes one moves the part there and the others make room; no
//! two have the same, none is skipped, and nothing drifts. A part that is made without one comes last.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::admin::{Action, AdminError, Administration, Deed, Resource, ServerEdit};
use crate::audit::AuditKind;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, Query};
use crate::http::admin::wire;
use crate::issuer::directory::{ManagedServer, new_id};
use crate::model::time::Timestamp;
use crate::oauth::document::{IdPrefix, ServerDocument, Status};

/// A kind of part.
pub(super) trait Part: Sized + Send + Sync + 'static {
    /// What a body says of one.
    type Input: Send + Sync;

    /// Okta's name of the kind.
    const KIND: &'static str;
    /// The path of the list. In it, `{id}` is the server and `{policy}` the policy that a rule is of.
    const PATH: &'static str;
    /// What a role has to reach.
    const RESOURCE: Resource;
    /// What identifiers begin with.
    const PREFIX: IdPrefix;
    /// How the audit log names making, replacing and deleting one.
    const DEEDS: [AuditKind; 3];
    /// Whether the order of the list means something: then it is listed in it, and otherwise by identifier.
    const IS_ORDERED: bool;

    /// The list.
    fn list<'d>(document: &'d ServerDocument, policy: Option<&str>) -> Result<&'d Vec<Self>, AdminError>;

    /// The list, to be changed.
    fn list_mut<'d>(document: &'d mut ServerDocument, policy: Option<&str>) -> Result<&'d mut Vec<Self>, AdminError>;

    /// Its identifier.
    fn id(&self) -> &str;

    /// How it is shown, at this place of its list.
    fn view(&self, place: usize, in_file: bool) -> Value;

    /// Reads a body.
    fn read(
        administration: &Administration,
        body: &Map<String, Value>,
    ) -> impl Future<Output = Result<Self::Input, ApiError>> + Send;

    /// The part that a body asks for; `seen` is the one that it replaces.
    fn made(input: &Self::Input, seen: Option<&Self>, id: &str, at: Timestamp) -> Self;

    /// The priority that a body asks for.
    fn priority(_: &Self::Input) -> Option<u64> {
        None
    }

    /// Whether a search for this text, in lower case, finds it.
    fn is_found_by(&self, _: &str) -> bool {
        true
    }

    /// What else changes in the server when one is replaced by another.
    fn carry_along(_: &mut ServerDocument, _before: &Value, _after: &Value) {}
}

/// A part that is switched on and off.
pub(super) trait Switched: Part {
    /// How the audit log names switching one on, and off.
    const SWITCHES: [AuditKind; 2];

    /// Whether it is on, and since when it is as it is.
    fn switch(&mut self) -> (&mut Status, &mut Timestamp);
}

/// The paths of a kind of part.
pub(super) fn routes<P: Part>() -> Router<Administration> {
    Router::new()
        .route(P::PATH, get(list::<P>).post(create::<P>))
        .route(&one::<P>(), get(read::<P>).put(replace::<P>).delete(delete::<P>))
}

/// The paths of a kind of part that is switched on and off.
pub(super) fn switched_routes<P: Switched>() -> Router<Administration> {
    let one = one::<P>();
    routes::<P>()
        .route(&format!("{one}/lifecycle/activate"), post(activate::<P>))
        .route(&format!("{one}/lifecycle/deactivate"), post(deactivate::<P>))
}

fn one<P: Part>() -> String {
    format!("{}/{{part}}", P::PATH)
}

/// Where a part stands, as a priority.
pub(super) fn priority_at(place: usize) -> u64 {
    u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1)
}

/// The place of a priority in a list of so many others.
fn place_of(priority: Option<u64>, others: usize) -> usize {
    let last = priority_at(others);
    let wanted = priority.unwrap_or(last).clamp(1, last) - 1;
    usize::try_from(wanted).unwrap_or(others)
}

/// The list that a path names.
#[derive(Debug, Deserialize)]
struct InList {
    id: String,
    #[serde(default)]
    policy: Option<String>,
}

/// The part that a path names.
#[derive(Debug, Deserialize)]
struct InPath {
    id: String,
    #[serde(default)]
    policy: Option<String>,
    part: String,
}

fn find<'p, P: Part>(parts: &'p [P], id: &str) -> Result<(usize, &'p P), AdminError> {
    let found = parts.iter().enumerate().find(|(_, part)| part.id() == id);
    found.ok_or_else(|| AdminError::not_found(P::KIND, id))
}

fn request<P: Part>(id: &str, dry_run: bool) -> ServerEdit<'_> {
    ServerEdit {
        id,
        resource: P::RESOURCE,
        dry_run,
    }
}

fn deed<P: Part>(kind: AuditKind, id: &str, before: Value, after: Value) -> Deed {
    Deed::new(kind, P::KIND, id).before(before).after(after)
}

async fn list<P: Part>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InList>,
    page: Page,
    query: Query,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, P::RESOURCE, &ids.id)?;
    let wanted = query.one("q").unwrap_or_default().to_lowercase();
    let parts = P::list(&server.object.document, ids.policy.as_deref())?;
    let found = parts.iter().enumerate().filter(|(_, part)| part.is_found_by(&wanted));
    let mut found: Vec<(usize, &P)> = found.collect();
    if !P::IS_ORDERED {
        found.sort_by(|(_, one), (_, other)| one.id().cmp(other.id()));
    }
    // The cursor of an ordered list is a place.
    let name = |(place, part): &(usize, &P)| {
        if P::IS_ORDERED {
            format!("{place:08}")
        } else {
            part.id().to_owned()
        }
    };
    let found = page.cut(found, name);
    Ok(page.answer(&administration.base_url(), found, name, |(place, part)| {
        part.view(*place, server.in_file)
    }))
}

async fn read<P: Part>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InPath>,
) -> Result<Response, ApiError> {
    let server = administration.server(&who, Action::Read, P::RESOURCE, &ids.id)?;
    let (place, part) = find(P::list(&server.object.document, ids.policy.as_deref())?, &ids.part)?;
    Ok(etag::object(StatusCode::OK, &part.view(place, server.in_file)))
}

async fn create<P: Part>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InList>,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = P::read(&administration, &body).await?;
    let new = new_id(P::PREFIX);
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let parts = P::list_mut(document, ids.policy.as_deref())?;
        let part = P::made(&input, None, &new, at);
        let place = place_of(P::priority(&input), parts.len());
        let shown = part.view(place, false);
        parts.insert(place, part);
        let [created, ..] = P::DEEDS;
        Ok((shown.clone(), deed::<P>(created, &new, Value::Null, shown)))
    };
    let (shown, _) = administration
        .edit_server(&who, request::<P>(&ids.id, dry_run), edit)
        .await?;
    Ok(etag::object(StatusCode::CREATED, &shown))
}

async fn replace<P: Part>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InPath>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = P::read(&administration, &body).await?;
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let parts = P::list_mut(document, ids.policy.as_deref())?;
        let (place, before) = find(parts, &ids.part)?;
        let was = before.view(place, false);
        wire::expect(&if_match, &was)?;
        let after = P::made(&input, Some(before), &ids.part, at);
        parts.remove(place);
        let moved = |priority| place_of(Some(priority), parts.len());
        let place = P::priority(&input).map_or(place, moved);
        let shown = after.view(place, false);
        parts.insert(place, after);
        P::carry_along(document, &was, &shown);
        let [_, updated, _] = P::DEEDS;
        Ok((shown.clone(), deed::<P>(updated, &ids.part, was, shown)))
    };
    let (shown, _) = administration
        .edit_server(&who, request::<P>(&ids.id, dry_run), edit)
        .await?;
    Ok(etag::object(StatusCode::OK, &shown))
}

async fn delete<P: Part>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InPath>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        let parts = P::list_mut(document, ids.policy.as_deref())?;
        let (place, before) = find(parts, &ids.part)?;
        let was = before.view(place, false);
        wire::expect(&if_match, &was)?;
        parts.remove(place);
        let [.., deleted] = P::DEEDS;
        Ok(((), deed::<P>(deleted, &ids.part, was, Value::Null)))
    };
    administration
        .edit_server(&who, request::<P>(&ids.id, dry_run), edit)
        .await?;
    Ok(etag::done())
}

async fn activate<P: Switched>(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<InPath>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter::<P>(state, caller, ids, dry_run, if_match, Status::Active).await
}

async fn deactivate<P: Switched>(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<InPath>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter::<P>(state, caller, ids, dry_run, if_match, Status::Inactive).await
}

async fn enter<P: Switched>(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(ids): Ids<InPath>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    wanted: Status,
) -> Result<Response, ApiError> {
    let edit = |_: &Arc<ManagedServer>, document: &mut ServerDocument, at: Timestamp| {
        let parts = P::list_mut(document, ids.policy.as_deref())?;
        let (place, before) = find(parts, &ids.part)?;
        let was = before.view(place, false);
        wire::expect(&if_match, &was)?;
        let entered = &mut parts[place];
        let (status, updated_at) = entered.switch();
        if *status != wanted {
            *status = wanted;
            *updated_at = at;
        }
        let [on, off] = P::SWITCHES;
        let kind = if wanted.is_active() { on } else { off };
        let shown = entered.view(place, false);
        Ok(((), deed::<P>(kind, &ids.part, was, shown)))
    };
    administration
        .edit_server(&who, request::<P>(&ids.id, dry_run), edit)
        .await?;
    Ok(etag::done())
}
