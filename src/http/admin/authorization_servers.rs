//! `/api/v1/authorizationServers`: authorization servers, and whether they work.
//!
//! Beside Okta's fields: `signingAlgorithm`, `rotationSeconds`, `tokenProfile`, and more than one audience, of which
//! the first is the `aud` and the others are resources (RFC 8707). For token exchange and assertions: `associatedServers`,
//! `actorsMax`, and `trustedIssuers` of `{issuer, jwks | jwksUri, subjectClaim}`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use crate::admin::{Action, Administration, Deed, Listed, Resource, ServerEdit};
use crate::audit::AuditKind;
use crate::http::admin::caller::Caller;
use crate::http::admin::error::ApiError;
use crate::http::admin::etag::{self, DryRun, IfMatch};
use crate::http::admin::paging::Page;
use crate::http::admin::request::{Body, Ids, Query};
use crate::http::admin::wire::{self, Fields};
use crate::issuer::directory::ManagedServer;
use crate::model::id::AuthorizationServerId;
use crate::oauth::document::{Document as _, ServerDocument, SigningDocument, Status, TrustedIssuerDocument};
use crate::oauth::keyring::KeyState;
use crate::oauth::metadata;

/// How old a key gets where nothing else is said: Okta's rotates about four times a year.
const ROTATION_SECONDS: u64 = 90 * 24 * 3600;

pub(super) fn routes() -> Router<Administration> {
    Router::new()
        .route("/api/v1/authorizationServers", get(list).post(create))
        .route(
            "/api/v1/authorizationServers/{id}",
            get(read).put(replace).delete(delete),
        )
        .route("/api/v1/authorizationServers/{id}/lifecycle/activate", post(activate))
        .route(
            "/api/v1/authorizationServers/{id}/lifecycle/deactivate",
            post(deactivate),
        )
}

/// How a server is shown.
pub(super) fn view(administration: &Administration, server: &ManagedServer, in_file: bool) -> Value {
    let document = &server.document;
    let issuer = administration.issuer();
    let keys = issuer.key_records(&server.id);
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    let manual = document.signing.rotate_every_seconds.is_none();
    let base = format!("{}/api/v1/authorizationServers/{}", administration.base(), server.id);
    let link = |path: &str, allow: &[&str]| json!({ "href": format!("{base}{path}"), "hints": { "allow": allow } });
    let findings: Vec<String> = server.findings.iter().map(|finding| finding.message.clone()).collect();
    let toggle = if document.status.is_active() {
        "deactivate"
    } else {
        "activate"
    };
    let object = json!({
        "id": server.id,
        "name": document.name,
        "description": document.description,
        "audiences": document.audiences,
        "issuer": AuthorizationServerId::parse(&server.id)
            .map(|id| metadata::issuer_of(&issuer.public_url(), &id).to_string())
            .ok(),
        "issuerMode": "ORG_URL",
        "status": wire::status(document.status),
        "created": wire::time(server.created_at),
        "lastUpdated": wire::time(server.updated_at),
        "credentials": { "signing": {
            "kid": active.map(|key| key.kid.as_str()),
            "use": "sig",
            "rotationMode": if manual { "MANUAL" } else { "AUTO" },
            "lastRotated": active.map(|key| wire::time(key.entered_at)),
            "nextRotation": active.and_then(|key| key.next_rotation).map(wire::time),
        } },
        "signingAlgorithm": document.signing.algorithm,
        "rotationSeconds": document.signing.rotate_every_seconds,
        "tokenProfile": if document.okta_profile { "okta" } else { "rfc9068" },
        "associatedServers": list_of(json!(document.associated_servers)),
        "trustedIssuers": list_of(document.trusted_issuers.iter().map(issuer_view).collect()),
        "actorsMax": document.actors_max,
        "findings": if findings.is_empty() { Value::Null } else { json!(findings) },
        "broken": if server.is_broken() { json!(true) } else { Value::Null },
        "_links": {
            "self": link("", &["GET", "PUT", "DELETE"]),
            "scopes": link("/scopes", &["GET", "POST"]),
            "claims": link("/claims", &["GET", "POST"]),
            "policies": link("/policies", &["GET", "POST"]),
            "rotateKey": link("/credentials/lifecycle/keyRotate", &["POST"]),
            toggle: link(&format!("/lifecycle/{toggle}"), &["POST"]),
        },
    });
    wire::finish(object, in_file)
}

/// A list that is left out where it is empty: Okta's servers have none of them.
fn list_of(items: Value) -> Value {
    if items.as_array().is_none_or(Vec::is_empty) {
        Value::Null
    } else {
        items
    }
}

fn issuer_view(issuer: &TrustedIssuerDocument) -> Value {
    let shown = json!({
        "issuer": issuer.issuer,
        "jwks": issuer.jwks,
        "jwksUri": issuer.jwks_uri,
        "subjectClaim": issuer.subject_claim,
    });
    wire::finish(shown, false)
}

fn read_issuers(fields: &mut Fields<'_>) -> Option<Vec<TrustedIssuerDocument>> {
    let list = fields.at(&["trustedIssuers"])?;
    let mut issuers = Vec::new();
    for item in list.as_array().into_iter().flatten() {
        let text = |name: &str| item.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let (jwks, jwks_uri) = (item.get("jwks").filter(|jwks| jwks.is_object()), text("jwksUri"));
        let (Some(issuer), true) = (text("issuer"), jwks.is_some() != jwks_uri.is_some()) else {
            fields.refuse("trustedIssuers: each has an `issuer`, and either `jwks` or `jwksUri`");
            return None;
        };
        issuers.push(TrustedIssuerDocument {
            issuer,
            jwks: jwks.cloned(),
            jwks_uri,
            subject_claim: text("subjectClaim"),
        });
    }
    if !list.is_array() {
        fields.refuse("trustedIssuers: a list is expected");
    }
    Some(issuers)
}

fn shown(administration: &Administration, listed: &Listed<ManagedServer>) -> Value {
    view(administration, &listed.object, listed.in_file)
}

async fn list(
    State(administration): State<Administration>,
    Caller(who): Caller,
    page: Page,
    query: Query,
) -> Result<Response, ApiError> {
    let mut servers = administration.servers(&who)?;
    if let Some(wanted) = query.one("q").filter(|wanted| !wanted.is_empty()) {
        let wanted = wanted.to_lowercase();
        let holds = |text: &String| text.to_lowercase().contains(&wanted);
        servers.retain(|server| {
            let document = &server.object.document;
            holds(&document.name) || document.audiences.iter().any(holds)
        });
    }
    servers.sort_by(|one, other| one.object.id.cmp(&other.object.id));
    let name = |server: &Listed<ManagedServer>| server.object.id.clone();
    let servers = page.cut(servers, name);
    Ok(page.answer(&administration.base_url(), servers, name, |server| {
        shown(&administration, server)
    }))
}

async fn read(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
) -> Result<Response, ApiError> {
    let listed = administration.server(&who, Action::Read, Resource::AuthorizationServers, &id)?;
    Ok(etag::object(StatusCode::OK, &shown(&administration, &listed)))
}

async fn create(
    State(administration): State<Administration>,
    Caller(who): Caller,
    DryRun(dry_run): DryRun,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let document = Input::read(&administration, &body)?.applied_to(None);
    let (server, _) = administration.create_server(&who, document, dry_run).await?;
    Ok(etag::object(
        StatusCode::CREATED,
        &view(&administration, &server, false),
    ))
}

async fn replace(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    Body(body): Body,
) -> Result<Response, ApiError> {
    let input = Input::read(&administration, &body)?;
    let edit = |seen: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        wire::expect(&if_match, &view(&administration, seen, false))?;
        *document = input.applied_to(Some(&seen.document));
        Ok(((), deed(AuditKind::ServerUpdated, seen, document)))
    };
    let ((), server) = administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::object(StatusCode::OK, &view(&administration, &server, false)))
}

async fn delete(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let check = |seen: &Arc<ManagedServer>| wire::expect(&if_match, &view(&administration, seen, false));
    administration.delete_server(&who, &id, check, dry_run).await?;
    Ok(etag::done())
}

async fn activate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<String>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Active).await
}

async fn deactivate(
    state: State<Administration>,
    caller: Caller,
    ids: Ids<String>,
    dry_run: DryRun,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    enter(state, caller, ids, dry_run, if_match, Status::Inactive).await
}

async fn enter(
    State(administration): State<Administration>,
    Caller(who): Caller,
    Ids(id): Ids<String>,
    DryRun(dry_run): DryRun,
    if_match: IfMatch,
    status: Status,
) -> Result<Response, ApiError> {
    let edit = |seen: &Arc<ManagedServer>, document: &mut ServerDocument, _| {
        wire::expect(&if_match, &view(&administration, seen, false))?;
        document.status = status;
        let kind = match status {
            Status::Active => AuditKind::ServerActivated,
            Status::Inactive => AuditKind::ServerDeactivated,
        };
        Ok(((), deed(kind, seen, document)))
    };
    administration.edit_server(&who, request(&id, dry_run), edit).await?;
    Ok(etag::done())
}

fn request(id: &str, dry_run: bool) -> ServerEdit<'_> {
    ServerEdit {
        id,
        resource: Resource::AuthorizationServers,
        dry_run,
    }
}

fn deed(kind: AuditKind, seen: &ManagedServer, document: &ServerDocument) -> Deed {
    Deed::new(kind, "AuthorizationServer", &seen.id)
        .before(seen.document.body())
        .after(document.body())
}

/// What a body says of a server.
struct Input {
    name: String,
    description: String,
    audiences: Vec<String>,
    manual: Option<bool>,
    algorithm: Option<String>,
    rotation_seconds: Option<u64>,
    okta_profile: Option<bool>,
    associated_servers: Option<Vec<String>>,
    trusted_issuers: Option<Vec<TrustedIssuerDocument>>,
    actors_max: Option<u32>,
}

impl Input {
    fn read(administration: &Administration, body: &Map<String, Value>) -> Result<Self, ApiError> {
        let mut fields = Fields::new("authorizationServer", body);
        let name = fields.name(&["name"], 100);
        let description = fields.text(&["description"]).unwrap_or_default();
        let audiences = fields.texts(&["audiences"]).unwrap_or_default();
        if audiences.is_empty() {
            fields.refuse("audiences: name the audience of the access tokens");
        }
        let modes = [("ORG_URL", ()), ("CUSTOM_URL", ()), ("DYNAMIC", ())];
        fields.word(&["issuerMode"], &modes);
        let rotation = ["credentials", "signing", "rotationMode"];
        let input = Self {
            name,
            description,
            audiences,
            manual: fields.word(&rotation, &[("AUTO", false), ("MANUAL", true)]),
            algorithm: fields.text(&["signingAlgorithm"]),
            rotation_seconds: fields.number(&["rotationSeconds"]),
            okta_profile: fields.word(&["tokenProfile"], &[("okta", true), ("rfc9068", false)]),
            associated_servers: fields.texts(&["associatedServers"]),
            trusted_issuers: read_issuers(&mut fields),
            actors_max: fields
                .number(&["actorsMax"])
                .map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
        };
        for id in input.associated_servers.iter().flatten() {
            if !administration.has_server(id) {
                fields.refuse(format!("associatedServers: there is no authorization server `{id}`"));
            }
        }
        fields.finish()?;
        Ok(input)
    }

    /// The document. What Okta's API has no field for stays as it was where it is not said: its SDKs leave it out.
    fn applied_to(&self, seen: Option<&ServerDocument>) -> ServerDocument {
        let mut document = seen.cloned().unwrap_or_else(|| ServerDocument {
            name: String::new(),
            description: String::new(),
            audiences: Vec::new(),
            status: Status::Active,
            signing: SigningDocument {
                algorithm: "RS256".to_owned(),
                rotate_every_seconds: Some(ROTATION_SECONDS),
            },
            okta_profile: true,
            scopes: Vec::new(),
            claims: Vec::new(),
            policies: Vec::new(),
            associated_servers: Vec::new(),
            trusted_issuers: Vec::new(),
            actors_max: None,
        });
        document.name.clone_from(&self.name);
        document.description.clone_from(&self.description);
        document.audiences.clone_from(&self.audiences);
        if let Some(algorithm) = &self.algorithm {
            document.signing.algorithm.clone_from(algorithm);
        }
        if let Some(okta_profile) = self.okta_profile {
            document.okta_profile = okta_profile;
        }
        if let Some(servers) = &self.associated_servers {
            document.associated_servers.clone_from(servers);
        }
        if let Some(issuers) = &self.trusted_issuers {
            document.trusted_issuers.clone_from(issuers);
        }
        document.actors_max = self.actors_max.or(document.actors_max);
        let every = document.signing.rotate_every_seconds;
        document.signing.rotate_every_seconds = match (self.manual, self.rotation_seconds) {
            (Some(true), _) => None,
            (_, Some(seconds)) => Some(seconds),
            (Some(false), None) => every.or(Some(ROTATION_SECONDS)),
            (None, None) => every,
        };
        document
    }
}
